"""Files that are whole or absent, and where a user's cache is."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A file of the same name in a temporary folder beside `path`: write to it. It is moved to `path` if the block
    succeeds; the folder is removed in any case."""
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def cache_of(purpose: str) -> Path:
    """The user's cache folder for one purpose; the environment variable ECTJAX_CACHE moves all of them."""
    chosen = os.environ.get("ECTJAX_CACHE")
    if chosen:
        return Path(chosen) / purpose
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ectjax" / purpose
