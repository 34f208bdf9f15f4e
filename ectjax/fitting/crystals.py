"""Rock-salt crystals with measured lattice constants and atomisation energies. eV, Å."""

import csv
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ase.build import bulk
from ase.symbols import string2symbols
from jaxtyping import Array

from ectjax.basis import Basis
from ectjax.calculate import strained
from ectjax.model import Model, Parameters, assemble
from ectjax.potential import System, potential_energy
from ectjax.system import build_system

COLUMNS = ("formula", "a_angstrom", "atomisation_ev")
SKIN = 1.0
"""Å: neighbour lists serve for cells that are smaller by a tenth."""


class RockSalt(NamedTuple):
    """A crystal: formula, cubic lattice constant in Å, atomisation energy in eV per formula unit."""

    formula: str
    constant: float
    energy: float

    @property
    def symbols(self) -> tuple[str, ...]:
        """Its two elements."""
        return tuple(string2symbols(self.formula))


class CrystalData(NamedTuple):
    """C crystals: their primitive cells at the measured lattice constant, and energies (C,) in eV from free atoms."""

    systems: tuple[System, ...]
    energies: Array


def read_crystals(path: str | Path | None = None) -> list[RockSalt]:
    """Crystals of a CSV file with the columns of `COLUMNS`; the shipped ones if no path is given.

    Raises ValueError naming file, row and remedy.
    """
    source = resources.files("ectjax.fitting") / "data" / "rock_salt.csv" if path is None else Path(path)
    rows = list(
        csv.DictReader(
            x for x in source.read_text(encoding="utf-8").splitlines() if x.strip() and not x.startswith("#")
        )
    )
    if set(COLUMNS) - set(rows[0] if rows else ()):
        raise ValueError(f"{source}: needs the columns {', '.join(COLUMNS)} (units are part of the names) and a row")
    result = []
    for n, row in enumerate(rows, start=1):
        try:
            crystal = RockSalt(row["formula"], float(row["a_angstrom"]), float(row["atomisation_ev"]))
            sound = min(crystal[1:]) > 0 and len(crystal.symbols) == len(set(crystal.symbols)) == 2
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise ValueError(
                f"{source}: row {n} is {', '.join(map(str, row.values()))}; give the formula of two elements, a > 0 in "
                "Å and an atomisation energy > 0 in eV per formula unit"
            )
        result.append(crystal)
    return result


def crystal_data(crystals: list[RockSalt], basis: Basis) -> CrystalData:
    """Systems of the crystals, all of whose elements the basis has. Needs float64."""
    model = assemble(basis, Parameters.uniform(len(basis.numbers)))  # for its elements and cutoff only
    cells = [bulk(c.formula, "rocksalt", a=c.constant) for c in crystals]
    return CrystalData(
        tuple(build_system(model, x.numbers, x.positions, cell=x.cell[:], skin=SKIN) for x in cells),
        -jnp.array([c.energy for c in crystals]),
    )


def crystal_predictions(model: Model, data: CrystalData, scales) -> Array:
    """Energies (C, len(scales)) in eV per formula unit, all distances scaled by each factor."""

    def energy(system, scale):
        moved = strained(system, (scale - 1.0) * jnp.eye(3, dtype=scale.dtype))
        return potential_energy(model, moved, tolerance=1e-7, max_iterations=200)[0]

    over_scales = jax.vmap(energy, (None, 0))
    return jnp.stack([over_scales(system, jnp.asarray(scales)) for system in data.systems])
