"""What the layer alone says about the frames. Its parameters are frozen then, so it is evaluated once and kept."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from data import Frames

from ectjax.layers import ECTLayer

CHUNK = 32


class Evaluated(NamedTuple):
    """energy (F,) in eV, forces (F, N, 3) in eV/Å, weights (F, N, S), converged (F,)."""

    energy: np.ndarray
    forces: np.ndarray
    weights: np.ndarray
    converged: np.ndarray


@eqx.filter_jit
def _chunk(layer: ECTLayer, positions, numbers, charge):
    def energy(x):
        found = layer.batch(x, numbers, charge)
        return jnp.sum(found.energy), found

    slope, found = jax.grad(energy, has_aux=True)(positions)
    return found.energy, -slope, found.weights, found.converged


def evaluate(layer: ECTLayer, frames: Frames) -> Evaluated:
    """All frames, in chunks of one shape so that one program serves them."""
    parts, count = [], len(frames.energy)
    for begin in range(0, count, CHUNK):
        rows = np.minimum(np.arange(begin, begin + CHUNK), count - 1)
        found = _chunk(layer, frames.positions[rows], frames.numbers[rows], frames.charge[rows])
        parts.append([np.asarray(x) for x in found])
    return Evaluated(*(np.concatenate(x)[:count] for x in zip(*parts, strict=True)))
