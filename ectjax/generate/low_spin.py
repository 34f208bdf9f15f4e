"""What a ¹D or ²D term differs by from the ground term of the same configuration: valence CASSCF and NEVPT2.

A low-spin term of p², p³, p⁴ is not one determinant. Its energy and density are the ground term's coupled-cluster
result plus the difference computed here, in which most of what the small active space leaves out cancels.
"""

import numpy as np

from .levels import level_of_theory
from .pyscf_atom import RADII, atom, spherical_density

_CORE = {"[He]": 2, "[Ne]": 10, "[Ar]": 28}
"""Electrons outside the active space; beyond argon the filled 3d shell belongs to it."""


def valence_electrons(recipe) -> int:
    """Electrons in the outer s and p shells."""
    return recipe.electrons - _CORE[recipe.configuration.split()[0]]


def low_spin_change(symbol: str, recipe) -> tuple[float, np.ndarray]:
    """Energy (Hartree) and density on RADII of the term, less those of the ground term of its configuration.

    Raises ValueError for a CASSCF that did not converge or whose components are not degenerate.
    """
    from pyscf import fci, mcscf, mrpt, scf

    level = level_of_theory(symbol)
    where = f"{symbol} {recipe.label} ({recipe.configuration} {recipe.term})"
    electrons = valence_electrons(recipe)
    high_spin = 3 if electrons == 5 else 2
    ground_roots = 1 if electrons == 5 else 3
    start = scf.ROHF(atom(symbol, recipe.charge, high_spin, level.basis))
    if level.relativistic:
        start = start.x2c1e()
    start.run(conv_tol=1e-10)
    energies, densities = [], []
    for spin, roots in ((high_spin, ground_roots), (recipe.spin, recipe.roots)):
        half = 0.5 * spin
        counts = ((electrons + spin) // 2, (electrons - spin) // 2)
        average = mcscf.CASSCF(start, 4, counts)
        if roots > 1:
            average = average.state_average_([1 / roots] * roots)
        fci.addons.fix_spin_(average.fcisolver, ss=half * (half + 1))
        average.conv_tol, average.conv_tol_grad, average.max_cycle_macro = 1e-8, 1e-3, 200
        average.kernel(start.mo_coeff)
        if not average.converged:
            raise ValueError(f"CASSCF of {where} did not converge in {level.basis}; try another basis")
        single = mcscf.CASCI(start, 4, counts)
        single.fcisolver.nroots = roots
        fci.addons.fix_spin_(single.fcisolver, ss=half * (half + 1))
        single.kernel(average.mo_coeff)
        total = np.atleast_1d(single.e_tot)
        energies.append(float(total[0]) + float(mrpt.NEVPT(single, root=0).kernel()))
        if np.ptp(total) > 2e-4:
            raise ValueError(f"the {roots} components of {where} came out unequal by {np.ptp(total):.1e} Hartree")
        densities.append(spherical_density(start.mol, average.make_rdm1(), RADII))
    return energies[1] - energies[0], densities[1] - densities[0]
