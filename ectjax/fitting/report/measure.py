"""Measurements of one method: diatomics, molecules and rock salt. eV, Å, e."""

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, covalent_radii, ground_state_magnetic_moments
from ase.neighborlist import neighbor_list
from scipy.optimize import minimize_scalar

from ectjax.fitting.crystals import RockSalt
from ectjax.fitting.curves import Diatomic
from ectjax.fitting.molecules import Molecule
from ectjax.fitting.padded import relax
from ectjax.fitting.report.engines import Engine
from ectjax.units import DEBYE_IN_E_ANGSTROM

SEARCH = np.linspace(0.7, 1.6, 19)
"""Distances in units of R_e among which the minimum of a curve is looked for."""
APART = 30.0
"""Å: atoms so far apart are separate."""
BONDED = 1.25
"""A bond is shorter than this many sums of covalent radii."""
STRAINS = (0.85, 1.15)
"""Range of lattice constants, in units of the measured one."""


class PairResult(NamedTuple):
    """Energies (P,) in eV at the distances of the reference curve; minimum r_e in Å and depth d_e in eV; charge of the
    first atom at the measured R_e, dipole / R_e, in e; energy in eV and largest charge in e at 30 Å (nan where not
    asked for)."""

    energies: np.ndarray
    r_e: float
    d_e: float
    charge: float
    apart_energy: float
    apart_charge: float


class MoleculeResult(NamedTuple):
    """Atomisation energies in eV, > 0 for bound molecules: at the measured geometry, and relaxed; mean deviation of
    the bond lengths in Å after relaxation (nan without bonds); dipole in D; whether the relaxation ended."""

    fixed: float
    relaxed: float
    bonds: float
    dipole: float
    done: bool


class CrystalResult(NamedTuple):
    """Lattice constant in Å and atomisation energy in eV per formula unit."""

    constant: float
    energy: float


def measure_pair(engine: Engine, pair: Diatomic, distances) -> PairResult:
    """A diatomic: its curve at `distances` (P,) in Å, its minimum, its charge, its dissociation."""
    free = engine.atom(pair.a) + engine.atom(pair.b)
    most = sum(round(ground_state_magnetic_moments[atomic_numbers[s]]) for s in (pair.a, pair.b))

    def lowest(r):
        atoms, best = Atoms([pair.a, pair.b], [[0, 0, 0], [0, 0, r]]), None
        for unpaired in engine.spins(most % 2, most):
            atoms.calc = engine.calculator(atoms, unpaired)
            energy = _energy_or_nan(atoms) - free
            if best is None or not energy >= best[0]:
                best = energy, atoms.calc
        return best

    energies = np.array([lowest(r)[0] for r in distances])
    grid = pair.r_e * SEARCH
    middle = int(np.nanargmin([lowest(r)[0] for r in grid]))
    ends = grid[max(middle - 1, 0)], grid[min(middle + 1, grid.size - 1)]
    minimum = minimize_scalar(lambda r: lowest(r)[0], bounds=ends, options={"xatol": 1e-3})
    calculator = lowest(pair.r_e)[1]
    far, apart = lowest(APART)
    charges = apart.results.get("charges", np.array([np.nan]))
    return PairResult(
        energies=energies,
        r_e=float(minimum.x),
        d_e=-float(minimum.fun),
        charge=-float(calculator.results["dipole"][2]) / pair.r_e,
        apart_energy=float(far),
        apart_charge=float(np.abs(charges).max()),
    )


def measure_molecule(engine: Engine, entry: Molecule) -> MoleculeResult:
    """A molecule at its measured geometry, and relaxed from there if the method relaxes."""
    atoms = molecule(entry.name)
    unpaired = abs(round(atoms.get_initial_magnetic_moments().sum()))
    free = sum(engine.atom(s) for s in atoms.get_chemical_symbols())
    atoms.calc = engine.calculator(atoms, unpaired)
    fixed = free - _energy_or_nan(atoms)
    if not engine.relaxes or np.isnan(fixed):
        moment = np.linalg.norm(atoms.get_dipole_moment()) / DEBYE_IN_E_ANGSTROM if np.isfinite(fixed) else np.nan
        return MoleculeResult(fixed, np.nan, np.nan, float(moment), not engine.relaxes)
    first, second, before = neighbor_list("ijd", atoms, BONDED * covalent_radii[atoms.numbers].max() * 2)
    bonded = before < BONDED * (covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
    try:
        done = relax(atoms)
    except Exception:  # whatever a method's own solver raises far from its minimum
        return MoleculeResult(fixed, np.nan, np.nan, np.nan, False)
    after = atoms.get_all_distances()[first, second]
    return MoleculeResult(
        fixed=fixed,
        relaxed=free - float(atoms.get_potential_energy()),
        bonds=float(np.mean(np.abs(after - before)[bonded])) if bonded.any() else np.nan,
        dipole=float(np.linalg.norm(atoms.get_dipole_moment()) / DEBYE_IN_E_ANGSTROM),
        done=done,
    )


def measure_crystal(engine: Engine, entry: RockSalt) -> CrystalResult:
    """Rock salt at the lattice constant of lowest energy within 15 % of the measured one."""
    cell = bulk(entry.formula, "rocksalt", a=entry.constant, cubic=True).repeat(engine.repeat)
    free = sum(engine.atom(s) for s in entry.symbols)
    cell.calc = engine.calculator(cell, 0)
    shape = cell.cell[:].copy()

    def energy(scale):
        cell.set_cell(scale * shape, scale_atoms=True)
        return 2.0 * _energy_or_nan(cell) / len(cell) - free

    found = minimize_scalar(energy, bounds=STRAINS, options={"xatol": 1e-3})
    return CrystalResult(float(found.x) * entry.constant, -float(found.fun))


def _energy_or_nan(atoms: Atoms) -> float:
    """nan where the method finds no solution: a fact to report, no reason to stop."""
    try:
        return float(atoms.get_potential_energy())
    except Exception:
        return np.nan
