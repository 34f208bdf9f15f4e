"""Complete periodic Coulomb energy and stress: real-space pairs plus an Ewald or PME operator."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Scalar

from ectjax.coulomb.ewald import EwaldParameters, ewald_parameters, masked
from ectjax.coulomb.pme_parameters import PMEParameters
from ectjax.neighbors import Neighbors, neighbor_list, pair_distances


def ewald_energy(
    positions: Float[Array, "n 3"],
    charges: Float[Array, " n"],
    cell: Float[Array, "3 3"],
    neighbors: Neighbors | None = None,
    parameters: EwaldParameters | PMEParameters | None = None,
    *,
    cutoff: float = 8.0,
    accuracy: float = 1e-8,
    strain: Float[Array, "3 3"] | None = None,
    atom_mask: Bool[Array, " n"] | None = None,
) -> Float[Scalar, ""]:
    """Energy in eV of charges (e) in a periodic cell (Å), neutralising background included.

    Without `neighbors` and `parameters` both are made here on the host from `cutoff` and `accuracy`; pass
    them (the list must be complete within `parameters.cutoff`) under `jit` and `grad`.
    `strain` maps r → r + r·strain, cell alike.

    Raises:
        ValueError: as `neighbor_list` and `ewald_parameters` do.
    """
    if parameters is None:
        parameters = ewald_parameters(cell, cutoff, accuracy)
    if neighbors is None:
        neighbors = neighbor_list(positions, cell, True, parameters.cutoff)
    return _energy(positions, charges, cell, neighbors, parameters, strain, atom_mask)


@jax.jit
def _energy(positions, charges, cell, neighbors, parameters, strain, atom_mask):
    if strain is not None:
        positions = positions + jnp.matmul(positions, strain, precision="highest")
        cell = cell + jnp.matmul(cell, strain, precision="highest")
    charges = masked(charges, atom_mask)
    r = pair_distances(positions, cell, neighbors)
    within = neighbors.mask & (r <= parameters.cutoff)
    kernel = jnp.where(within, parameters.kernel(r), 0.0)
    real = jnp.sum(charges[neighbors.i] * charges[neighbors.j] * kernel)
    return real + parameters.prepare(positions, cell, atom_mask).energy(charges)


def ewald_stress(positions, charges, cell, neighbors=None, parameters=None, **options) -> Float[Array, "3 3"]:
    """Stress dE/dstrain / V in eV/Å³, ASE's sign (positive under tension); arguments as `ewald_energy`."""
    if parameters is None:
        parameters = ewald_parameters(cell, options.pop("cutoff", 8.0), options.pop("accuracy", 1e-8))
    if neighbors is None:
        neighbors = neighbor_list(positions, cell, True, parameters.cutoff)

    def energy(strain):
        return ewald_energy(positions, charges, cell, neighbors, parameters, strain=strain, **options)

    derivative = jax.grad(energy)(jnp.zeros((3, 3), positions.dtype))
    return 0.5 * (derivative + derivative.T) / jnp.abs(jnp.linalg.det(cell))
