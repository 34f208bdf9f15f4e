"""`ectjax md`: molecular dynamics with weights equilibrated at every step."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ectjax.cli.structure import Charge, ModelName, Structure, check_positive, read_structure, total_charge
from ectjax.coulomb.lattice import check_accuracy
from ectjax.system import EWALD_ACCURACY


class Ensemble(StrEnum):
    """What is held constant."""

    nve = "nve"
    nvt = "nvt"
    npt = "npt"


class Thermostat(StrEnum):
    """How temperature is held in nvt."""

    nose_hoover = "nose-hoover"
    langevin = "langevin"


class Coulomb(StrEnum):
    """How charges far apart interact in a cell."""

    ewald = "ewald"
    shifted = "shifted"


def md(
    structure: Structure,
    ensemble: Annotated[Ensemble, typer.Option(help="Ensemble; npt is isotropic.")] = Ensemble.nvt,
    steps: Annotated[int, typer.Option(help="Total number of steps, those before a restart included.")] = 1000,
    dt: Annotated[float, typer.Option(help="Time step in fs.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="Temperature in K; in nve that of the start.")] = 300.0,
    out: Annotated[Path, typer.Option(help="New directory for everything the run writes.")] = Path("md-run"),
    restart: Annotated[bool, typer.Option("--restart", help="Go on with the run in --out.")] = False,
    charge: Charge = None,
    model: ModelName = "default",
    pressure: Annotated[float, typer.Option(help="Pressure in GPa (npt).")] = 0.0,
    thermostat: Annotated[Thermostat, typer.Option(help="Thermostat of nvt.")] = Thermostat.nose_hoover,
    tau: Annotated[float, typer.Option(help="Time of the thermostat in fs.")] = 100.0,
    barostat_tau: Annotated[float, typer.Option(help="Time of the barostat in fs (npt).")] = 1000.0,
    every: Annotated[int, typer.Option(help="Steps between lines of the log and frames of the trajectory.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the random start velocities.")] = 0,
    skin: Annotated[float, typer.Option(help="Extra reach of neighbour lists in Å.")] = 1.0,
    tolerance: Annotated[
        float | None, typer.Option(help="Residual of the weights in eV; 1e-8 unless given.", show_default=False)
    ] = None,
    search_every: Annotated[
        int, typer.Option(help="Steps between searches for a lower basin of the weights; 0 for none.")
    ] = 500,
    accuracy: Annotated[
        float, typer.Option(help="Error of the long-range sum's field in e/Å² (times 14.4: of forces in eV/Å).")
    ] = EWALD_ACCURACY,
    coulomb: Annotated[
        Coulomb, typer.Option(help="In a cell: Ewald sums, or damped shifted forces, cheaper and approximate.")
    ] = Coulomb.ewald,
) -> None:
    """Molecular dynamics: trajectory, log, plot and a table; can be restarted after an interruption.

    Velocities are drawn at --temperature unless the structure file holds some.
    """
    for name, value in (("--dt", dt), ("--tau", tau), ("--barostat-tau", barostat_tau), ("--skin", skin)):
        check_positive(name, value)
    if not math.isfinite(pressure):
        raise ValueError(f"--pressure is {pressure} GPa, must be finite")
    check_accuracy(accuracy)
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed is {seed}, must lie between 0 and 2^63 - 1")
    check_positive("--temperature", temperature, zero=ensemble is Ensemble.nve)
    if steps < 1 or every < 1:
        raise ValueError(f"--steps is {steps} and --every is {every}, both must be at least 1")
    if search_every < 0:
        raise ValueError(f"--search-every is {search_every}, must be 0 (no searches) or a number of steps")
    if tolerance is not None and not 1e-12 <= tolerance <= 0.1:
        raise ValueError(f"--tolerance is {tolerance:g} eV, must lie between 1e-12 and 0.1 eV")
    atoms = read_structure(structure)
    if atoms.constraints:
        held = ", ".join(sorted({type(x).__name__ for x in atoms.constraints}))
        raise ValueError(
            f"structure {structure} has constraints ({held}), which ectjax md does not hold: take them out of the "
            "file, or run ASE's dynamics with the ASE calculator"
        )
    charge = total_charge(atoms, charge)
    if ensemble is Ensemble.npt and not atoms.pbc.all():
        raise ValueError(f"--ensemble npt needs a periodic structure; {structure} has periodicity {atoms.pbc.tolist()}")
    from ectjax.dynamics.records import check_new

    if not restart:
        check_new(out)
    from ectjax.dynamics.session import Settings, run_dynamics

    settings = Settings(
        ensemble=ensemble.value,
        steps=steps,
        dt=dt,
        temperature=temperature,
        charge=charge,
        model=model,
        pressure=pressure,
        thermostat=thermostat.value,
        tau=tau,
        barostat_tau=barostat_tau,
        every=every,
        seed=seed,
        skin=skin,
        tolerance=tolerance,
        search_every=search_every,
        accuracy=accuracy,
        coulomb=coulomb.value,
    )
    run_dynamics(atoms, structure, out, settings, restart=restart)
