"""Physical parameters and hooks of the layer, fitted to forces of frames by gradients through the equilibration."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from data import Frames
from hooks import Hooked

from ectjax.layers import trainable

BATCH = 16


def robust(error, width=0.3):
    """Squared errors that grow linearly beyond `width` eV/Å: no single wild frame decides."""
    return jnp.where(jnp.abs(error) < width, error**2, width * (2 * jnp.abs(error) - width))


def force_loss(layer: Hooked, batch: Frames, weights):
    """Mean robust error of the forces, and the weights to start from next time."""

    def energy(x):
        found = layer.batch(x, batch.numbers, batch.charge, weights=weights)
        return jnp.sum(found.energy), found.weights

    slope, weights = jax.grad(energy, has_aux=True)(batch.positions)
    real = (batch.numbers > 0)[..., None]
    return jnp.sum(jnp.where(real, robust(slope + batch.forces), 0.0)) / (3 * jnp.sum(real)), weights


STEPS = 1500
OPTIMISER = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(0.03, STEPS, 0.05)))


@eqx.filter_jit
def _step(moving, still, state, batch: Frames, weights):
    def loss(moving):
        return force_loss(eqx.combine(moving, still), batch, weights)

    (_, weights), slope = eqx.filter_value_and_grad(loss, has_aux=True)(moving)
    slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), slope)
    change, state = OPTIMISER.update(slope, state)
    return eqx.apply_updates(moving, change), state, weights


@eqx.filter_jit
def _cold(layer: Hooked, positions, numbers, charge):
    return layer.batch(positions, numbers, charge).weights


def calibrate(layer: Hooked, frames: Frames, seed: int = 0) -> Hooked:
    """The layer after STEPS of Adam on batches of 16 frames; every frame's weights start its next solve."""
    moving, still = eqx.partition(layer, trainable(layer))
    state, rng = OPTIMISER.init(moving), np.random.default_rng(seed)
    weights = np.array(_cold(layer, frames.positions, frames.numbers, frames.charge))
    arrays = {k: getattr(frames, k) for k in ("positions", "numbers", "charge", "forces")}
    for _ in range(STEPS):
        rows = rng.choice(len(frames.energy), BATCH, replace=False)
        batch = Frames(**{k: jnp.asarray(v[rows]) for k, v in arrays.items()}, energy=None, group=None, name=None)
        moving, state, weights[rows] = _step(moving, still, state, batch, jnp.asarray(weights[rows]))
    return eqx.combine(moving, still)
