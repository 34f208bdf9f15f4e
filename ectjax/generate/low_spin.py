"""What a ¹D or ²D term differs by from the ground term of the same configuration: valence CASSCF and NEVPT2.

A low-spin term of p², p³, p⁴ is not one determinant. Its energy and density are the ground term's coupled-cluster
result plus the difference computed here. The small active space leaves 0.1 to 0.3 eV of the splitting out; full
configuration interaction of the valence electrons in a double-zeta basis, against the same CASSCF + NEVPT2, puts it
back.
"""

import numpy as np

from .levels import level_of_theory
from .pyscf_atom import RADII, atom, spherical_density

_CORE = {"[He]": 2, "[Ne]": 10, "[Ar]": 28}
"""Electrons outside the active space; beyond argon the filled 3d shell belongs to it."""
_UNEQUAL = 3e-4
"""Largest spread of the components of one term, Hartree: even state-averaged orbitals settle a little out of round
(selenium's 4p by 0.005 electrons, its ¹D by 2e-4), from whatever start."""


def valence_electrons(recipe) -> int:
    """Electrons in the outer s and p shells."""
    return recipe.electrons - _CORE[recipe.configuration.split()[0]]


def low_spin_change(symbol: str, recipe) -> tuple[float, np.ndarray]:
    """Energy (Hartree) and density on RADII of the term, less those of the ground term of its configuration.

    Raises ValueError for a CASSCF that did not converge or whose components are not degenerate.
    """
    level = level_of_theory(symbol)
    small = _double_zeta(level.basis)
    large, density = _splitting(symbol, recipe, level.basis, level.relativistic)
    rough, _ = _splitting(symbol, recipe, small, level.relativistic)
    return large + _full_splitting(symbol, recipe, small, level.relativistic) - rough, density


def _double_zeta(basis: str) -> str:
    """The diffuse valence double-zeta basis of the same family."""
    return basis.replace("pC", "p").replace("V(Q", "V(D").replace("V(T", "V(D").replace("VQ", "VD").replace("VT", "VD")


def _start(symbol, recipe, basis, relativistic, symmetry=False):
    """ROHF of the ground term, and the numbers of active electrons, spins and roots of ground and excited term."""
    from pyscf import scf

    electrons = valence_electrons(recipe)
    high_spin = 3 if electrons == 5 else 2
    start = scf.ROHF(atom(symbol, recipe.charge, high_spin, basis, symmetry=symmetry))
    if relativistic:
        start = start.x2c1e()
    start.run(conv_tol=1e-10)
    return start, electrons, ((high_spin, 1 if electrons == 5 else 3), (recipe.spin, recipe.roots))


def _counts(electrons: int, spin: int) -> tuple[int, int]:
    return (electrons + spin) // 2, (electrons - spin) // 2


def _only_spin(solver, half: float, tolerance: float = 1e-11) -> None:
    """Push other spins up; converge tightly, or a component of a degenerate term is lost to the next term."""
    from pyscf import fci

    fci.addons.fix_spin_(solver, shift=0.5, ss=half * (half + 1))
    solver.max_cycle, solver.conv_tol = 200, tolerance


def _splitting(symbol, recipe, basis, relativistic):
    """Energy by NEVPT2 and density by state-averaged CASSCF of the term, less those of the ground term."""
    from pyscf import mcscf, mrpt

    where = f"{symbol} {recipe.label} ({recipe.configuration} {recipe.term})"
    start, electrons, terms = _start(symbol, recipe, basis, relativistic)
    energies, densities = [], []
    for spin, roots in terms:
        half, counts = 0.5 * spin, _counts(electrons, spin)
        average = mcscf.CASSCF(start, 4, counts)
        if roots > 1:
            average = average.state_average_([1 / roots] * roots)
        _only_spin(average.fcisolver, half)
        average.conv_tol, average.conv_tol_grad, average.max_cycle_macro = 1e-8, 1e-3, 200
        average.kernel(start.mo_coeff)
        if not average.converged:
            raise ValueError(f"CASSCF of {where} did not converge in {basis}; try another basis")
        single = mcscf.CASCI(start, 4, counts)
        single.fcisolver.nroots = roots
        _only_spin(single.fcisolver, half)
        single.kernel(average.mo_coeff, ci0=average.ci)  # a fresh start may miss a component
        total = np.atleast_1d(single.e_tot)
        if np.ptp(total) > _UNEQUAL:
            raise ValueError(f"the {roots} components of {where} came out unequal by {np.ptp(total):.1e} Hartree")
        # perturbation theory tells components apart (meV in P, 0.3 eV in As), and which one comes first is chance
        energies.append(float(np.mean([e + mrpt.NEVPT(single, root=k).kernel() for k, e in enumerate(total)])))
        densities.append(spherical_density(start.mol, average.make_rdm1(), RADII))
    return energies[1] - energies[0], densities[1] - densities[0]


def _full_splitting(symbol, recipe, basis, relativistic) -> float:
    """The same energy difference by full configuration interaction of the valence electrons (ROHF core)."""
    from pyscf import mcscf

    start, electrons, terms = _start(symbol, recipe, basis, relativistic, symmetry="D2h")
    frozen = (recipe.electrons - electrons) // 2
    energies = []
    for spin, _ in terms:
        half = 0.5 * spin
        full = mcscf.CASCI(start, start.mo_coeff.shape[1] - frozen, _counts(electrons, spin))
        full.fcisolver.wfnsym = start.wfnsym  # the low-spin term has components of the same symmetry species
        _only_spin(full.fcisolver, half, tolerance=1e-6)
        full.kernel()
        if not full.fcisolver.converged:
            raise ValueError(f"full CI of {symbol} {recipe.label} did not converge in {basis}; try another basis")
        energies.append(float(full.e_tot))
    return energies[1] - energies[0]
