"""Files that are whole or absent, and where a user's cache is."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: str | os.PathLike) -> Iterator[Path]:
    """The name of a file in a temporary folder beside `path`; the folder is removed afterwards.

    Raises OSError naming the folder that is not there or may not be written.
    """
    path = Path(path)
    try:
        made = tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent)
    except OSError as error:
        told = (error.strerror or str(error)).lower()
        raise OSError(
            f"{path} cannot be written in {path.parent} ({told}); create that folder or name another"
        ) from None
    with made as folder:
        yield Path(folder) / path.name


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A file of the same name in a temporary folder beside `path`: write to it. It is moved to `path` if the block
    succeeds; the folder is removed in any case. Raises OSError as `beside` does."""
    with beside(path) as temporary:
        yield temporary
        os.replace(temporary, path)


def read_utf8(path: Path, what: str) -> str:
    """The text of a file; ValueError naming `what` it should have been if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); give {what}") from None


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
