"""What a report compares with: measured diatomics, molecules, dipoles and rock salt. Å, eV, D."""

import csv
from collections.abc import Collection
from importlib import resources
from typing import NamedTuple

from ase.data import chemical_symbols

from ectjax.fitting.crystals import RockSalt, read_crystals
from ectjax.fitting.curves import Diatomic, further_diatomics, read_diatomics
from ectjax.fitting.molecules import Molecule, g2_molecule, read_molecules
from ectjax.parameters import ParameterSet


class References(NamedTuple):
    """Everything that a set covers, apart by what the set was trained on, and names of what it does not cover.

    `held_out`: molecules up to 7 atoms that are marked test in the shipped split; `larger`: all others of the G2 set.
    """

    pairs: list[Diatomic]
    held_out_pairs: list[Diatomic]
    trained: list[Molecule]
    held_out: list[Molecule]
    larger: list[Molecule]
    dipoles: dict[str, float]
    crystals: list[RockSalt]
    trained_crystals: set[str]
    missing: list[str]


def references_of(parameters: ParameterSet, quick: bool = False) -> References:
    """References for a parameter set. `quick` leaves the larger molecules out and takes every fourth of the others."""
    covered = set(parameters.elements)
    seen = {x for key in ("pairs", "molecules", "crystals") for x in parameters.provenance.get(key, ())}
    pairs = read_diatomics() + further_diatomics()
    split = read_molecules()[:: 4 if quick else 1]
    larger = [] if quick else _other_molecules({m.name for m in read_molecules()}, covered)
    crystals = read_crystals()
    missing = [f"{p.a}-{p.b}" for p in pairs if not {p.a, p.b} <= covered]
    missing += [m.name for m in split if not set(m.symbols) <= covered]
    missing += [f"crystal {c.formula}" for c in crystals if not set(c.symbols) <= covered]
    pairs = [p for p in pairs if {p.a, p.b} <= covered]
    molecules = [m for m in split if set(m.symbols) <= covered]
    return References(
        pairs=[p for p in pairs if f"{p.a}-{p.b}" in seen],
        held_out_pairs=[p for p in pairs if f"{p.a}-{p.b}" not in seen],
        trained=[m for m in molecules if m.name in seen],
        held_out=[m for m in molecules if m.name not in seen],
        larger=[m for m in larger if m.name not in seen],
        dipoles=_dipoles(),
        crystals=[c for c in crystals if set(c.symbols) <= covered],
        trained_crystals={c.formula for c in crystals if c.formula in seen},
        missing=missing,
    )


def _other_molecules(known: Collection[str], covered: set[str]) -> list[Molecule]:
    """Polyatomic molecules of ASE's G2 set beyond the shipped split, of covered elements."""
    from ase.data.g2 import data

    found = []
    for name, entry in data.items():
        if name in known or len(entry["positions"]) < 3 or "thermal correction" not in entry:
            continue
        candidate = g2_molecule(name)
        if {chemical_symbols[z] for z in candidate.numbers} <= covered:
            found.append(candidate)
    return found


def _dipoles() -> dict[str, float]:
    text = (resources.files("ectjax.fitting") / "data" / "dipoles.csv").read_text()
    rows = csv.DictReader(x for x in text.splitlines() if x.strip() and not x.startswith("#"))
    return {row["name"]: float(row["dipole_debye"]) for row in rows}
