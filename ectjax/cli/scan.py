"""`ectjax scan`: the dissociation curve of two atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ectjax.cli.structure import ModelName, check_positive


def scan(
    a: Annotated[str, typer.Argument(help="Symbol of the first atom.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Symbol of the second atom.", show_default=False)],
    start: Annotated[float, typer.Option("--from", help="Shortest distance in Å.")] = 0.8,
    end: Annotated[float, typer.Option("--to", help="Longest distance in Å.")] = 12.0,
    points: Annotated[int, typer.Option(help="Number of distances.")] = 113,
    out: Annotated[Path, typer.Option(help="New directory for scan.csv and scan.png.")] = Path("scan"),
    charge: Annotated[float, typer.Option(help="Total charge in e.")] = 0.0,
    model: ModelName = "default",
) -> None:
    """Energy and charges of the pair A B against distance: a CSV file and a plot."""
    from ectjax.tables.symbols import NUMBERS, symbol_of

    a, b = symbol_of(a), symbol_of(b)
    check_positive("--from", start)
    check_positive("--to", end)
    if end <= start:
        raise ValueError(f"--from is {start} and --to is {end} Å; the second must be larger")
    if points < 2:
        raise ValueError(f"--points is {points}, must be at least 2")
    from ectjax.dynamics.records import check_new, write_atomically

    check_new(out)
    import jax
    import numpy as np

    from ectjax import build_system, load_model, potential_energy
    from ectjax.cli import Failure
    from ectjax.dynamics.plot import plot_scan

    loaded = load_model(model, list(dict.fromkeys((a, b))))
    numbers = [NUMBERS[a], NUMBERS[b]]
    distances = np.linspace(start, end, points)
    pairs = [build_system(loaded, numbers, [[0, 0, 0], [0, 0, r]], charge=charge) for r in distances]
    solve = jax.jit(lambda system: potential_energy(loaded, system))
    found = [solve(pair) for pair in pairs]
    lost = [r for r, (_, e) in zip(distances, found, strict=True) if not bool(e.converged)]
    if lost:
        raise Failure(f"the weights did not converge at {lost[0]:.4f} Å; nothing was written")
    energies = np.array([float(e) for e, _ in found])
    charges = np.array([np.asarray(e.charges) for _, e in found])
    names = (f"q_{a}", f"q_{b}") if a != b else (f"q_{a}1", f"q_{b}2")
    lines = [",".join(("r", "energy", *names))]
    lines += [f"{r:.6f},{e:.8f},{q[0]:.6f},{q[1]:.6f}" for r, e, q in zip(distances, energies, charges, strict=True)]
    write_atomically(out / "scan.csv", ("\n".join(lines) + "\n").encode())
    plot_scan(distances, energies, charges, (a, b), out / "scan.png")
    best = int(np.argmin(energies))
    print(
        f"{a}-{b}: lowest {energies[best]:.4f} eV at {distances[best]:.4f} Å (q_{a} = {charges[best, 0]:+z.3f} e), "
        f"{energies[-1]:z.4f} eV and {charges[-1, 0]:+z.4f} e at {distances[-1]:g} Å\n"
        f"wrote {out / 'scan.csv'} and {out / 'scan.png'}"
    )
