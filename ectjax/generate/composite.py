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
    (_, smaller), (scf, larger) = (_mp2(mean_field, level) for mean_field in limit)
    return scf + larger + (larger - smaller) * 27 / 37 - sum(_mp2(start, level))


def _mp2(mean_field, level: Level) -> tuple[float, float]:
    from pyscf import mp

    correlated = mp.MP2(mean_field, frozen=level.frozen or None)
    correlated.kernel(with_t2=False)
    return float(mean_field.e_tot), float(correlated.e_corr)
