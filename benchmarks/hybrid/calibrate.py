"""Physical parameters of the layer fitted to the forces of some frames, by gradients through the equilibration."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from data import Frames

from ectjax.layers import ECTLayer, trainable

BATCH = 16


def robust(error, width=2.0):
    """Squared errors that grow linearly beyond `width` eV/Å: no single wild frame decides."""
    return jnp.where(jnp.abs(error) < width, error**2, width * (2 * jnp.abs(error) - width))


def force_loss(layer: ECTLayer, batch: Frames, weights):
    """Mean robust error of the forces, and the weights to start from next time."""

    def energy(x):
        found = layer.batch(x, batch.numbers, batch.charge, weights=weights)
        return jnp.sum(found.energy), found.weights

    slope, weights = jax.grad(energy, has_aux=True)(batch.positions)
    real = (batch.numbers > 0)[..., None]
    return jnp.sum(jnp.where(real, robust(slope + batch.forces), 0.0)) / (3 * jnp.sum(real)), weights


def calibrate(layer: ECTLayer, frames: Frames, weights, steps: int, rate: float = 0.03, seed: int = 0, report=None):
    """The layer after `steps` of Adam on batches of 16 frames; weights (F, N, S) start the solves and follow."""
    moving, still = eqx.partition(layer, trainable(layer))
    schedule = optax.cosine_decay_schedule(rate, steps, 0.05)
    optimiser = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))
    state = optimiser.init(moving)

    @eqx.filter_jit
    def step(moving, state, batch, weights):
        def loss(moving):
            return force_loss(eqx.combine(moving, still), batch, weights)

        (value, weights), slope = eqx.filter_value_and_grad(loss, has_aux=True)(moving)
        slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), slope)
        change, state = optimiser.update(slope, state)
        return eqx.apply_updates(moving, change), state, value, weights

    rng, weights = np.random.default_rng(seed), np.array(weights)
    arrays = {k: getattr(frames, k) for k in ("positions", "numbers", "charge", "forces")}
    for count in range(steps):
        rows = rng.choice(len(frames.energy), BATCH, replace=False)
        batch = frames._replace(
            **{k: jnp.asarray(v[rows]) for k, v in arrays.items()}, energy=None, group=None, name=None
        )
        moving, state, value, weights[rows] = step(moving, state, batch, jnp.asarray(weights[rows]))
        if report is not None:
            report(count, float(value))
    return eqx.combine(moving, still)
