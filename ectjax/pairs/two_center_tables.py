"""Tables of the two-centre functional for all pairs of some states: shipped, cached, or built in parallel.

The three components have definite signs and decay exponentially, so their logarithms are smooth: about a
hundred distances carry them from 0.1 to 30 Bohr, and a quintic spline through the logarithms gives any finer
grid, for example the uniform one of the model's splines, to a relative 5e-6 (tests/test_two_center.py).

`python -m ectjax.pairs.two_center_tables` rebuilds the shipped archive: three states of seventeen elements, compressed
anions, and the states of two charges and more of the shipped sets.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import make_interp_spline

from ectjax.embedding.daw import SphericalDensity
from ectjax.pairs.compression import COMPRESSED
from ectjax.pairs.two_center import two_center_components
from ectjax.pairs.two_center_store import (
    ARCHIVE,
    cache_folder,
    density_key,
    pair_key,
    read_archive,
    read_table,
    write_archive,
    write_table,
)

ARCHIVE_ELEMENTS = (
    "H", "Li", "Be", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca",
)  # fmt: skip
ARCHIVE_STATES = ("-1", "0", "+1")
DIVALENT = ("0", "+1", "+2")
"""States of an archived element that has no anion."""
FURTHER = {"C": ("+2",), "N": ("+2",), "O": ("-2",), "Si": ("+2", "+3", "+4"), "P": ("+2", "+3"), "S": ("-2", "+2")}
"""States of two charges and more of the set `default`."""
_SIGNS = np.array([1.0, -1.0, -1.0])


def default_distances() -> np.ndarray:
    """Distances (M,) in Bohr, from 0.1 to 30, dense where cores overlap."""
    distances = [0.1]
    while distances[-1] < 30.0:
        distances.append(distances[-1] + min(0.04 + 0.05 * distances[-1], 0.5))
    return np.array(distances)


@dataclass(frozen=True)
class TwoCenterTables:
    """T, W, X of every pair of S states at M distances.

    distances : (M,) Bohr. values : (S, S, 3, M) Hartree, order T, W, X, symmetric in the states.
    """

    distances: np.ndarray
    values: np.ndarray

    def resample(self, distances) -> np.ndarray:
        """Values (S, S, 3, n) in Hartree at any distances (n,) in Bohr.

        Quintic in the logarithm. Beyond the last distance the exponential decay goes on; below the first one
        the value there is kept (the nuclei repel by hundreds of eV at such distances).
        """
        target = np.asarray(distances, dtype=np.float64)
        if target.ndim != 1 or not np.all(np.isfinite(target) & (target >= 0)):
            raise ValueError("distances to resample at must be of shape (n,), finite and >= 0 Bohr")
        first, last = self.distances[0], self.distances[-1]
        inside = np.clip(target, first, last)
        count = self.values.shape[0]
        result = np.zeros((count, count, 3, target.size))
        for i in range(count):
            for j in range(i + 1):
                magnitude = self.values[i, j] * _SIGNS[:, None]
                if not np.all(magnitude > 0):  # a bare nucleus: no electrons, nothing to interpolate
                    continue
                spline = make_interp_spline(self.distances, np.log(magnitude), k=5, axis=1)
                rate = spline(last, nu=1)[:, None]
                log = spline(inside) + rate * np.maximum(target - last, 0.0)
                result[i, j] = result[j, i] = np.exp(log) * _SIGNS[:, None]
        return result


def two_center_tables(
    states: Sequence[SphericalDensity | None],
    distances=None,
    *,
    jobs: int | None = None,
    progress: bool | None = None,
    cache: str | Path | bool = True,
) -> TwoCenterTables:
    """Two-centre tables of all pairs among `states`: from the shipped archive, else the cache, else computed.

    Work runs in threads (NumPy releases the interpreter lock), so no `if __name__ == "__main__"` is needed.
    Every finished pair is written to the cache at once: an interrupted build goes on where it stopped.

    Parameters
    ----------
    states : S Slater expansions in atomic units; None or an empty one (a bare nucleus) gives zeros.
    distances : (M,) Bohr, ascending, at least 6; default `default_distances()`.
    jobs : threads, default the processors this process may use.
    progress : show a progress bar; default only on a terminal.
    cache : folder, True for the user's cache folder (`cache_folder()`), False for neither cache nor archive.

    Raises
    ------
    ValueError : distances that are not positive, finite and ascending, or jobs < 1.
    """
    distances = default_distances() if distances is None else np.asarray(distances, dtype=np.float64)
    if distances.ndim != 1 or distances.size < 6 or not np.all(np.diff(distances, prepend=0.0) > 0):
        raise ValueError("distances must be at least 6, positive and ascending, in Bohr")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs is {jobs}; give 1 or more")
    folder = cache_folder() if cache is True else Path(cache) if cache else None
    count = len(states)
    values = np.zeros((count, count, 3, distances.size))
    keys = [None if state is None else density_key(state) for state in states]
    waiting: dict[str, list[tuple[int, int]]] = {}
    for i in range(count):
        for j in range(i + 1):
            if keys[i] and keys[j]:
                waiting.setdefault(pair_key(keys[i], keys[j], distances), []).append((i, j))

    shipped = {} if cache is False else read_archive(shipped_archive(), distances.size)

    def place(key, table):
        for i, j in waiting.pop(key):
            values[i, j] = values[j, i] = table.T

    for key in list(waiting):
        table = shipped.get(key)
        if table is None and folder is not None:
            table = read_table(folder / f"{key}.npy", distances.size)
        if table is not None:
            place(key, table)
    if waiting:
        _build(states, distances, waiting, place, folder, jobs, progress)
    return TwoCenterTables(distances, values)


def _build(states, distances, waiting, place, folder, jobs, progress):
    from rich.console import Console
    from rich.progress import track

    show = sys.stderr.isatty() if progress is None else progress
    with ThreadPoolExecutor(jobs or _processors()) as pool:
        futures = {
            pool.submit(two_center_components, states[pairs[0][0]], states[pairs[0][1]], distances): key
            for key, pairs in waiting.items()
        }
        try:
            for future in track(
                as_completed(futures),
                description=f"two-centre tables of {len(states)} states",
                total=len(futures),
                disable=not show,
                console=Console(stderr=True),
            ):
                table = future.result()
                if folder is not None:
                    write_table(folder / f"{futures[future]}.npy", table)
                place(futures[future], table)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def two_center_array(densities: Sequence[Sequence[SphericalDensity | None]], distances, **options) -> np.ndarray:
    """T, W, X of all pairs of states of E elements, (E, E, S, S, 3, n) in Hartree at distances (n,) in Bohr.

    densities : E rows of up to S states, None where an element has fewer. options : as `two_center_tables`.
    """
    count, most = len(densities), max(len(row) for row in densities)
    flat = [state for row in densities for state in (*row, *(None,) * (most - len(row)))]
    values = two_center_tables(flat, **options).resample(distances)
    return values.reshape(count, most, count, most, 3, -1).transpose(0, 2, 1, 3, 4, 5)


def shipped_archive() -> Path:
    """The archive beside the shipped atomic tables; a table that changed no longer matches its keys."""
    from ectjax.tables import table_directory

    return table_directory() / ARCHIVE


def _archived(symbol: str, labels: Sequence[str]) -> list[str]:
    """The labels of an element's states that are archived: models with anions that give way ask for compressed ones."""
    chosen = ARCHIVE_STATES if "-1" in labels else DIVALENT
    return [*chosen, *FURTHER.get(symbol, ()), *([COMPRESSED] if COMPRESSED in labels else [])]


def build_archive(path: Path | None = None, jobs: int | None = None) -> tuple[Path, int]:
    """Write all pairs of the -1, 0, +1 states of `ARCHIVE_ELEMENTS`, or 0, +1, +2, of compressed anions and `FURTHER`;
    returns the path and their count."""
    from ectjax.tables import load_element

    elements = [load_element(symbol) for symbol in ARCHIVE_ELEMENTS]
    states = [element.state(label) for element in elements for label in _archived(element.symbol, element.labels)]
    tables = two_center_tables(states, jobs=jobs)
    keys = [density_key(state) for state in states]
    found = {
        pair_key(keys[i], keys[j], tables.distances): tables.values[i, j].T
        for i in range(len(states))
        for j in range(i + 1)
        if keys[i] and keys[j]
    }
    path = shipped_archive() if path is None else Path(path)
    write_archive(path, found)
    return path, len(found)


if __name__ == "__main__":
    print("wrote {} with {} pairs".format(*build_archive()))
