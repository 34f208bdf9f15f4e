"""What a run leaves on disk, always readable: trajectory, log, checkpoint and a description of the run.

`trajectory.extxyz`, `log.csv` and `run.json` are for people; `checkpoint.npz` is written to a temporary name and
renamed, and remembers how long the other files were, so that a restart cuts off what came after it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from ectjax.files import replacing

TRAJECTORY, LOG, CHECKPOINT, DESCRIPTION = "trajectory.extxyz", "log.csv", "checkpoint.npz", "run.json"
FIXED = ("structure", "numbers", "model", "ensemble", "dt_fs", "temperature_K", "charge_e")
"""Entries of `run.json` that a restart must share with the run it goes on with."""


class RunDirectory:
    """The folder of one run. `create` refuses a folder that is not empty, `reopen` one that holds no such run."""

    def __init__(self, path: Path, description: dict):
        self.path, self.description = path, description
        self._lock = _locked(path)
        self._trajectory: Any = None
        self._log: Any = None

    @classmethod
    def create(cls, path: Path, description: dict) -> RunDirectory:
        """A new folder with its `run.json`."""
        check_new(path)
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, description)
        write_atomically(path / DESCRIPTION, (json.dumps(description, indent=1) + "\n").encode())
        return folder

    @classmethod
    def reopen(cls, path: Path, description: dict) -> RunDirectory:
        """The folder of the same run, to go on with it."""
        file = path / DESCRIPTION
        if not file.is_file():
            raise ValueError(f"there is no run to restart in {path} (no {DESCRIPTION}); leave --restart out")
        try:
            old = json.loads(file.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is damaged ({error}); start a new run in another folder") from None
        for key, new in description.items():
            if key in FIXED or key.startswith("option_"):
                if old.get(key) != json.loads(json.dumps(new)):
                    short = (str(x)[:60] for x in (old.get(key), new))
                    was, now = short
                    raise ValueError(
                        f"{path} holds a run with {key.removeprefix('option_')} {was}, asked is {now}: "
                        "repeat the options of that run or choose another --out"
                    )
        description = {**old, **description}
        folder = cls(path, description)
        write_atomically(file, (json.dumps(description, indent=1) + "\n").encode())
        return folder

    def checkpoint(self) -> dict[str, np.ndarray] | None:
        """The last checkpoint, or None when the run ended before its first one."""
        file = self.path / CHECKPOINT
        if not file.is_file():
            return None
        try:
            with np.load(file) as stored:
                return {k: stored[k] for k in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} is damaged ({error}); start a new run in another folder") from None

    def open(self, lengths: tuple[int, int] = (0, 0)) -> None:
        """Open trajectory and log for appending, cut to `lengths` bytes."""
        files = []
        for name, length in zip((TRAJECTORY, LOG), lengths, strict=True):
            file = self.path / name
            file.touch()
            size = file.stat().st_size
            if size < length:
                raise ValueError(f"{file} is shorter than its checkpoint says; start a new run in another folder")
            os.truncate(file, length)
            files.append(file.open("a", newline=""))
        self._trajectory, self._log = files

    def add_row(self, row: dict) -> None:
        """One line of the log, with a header before the first."""
        writer = csv.DictWriter(self._log, list(row), lineterminator="\n")
        if self._log.tell() == 0:
            writer.writeheader()
        writer.writerow({k: f"{v:.10g}" if isinstance(v, float) else v for k, v in row.items()})
        self._log.flush()

    def add_frame(self, atoms: Atoms) -> None:
        """One frame of the trajectory, written in one piece."""
        text = io.StringIO()
        write_extxyz(text, [atoms])
        self._trajectory.write(text.getvalue())
        self._trajectory.flush()

    def save(self, packed: dict[str, np.ndarray]) -> None:
        """Write the checkpoint that belongs to the present trajectory and log."""
        lengths = np.array([self._trajectory.tell(), self._log.tell()])
        buffer = io.BytesIO()
        np.savez(buffer, lengths=lengths, **packed)
        write_atomically(self.path / CHECKPOINT, buffer.getvalue())

    def close(self) -> None:
        """Close the files and let other processes in; again does nothing."""
        for file in (self._trajectory, self._log):
            if file is not None:
                file.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def frame(atoms: Atoms, positions, cell, momenta, results, info: dict) -> Atoms:
    """A copy of `atoms` with the energy, forces, stress and charges of a step; readable with `ase.io.read`."""
    image = Atoms(
        numbers=atoms.numbers,
        positions=positions,
        cell=cell,
        pbc=cell is not None,
        momenta=momenta,
        info=info,
    )
    stored = {
        "energy": float(results.energy),
        "forces": np.asarray(results.forces),
        "charges": np.asarray(results.equilibration.charges),
    }
    if cell is not None:
        stress = np.asarray(results.stress)
        stored["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
    image.calc = SinglePointCalculator(image, **stored)
    return image


def _locked(folder: Path) -> int | None:
    """A lock on the folder that ends with the process; None where there are no locks. ValueError if it is taken."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(f"another process runs in {folder}; wait for its end or name another --out") from None
    except OSError:  # a file system without locks
        os.close(handle)
        return None
    return handle


def check_new(path: Path) -> None:
    """Raises ValueError when output would mix with what is there."""
    if path.is_file():
        raise ValueError(f"output directory {path} is a file; name another with --out")
    there = next(x for x in (path, *path.absolute().parents) if x.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "may not be written to" if there.is_dir() else "is a file"
        raise ValueError(f"output directory {path} cannot be made: {there} {why}; name another with --out")
    if path.is_dir() and any(path.iterdir()):
        held = "another run" if (path / DESCRIPTION).is_file() else "other files"
        hint = " (or go on with it: --restart)" if held == "another run" else ""
        raise ValueError(f"output directory {path} holds {held}; name a new one with --out{hint}")


def write_atomically(file: Path, content: bytes) -> None:
    """Write next to the file and rename, so that it is whole or absent."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def read_log(file: Path) -> dict[str, np.ndarray]:
    """Columns of a log."""
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    names = list(rows[0]) if rows else []
    return {name: np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in names}
