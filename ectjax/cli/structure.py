"""What several commands share: reading a structure, total charge, checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Structure = Annotated[
    Path, typer.Argument(help="Structure: any file ASE reads; of several the last.", show_default=False)
]
Charge = Annotated[float | None, typer.Option(help="Total charge in e; default: 'charge' of the file's info, else 0.")]
ModelName = Annotated[str, typer.Option(help="Name of a parameter set or path of a parameter file.")]


def read_structure(file: Path):
    """The last structure of a file as ASE atoms. Raises ValueError when there is none."""
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not file.is_file():
        what = "a folder" if file.is_dir() else "no such file"
        raise ValueError(f"structure {file}: {what}; give a file that ASE reads, e.g. .extxyz, .cif or POSCAR")
    try:
        atoms: Any = read(file, index=-1)
    except KeyError as error:  # of ASE's table of elements, mostly
        raise ValueError(
            f"structure {file}: ASE cannot read it (unknown entry {error}); check the spelling of its elements"
        ) from None
    except UnknownFileTypeError as error:
        raise ValueError(
            f"structure {file}: ASE knows no format {error}; end its name in .extxyz, .cif, .vasp …"
        ) from None
    except Exception as error:  # ASE's readers raise whatever their parser met
        told = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"structure {file}: ASE cannot read it ({told}); check its format and ending") from None
    if len(atoms) == 0:
        raise ValueError(f"structure {file}: it has no atoms; give at least one")
    if (atoms.numbers < 1).any():
        raise ValueError(f"structure {file}: it has atoms of unknown element; name the elements in it")
    return atoms


def total_charge(atoms, asked: float | None) -> float:
    """The charge asked for, else the one that the file states, else 0; the structure then agrees with it."""
    stated = atoms.info.pop("charge", None)
    atoms.set_initial_charges(None)
    if asked is not None:
        return float(asked)
    if stated is None:
        return 0.0
    try:
        return float(stated)
    except (TypeError, ValueError):
        raise ValueError(f"the file states charge {stated!r}, not a number; pass --charge") from None


def check_positive(name: str, value: float, *, zero: bool = False) -> None:
    """Raises ValueError unless value > 0 (≥ 0 with zero=True) and finite."""
    import math

    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} is {value}, must be {'>= 0' if zero else '> 0'} and finite")
