"""The command line: `ectjax energy | relax | md | scan | tables | fit`.

Commands import what they need when they run, so that `ectjax --help` is quick. Whatever is wrong with the input
ends in `main` as one line `error: …` and exit code 2.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated

import jax
import typer

app = typer.Typer(
    help="Reactive molecular dynamics with charges that follow the atoms (ECT-EAM). Units: eV, Å, e, fs, K.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        from ectjax import __version__

        print(f"ectjax {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options that belong to no command."""


def _mount() -> None:
    """Add the commands; sub-applications of other modules where they exist."""
    from ectjax.cli.energy import energy
    from ectjax.cli.md import md
    from ectjax.cli.relax import relax
    from ectjax.cli.scan import scan

    for command in (energy, relax, md, scan):
        app.command()(command)
    _mount_module("tables", "tables_app")
    _mount_module("fit", "fit_app")


def _mount_module(name: str, attribute: str) -> None:
    try:
        module = import_module(f"ectjax.cli.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"ectjax.cli.{name}":
            raise
        return
    part = getattr(module, attribute)
    if isinstance(part, typer.Typer):
        app.add_typer(part, name=name)
    else:
        app.command(name=name)(part)


_mount()


class Failure(Exception):
    """Something went wrong that is not the input's fault; the message says how to go on."""


class Interrupted(Exception):
    """A command was stopped from outside after it had saved its work; the message says where."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed on the way, 2 bad input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's chatter
    for stream in (sys.stdout, sys.stderr):  # a terminal without Å must not end a run
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = app(args=arguments, prog_name="ectjax", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
        return _say("interrupted", code) if code == 130 else code
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")
        return 1
    except (ValueError, OSError, ImportError) as error:
        return _say(_one_line(error), 2)
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> int:
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        print(error.format_message())  # type: ignore[attr-defined]
        return 0
    if kind in ("Abort", "Interrupted"):
        return _say(f"interrupted: {_one_line(error)}" if str(error) else "interrupted", 130)
    if hasattr(error, "format_message"):  # usage errors of typer's parser
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "ectjax"
        return _say(f"{_one_line(error.format_message()).rstrip('.')}. See `{where} --help`.", 2)
    if kind in ("Failure", "NotConverged", "CalculationFailed"):
        why = getattr(error, "why", None)  # the calculator's own advice is for Python
        return _say(_one_line(error) if why is None else f"{why}. Check the geometry and its units (Å)", 1)
    if os.environ.get("ECTJAX_TRACEBACK"):
        raise error
    return _say(f"{kind}: {_one_line(error)} (a fault of ectjax: set ECTJAX_TRACEBACK=1 and report it)", 1)


def _one_line(error) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split()) or type(error).__name__


def _say(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
