"""Energy, forces, stress and what else users ask of a geometry, in one jitted call."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ectjax.ensemble import Equilibration
from ectjax.model import Model
from ectjax.potential import System, potential_energy


class Results(eqx.Module):
    """Energy in eV, forces (N, 3) in eV/Å, stress (3, 3) in eV/Å³ (ASE sign, zeros without a cell), dipole (3,)
    in e Å (of the given origin if the system is charged; zeros with a cell), and the equilibration."""

    energy: Float[Array, ""]
    forces: Float[Array, "N 3"]
    stress: Float[Array, "3 3"]
    dipole: Float[Array, " 3"]
    equilibration: Equilibration


def strained(system: System, strain: Float[Array, "3 3"]) -> System:
    """The system deformed homogeneously by 1 + strain."""
    deformation = jnp.eye(3, dtype=system.positions.dtype) + strain
    moved = jnp.matmul(system.positions, deformation, precision="highest")
    cell = None if system.cell is None else jnp.matmul(system.cell, deformation, precision="highest")
    return eqx.tree_at(lambda s: (s.positions, s.cell), system, (moved, cell), is_leaf=lambda x: x is None)


@eqx.filter_jit
def calculate(
    model: Model,
    system: System,
    weights: Float[Array, "N S"] | None = None,
    **options,
) -> Results:
    """Equilibrate and differentiate once. `weights` (N, S) is a warm start; options as in `potential.solve_weights`."""

    def energy(positions, strain):
        moved = strained(eqx.tree_at(lambda s: s.positions, system, positions), strain)
        return potential_energy(model, moved, weights, **options)

    zero = jnp.zeros((3, 3), system.positions.dtype)
    if system.cell is None:
        (value, result), slope = jax.value_and_grad(energy, has_aux=True)(system.positions, zero)
        virial = zero
    else:
        (value, result), (slope, virial) = jax.value_and_grad(energy, argnums=(0, 1), has_aux=True)(
            system.positions, zero
        )
        virial = 0.5 * (virial + virial.T) / jnp.abs(jnp.linalg.det(system.cell))
    dipole = jnp.zeros(3, value.dtype) if system.cell is not None else result.charges @ system.positions
    return Results(value, -slope, virial, dipole, result)
