"""The layer with environment-dependent parameters: what an atom's neighbours add to its own quantities.

Every pair of elements has a short radial function for each of the layer's hooks, and an atom's corrections are the
sums over its neighbours. Without neighbours there are none, so atoms still come apart as the tables say. Fitted
together with the physical parameters (`calibrate.py`), then frozen with them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from network import surroundings

from ectjax.layers import Corrections, ECTLayer, Features

ELEMENTS = (1, 6, 7, 8, 11, 17)
FIELDS = ("state_energy", "log_kappa", "log_background", "a", "b")
STATES = 3
SCALE = (0.3, 0.3, 0.3, 0.06, 0.06, 0.06, 0.06)  # what a weight of 1 means, per number of a correction: eV, then none
CENTRES = (0.8, 1.4, 2.0, 2.6)  # Å, of Gaussians
WIDTH, REACH = 0.5, 4.0  # Å


class Hooked(eqx.Module):
    """A layer whose corrections are sums over neighbours, linear in `weights` (element, its neighbour's, radial, 7)."""

    layer: ECTLayer
    weights: Float[Array, "E E K F"]

    def __init__(self, layer: ECTLayer):
        self.layer = layer
        size = (len(ELEMENTS), len(ELEMENTS), len(CENTRES), Corrections.width(STATES, FIELDS))
        self.weights = jnp.zeros(size, layer.fixed.model.state_energy.dtype)

    def corrections(self, positions, numbers) -> Corrections:
        """Of every atom of one structure."""
        _, distance, fade = surroundings(positions, numbers > 0, REACH)
        radial = fade[..., None] * jnp.exp(-(((distance[..., None] - jnp.array(CENTRES)) / WIDTH) ** 2))
        kind = jnp.argmax(numbers[:, None] == jnp.array(ELEMENTS), axis=1)
        raw = jnp.einsum("ijk,ijkf->if", radial, self.weights[kind[:, None], kind[None]])
        return Corrections.split(raw * jnp.array(SCALE), STATES, FIELDS)

    def __call__(self, positions, numbers, charge=0.0) -> Features:
        """Features of one structure."""
        return self.layer(positions, numbers, charge, corrections=self.corrections(positions, numbers))

    def batch(self, positions, numbers, charge=0.0, *, weights=None) -> Features:
        """Features of a padded batch; weights: a warm start."""
        corrections = jax.vmap(self.corrections)(positions, numbers)
        return self.layer.batch(positions, numbers, charge, corrections=corrections, weights=weights)
