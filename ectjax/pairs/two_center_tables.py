"""Tables of the two-centre functional for all pairs of a set of states: built in parallel, cached on disk.

The three components have definite signs and decay exponentially, so their logarithms are smooth: about a
hundred distances carry them from 0.1 to 30 Bohr, and a quintic spline through the logarithms gives any finer
grid, for example the uniform one of the model's splines, to a relative 5e-6 (tests/test_two_center.py).
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import make_interp_spline

from ectjax.embedding.daw import SphericalDensity, density_terms
from ectjax.pairs.two_center import AXIAL_POINTS, RADIAL_POINTS, two_center_components

_SIGNS = np.array([1.0, -1.0, -1.0])
_VERSION = "1"


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
    """Two-centre tables of all pairs among `states`, read from the cache where they are in it.

    Work runs in threads (NumPy releases the interpreter lock), so no `if __name__ == "__main__"` is needed.
    Every finished pair is written to the cache at once: an interrupted build goes on where it stopped.

    Parameters
    ----------
    states : S Slater expansions in atomic units; None or an empty one (a bare nucleus) gives zeros.
    distances : (M,) Bohr, ascending, at least 6; default `default_distances()`.
    jobs : threads, default the processors this process may use.
    progress : show a progress bar; default only on a terminal.
    cache : folder, True for the user's cache folder (`cache_folder()`), False for none.

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

    def place(key, table):
        for i, j in waiting.pop(key):
            values[i, j] = values[j, i] = table.T

    for key in list(waiting):
        table = None if folder is None else _read(folder / f"{key}.npy", distances.size)
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
                    _write(folder / f"{futures[future]}.npy", table)
                place(futures[future], table)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def density_key(density: SphericalDensity) -> str | None:
    """Checksum of a density's Slater terms; None for a density without electrons."""
    terms = density_terms(density)
    if terms[0].size == 0:
        return None
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in terms)).hexdigest()


def pair_key(first: str, second: str, distances: np.ndarray) -> str:
    """Checksum of everything a pair's table depends on: both densities, the distances, the quadrature."""
    digest = hashlib.sha256(f"two-centre {_VERSION} {RADIAL_POINTS} {AXIAL_POINTS}".encode())
    for part in sorted((first, second)):
        digest.update(part.encode())
    digest.update(np.ascontiguousarray(distances).tobytes())
    return digest.hexdigest()[:32]


def cache_folder() -> Path:
    """The user's cache folder for two-centre tables; the environment variable ECTJAX_CACHE moves it."""
    chosen = os.environ.get("ECTJAX_CACHE")
    if chosen:
        return Path(chosen) / "two_center"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ectjax" / "two_center"


def _read(path: Path, size: int) -> np.ndarray | None:
    """A cached table (M, 3), or None where there is none that can be used."""
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.shape == (size, 3) and np.all(np.isfinite(table)) else None


def _write(path: Path, table: np.ndarray) -> None:
    """Write to a temporary name, then rename: a reader never sees half a file. No cache is not an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, table)
        os.replace(name, path)
    except OSError:
        return
