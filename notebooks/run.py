"""Run the notebooks from beginning to end: `python notebooks/run.py [--reduced] [--jobs J] [--write] [NAME...]`.

--reduced sets ECTJAX_REDUCED=1, which the notebooks read to choose small sizes (CI). --jobs runs that many at a time.
--write stores the outputs in the files, otherwise nothing is changed. A cell that fails is printed with its error, and
the exit code is 1. Needs nbclient and ipykernel (extra `docs`).
"""

import argparse
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

HERE = Path(__file__).parent
TIMEOUT = 3600
"""Seconds one cell may take."""
COMPILE_QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""For small sizes, where compiling is the cost; together they halve it."""
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def run(file: Path, write: bool) -> str | None:
    """Execute one notebook where it lies, as Jupyter does; None, or what failed."""
    started = time.time()
    notebook = nbformat.read(file, as_version=4)
    folder = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(notebook, timeout=TIMEOUT, resources=folder, extra_arguments=["--log-level=ERROR"])
    try:
        client.execute()
    except (CellExecutionError, CellControlSignal, DeadKernelError) as error:
        return f"{file.name}: {COLOURS.sub('', str(error)).strip()}"
    if write:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
        nbformat.write(notebook, file)
    print(f"{file.name}: {time.time() - started:.0f} s", flush=True)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="without .ipynb; all by default")
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.reduced and options.write:
        parser.error("--write stores what readers see: run it in full size, without --reduced")
    names = sorted(file.stem for file in HERE.glob("*.ipynb"))
    if unknown := set(options.names) - set(names):
        parser.error(f"no notebook {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    os.environ["ECTJAX_REDUCED"] = "1" if options.reduced else "0"
    if options.reduced:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {COMPILE_QUICKLY}"
    files = [HERE / f"{name}.ipynb" for name in options.names or names]
    with ThreadPoolExecutor(options.jobs) as pool:
        failures = [message for message in pool.map(lambda file: run(file, options.write), files) if message]
    print("\n\n".join(failures), file=sys.stderr, end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
