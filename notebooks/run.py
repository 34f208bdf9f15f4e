"""Run the notebooks from beginning to end: `python notebooks/run.py [--reduced] [--write] [NAME...]`.

--reduced sets ECTJAX_REDUCED=1, which the notebooks read to choose small sizes (CI). --write stores the outputs in the
files, otherwise nothing is changed. Needs nbclient and ipykernel (extra `docs`).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="without .ipynb; all by default")
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.reduced and options.write:
        parser.error("--write stores what readers see: run it in full size, without --reduced")
    os.environ["ECTJAX_REDUCED"] = "1" if options.reduced else "0"
    if options.reduced:  # small sizes: compiling is the cost, speed of the programs is not
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
    for file in [HERE / f"{n}.ipynb" for n in options.names] or sorted(HERE.glob("*.ipynb")):
        started = time.time()
        notebook = nbformat.read(file, as_version=4)
        with tempfile.TemporaryDirectory() as folder:  # what cells write stays out of the checkout
            (Path(folder) / "examples").symlink_to(HERE.parent / "examples")
            client = NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": folder}})
            client.execute()
        if options.write:
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
            notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
            nbformat.write(notebook, file)
        print(f"{file.name}: {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
