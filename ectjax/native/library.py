"""The compiled library: where it is kept, how it is made, and its registration with XLA."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib

from ectjax.files import cache_of, replacing

SOURCE = Path(__file__).with_name("sums.cc")
SWITCH = "ECTJAX_NATIVE"
COMPILERS = ("c++", "g++", "clang++")
MOST_STATES = 8
FUNCTIONS = "places background around around_with_forces pair_sum spread convolve gather gather_with_slopes".split()
SUFFIXES = {"float32": "F32", "float64": "F64"}

_FLAGS = (
    "-O3 -march=native -std=c++17 -shared -fPIC -pthread -w "
    # sums may be reordered for vector code; NaN and infinities keep their meaning
    "-fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math"
).split()


class NoCompiler(RuntimeError):
    """The library cannot be built here; the message says what is missing."""


def library_path() -> Path:
    """Where the library for this source, this jaxlib and this processor is kept."""
    digest = hashlib.sha256(SOURCE.read_bytes())
    for part in (*_FLAGS, jaxlib.__version__, platform.machine(), _processor()):
        digest.update(part.encode())
    return cache_of("native") / f"sums-{digest.hexdigest()[:16]}.so"


def build(compiler: str | None = None, force: bool = False) -> Path:
    """Compile the library unless it is there; about half a minute. Returns its path.

    Raises:
        NoCompiler: no C++ compiler is found, or it fails; what it said is in the message.
    """
    path = library_path()
    if path.exists() and not force:
        return path
    found = compiler or _compiler()
    if found is None:
        raise NoCompiler(
            f"no C++ compiler was found (looked for {', '.join(COMPILERS)} and $CXX): install one, for example g++, or "
            f"set CXX; without it ectjax runs on its JAX code alone"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        command = [found, *_FLAGS, f"-I{jax.ffi.include_dir()}", str(SOURCE), "-o", str(temporary)]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise NoCompiler(f"the C++ compiler {found} cannot be run: {error}") from error
        if result.returncode:
            raise NoCompiler(f"{' '.join(command)}\nended with status {result.returncode}:\n{result.stderr[-2000:]}")
    _registered.cache_clear()
    return path


def can_be_built() -> bool:
    """Whether it is only missing, and would be used: there is a compiler, and nobody switched it off."""
    return os.environ.get(SWITCH, "1") != "0" and not available() and _compiler() is not None


def _compiler() -> str | None:
    return os.environ.get("CXX") or next(filter(None, map(shutil.which, COMPILERS)), None)


def available() -> bool:
    """Whether the library has been built for this machine and can be loaded."""
    return _registered()


def usable() -> bool:
    """Whether dynamics should use the library: it is available, JAX computes on CPUs and ECTJAX_NATIVE is not 0."""
    return os.environ.get(SWITCH, "1") != "0" and jax.default_backend() == "cpu" and available()


@lru_cache(maxsize=1)
def _registered() -> bool:
    path = library_path()
    if not path.exists():
        return False
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return False
    for name in FUNCTIONS:
        for suffix in SUFFIXES.values():
            target = jax.ffi.pycapsule(getattr(library, f"{name}_{suffix}"))
            jax.ffi.register_ffi_target(f"ectjax_{name}_{suffix}", target, platform="cpu")
    return True


def call(name: str, shapes, *arguments, **attributes):
    """One function of the library on arrays; the first of `shapes` tells the floating type."""
    if not _registered():
        raise NoCompiler("the native library has not been built here: run `python -m ectjax.native`")
    first = shapes[0] if isinstance(shapes, (tuple, list)) else shapes
    target = f"ectjax_{name}_{SUFFIXES[str(jnp.finfo(first.dtype).dtype)]}"
    return jax.ffi.ffi_call(target, shapes, vmap_method="sequential")(*arguments, **attributes)


def _processor() -> str:
    """What tells processors apart for which code compiled on one may fail on the other."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()
