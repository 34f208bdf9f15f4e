"""What the layer alone says about the frames. It is frozen, so everything is computed once and kept."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from data import Frames
from hooks import Hooked

from ectjax.layers import ECTLayer, Features

CHUNK = 32
INPUTS = 5
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


def atomic_inputs(found: Features, numbers):
    """Charge, weights of the two ions, root of the background density and energy of every atom (N, INPUTS), each scaled
    to about 1 and 0 for an isolated neutral atom."""
    density = jnp.sqrt((found.background + SPARSE) / DENSE) - (SPARSE / DENSE) ** 0.5
    columns = [found.charges, *found.weights.T[1:], density, found.atomic_energies / 5]
    return jnp.where((numbers > 0)[:, None], jnp.stack(columns, axis=1), 0.0)


@eqx.filter_jit
def _chunk(layer: ECTLayer | Hooked, positions, numbers, charge):
    def one(positions, numbers, charge):
        def both(x):
            found = layer(x, numbers, charge)
            inputs = atomic_inputs(found, numbers)
            return (inputs, found.energy), (inputs, found.energy, found.converged)

        (slopes, slope), (inputs, energy, converged) = jax.jacfwd(both, has_aux=True)(positions)
        return energy, -slope, inputs, slopes, converged

    return jax.vmap(one)(positions, numbers, charge)


def evaluate(layer: ECTLayer | Hooked, frames: Frames) -> Physics:
    """All frames, in chunks of one shape so that one program serves them."""
    parts, count = [], len(frames.energy)
    for begin in range(0, count, CHUNK):
        rows = np.minimum(np.arange(begin, begin + CHUNK), count - 1)
        found = _chunk(layer, frames.positions[rows], frames.numbers[rows], frames.charge[rows])
        parts.append([np.asarray(x) for x in found])
    return Physics(*(np.concatenate(x)[:count] for x in zip(*parts, strict=True)))


def nothing(frames: Frames) -> Physics:
    """What a model without physics is told."""
    count, size = frames.numbers.shape
    empty = np.zeros((count, size, 0)), np.zeros((count, size, 0, size, 3))
    return Physics(np.zeros(count), np.zeros((count, size, 3)), *empty, np.ones(count, bool))
