"""`ectjax tables`: list, show, plot, build, compare and verify the atomic tables."""

from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..tables import SYMBOLS, available_elements, load_element, symbol_of, table_directory
from ..tables.compare import ENERGY_TOLERANCE_EV, compare_elements
from ..tables.goals import missing_states, tally
from ..tables.store import read_table
from ..tables.verify import energy_difference_ev, verify_element
from ..units import HARTREE_IN_EV

tables_app = typer.Typer(no_args_is_help=True, help="Atomic tables: what is there, pictures, building, checking.")
console = Console(width=None if Console().is_terminal else 200)

PathOption = Annotated[Path | None, typer.Option("--path", help="Table file or folder; default: the shipped ones.")]
ElementArgument = Annotated[str, typer.Argument(metavar="EL", help="Symbol or atomic number.")]


@tables_app.command("list")
def list_tables(path: PathOption = None) -> None:
    """Elements that have a table, and their states."""
    symbols = available_elements(path)
    if not symbols:
        raise ValueError(f"no tables in {path or table_directory()}; make some with 'ectjax tables build H'")
    table = Table("element", "Z", "states", "unbound", box=None)
    for symbol in symbols:
        element = load_element(symbol, path)
        unbound = [state.label for state in element.states if not state.bound]
        table.add_row(symbol, str(element.number), "  ".join(element.labels), "  ".join(unbound))
    console.print(table)


@tables_app.command()
def show(element: ElementArgument, path: PathOption = None) -> None:
    """One element's states: energies beside experiment, decay, size, fit errors."""
    atom = load_element(element, path)
    table = Table(
        "state", "term", "configuration", "E (eV)", "E exp. (eV)", "difference", "decay (1/bohr)", "<r> (bohr)",
        "fit error (e)", "terms", box=None,
    )  # fmt: skip
    for state in atom.states:
        size = state.fit.get("r", 0.0) / state.electrons if state.electrons else 0.0
        table.add_row(
            state.label + ("" if state.bound else " (unbound)"),
            state.term,
            escape(state.configuration),
            f"{state.energy_computed * HARTREE_IN_EV:.3f}",
            f"{state.energy_experimental * HARTREE_IN_EV:.3f}",
            f"{energy_difference_ev(state):+.3f}",
            f"{state.decay:.4f}",
            f"{size:.3f}",
            f"{state.fit.get('l1', 0.0):.5f}",
            str(int((state.coefficients != 0).sum())),
        )
    console.print(f"{atom.symbol}, Z = {atom.number}. Energies relative to the neutral ground state.")
    console.print(table)
    for state in atom.states:
        console.print(f"{state.label:>3}  {state.method}, {state.basis}", highlight=False, markup=False)


@tables_app.command()
def plot(
    element: ElementArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="Picture file; default EL_densities.png or EL_embedding.png.")
    ] = None,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Embedding functions of all states and their concordance instead.")
    ] = False,
    path: PathOption = None,
) -> None:
    """Radial distributions 4πr²ρ of all states, and their densities on a logarithmic scale, as a picture."""
    atom = load_element(element, path)
    target = out or Path(f"{atom.symbol}_{'embedding' if embedding else 'densities'}.png")
    if target.suffix.lower() not in {".png", ".pdf", ".svg"}:
        raise ValueError(f"--out got {str(target)!r}; allowed endings are .png, .pdf, .svg")
    if not target.resolve().parent.is_dir():
        raise ValueError(f"folder {target.resolve().parent} does not exist; create it or choose another --out")
    if embedding:
        from ..embedding.report import plot_embedding

        plot_embedding(atom, target)
    else:
        from ._table_plot import plot_element

        plot_element(atom, target)
    console.print(f"wrote {target}")


