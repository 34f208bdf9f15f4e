"""`ectjax fit CONFIG`: train a parameter set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def fit_command(
    config: Annotated[Path, typer.Argument(help="TOML file; see examples/fit.toml")],
    out: Annotated[Path | None, typer.Option(help="parameter file to write; NAME.json if not given")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check the configuration and stop")] = False,
) -> None:
    """Fit parameters to diatomic curves and charges, and write them with their provenance."""
    from ectjax.fitting.config import read_config

    checked = read_config(config)
    target = Path(f"{checked.name}.json") if out is None else out
    if target.exists():
        raise ValueError(f"{target} exists already; remove it or name another file with --out")
    if not target.parent.is_dir():
        raise ValueError(f"folder {target.parent} does not exist; make it or name another file with --out")
    console = Console()
    counts = f"{len(checked.diatomics)} curves, {len(checked.molecules)} molecules"
    console.print(f"{checked.name}: {', '.join(checked.elements)}; {counts}")
    if dry_run:
        console.print("configuration is sound; nothing was trained (--dry-run)")
        return
    from ectjax.fitting.run import run_fit
    from ectjax.parameters import save_parameters

    with console.status("building tables and compiling") as status:
        parameters, found, _, data, model = run_fit(
            checked,
            lambda start, step, loss: status.update(f"start {start + 1}, evaluation {step}, rms error {loss:.4f}"),
        )
    save_parameters(parameters, target)
    _print_result(console, checked, parameters, found, data, model)
    console.print(f"written to {target}")


def _print_result(console, config, parameters, found, data, model) -> None:
    import jax

    from ectjax.fitting.objective import summary

    with jax.enable_x64(True):
        figures = summary(model, data)
    fields = ("a", "b", "sigma", "kappa", "m")
    table = Table("element", "a", "b", "sigma / bohr", "kappa / eV bohr^1.5", "m", title=f"parameters of {config.name}")
    for row, (symbol, x) in enumerate(parameters.elements.items()):
        spread = [float(getattr(found.errors, k)[row]) for k in fields]
        cells = [f"{x[k]:.4f} ± {s:.4f}" for k, s in zip(fields, spread, strict=True)]
        table.add_row(symbol, *cells)
    console.print(table)
    table = Table("pair", "curve rms / D_e", "charge / e", "reference / e", title="training data")
    for n, pair in enumerate(config.diatomics):
        table.add_row(
            f"{pair.a}-{pair.b}",
            f"{figures['curve_by_pair'][n]:.3f}",
            f"{figures['charge_by_pair'][n]:+.3f}",
            f"{pair.charge_a:+.3f}",
        )
    console.print(table)
    console.print(
        f"root mean square errors: curves {100 * figures['curves']:.2f} % of D_e, charges {figures['charges']:.4f} e"
    )
    if config.molecules:
        table = Table("molecule", "error / eV per atom", title="training molecules, model less experiment")
        for m, error in zip(config.molecules, figures["by_molecule"], strict=True):
            table.add_row(m.name, f"{error:+.3f}")
        console.print(table)
        console.print(f"mean absolute error of the molecules: {figures['molecules']:.3f} eV per atom")
