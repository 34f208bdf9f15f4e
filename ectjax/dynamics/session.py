"""One run from the command line: set up or restart, go through the steps, keep the files, report."""

from __future__ import annotations

import signal
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ectjax.coulomb import damped_shifted_force
from ectjax.dynamics.integrators import degrees_of_freedom, make_integrator
from ectjax.dynamics.plot import plot_run
from ectjax.dynamics.records import LOG, TRAJECTORY, RunDirectory, check_new, frame, read_log
from ectjax.dynamics.run import Interrupted, NotConverged, Simulation, Tally
from ectjax.load import load_model
from ectjax.native import can_be_built, obstacle_of
from ectjax.parameters.store import checksum, load_parameters
from ectjax.system import EWALD_ACCURACY, build_system
from ectjax.units import BOLTZMANN_EV_PER_K, EV_PER_ANGSTROM3_IN_GPA, FEMTOSECOND

PLOT = "energies_charges.png"
SECONDS_BETWEEN_CHECKPOINTS = 2.0
LARGE = 500  # atoms from which on compiled sums are worth a word
HOTTEST = 1e6  # K, some 100 eV per atom: a run beyond has gone wrong


@dataclass(frozen=True)
class Settings:
    """Options of `ectjax md`, in its units (fs, K, GPa, e, Å)."""

    ensemble: str
    steps: int
    dt: float
    temperature: float
    charge: float
    model: str
    pressure: float
    thermostat: str
    tau: float
    barostat_tau: float
    every: int
    seed: int
    skin: float
    tolerance: float | None = None
    search_every: int = 500
    accuracy: float = EWALD_ACCURACY
    coulomb: str = "ewald"


def run_dynamics(atoms: Atoms, structure: Path, out: Path, settings: Settings, *, restart: bool) -> None:
    """Run to `settings.steps` and write everything into `out`. ValueError before anything is written on bad input."""
    console = Console(highlight=False)
    symbols = list(dict.fromkeys(chemical_symbols[z] for z in sorted(atoms.numbers)))
    model = load_model(settings.model, symbols)
    cell = atoms.cell[:] if atoms.pbc.any() else None
    system = build_system(
        model,
        atoms.numbers,
        atoms.positions,
        cell=cell,
        pbc=atoms.pbc,
        charge=settings.charge,
        skin=settings.skin,
        accuracy=settings.accuracy,
        long_range=damped_shifted_force(model.cutoff) if settings.coulomb == "shifted" else None,
    )
    simulation = Simulation(
        model,
        system,
        _integrator(settings, atoms, system.cell),
        skin=settings.skin,
        tolerance=settings.tolerance,
        search_every=settings.search_every,
        accuracy=settings.accuracy,
    )
    momenta, origin = start_momenta(atoms, settings.temperature, settings.seed)
    start = (momenta, atoms.get_masses(), jax.random.PRNGKey(settings.seed))
    if not restart:
        check_new(out)
    description = _describe(atoms, structure, settings)
    folder = (RunDirectory.reopen if restart else RunDirectory.create)(out, description)
    with closing(folder):
        _run(folder, simulation, start, atoms, structure, settings, origin, console, restart)


def _run(folder, simulation, start, atoms, structure, settings, origin, console, restart) -> None:
    """The part of a run that its folder is open for; it is closed before the plot is made."""
    out = folder.path
    stored = folder.checkpoint() if restart else None
    with _interruptible(), console.status("compiling and equilibrating the start …"):
        if stored is None:
            folder.open()
            simulation.begin(*start)
            _record(folder, simulation, atoms, settings, Tally(0, 0, 0.0), 0)
            folder.save(simulation.pack())
        else:
            simulation.unpack(stored, *start)
            trajectory, log = (int(x) for x in stored["lengths"])
            folder.open((trajectory, log))
    first = int(simulation.moment.step)
    _announce(console, atoms, structure, settings, origin, first, restart)
    if simulation.native is not None:
        console.print("sums over pairs are compiled (ectjax.native)")
    elif len(atoms) >= LARGE and can_be_built() and obstacle_of(simulation.model) is None:
        console.print("`python -m ectjax.native`, once, makes runs of this size about three times as fast")
    clock = time.perf_counter()
    failure: NotConverged | None = None
    interrupted = False
    try:
        with _interruptible():
            _steps(folder, simulation, atoms, settings, console)
    except NotConverged as error:
        failure = error
    except KeyboardInterrupt:
        interrupted = True
    finally:
        folder.close()
    done = int(simulation.moment.step)
    _finish(console, out, atoms, settings, simulation, done - first, time.perf_counter() - clock)
    if failure is not None:
        raise NotConverged(
            f"{failure}. What was computed until then is in {out}. To go on, restart from an earlier frame of "
            f"{out / TRAJECTORY} with a shorter --dt or lower --temperature"
        )
    if interrupted:
        raise Interrupted(f"the run in {out} can be continued with the same command and --restart")