@tables_app.command()
def build(
    elements: Annotated[
        list[str], typer.Argument(metavar="EL...", help="Symbols, atomic numbers, or 'all' (H to Kr).")
    ],
    states: Annotated[
        list[str] | None,
        typer.Option("--states", help="Labels, e.g. --states=-1,0,+1 (also repeated); default: all."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Elements built at the same time.")] = 1,
    out: Annotated[Path, typer.Option("--out", help="Folder for the table files.")] = Path("basis_tables"),
    force: Annotated[bool, typer.Option("--force", help="Build states again that the files already hold.")] = False,
) -> None:
    """Build tables with PySCF (extra `generate`). Run again to go on after an interruption."""
    from ..generate import Outcome, build_element

    labels = [label.strip() for given in states for label in given.split(",") if label.strip()] if states else None
    symbols, total, refused = _buildable(elements, labels)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out got {out}, which is a file; name a folder")
    failures = list(refused)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("states", total=total)

        def report(outcome):
            progress.advance(task)
            text = f"{outcome.symbol:>2} {outcome.label:<3} {outcome.status} {outcome.message}".rstrip()
            progress.console.print(text, highlight=False, markup=False)
            if outcome.status == "failed":
                failures.append(outcome)

        for outcome in refused:
            console.print(f"{outcome.symbol:>2} refused {outcome.message}", highlight=False, markup=False)
        if jobs == 1:
            for symbol in symbols:
                progress.update(task, description=symbol)
                try:
                    _compare_embeddings(build_element(symbol, labels, out, force, report), out)
                except ValueError as error:  # a damaged file; the other elements go on
                    report(Outcome(symbol, "all", "failed", str(error)))
        else:
            with ProcessPoolExecutor(min(jobs, len(symbols)), mp_context=get_context("spawn")) as pool:
                running = {pool.submit(build_element, symbol, labels, out, force): symbol for symbol in symbols}
                for future in as_completed(running):
                    try:
                        outcomes = future.result()
                        _compare_embeddings(outcomes, out)
                    except (ValueError, OSError, BrokenExecutor) as error:
                        outcomes = [Outcome(running[future], "all", "failed", str(error) or "the process was killed")]
                    for outcome in outcomes:
                        report(outcome)
    if failures:
        named = ", ".join(f"{f.symbol} {f.label}" for f in failures)
        total += len(refused)
        raise ValueError(f"{len(failures)} of {total} states failed ({named}); reasons are above, the rest is in {out}")


def _compare_embeddings(outcomes: list, out: Path) -> None:
    """Write into the tables how well both forms of the embedding function agree, for the states that were built."""
    from ..embedding.report import state_reports, store_concordance

    built = {(o.symbol, o.label) for o in outcomes if o.status == "built"}
    if built:
        rows = state_reports(sorted({symbol for symbol, _ in built}), out)
        store_concordance([r for r in rows if (r.symbol, r.label) in built], out)


def _buildable(elements: list[str], labels: list[str] | None) -> tuple[list[str], int, list]:
    """Symbols to build, their number of states, and what is refused; ValueError if nothing is left to build."""
    from ..generate import Outcome
    from ..generate.states import choose_states

    symbols, total, refused = [], 0, []
    for element in [s for e in elements for s in (SYMBOLS[:36] if e.lower() == "all" else [e])]:
        try:
            symbol = symbol_of(element)
            chosen = choose_states(symbol, list({"0": 0, **dict.fromkeys(labels)}) if labels else None)
        except ValueError as error:
            if len(elements) == 1 and element.lower() == elements[0].lower():
                raise
            refused.append(Outcome(element, ",".join(labels or ["all"]), "failed", str(error)))
            continue
        if symbol not in symbols:
            symbols.append(symbol)
            total += len(chosen)
    if not symbols:
        raise ValueError("; ".join(outcome.message for outcome in refused))
    return symbols, total, refused


@tables_app.command()
def verify(path: PathOption = None) -> None:
    """Check every stored file: checksum, electron count, cusp, tail, sign. Exit code 2 if a file is wrong."""
    folder = path or table_directory()
    if not folder.exists():
        raise ValueError(f"--path got {folder}, which does not exist; give a table file or a folder of them")
    files = sorted(folder.glob("*.h5")) if folder.is_dir() else [folder]
    if not files:
        raise ValueError(f"no table files in {folder}; make some with 'ectjax tables build H'")
    table = Table("file", "state", "count error", "cusp error", "min ρ·exp(ar)", "fit error", "verdict", box=None)
    bad, checked = [], 0
    for file in files:
        try:
            element = load_element(file.stem, file) if folder.is_dir() else read_table(file)
        except ValueError as error:
            bad.append(file.name)
            table.add_row(file.name, "", "", "", "", "", str(error))
            continue
        for check, state in zip(verify_element(element), element.states, strict=True):
            checked += 1
            verdict = "; ".join(check.faults) or (
                "ok" if not check.misses else "ok, misses: " + "; ".join(check.misses)
            )
            if check.faults:
                bad.append(f"{file.name} {state.label}")
            table.add_row(
                file.name, state.label, f"{check.count_error:.1e}", f"{check.cusp_error:.1e}", f"{check.smallest:.1e}",
                f"{state.fit.get('l1', 0.0):.5f}", verdict,
            )  # fmt: skip
    console.print(table)
    console.print(f"{checked} states in {len(files)} files checked, {len(bad)} wrong")
    if bad:
        raise ValueError(f"{len(bad)} wrong: {', '.join(bad)}; rebuild with 'ectjax tables build EL --force'")


@tables_app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Table file or folder of another build.")],
    path: PathOption = None,
) -> None:
    """Compare another build of the tables, state by state. Exit code 2 if they differ by more than the fits allow."""
    symbols = (read_table(folder).symbol,) if folder.is_file() else available_elements(folder)
    if not symbols:
        raise ValueError(f"no tables in {folder}; make some with 'ectjax tables build EL --out {folder}'")
    table = Table("element", "state", "energy (eV)", "decay (relative)", "density (e)", "allowed (e)", box=None)
    differ, count = [], 0
    for symbol in symbols:
        for found in compare_elements(load_element(symbol, path), load_element(symbol, folder)):
            count += 1
            if not found.agree:
                differ.append(f"{found.symbol} {found.label}")
            table.add_row(
                found.symbol, found.label, f"{found.energy:+.1e}", f"{found.decay:+.1e}", f"{found.density:.1e}",
                f"{found.limit:g}",
            )  # fmt: skip
    console.print(table)
    console.print(f"{count} states of {len(symbols)} elements compared, {len(differ)} differ")
    if differ:
        raise ValueError(
            f"{len(differ)} of {count} states differ by more than {ENERGY_TOLERANCE_EV:g} eV or the fit's tolerance: "
            f"{', '.join(differ)}; rebuild them with 'ectjax tables build EL --force'"
        )


@tables_app.command()
def goals(path: PathOption = None) -> None:
    """Print every goal of the tables beside the worst stored figure, then what misses it and why."""
    elements = [load_element(symbol, path) for symbol in available_elements(path)]
    if not elements:
        raise ValueError(f"no tables in {path or table_directory()}; make some with 'ectjax tables build H'")
    table = Table("goal", "allowed", "figures", "worst", "where", "misses", box=None)
    rows = tally(elements)
    for row in rows:
        allowed = " or ".join(f"{limit:g}" for limit in row.limits)
        where = f"{row.worst.symbol} {row.worst.label}"
        table.add_row(row.goal, allowed, str(row.count), f"{row.worst.value:.2g}", where, str(len(row.misses) or ""))
    console.print(table)
    for miss in (miss for row in rows for miss in row.misses):
        text = f"{miss.symbol:>2} {miss.label:<3} {miss.goal} {miss.value:+.3g}, allowed {miss.limit:g} - {miss.reason}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    if path is None:
        for symbol, labels in missing_states(elements).items():
            console.print(f"{symbol:>2} not built yet: {', '.join(labels)}", highlight=False, markup=False)


@tables_app.command()
def page(out: Annotated[Path, typer.Option("--out")] = Path("docs/tables.md"), path: PathOption = None) -> None:
    """Write the documentation page of the tables from the files."""
    from ..tables.page import write_page

    console.print(f"wrote {write_page(out, path)}")
