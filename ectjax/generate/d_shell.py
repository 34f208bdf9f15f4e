"""Keeps a self-consistent field on the wanted number of d electrons.

4s and two of the 3d components share a symmetry species, so that fixing the occupation of each species leaves open
whether 3dⁿ 4s² or 3dⁿ⁺¹ 4s¹ comes out. The start decides; the d population tells.
"""

import re

import numpy as np


def d_electrons(recipe) -> int:
    """Number of d electrons in the configuration; argon and what comes before has none."""
    found = re.search(r"\b\dd(\d*)", recipe.configuration)
    return int(found[1] or 1) if found else 0


def d_population(mean_field) -> float:
    """Electrons in functions of angular momentum 2: a sharp number, for different l are orthogonal in an atom."""
    matrix = np.asarray(mean_field.make_rdm1())
    matrix = matrix if matrix.ndim == 2 else matrix.sum(axis=0)
    rows = _d_rows(mean_field.mol)
    return float(np.einsum("ij,ji->i", matrix, mean_field.get_ovlp())[rows].sum())


def d_guess(mean_field, recipe) -> np.ndarray:
    """Density matrices (2, n, n), or (n, n) for a closed shell, with the recipe's electrons in s and d orbitals.

    They are orbitals in the field of a spherical atom, filled as `occupy` says. From here on the mean field fills
    its orbitals in the same way.
    """
    from pyscf.scf import hf_symm

    molecule, overlap = mean_field.mol, mean_field.get_ovlp()
    start = mean_field.get_init_guess(molecule, key="atom")
    fock = np.asarray(mean_field.get_fock(dm=start))
    closed = fock.ndim == 2
    energies, orbitals = hf_symm.eig(mean_field, fock if closed else fock[0], overlap)
    matrices = []
    for spin in (0, 1):
        chosen = np.asarray(orbitals)[:, occupy(molecule, recipe, spin, energies, orbitals, orbitals.orbsym, overlap)]
        matrices.append(chosen @ chosen.T)
    if closed:
        return 2 * matrices[0]

    def get_occ(mo_energy=None, mo_coeff=None):
        mo_energy = mean_field.mo_energy if mo_energy is None else mo_energy
        mo_coeff = mean_field.mo_coeff if mo_coeff is None else mo_coeff
        occupations = np.zeros((2, len(mo_energy[0])))
        for spin, symmetry in enumerate(mean_field.get_orbsym(mo_coeff, overlap)):
            filled = occupy(molecule, recipe, spin, mo_energy[spin], np.asarray(mo_coeff[spin]), symmetry, overlap)
            occupations[spin, filled] = 1
        return occupations

    mean_field.get_occ = get_occ
    return np.stack(matrices)


def occupy(molecule, recipe, spin: int, energies, orbitals, symmetry, overlap) -> list[int]:
    """Indices of the filled orbitals of one spin: the lowest of each species, s and d told apart by their character."""
    species = [molecule.irrep_name[list(molecule.irrep_id).index(i)] for i in symmetry]
    orbitals = np.asarray(orbitals)
    character = np.einsum("ik,ij,jk->ik", orbitals, overlap, orbitals)[_d_rows(molecule)].sum(axis=0)
    total = d_electrons(recipe)
    inside = min(total, 5) if spin == 0 else max(total - 5, 0)
    inside -= sum(recipe.occupation.get(axis, (0, 0))[spin] for axis in ("xy", "xz", "yz"))
    filled, order = [], np.argsort(energies)
    for name, numbers in recipe.occupation.items():
        members = [k for k in order if species[k] == IRREP[name]]
        if name == "s":
            filled += [k for k in members if character[k] > 0.5][:inside]
            filled += [k for k in members if character[k] < 0.5][: numbers[spin] - inside]
        else:
            filled += members[: numbers[spin]]
    return filled


IRREP = {"s": "Ag", "x": "B3u", "y": "B2u", "z": "B1u", "xy": "B1g", "xz": "B2g", "yz": "B3g"}
"""D2h symmetry species of the keys of a recipe's occupation."""


def _d_rows(molecule) -> np.ndarray:
    return np.array([label[2][-1] == "d" for label in molecule.ao_labels(fmt=None)])
