"""`ectjax fit CONFIG`: train a parameter set. `ectjax fit report MODEL`: measure one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup


class _RunUnlessNamed(TyperGroup):
    """A group whose command `run` need not be named: `fit CONFIG` is `fit run CONFIG`."""

    def parse_args(self, context, arguments):
        if arguments and arguments[0] not in self.commands and arguments[0] != "--help":
            arguments = ["run", *arguments]
        return super().parse_args(context, arguments)


fit_app = typer.Typer(
    cls=_RunUnlessNamed, no_args_is_help=True, help="Train a parameter set (fit CONFIG), or measure one (fit report)."
)


@fit_app.command("run")
def fit_command(
    config: Annotated[Path, typer.Argument(help="TOML file; see examples/fit_default.toml")],
    out: Annotated[Path | None, typer.Option(help="parameter file to write; NAME.json if not given")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check the configuration and stop")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint of an interrupted run")] = False,
) -> None:
    """Fit parameters to diatomic curves and charges, and write them with their provenance."""
    from ectjax.fitting.config import read_config

    checked = read_config(config)
    target = Path(f"{checked.name}.json") if out is None else out
    if target.exists():
        raise ValueError(f"{target} exists already; remove it or name another file with --out")
    if not target.parent.is_dir():
        raise ValueError(f"folder {target.parent} does not exist; make it or name another file with --out")
    checkpoint = target.with_name(target.name + ".checkpoint")
    if checkpoint.exists() and not resume:
        raise ValueError(f"{checkpoint} is the checkpoint of an interrupted run; go on with --resume or remove it")
    if resume and not checkpoint.exists():
        raise ValueError(f"there is no checkpoint {checkpoint} to go on from; leave --resume out")
    console = Console()
    counts = f"{len(checked.diatomics)} curves, {len(checked.molecules)} molecules, "
    counts += f"{len(checked.distorted)} distorted geometries, {len(checked.crystals)} crystals"
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
            checkpoint,
        )
    save_parameters(parameters, target)
    checkpoint.unlink(missing_ok=True)
    _print_result(console, checked, parameters, found, data, model)
    console.print(f"written to {target}")


@fit_app.command("report")
def report_command(
    model: Annotated[str, typer.Argument(help="name of a parameter set or path of a parameter file")],
    out: Annotated[Path | None, typer.Option(help="new folder; report-MODEL if not given")] = None,
    xtb: Annotated[bool | None, typer.Option("--xtb/--no-xtb", help="GFN2-xTB too (package tblite)")] = None,
    pbe: Annotated[bool | None, typer.Option("--pbe/--no-pbe", help="PBE too (package pyscf)")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="every fourth molecule, none of the larger ones")] = False,
) -> None:
    """Measure a parameter set against references and other methods: a page with figures.

    By default GFN2-xTB and PBE are computed where their packages are installed.
    """
    from ectjax.fitting.report import write_report

    folder = Path(f"report-{Path(model).stem}") if out is None else out
    console = Console(stderr=True)
    with console.status("loading the model") as status:
        table = write_report(model, folder, xtb=xtb, pbe=pbe, quick=quick, progress=status.update)
    print(f"{table}\nwrote {folder / 'report.md'}")


def _print_result(console, config, parameters, found, data, model) -> None:
    import jax
    import numpy as np

    from ectjax.fitting.objective import summary
    from ectjax.parameters.store import FIELDS

    with jax.enable_x64(True):
        figures = summary(model, data)
    units = {"sigma": "sigma\nbohr", "kappa": "kappa\neV bohr^1.5"}
    fitted = [k for k in FIELDS if np.any(getattr(found.errors, k))]  # others stayed at their start
    table = Table("element", *(units.get(k, k) for k in fitted), title=f"parameters of {config.name}")
    for row, (symbol, x) in enumerate(parameters.elements.items()):
        spread = [float(getattr(found.errors, k)[row]) for k in fitted]
        cells = [f"{x[k]:.4f}" + (f"\n±{s:.4f}" if s > 0 else "") for k, s in zip(fitted, spread, strict=True)]
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
        for m, error in zip(config.molecules, figures["by_molecule"], strict=False):  # distorted ones follow
            table.add_row(m.name, f"{error:+.3f}")
        console.print(table)
        console.print(f"mean absolute error of the molecules: {figures['molecules']:.3f} eV per atom")
        if config.distorted:
            console.print(f"{len(config.distorted)} distorted geometries: {figures['distorted']:.3f} eV per atom")
        if "validation" in parameters.provenance:
            kept = ", ".join(parameters.provenance["validation"])
            console.print(f"validation ({kept}): {figures['validation']:.3f} eV per atom")
    if config.crystals:
        table = Table("crystal", "error / eV per atom", title="training crystals, model less experiment")
        for c, error in zip(config.crystals, figures["by_crystal"], strict=True):
            table.add_row(c.formula, f"{error:+.3f}")
        console.print(table)
