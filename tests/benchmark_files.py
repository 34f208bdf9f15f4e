"""Files of benchmarks/, imported as they import each other."""

import importlib
import sys
from pathlib import Path
from types import ModuleType


def benchmark_file(folder: Path, name: str) -> ModuleType:
    """The module `name` of a folder of benchmarks."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
