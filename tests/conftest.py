"""Fixtures that several test files share; programs compiled quickly rather than well, here and in subprocesses."""

import gc
import os
import shutil
import tempfile
from collections import Counter
from importlib.metadata import version
from types import SimpleNamespace

# read when JAX is imported; from 0.12 on jaxlib has no other emitters, and an option that it does not know is its end
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + " --xla_cpu_use_fusion_emitters=false" * (int(version("jaxlib").split(".")[1]) < 12),
)

# most programs are small and the same in many test files: each process, and what it starts, compiles them once. Not one
# folder for all processes: files in it are not written at once
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="ectjax-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # remarks on features of the processor when a program is read back

os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # programs need not know which line made them

# whether compiled sums happen to be built on this machine decides nothing: tests ask for them
os.environ["ECTJAX_NATIVE"] = "0"

import jax
import pytest

# tracing makes objects by the million, few of them in cycles: to look for those as often as usual takes a tenth of it
gc.set_threshold(200_000, 20, 100)


def pytest_unconfigure():
    shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first, so that none of them is left for one process at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def x64():
    """float64 for one test, without touching the global setting."""
    with jax.enable_x64(True):
        yield


MODELLED = ("energy", "relax", "scan", "md")


@pytest.fixture
def cli(capsys):
    """Runs a command in this process: cli("energy", file) → code, out, err. Where a command takes a model and none is
    named, with the set `curves`, whose programs compile in a tenth of the time."""
    from ectjax.cli import main

    def run(*arguments):
        chosen = [str(x) for x in arguments]
        if chosen[0] in MODELLED and not {"--model", "--help"} & set(chosen):
            chosen += ["--model", "curves"]
        code = main(chosen)
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


@pytest.fixture(autouse=True, scope="module")
def _drop_compiled_programs():
    """Every compiled program holds memory maps, of which a process may have 65,530: free them after each module."""
    yield
    jax.clear_caches()
    gc.collect()
