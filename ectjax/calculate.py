"""Energy, forces, stress and what else users ask of a geometry, in one jitted call."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ectjax.compilation import LIGHT, compiled
from ectjax.ensemble import Equilibration
from ectjax.model import Model
from ectjax.native.tables import NativeTables
from ectjax.native.terms import Geometry, native_terms, slopes_with_forces
from ectjax.potential import System, dipole_moment, potential_energy, solve_terms


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
    *,
    native: NativeTables | None = None,
    eager: bool = False,
    **options,
) -> Results:
    """Equilibrate and differentiate once. `weights` (N, S) is a warm start; options as in `potential.solve_weights`.

    With `native`, the tables `ectjax.native.native_tables(model, system.long_range)`, compiled sums do the work on a
    CPU: the same numbers, faster, which cannot be differentiated further (TypeError). `eager`, for a warm start that is
    good enough as it is: these sums give forces with every gradient, which is cheaper than gradient and forces apart.
    """
    if native is not None:
        return _natively(native, model, system, weights, eager and weights is not None, options)

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
    return _results(model, system, value, -slope, virial, result)


@compiled(LIGHT)
def calculate_lightly(model: Model, system: System, weights: Float[Array, "N S"] | None = None, **options) -> Results:
    """As `calculate`, compiled in less time to somewhat slower code: for what runs at most some thousand times."""
    return calculate(model, system, weights, **options)


def _natively(native: NativeTables, model: Model, system: System, weights, eager: bool, options) -> Results:
    terms = native_terms(native, model, system)
    geometry = Geometry(terms, system)
    if eager:
        result = solve_terms(terms, system.total_charge, weights, slopes=slopes_with_forces, args=geometry, **options)
        forces, virial = result.beside[0]
        result = dataclasses.replace(result, beside=())
    else:
        result = solve_terms(terms, system.total_charge, weights, **options)
        forces, virial = slopes_with_forces(result.weights, result.amplitudes, geometry)[-1]
    return _results(model, system, result.energy, forces, virial, result)


def _results(model: Model, system: System, energy, forces, virial, result: Equilibration) -> Results:
    if system.cell is None:
        stress, dipole = jnp.zeros((3, 3), energy.dtype), dipole_moment(model, system, result)
    else:
        stress = 0.5 * (virial + virial.T) / jnp.abs(jnp.linalg.det(system.cell))
        dipole = jnp.zeros(3, energy.dtype)
    return Results(energy, forces, stress, dipole, result)
