"""Where tables of the two-centre functional are kept: a shipped archive and the user's cache, by checksum."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ectjax.embedding.daw import SphericalDensity, density_terms
from ectjax.files import cache_of, replacing
from ectjax.pairs.two_center import AXIAL_POINTS, RADIAL_POINTS

_VERSION = "1"
ARCHIVE = "two_center.npz"


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
    """Where tables of this user are kept."""
    return cache_of("two_center")


def read_table(path: Path, size: int) -> np.ndarray | None:
    """A cached table (M, 3), or None where there is none that can be used."""
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.shape == (size, 3) and np.all(np.isfinite(table)) else None


def write_table(path: Path, table: np.ndarray) -> None:
    """Write to a temporary name, then rename: a reader never sees half a file. No cache is not an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.save(temporary, table)
    except OSError:
        return


def read_archive(path: Path, size: int) -> dict[str, np.ndarray]:
    """Tables (M, 3) of an archive by key; empty where the file is absent, damaged or on another grid."""
    try:
        with np.load(path, allow_pickle=False) as file:
            keys, tables = file["keys"].tolist(), file["tables"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}
    if tables.shape != (len(keys), size, 3) or not np.all(np.isfinite(tables)):
        return {}
    return dict(zip(keys, tables, strict=True))


def write_archive(path: Path, tables: Mapping[str, np.ndarray]) -> None:
    """All tables in one compressed file, sorted by key, written under a temporary name and renamed."""
    keys = sorted(tables)
    stacked = np.stack([tables[key] for key in keys])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:  # of a path savez would change the ending
        np.savez_compressed(file, keys=np.array(keys), tables=stacked)
