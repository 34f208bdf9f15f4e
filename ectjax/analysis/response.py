"""Linear response of the equilibrated charges: hardness, Fukui functions, polarisability, Born effective charges.

All by implicit differentiation of the solution, one linear solve per direction; nothing is displaced.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ectjax.model import Model
from ectjax.potential import System, dipole_moment, solve_weights
from ectjax.units import COULOMB_EV_ANGSTROM


class Response(eqx.Module):
    """First derivatives of the charges q, the dipole p (e Å; Σ q_i r_i and what is induced in atoms) and μ = dE/dQ.

    chemical_potential: μ in eV/e. hardness: dμ/dQ = d²E/dQ² in eV/e² (twice the hardness of authors who halve it).
    fukui: dq_i/dQ (N,), they sum to 1. polarisability: dp/dℰ (3, 3) in Å³ of a uniform field ℰ.
    born_charges: Z*_i,ab = dp_b/dr_ia (N, 3, 3) in e, they sum to the total charge.
    """

    charges: Float[Array, " N"]
    chemical_potential: Float[Array, ""]
    hardness: Float[Array, ""]
    fukui: Float[Array, " N"]
    polarisability: Float[Array, "3 3"]
    born_charges: Float[Array, "N 3 3"]


def respond(model: Model, system: System, weights: Float[Array, "N S"] | None = None, **options) -> Response:
    """Response of an open system; `weights` and options as in `ectjax.solve_weights`.

    The dipole of a charged system is about the origin. Where integer charges are the minimum (κ = 0) they do not
    respond: Fukui functions are then undefined and nan.

    Raises ValueError for a periodic system, whose dipole is not defined.
    """
    check_open(system)
    return _respond(model, system, weights, options)


@eqx.filter_jit
def _respond(model: Model, system: System, weights, options) -> Response:
    def equilibrated(positions, charge, field):
        moved = perturbed(system, positions, charge, field)
        found = solve_weights(model, moved, weights, **options)
        return found.charges, found.chemical_potential, dipole_moment(model, moved, found)

    at = (system.positions, system.total_charge, jnp.zeros(3, system.positions.dtype))
    # one solution, linearised once: forward in charge and field, backward to the positions
    (charges, potential, dipole), push = jax.linearize(equilibrated, *at)
    still, none, dark = (jnp.zeros_like(x) for x in at)
    axes = jnp.eye(3, dtype=dark.dtype)
    fukui, hardness, _ = push(still, none + 1.0, dark)
    induced = jax.vmap(lambda field: push(still, none, field)[2])(axes)
    pull = jax.linear_transpose(push, *at)
    nothing = jnp.zeros_like(charges), jnp.zeros_like(potential)
    born = jax.vmap(lambda moment: pull((*nothing, moment))[0])(axes.astype(dipole.dtype))
    moves = jnp.abs(jnp.sum(fukui) - 1.0) < 1e-3
    return Response(
        charges=charges,
        chemical_potential=potential,
        hardness=jnp.where(moves, hardness, jnp.nan),
        fukui=jnp.where(moves, fukui, jnp.nan),
        polarisability=induced.T * COULOMB_EV_ANGSTROM,
        born_charges=jnp.moveaxis(born, 0, 2),
    )


def perturbed(system: System, positions, charge, field) -> System:
    """The system with other positions and charge, in a uniform field ℰ (3,) in V/Å on top of its own potential."""
    potential = -positions @ field
    if system.external_potential is not None:
        potential = potential + system.external_potential
    total = field if system.external_field is None else field + system.external_field
    return eqx.tree_at(
        lambda s: (s.positions, s.total_charge, s.external_potential, s.external_field),
        system,
        (positions, charge, potential, total),
        is_leaf=lambda x: x is None,
    )


def check_open(system: System) -> None:
    """ValueError for a system with a cell."""
    if system.cell is not None:
        raise ValueError(
            "the system is periodic, so its dipole is not defined; give a cluster (no cell), or build Born charges "
            "from differences of the polarisation"
        )
