"""Ewald sum or particle mesh Ewald: whichever is cheaper for a system."""

from __future__ import annotations

from jaxtyping import Array, Float

from ectjax.coulomb.ewald import EwaldParameters, ewald_parameters, expected_wave_vectors
from ectjax.coulomb.pme_parameters import PMEParameters, pme_parameters

EWALD_LIMIT = 50_000
"""Atoms times wave vectors up to which the Ewald sum is faster on a CPU core (see benchmarks/coulomb.py)."""


def long_range_parameters(
    cell: Float[Array, "3 3"], atoms: int, cutoff: float, accuracy: float = 1e-6
) -> EwaldParameters | PMEParameters:
    """Parameters of the cheaper sum for `atoms` atoms; both kinds offer `alpha`, `cutoff` and `prepare`.

    Raises:
        ValueError: as `ewald_parameters` and `pme_parameters` do.
    """
    if atoms * expected_wave_vectors(cell, cutoff, accuracy) <= EWALD_LIMIT:
        return ewald_parameters(cell, cutoff, accuracy)
    return pme_parameters(cell, cutoff, accuracy, atoms=atoms)
