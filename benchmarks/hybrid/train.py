"""Training on energies and forces, the same for both models. Runs in float64 mode; networks are float32 inside."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from data import Frames

from ectjax.layers import trainable

BATCH, STEPS = 16, 2000
RATES = {"network": 4e-3, "physics": 1e-2}
ENERGY_WEIGHT = 1.0  # of 1 (eV per atom)² against 1 (eV/Å)²
ELEMENTS = (1, 6, 7, 8, 11, 17)
LONGEST = 2048  # frames a training set is padded to, so that one program serves all sizes


class Batch(NamedTuple):
    """Some frames on the device: positions, numbers, charge, energy, forces as in `Frames`."""

    positions: jax.Array
    numbers: jax.Array
    charge: jax.Array
    energy: jax.Array
    forces: jax.Array


def composition(frames: Frames) -> np.ndarray:
    """Atoms of each element and the total charge, (F, 7): what a shift of energies may depend on."""
    return np.stack([*((frames.numbers == z).sum(1) for z in ELEMENTS), frames.charge], axis=1)


def robust(error, width=1.0):
    """The squared error, linear beyond `width`: no single wild frame decides."""
    return jnp.where(jnp.abs(error) < width, error**2, width * (2 * jnp.abs(error) - width))


def predict(model, positions, numbers, charge, weights):
    """Energies (B,), forces (B, N, 3) and ensemble weights of a batch."""
    both = jax.vmap(jax.value_and_grad(model, has_aux=True))
    (energy, weights), slope = both(positions, numbers, charge, weights)
    return energy, -slope, weights


def loss(model, batch: Batch, weights):
    energy, forces, weights = predict(model, batch.positions, batch.numbers, batch.charge, weights)
    real = batch.numbers > 0
    atoms = jnp.sum(real, axis=1)
    of_forces = jnp.sum(jnp.where(real[..., None], robust(forces - batch.forces), 0.0)) / (3 * jnp.sum(atoms))
    return of_forces + ENERGY_WEIGHT * jnp.mean(robust((energy - batch.energy) / atoms)), weights


def optimiser(steps: int):
    """Adam with a rate for the network and one for physical parameters, both falling as a cosine."""

    def kinds(tree):
        name = jax.tree_util.keystr
        return jax.tree_util.tree_map_with_path(lambda p, _: "physics" if ".layer" in name(p) else "network", tree)

    rules = {
        kind: optax.adamw(optax.cosine_decay_schedule(rate, steps, 0.01), weight_decay=1e-3 * (kind == "network"))
        for kind, rate in RATES.items()
    }
    return optax.chain(optax.clip_by_global_norm(2.0), optax.multi_transform(rules, kinds))


RULE = optimiser(STEPS)


@eqx.filter_jit
def many_steps(moving, still, state, data: Batch, weights, rows):
    """As many steps as `rows` (steps, BATCH) has rows; weights (F, N, S) follow the frames they belong to."""

    def step(carry, row):
        moving, state, weights = carry
        batch = jax.tree.map(lambda x: x[row], data)
        (value, new), slope = jax.value_and_grad(
            lambda m: loss(eqx.combine(m, still), batch, weights[row]), has_aux=True
        )(moving)
        slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), slope)
        change, state = RULE.update(slope, state, moving)
        return (eqx.apply_updates(moving, change), state, weights.at[row].set(new)), value

    return jax.lax.scan(step, (moving, state, weights), rows)


class Trained(NamedTuple):
    """A model and the energy shifts (7,) per element and charge that come on top."""

    model: eqx.Module
    shifts: np.ndarray


def train(model, frames: Frames, start_energy, weights, seed: int, steps: int = STEPS) -> Trained:
    """A model trained on the frames. start_energy (F,): what it says at first; weights (F, N, S) start the solves;
    steps: a multiple of 100, fewer than STEPS to see that it runs."""
    counts = composition(frames)
    shifts = np.linalg.lstsq(counts.astype(float), frames.energy - start_energy, rcond=1e-6)[0]
    values = (frames.positions, frames.numbers, frames.charge, frames.energy - counts @ shifts, frames.forces)
    data = Batch(*(jnp.asarray(_lengthened(v)) for v in values))
    moving, still = eqx.partition(model, trainable(model))
    state, weights = RULE.init(moving), jnp.asarray(_lengthened(weights))
    rng, count = np.random.default_rng(seed), len(frames.energy)
    order = np.concatenate([rng.permutation(count) for _ in range(-(-steps * BATCH // count))])[: steps * BATCH]
    for rows in np.array_split(order.reshape(steps, BATCH), steps // 100):
        (moving, state, weights), _ = many_steps(moving, still, state, data, weights, jnp.asarray(rows))
    return Trained(eqx.combine(moving, still), shifts)


def _lengthened(x):
    return np.concatenate([x, np.zeros((LONGEST - len(x), *x.shape[1:]), x.dtype)])


@eqx.filter_jit
def _predict(model, positions, numbers, charge):
    return predict(model, positions, numbers, charge, None)[:2]


def apply(trained: Trained, frames: Frames, chunk: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Energies (F,) and forces (F, N, 3) of a trained model, weights solved from cold starts."""
    parts, count = [], len(frames.energy)
    for begin in range(0, count, chunk):
        rows = np.minimum(np.arange(begin, begin + chunk), count - 1)
        parts.append(_predict(trained.model, frames.positions[rows], frames.numbers[rows], frames.charge[rows]))
    energy, forces = (
        np.concatenate([np.asarray(x, float) for x in column])[:count] for column in zip(*parts, strict=True)
    )
    return energy + composition(frames) @ trained.shifts, forces
