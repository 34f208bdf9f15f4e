"""What the coupled-cluster energy of a feasible basis leaves out: the basis limit, by MP2, and the outer core.

Both are differences between two calculations of the same state, added to its energy; the density stays.
"""

from .levels import Level


def basis_limit(limit: tuple, start, level: Level) -> float:
    """Energy (Hartree) of SCF + MP2 in the basis limit less the same in the basis of `start`.

    Args:
        limit: converged SCF in the triple- and the quadruple-zeta basis. start: the same in `level.basis`.

    The SCF energy is taken from the larger basis, the correlation energy is extrapolated by X⁻³.
    """
    smaller, larger = (mp2_energy(mean_field, level.frozen) for mean_field in limit)
    before = float(start.e_tot) + mp2_energy(start, level.frozen)
    return float(limit[1].e_tot) + larger + (larger - smaller) * 27 / 37 - before


def mp2_energy(mean_field, frozen: int) -> float:
    """Correlation energy of second order (Hartree)."""
    from pyscf import mp

    return float(mp.MP2(mean_field, frozen=frozen or None).kernel(with_t2=False)[0])