def _steps(folder, simulation, atoms, settings, console) -> None:
    """All blocks of `every` steps, each followed by a line, a frame and now and then a checkpoint."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    saved = time.monotonic()
    with Progress(*columns, console=console) as progress:
        step = int(simulation.moment.step)
        task = progress.add_task(settings.ensemble.upper(), total=settings.steps, completed=step, told="")
        while step < settings.steps:
            until = min(step - step % settings.every + settings.every, settings.steps)
            tally = simulation.advance(until)
            row = _record(folder, simulation, atoms, settings, tally, until - step)
            if not row["temperature_K"] < HOTTEST:
                raise NotConverged(
                    f"the temperature of step {until} is {row['temperature_K']:.1e} K (at most {HOTTEST:g} K make "
                    f"sense): steps of {settings.dt:g} fs are too long, or the start is far from rest"
                )
            step = until
            told = f"{row['temperature_K']:.0f} K  {row['potential_eV']:.3f} eV  |q| ≤ {row['max_abs_charge_e']:.3f} e"
            progress.update(task, completed=step, told=told)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS or step == settings.steps:
                folder.save(simulation.pack())
                saved = time.monotonic()


def _record(folder: RunDirectory, simulation: Simulation, atoms, settings, tally: Tally, steps: int) -> dict:
    """One line of the log and one frame of the trajectory."""
    moment, seen = simulation.moment, simulation.observables()
    step = int(moment.step)
    charges = np.asarray(moment.results.equilibration.charges)
    row = {
        "step": step,
        "time_fs": step * settings.dt,
        "potential_eV": seen["potential"],
        "kinetic_eV": seen["kinetic"],
        "total_eV": seen["total"],
        "conserved_eV": seen["conserved"],
        "temperature_K": seen["temperature"],
    }
    if "volume" in seen:
        row |= {"volume_A3": seen["volume"], "pressure_GPa": seen["pressure"] * EV_PER_ANGSTROM3_IN_GPA}
    row |= {
        "max_abs_charge_e": float(np.abs(charges).max()),
        "residual_eV": max(float(tally.residual), float(moment.results.equilibration.residual)),
        "iterations_per_step": float(tally.iterations) / max(steps, 1),
        "cold_starts": simulation.cold_starts,
        "basin_changes": simulation.basin_changes,
    }
    for number in sorted(set(atoms.numbers.tolist())):
        own, name = charges[atoms.numbers == number], f"q_{chemical_symbols[number]}"
        row |= {name: float(own.mean()), f"{name}_min": float(own.min()), f"{name}_max": float(own.max())}
    cell = simulation.integrator.cell(moment.state)
    cell = None if cell is None else np.asarray(cell)
    # ASE's momenta are amu Å per ASE time unit, which is √(amu Å²/eV) as here
    state = moment.state
    info = {"step": step, "time_fs": step * settings.dt}
    if settings.charge:
        info["charge"] = settings.charge
    image = frame(atoms, np.asarray(state.position), cell, np.asarray(state.momentum), moment.results, info)
    folder.add_frame(image)
    folder.add_row(row)
    return row


def start_momenta(atoms: Atoms, temperature: float, seed: int) -> tuple[np.ndarray, str]:
    """Momenta of the file or, without any, Maxwell–Boltzmann ones with resting centre at exactly `temperature`."""
    momenta = atoms.get_momenta()
    if not np.isfinite(momenta).all():
        atom = int(np.flatnonzero(~np.isfinite(momenta).all(axis=1))[0])
        raise ValueError(f"the momentum of atom {atom} is {momenta[atom].tolist()}; give finite velocities or none")
    if np.abs(momenta).max() > 0:
        return momenta, "velocities of the file"
    masses = atoms.get_masses()[:, None]
    drawn = np.random.default_rng(seed).normal(size=momenta.shape) * np.sqrt(masses)
    if len(atoms) > 1:
        drawn -= masses * drawn.sum(axis=0) / masses.sum()
    twice = (drawn**2 / masses).sum()
    wanted = degrees_of_freedom(len(atoms)) * BOLTZMANN_EV_PER_K * temperature
    return drawn * np.sqrt(wanted / twice), f"velocities drawn at {temperature:g} K, seed {seed}"


def _integrator(settings: Settings, atoms, cell):
    return make_integrator(
        settings.ensemble,
        settings.dt * FEMTOSECOND,
        temperature=settings.temperature,
        pressure=settings.pressure / EV_PER_ANGSTROM3_IN_GPA,
        tau=settings.tau * FEMTOSECOND,
        barostat_tau=settings.barostat_tau * FEMTOSECOND,
        thermostat=settings.thermostat,
        cell=None if cell is None else tuple(map(tuple, np.asarray(cell).tolist())),
        atoms=len(atoms),
    )


def _describe(atoms, structure: Path, settings: Settings) -> dict:
    import ectjax

    parameters = load_parameters(settings.model)
    return {
        "program": f"ectjax {ectjax.__version__}",
        "structure": str(structure),
        "numbers": atoms.numbers.tolist(),
        "model": settings.model,
        "model_checksum": checksum(parameters.content()),
        "ensemble": settings.ensemble,
        "steps": settings.steps,
        "dt_fs": settings.dt,
        "temperature_K": settings.temperature,
        "charge_e": settings.charge,
        "option_pressure": settings.pressure,
        "option_thermostat": settings.thermostat,
        "option_tau": settings.tau,
        "option_barostat_tau": settings.barostat_tau,
        "option_every": settings.every,
        "option_seed": settings.seed,
        "option_skin": settings.skin,
        "option_tolerance": settings.tolerance,
        "option_search_every": settings.search_every,
        "option_accuracy": settings.accuracy,
        "option_coulomb": settings.coulomb,
    }


@contextmanager
def _interruptible():
    """SIGTERM ends a run as Ctrl-C does: after the block in progress is thrown away, with a valid checkpoint."""

    def stop(*_):
        raise KeyboardInterrupt

    try:
        old = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _announce(console, atoms, structure, settings, origin, first, restart) -> None:
    formula = atoms.get_chemical_formula(empirical=True)
    console.print(
        f"{structure}: {len(atoms)} atoms ({formula}), {'periodic' if atoms.pbc.all() else 'open'}, "
        f"charge {settings.charge:g} e, model {settings.model}"
    )
    told = f"continued from step {first}" if restart and first else origin
    console.print(f"{settings.ensemble.upper()}, {settings.steps} steps of {settings.dt:g} fs, {told}")


def drift_per_ps(log: dict[str, np.ndarray], atoms: int) -> float:
    """Slope of the conserved energy in eV/atom/ps, a straight line through all of the log; NaN if there is none."""
    time_ps, energy = log["time_fs"] / 1000.0, log["conserved_eV"]
    if len(time_ps) < 3 or not np.isfinite(energy).all():
        return float("nan")
    return float(np.polyfit(time_ps - time_ps[0], energy - energy[0], 1)[0]) / atoms


def _finish(console, out: Path, atoms, settings, simulation, steps: int, seconds: float) -> None:
    """Plot and table of the whole run."""
    log = read_log(out / LOG)
    symbols = [chemical_symbols[z] for z in sorted(set(atoms.numbers.tolist()))]
    title = f"{atoms.get_chemical_formula()}, {settings.ensemble.upper()}, {settings.temperature:g} K"
    plot_run(log, symbols, len(atoms), title, out / PLOT)
    table = Table(show_header=False, title=f"{out}", title_justify="left")
    half = slice(len(log["step"]) // 2, None)
    last = {k: v[-1] for k, v in log.items()}
    rows = [
        ("steps", f"{int(last['step'])} ({last['time_fs'] / 1000:.3f} ps)"),
        ("speed", f"{steps / max(seconds, 1e-9):.1f} steps/s, compilation included"),
        ("potential energy", f"{last['potential_eV']:.4f} eV ({last['potential_eV'] / len(atoms):.4f} eV/atom)"),
        ("temperature", f"{log['temperature_K'][half].mean():.1f} K (mean of the second half)"),
    ]
    drift = drift_per_ps(log, len(atoms))
    if np.isfinite(drift):
        rows.append(("drift of conserved energy", f"{drift:.2e} eV/atom/ps"))
    if "volume_A3" in log and settings.ensemble == "npt":
        rows.append(("volume", f"{log['volume_A3'][half].mean():.2f} Å³ (mean of the second half)"))
    if "pressure_GPa" in log:
        rows.append(("pressure", f"{log['pressure_GPa'][half].mean():.3f} GPa (mean of the second half)"))
    for symbol in symbols:
        q = log[f"q_{symbol}"][half].mean()
        span = f"{log[f'q_{symbol}_min'].min():+.4f} to {log[f'q_{symbol}_max'].max():+.4f}"
        rows.append((f"charge of {symbol}", f"{q:+.4f} e (all atoms and times: {span})"))
    worst = log["residual_eV"].max()
    iterations = log["iterations_per_step"][1:].mean() if len(log["step"]) > 1 else 0.0
    rows += [
        ("equilibration", f"every step converged; largest residual {worst:.1e} eV, {iterations:.1f} iterations/step"),
        ("repairs", f"{simulation.rebuilds} neighbour lists renewed, {simulation.cold_starts} cold starts"),
        ("searches", _searched(simulation)),
        ("files", f"{TRAJECTORY}, {LOG}, {PLOT}"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _searched(simulation: Simulation) -> str:
    if simulation.search_every == 0:
        return "none for lower basins of the weights (--search-every 0)"
    found = f"{simulation.basin_changes} lower basins found"
    released = f", {simulation.released:.3g} eV given up" if simulation.basin_changes else ""
    return f"every {simulation.search_every} steps, {found}{released}"
