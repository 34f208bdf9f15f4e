"""Makes the pictures of README and docs from the runs they show: `python docs/make_images.py`."""

import shutil
import sys
import tempfile
from pathlib import Path

from ectjax.cli import main

root = Path(__file__).parent.parent
images = root / "docs" / "images"
images.mkdir(exist_ok=True)

with tempfile.TemporaryDirectory() as folder:
    runs = {
        "nacl": [
            *("md", str(root / "examples/nacl.extxyz"), "--ensemble", "nvt", "--steps", "2000", "--dt", "1"),
            *("--model", "two_center"),
        ],
        "lih": ["scan", "Li", "H", "--from", "1.0", "--to", "12", "--points", "111"],
        "hf": ["scan", "H", "F", "--from", "0.6", "--to", "10", "--points", "95"],
    }
    for name, command in runs.items():
        out = Path(folder) / name
        if code := main([*command, "--out", str(out)]):
            sys.exit(code)
        shutil.copy(next(out.glob("*.png")), images / f"{name}.png")
