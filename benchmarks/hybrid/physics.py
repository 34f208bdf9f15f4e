"""What the layer alone says about the frames. It is frozen, so everything is computed once and kept."""

from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from data import Frames

from ectjax.layers import ECTLayer, Features

CHUNK = 32
LENGTHS = (4, 7)
"""Atoms that frames are padded to, besides those of the largest: a program for each."""
SPARSE = 1e-4  # e/bohr³, densities below this are no different to the network
DENSE = 0.05  # e/bohr³, that of a bond


class Physics(NamedTuple):
    """energy (F,) eV; forces (F, N, 3) eV/Å; inputs (F, N, K), what the network is told about every atom; slopes
    (F, N, K, N, 3), their derivatives in all positions in 1/Å; converged (F,)."""

    energy: np.ndarray
    forces: np.ndarray
    inputs: np.ndarray
    slopes: np.ndarray
    converged: np.ndarray

    def take(self, rows, atoms: int) -> "Physics":
        """Some of the frames, none of which has more than `atoms` atoms."""
        energy, forces, inputs, slopes, converged = (x[rows] for x in self)
        return Physics(energy, forces[:, :atoms], inputs[:, :atoms], slopes[:, :atoms, :, :atoms], converged)


def atomic_inputs(found: Features, numbers):
    """Charge, weights of the S − 1 ions, root of the background density and energy of every atom (N, S + 2), each
    scaled to about 1 and 0 for an isolated neutral atom."""
    density = jnp.sqrt((found.background + SPARSE) / DENSE) - (SPARSE / DENSE) ** 0.5
    columns = [found.charges, *found.weights.T[1:], density, found.atomic_energies / 5]
    return jnp.where((numbers > 0)[:, None], jnp.stack(columns, axis=1), 0.0)


@eqx.filter_jit
def _chunk(layer: ECTLayer, positions, numbers, charge):
    def one(positions, numbers, charge):
        def both(x):
            found = layer(x, numbers, charge)
            inputs = atomic_inputs(found, numbers)
            return (inputs, found.energy), (inputs, found.energy, found.converged)

        (slopes, slope), (inputs, energy, converged) = jax.jacfwd(both, has_aux=True)(positions)
        return energy, -slope, inputs, slopes, converged

    return jax.vmap(one)(positions, numbers, charge)


def evaluate(layer: ECTLayer, frames: Frames) -> Physics:
    """All frames, in chunks of few shapes so that few programs serve them."""
    count, most = frames.numbers.shape
    size = (frames.numbers > 0).sum(1)
    told = layer.fixed.model.state_energy.shape[1] + 2
    empty = np.zeros((count, most, told)), np.zeros((count, most, told, most, 3)), np.zeros(count, bool)
    found = Physics(np.zeros(count), np.zeros((count, most, 3)), *empty)
    ends = [n for n in LENGTHS if n < most] + [most]
    for shortest, n in pairwise([0, *ends]):
        chosen = np.flatnonzero((size > shortest) & (size <= n))
        for begin in range(0, len(chosen), CHUNK):
            rows = chosen[np.minimum(np.arange(begin, begin + CHUNK), len(chosen) - 1)]
            part = _chunk(layer, frames.positions[rows, :n], frames.numbers[rows, :n], frames.charge[rows])
            for whole, some in zip(found, part, strict=True):
                whole[(rows, *(slice(k) for k in some.shape[1:]))] = some
    return found


def nothing(frames: Frames) -> Physics:
    """What a model without physics is told."""
    count, size = frames.numbers.shape
    empty = np.zeros((count, size, 0)), np.zeros((count, size, 0, size, 3))
    return Physics(np.zeros(count), np.zeros((count, size, 3)), *empty, np.ones(count, bool))
