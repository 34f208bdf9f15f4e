"""Training on energies and forces, the same for both models. What the physics says does not change: it is read."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from data import Frames
from network import Network
from physics import Physics

BATCH, STEPS, RATE = 16, 18000, 8e-3
ENERGY_WEIGHT = 1.0  # of 1 eV per atom against 1 eV/Å
LONGEST = 2048  # frames a training set is padded to, so that one program serves all sizes


class Batch(NamedTuple):
    """Some frames on the device, as in `Frames`, with what the physics says about them, as in `Physics`."""

    positions: jax.Array
    numbers: jax.Array
    charge: jax.Array
    energy: jax.Array
    forces: jax.Array
    physics: Physics


def robust(error, width=0.1):
    """About twice the absolute error, a parabola within `width`: what is reported, and no wild frame decides."""
    return jnp.where(jnp.abs(error) < width, error**2 / width, 2 * jnp.abs(error) - width)


def predict(network: Network, batch: Batch):
    """Energies (B,) and forces (B, N, 3) of network and physics. Positions act directly and through the inputs."""

    def one(positions, numbers, charge, physics):
        both = jax.value_and_grad(network, argnums=(0, 3))
        energy, (direct, told) = both(positions, numbers, charge, physics.inputs)
        forces = physics.forces - direct - jnp.einsum("nk,nkmx->mx", told, physics.slopes)
        return energy + physics.energy, forces

    return jax.vmap(one)(batch.positions, batch.numbers, batch.charge, batch.physics)


def loss(network: Network, batch: Batch):
    energy, forces = predict(network, batch)
    real = batch.numbers > 0
    atoms = jnp.sum(real, axis=1)
    of_forces = jnp.sum(jnp.where(real[..., None], robust(forces - batch.forces), 0.0)) / (3 * jnp.sum(atoms))
    return of_forces + ENERGY_WEIGHT * jnp.mean(robust((energy - batch.energy) / atoms))


def optimiser(steps: int):
    """Adam with a rate that falls as a cosine."""
    rate = optax.cosine_decay_schedule(RATE, steps, 0.01)
    return optax.chain(optax.clip_by_global_norm(2.0), optax.adamw(rate, weight_decay=1e-3))


@eqx.filter_jit
def many_steps(network, state, data: Batch, rows, steps: int):
    """As many steps as `rows` (…, BATCH) has rows, of `steps` in all."""
    rule = optimiser(steps)
    moving, still = eqx.partition(network, eqx.is_inexact_array)

    def step(carry, row):
        moving, state = carry
        batch = jax.tree.map(lambda x: x[row], data)
        slope = jax.grad(lambda m: loss(eqx.combine(m, still), batch))(moving)
        change, state = rule.update(slope, state, moving)
        return (eqx.apply_updates(moving, change), state), None

    (moving, state), _ = jax.lax.scan(step, (moving, state), rows)
    return eqx.combine(moving, still), state


def train(network: Network, frames: Frames, physics: Physics, seed: int, steps: int = STEPS) -> Network:
    """A network trained on what the physics leaves of the frames. steps: a multiple of 100."""
    count = len(frames.energy)
    data = jax.tree.map(_lengthened, on_device(frames, physics))
    state, rng = optimiser(steps).init(eqx.filter(network, eqx.is_inexact_array)), np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(count) for _ in range(-(-steps * BATCH // count))])[: steps * BATCH]
    for rows in np.array_split(order.reshape(steps, BATCH), steps // 100):
        network, state = many_steps(network, state, data, jnp.asarray(rows), steps)
    return network


def on_device(frames: Frames, physics: Physics) -> Batch:
    """All frames in single precision."""
    values = Batch(frames.positions, frames.numbers, frames.charge, frames.energy, frames.forces, physics)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32 if x.dtype.kind == "f" else None), values)


def _lengthened(x):
    return jnp.concatenate([x, jnp.zeros((LONGEST - len(x), *x.shape[1:]), x.dtype)])


_predict = eqx.filter_jit(predict)


def apply(network: Network, frames: Frames, physics: Physics, chunk: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Energies (F,) and forces (F, N, 3) of network and physics."""
    parts, count, data = [], len(frames.energy), on_device(frames, physics)
    for begin in range(0, count, chunk):
        rows = np.minimum(np.arange(begin, begin + chunk), count - 1)
        parts.append(_predict(network, jax.tree.map(lambda x: x[rows], data)))  # noqa: B023
    energy, forces = (
        np.concatenate([np.asarray(x, float) for x in column])[:count] for column in zip(*parts, strict=True)
    )
    return energy, forces
