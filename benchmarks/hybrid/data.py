"""The stored frames as padded arrays, and their split into training, test and extrapolation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

FRAMES = Path(__file__).with_name("frames.npz")
TEST = 300  # frames of the pool that no run trains on


class Frames(NamedTuple):
    """F padded frames: positions (F, N, 3) Å, numbers (F, N) (0 pads), charge (F,) e, energy (F,) eV from neutral
    atoms, forces (F, N, 3) eV/Å, group and name (F,)."""

    positions: np.ndarray
    numbers: np.ndarray
    charge: np.ndarray
    energy: np.ndarray
    forces: np.ndarray
    group: np.ndarray
    name: np.ndarray

    def take(self, rows) -> "Frames":
        """Some of the frames, padded no further than the largest of them."""
        size = int((self.numbers[rows] > 0).sum(1).max())
        cut = {"positions", "numbers", "forces"}
        return Frames(*(getattr(self, f)[rows][:, :size] if f in cut else getattr(self, f)[rows] for f in self._fields))


def read(path: Path) -> list[tuple]:
    """The frames of an archive as `make_frames` makes them: numbers, positions, forces, energy, charge, group, name."""
    with np.load(path) as file:
        ends = file["offsets"][1:-1]
        ragged = (np.split(file[k], ends) for k in ("numbers", "positions", "forces"))
        return list(zip(*ragged, *(file[k] for k in ("energy", "charge", "group", "name")), strict=True))


def load(path: Path = FRAMES) -> Frames:
    """All frames of the archive."""
    z, x, f, energy, charge, group, name = zip(*read(path), strict=True)
    count, size = len(z), max(map(len, z))
    positions, forces = np.zeros((2, count, size, 3))
    numbers = np.zeros((count, size), int)
    for k, atoms in enumerate(map(len, z)):
        positions[k, :atoms], forces[k, :atoms], numbers[k, :atoms] = x[k], f[k], z[k]
    return Frames(
        positions, numbers, np.array(charge, float), np.array(energy), forces, np.array(group), np.array(name)
    )


FAMILIES = ("molecules", "water", "salts")


def families(frames: Frames) -> np.ndarray:
    """Kind of every frame: single molecules; clusters with molecules in them; ions only."""
    found = []
    for name in frames.name:
        parts = name.split()
        ions = all(part[-1] in "+-" for part in parts)
        found.append("molecules" if len(parts) == 1 else "salts" if ions else "water")
    return np.array(found)


def split(frames: Frames, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(rows to train on, in random order, so that the first n are a training set of n; rows of every test set).

    The test sets are the same for all seeds; "test" once more by family.
    """
    pool = np.random.default_rng(0).permutation(np.flatnonzero(frames.group == "pool"))
    tests = {"test": np.sort(pool[:TEST])}
    tests |= {g: np.flatnonzero(frames.group == g) for g in ("far", "bond", "large", "charge")}
    tests |= {f: tests["test"][families(frames)[tests["test"]] == f] for f in FAMILIES}
    return np.random.default_rng([seed, 1]).permutation(pool[TEST:]), tests
