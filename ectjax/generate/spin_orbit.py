"""How far spin-orbit coupling puts the lowest level of an open p shell below the centre of its term.

Measured ionisation energies join lowest levels; a scalar relativistic calculation gives the centres. First order in
the coupling, which is right for high-spin P terms of pⁿ, with or without an open s shell beside them.
"""

import re

import numpy as np

from .pyscf_atom import RADII, VOLUME_WEIGHTS, spherical_density


def lowest_level(mean_field, recipe) -> float:
    """Energy (Hartree, ≤ 0) of the lowest level J of a state relative to the centre of its term; 0 but for P terms.

    ½A[J(J+1) − L(L+1) − S(S+1)] with A = ±ζ/2S; J is |L − S| up to p², L + S from p⁴ on.
    """
    counts = re.findall(r"\b\dp(\d?)", recipe.configuration)
    spin = recipe.spin / 2
    if recipe.term[-1] != "P" or not counts or not spin:
        return 0.0
    electrons = int(counts[-1] or 1)
    zeta = coupling_constant(mean_field)
    if electrons > 3:
        return -zeta / 2
    j = abs(1 - spin)
    return zeta / (4 * spin) * (j * (j + 1) - 2 - spin * (spin + 1))


def coupling_constant(mean_field) -> float:
    """ζ = (α²/2) ⟨(1/r) dV/dr⟩ of the outermost p orbital (Hartree), V the field of nucleus and other electrons."""
    from pyscf.lib import param

    molecule = mean_field.mol
    orbitals, occupations = np.asarray(mean_field.mo_coeff), np.asarray(mean_field.mo_occ)
    energies = np.asarray(mean_field.mo_energy)
    if orbitals.ndim == 3:
        orbitals, occupations, energies = orbitals[0], occupations[0], energies[0]
    p = np.array([label[2][-1] == "p" for label in molecule.ao_labels(fmt=None)])
    weight = np.einsum("ik,ij,jk->k", orbitals * p[:, None], mean_field.get_ovlp(), orbitals)
    chosen = orbitals[:, np.argmax(np.where((occupations > 0) & (weight > 0.5), energies, -np.inf))]
    orbital = spherical_density(molecule, np.outer(chosen, chosen), RADII) * VOLUME_WEIGHTS
    matrix = np.asarray(mean_field.make_rdm1())
    total = spherical_density(molecule, matrix if matrix.ndim == 2 else matrix.sum(axis=0), RADII) * VOLUME_WEIGHTS
    others = total - orbital
    enclosed = np.cumsum(others) - others / 2
    return float(np.sum(orbital * (molecule.atom_charge(0) - enclosed) / RADII**3)) / (2 * param.LIGHT_SPEED**2)
