"""`ectjax relax`: to the nearest minimum."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ectjax.cli.structure import Charge, ModelName, Structure, check_positive, read_structure, total_charge
from ectjax.files import beside, replacing


class Optimizer(StrEnum):
    """ASE's optimisers on offer."""

    fire = "fire"
    bfgs = "bfgs"


def relax(
    structure: Structure,
    out: Annotated[Path, typer.Option(help="File for the relaxed structure.")] = Path("relaxed.extxyz"),
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    fmax: Annotated[float, typer.Option(help="Largest force left, in eV/Å.")] = 0.01,
    steps: Annotated[int, typer.Option(help="Most steps to take.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="ASE optimiser.")] = Optimizer.bfgs,
    charge: Charge = None,
    model: ModelName = "default",
) -> None:
    """Relax a structure (and with --cell its cell) and write it with energy, forces and charges."""
    check_positive("--fmax", fmax)
    if steps < 1:
        raise ValueError(f"--steps is {steps}, must be at least 1")
    if out.exists():
        raise ValueError(f"output file {out} exists; name a new one with --out")
    atoms = read_structure(structure)
    charge = total_charge(atoms, charge)
    if cell and not atoms.pbc.all():
        raise ValueError(f"--cell needs a periodic structure; {structure} has periodicity {atoms.pbc.tolist()}")
    _check_writable(out, atoms)
    from ase.calculators.calculator import CalculationFailed
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS, FIRE
    from rich.console import Console

    from ectjax.ase import ECTCalculator
    from ectjax.cli import Failure, Interrupted

    if charge:  # so that the relaxed structure says its charge wherever it goes on
        atoms.info["charge"] = charge
    atoms.calc = ECTCalculator(model, charge=charge)
    target = FrechetCellFilter(atoms) if cell else atoms
    kept: Any = None
    with Console(stderr=True, highlight=False).status("compiling, first energy …") as status:
        first = atoms.get_potential_energy()
        driver = {"fire": FIRE, "bfgs": BFGS}[optimizer.value](target, logfile=None)

        def show():
            nonlocal kept
            kept = _snapshot(atoms)
            force = float((target.get_forces() ** 2).sum(axis=1).max() ** 0.5)
            told = f"step {driver.nsteps}: {atoms.get_potential_energy():.6f} eV, largest force {force:.4f} eV/Å"
            status.update(told)

        driver.attach(show)
        try:
            done = driver.run(fmax=fmax, steps=steps)
        except (KeyboardInterrupt, CalculationFailed) as error:
            if kept is None:
                raise
            _write(out, kept)
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(f"step {driver.nsteps} is in {out}; go on from there") from None
            why = getattr(error, "why", error)
            raise Failure(f"{why}. The last step that converged is in {out}") from None
    _write(out, atoms)
    force = float((target.get_forces() ** 2).sum(axis=1).max() ** 0.5)
    print(
        f"{'relaxed' if done else 'not relaxed'} in {driver.nsteps} steps: {first:.6f} -> "
        f"{atoms.get_potential_energy():.6f} eV, largest force {force:.4f} eV/Å"
    )
    if cell:
        lengths = atoms.cell.cellpar()
        print(
            "cell: "
            + " ".join(f"{x:.4f}" for x in lengths[:3])
            + " Å, "
            + " ".join(f"{x:.2f}" for x in lengths[3:])
            + "°"
        )
    print(f"wrote {out}")
    if not done:
        raise Failure(f"forces are above {fmax} eV/Å after {steps} steps; go on from {out} or raise --steps")


def _snapshot(atoms):
    """A copy with the results that belong to it; the calculator goes on with the original."""
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = atoms.copy()
    names = ("energy", "forces", "stress", "charges", "dipole")
    copy.calc = SinglePointCalculator(copy, **{k: v for k, v in atoms.calc.results.items() if k in names})
    return copy


def _check_writable(out: Path, atoms) -> None:
    """Raises ValueError where the result could not be written: better now than after the work."""
    from ase.io import write
    from ase.io.formats import filetype, ioformats

    if not out.parent.is_dir():
        raise ValueError(f"folder {out.parent} of the output file does not exist; create it first")
    try:
        known = ioformats[filetype(str(out), read=False)].can_write
    except Exception:  # whatever ASE says about a name it does not know
        known = False
    if not known:
        raise ValueError(f"output file {out}: ASE writes no format of that ending; use .extxyz, .cif or .vasp")
    with beside(out) as trial:
        try:
            write(trial, atoms)
        except Exception as error:  # ASE's writers raise whatever they met
            told = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(f"output file {out}: ASE cannot write this structure so ({told}); use .extxyz") from None


def _write(out: Path, atoms) -> None:
    """Write under a temporary name and rename. Charges go along where the format has a place for them."""
    from ase.io import write

    with replacing(out) as temporary:
        write(temporary, atoms)
