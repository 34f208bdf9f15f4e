"""The electron density of a molecule on points: from PySCF, from a cube file, or from arrays."""

import os
from dataclasses import dataclass

import numpy as np

from ectjax.units import BOHR_IN_ANGSTROM

COUNT_TOLERANCE = 0.3
"""Electrons by which a grid may miscount the density before it is refused; cube files are coarse at nuclei."""


@dataclass(frozen=True, eq=False)
class MolecularDensity:
    """An electron density known at points.

    numbers (N,) atomic numbers and positions (N, 3) in Å; points (G, 3) in Å, their volumes (G,) in Å³ (quadrature
    weights: ∫f d³r = Σ_g volumes_g f(points_g)) and the density (G,) there in e/Å³, positive. All electrons: a
    density of pseudopotentials lacks the core.

    Raises:
        ValueError: shapes that do not fit together, or numbers that are not finite.
    """

    numbers: np.ndarray
    positions: np.ndarray
    points: np.ndarray
    volumes: np.ndarray
    density: np.ndarray

    def __post_init__(self):
        numbers = np.asarray(self.numbers, int).reshape(-1)
        values = {k: np.asarray(getattr(self, k), float) for k in ("positions", "points", "volumes", "density")}
        size = values["density"].size
        wanted = {"positions": (numbers.size, 3), "points": (size, 3), "volumes": (size,), "density": (size,)}
        for name, value in values.items():
            if value.shape != wanted[name] or not value.size or not np.isfinite(value).all():
                raise ValueError(
                    f"{name} has shape {value.shape}{'' if np.isfinite(value).all() else ' and entries not finite'}; "
                    f"{numbers.size} atoms and a density at {size} points need {wanted[name]}, all finite"
                )
            object.__setattr__(self, name, value)
        object.__setattr__(self, "numbers", numbers)

    @property
    def electrons(self) -> float:
        """∫ρ d³r on the points, e."""
        return float(self.volumes @ self.density)

    @property
    def charge(self) -> float:
        """Nuclear charge less electrons on the points, e; off an integer by the error of the grid."""
        return float(self.numbers.sum()) - self.electrons

    def dipole(self) -> np.ndarray:
        """Dipole moment (3,) in e Å about the origin, on the points."""
        return self.numbers @ self.positions - (self.volumes * self.density) @ self.points


def density_from_pyscf(mol, density_matrix, level: int = 5) -> MolecularDensity:
    """The density of a PySCF density matrix on an atom-centred (Becke) grid.

    Args:
        mol: `pyscf.gto.Mole`, all electrons.
        density_matrix: one-particle density matrix in the atomic-orbital basis, or the pair of both spins:
            `make_rdm1()` of a mean field or CASSCF object, `make_rdm1(ao_repr=True)` of a coupled-cluster object.
        level: of PySCF's grid, 0 to 9; 5 counts electrons to about 1e-5.

    Raises:
        ValueError: a matrix that does not fit the molecule's basis, or a molecule with pseudopotentials.
    """
    from pyscf.dft import gen_grid, numint

    matrix = np.asarray(density_matrix)
    matrix = matrix.sum(axis=0) if matrix.ndim == 3 else matrix
    size = mol.nao_nr()
    if matrix.shape != (size, size):
        raise ValueError(
            f"the density matrix has shape {matrix.shape}, the molecule has {size} basis functions: give the matrix in "
            "the atomic-orbital basis (make_rdm1(), of coupled cluster make_rdm1(ao_repr=True))"
        )
    if mol.has_ecp():
        raise ValueError("the molecule has pseudopotentials, so its density lacks cores: use an all-electron basis")
    grid = gen_grid.Grids(mol)
    grid.level, grid.prune = level, None
    grid.build()
    density = np.concatenate(
        [
            numint.eval_rho(mol, numint.eval_ao(mol, grid.coords[part]), matrix)
            for part in np.array_split(np.arange(len(grid.coords)), max(1, len(grid.coords) // 20000))
        ]
    )
    a = BOHR_IN_ANGSTROM
    charges = [round(float(z)) for z in mol.atom_charges()]
    return MolecularDensity(charges, mol.atom_coords() * a, grid.coords * a, grid.weights * a**3, density / a**3)


def density_from_cube(file: str | os.PathLike) -> MolecularDensity:
    """The density in a Gaussian cube file (bohr, e/bohr³, all electrons), as ASE reads it.

    The points of a cube miss the cusps: keep its spacing near 0.1 bohr where core densities matter, and prefer
    `density_from_pyscf`.

    Raises:
        ValueError: a file that is no cube file.
    """
    from ase.io.cube import read_cube

    try:
        with open(file) as handle:
            cube = read_cube(handle)
        data, atoms, origin, spacing = cube["data"], cube["atoms"], cube["origin"], cube["spacing"]
    except (ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a readable cube file ({error}); write it with pyscf.tools.cubegen") from None
    index = np.stack(np.meshgrid(*(np.arange(n) for n in data.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    volume = abs(np.linalg.det(spacing))
    return MolecularDensity(
        atoms.numbers,
        atoms.positions,
        origin + index @ spacing,
        np.full(data.size, volume),
        data.reshape(-1) / BOHR_IN_ANGSTROM**3,
    )


def checked_charge(density: MolecularDensity, charge: float) -> float:
    """The total charge, if the density on its points agrees with it; else ValueError."""
    if not abs(density.charge - charge) < COUNT_TOLERANCE:
        raise ValueError(
            f"the density integrates to {density.electrons:.3f} electrons, the nuclei and charge {charge:g} e ask for "
            f"{density.numbers.sum() - charge:g}: check units (e/Å³, Å), the charge, the reach and fineness of the "
            "points, and that core electrons are in it"
        )
    return float(charge)
