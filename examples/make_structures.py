"""Writes the structures beside this file: `python examples/make_structures.py`."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

here = Path(__file__).parent

crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(2)
write(here / "nacl.extxyz", crystal, columns=["symbols", "positions"])

# a ring of five water molecules, oxygen atoms 2.8 Å apart, one O-H of each pointing to its neighbour
water = []
for k in range(5):
    angle = 2 * np.pi * k / 5
    radius = 2.8 / (2 * np.sin(np.pi / 5))
    oxygen = radius * np.array([np.cos(angle), np.sin(angle), 0.0])
    following = radius * np.array([np.cos(angle + 2 * np.pi / 5), np.sin(angle + 2 * np.pi / 5), 0.0])
    along = (following - oxygen) / np.linalg.norm(following - oxygen)
    outward = oxygen / radius
    up = np.array([0.0, 0.0, 1.0 if k % 2 else -1.0])
    side = 0.6 * outward + 0.8 * up
    side = side - (side @ along) * along
    side /= np.linalg.norm(side)
    bend = np.deg2rad(104.5)
    second = np.cos(bend) * along + np.sin(bend) * side
    water += [("O", oxygen), ("H", oxygen + 0.96 * along), ("H", oxygen + 0.96 * second)]
cluster = Atoms([s for s, _ in water], positions=[p for _, p in water])
write(here / "water5.extxyz", cluster, columns=["symbols", "positions"])

write(here / "lih.extxyz", molecule("LiH"), columns=["symbols", "positions"])
write(here / "hf.extxyz", Atoms("HF", positions=[[0, 0, 0], [0, 0, 0.917]]), columns=["symbols", "positions"])
