"""Polyatomic molecules with measured atomisation energies, the G2 set as ASE carries it, and other geometries with
energies and forces. eV, Å.

D_e = Σ H(atom) − [H(molecule) − thermal(molecule) + Σ thermal(atom)] + ZPE, enthalpies of formation at 298 K
(Curtiss, Raghavachari, Redfern & Pople, J. Chem. Phys. 106, 1063, 1997). Geometries are MP2 ones of the same set.
"""

import csv
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

KCAL_PER_MOL_IN_EV = 0.0433641153
COLUMNS = ("name", "use")


class Molecule(NamedTuple):
    """One molecule: atomic numbers (M,), positions (M, 3) in Å, atomisation energy in eV, "train" or "test".

    `forces` (M, 3) in eV/Å, None at a minimum, where they vanish; `parent`, of which molecule a distorted geometry is.
    """

    name: str
    numbers: np.ndarray
    positions: np.ndarray
    atomisation: float
    use: str
    forces: np.ndarray | None = None
    parent: str | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """The elements it contains."""
        from ase.data import chemical_symbols

        return tuple(sorted({chemical_symbols[z] for z in self.numbers}))


def g2_molecule(name: str, use: str = "test") -> Molecule:
    """A molecule of ASE's G2 set by its name there. Raises ValueError for a name that is not in the set."""
    from ase.build import molecule
    from ase.data.g2 import data

    if name not in data or "thermal correction" not in data[name] or len(data[name]["positions"]) < 2:
        raise ValueError(f"{name!r} is no molecule of ASE's G2 set (ase.data.g2); names look like H2O, CH3OH, C3H4_C3v")
    atoms, entry = molecule(name), data[name]
    parts = [data[symbol] for symbol in atoms.get_chemical_symbols()]
    molecular = entry["enthalpy"] - entry["thermal correction"] + sum(p["thermal correction"] for p in parts)
    kcal = sum(p["enthalpy"] for p in parts) - molecular + entry["ZPE"]
    return Molecule(name, atoms.numbers, atoms.positions, kcal * KCAL_PER_MOL_IN_EV, use)


def read_distorted(path: str | Path | None = None) -> list[Molecule]:
    """Distorted geometries of training molecules with energies and forces; the shipped ones if no path is given.

    Frames are as in `read_structures`, with forces, and name their `molecule`. Raises ValueError as there.
    """
    source = resources.files("ectjax.fitting") / "data" / "distorted.extxyz" if path is None else Path(path)
    with resources.as_file(source) as file:
        frames = read_structures(file)
    for n, frame in enumerate(frames, start=1):
        if frame.forces is None or frame.parent is None:
            raise ValueError(
                f"{source}: frame {n} ({frame.name}) lacks forces or its molecule=…; a distorted geometry needs both"
            )
    return frames


def read_structures(path: str | Path) -> list[Molecule]:
    """Molecules of a file that ASE reads, all for training, named by their order.

    Every frame states its atomisation energy in eV, without zero-point energy, as `atomisation_ev`; a total
    energy says nothing without the energies of the atoms by the same method. Without forces a frame is a minimum.

    Raises ValueError naming file, frame and remedy.
    """
    from ase.io import read

    path = Path(path)
    try:
        frames = read(path, index=":")
    except Exception as error:  # whatever ASE's readers meet
        raise ValueError(
            f"{path}: ASE cannot read it ({error}); give .extxyz or another format with a comment"
        ) from None
    result = []
    for n, atoms in enumerate(frames, start=1):
        where = f"{path}: frame {n} ({atoms.get_chemical_formula()})"
        given = atoms.info.get("atomisation_ev")
        if given is None:
            has = "an energy without its reference" if atoms.calc is not None else "no energy"
            raise ValueError(
                f"{where} has {has}; add atomisation_ev=…, the energy of its free atoms less its own, in eV"
            )
        if not np.isfinite(float(given)) or atoms.pbc.any() or len(atoms) < 2:
            raise ValueError(f"{where} needs two atoms or more, no cell and a finite atomisation_ev; mend it")
        name = f"{atoms.get_chemical_formula()} (frame {n})"
        forces = atoms.calc.results.get("forces") if atoms.calc is not None else None
        if forces is not None and not np.isfinite(forces).all():
            raise ValueError(f"{where} has forces that are not finite; mend or drop them")
        parent = atoms.info.get("molecule")
        result.append(Molecule(name, atoms.numbers, atoms.positions, float(given), "train", forces, parent))
    return result


def read_molecules(path: str | Path | None = None) -> list[Molecule]:
    """Molecules of a CSV file with columns name, use; the shipped 59 G2 molecules if no path is given.

    Raises ValueError naming file and row for a name that ASE's G2 set lacks or a use that is not train or test.
    """
    source = resources.files("ectjax.fitting") / "data" / "g2_split.csv" if path is None else Path(path)
    rows = list(
        csv.DictReader(
            x for x in source.read_text(encoding="utf-8").splitlines() if x.strip() and not x.startswith("#")
        )
    )
    if set(COLUMNS) - set(rows[0] if rows else ()):
        raise ValueError(f"{source}: needs the columns {', '.join(COLUMNS)} and at least one row")
    result = []
    for n, row in enumerate(rows, start=1):
        if row["use"] not in ("train", "test"):
            raise ValueError(f"{source}: row {n} ({row['name']}) has use {row['use']!r}; allowed are train and test")
        try:
            result.append(g2_molecule(row["name"], row["use"]))
        except ValueError as error:
            raise ValueError(f"{source}: row {n}: {error}") from None
    return result
