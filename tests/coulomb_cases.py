"""Cells and charges that the Coulomb tests share."""

import jax
import jax.numpy as jnp
import numpy as np

from ectjax.coulomb import ewald_energy
from ectjax.neighbors import neighbor_list

CELLS = {
    "cubic": np.eye(3) * 7.0,
    "orthorhombic": np.diag([6.1, 7.4, 8.3]),
    "triclinic": np.array([[7.0, 0.3, -0.2], [2.6, 6.6, 0.4], [-2.1, 2.9, 6.9]]),
    "left-handed": np.array([[0.5, 6.8, 0.1], [7.2, -0.4, 1.9], [0.9, 2.0, 7.1]]),
}


def random_system(cell, n=8, net=0.7, seed=0, closest=1.3):
    """Positions (Å) no nearer than `closest`, images included, and charges (e) with a net charge."""
    rng = np.random.default_rng(seed)
    offsets = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ cell
    positions = np.empty((0, 3))
    while len(positions) < n:
        trial = rng.uniform(size=3) @ cell
        gaps = positions[:, None] - trial + offsets
        if not len(positions) or np.linalg.norm(gaps, axis=-1).min() > closest:
            positions = np.vstack([positions, trial])
    charges = rng.uniform(-1, 1, n)
    return jnp.asarray(positions), jnp.asarray(charges - charges.mean() + net / n)


def energy_function(positions, cell, parameters):
    """f(positions, charges, strain) in eV with a list that stays complete for small changes."""
    neighbors = neighbor_list(positions, cell, True, parameters.cutoff + 0.1)

    def energy(x, q, strain):
        return ewald_energy(x, q, jnp.asarray(cell), neighbors, parameters, strain=strain)

    return energy


def derivatives(energy, positions, charges):
    """All first and second derivatives that a long-range sum is asked for, by name."""
    point = (positions, charges, jnp.zeros((3, 3)))
    names = ("r", "q", "strain")

    @jax.jit
    def along(direction):
        value_and_slope = jax.value_and_grad(energy, argnums=(0, 1, 2))
        return jax.jvp(value_and_slope, point, direction)

    still = tuple(jnp.zeros_like(part) for part in point)
    probes = [jnp.cos(jnp.arange(float(part.size))).reshape(part.shape) for part in point]
    results = {}
    for k, name in enumerate(names):
        (value, slopes), (_, bends) = along((*still[:k], probes[k], *still[k + 1 :]))
        results["energy"] = value
        results[f"dE/d{name}"] = slopes[k]
        results |= {f"d2E/d{name}d{other}": bend for other, bend in zip(names, bends, strict=True)}
    rows = [along((still[0], unit, still[2]))[1][1][1] for unit in jnp.eye(len(charges))]
    return results | {"d2E/dqdq": jnp.stack(rows)}


def assert_all_close(got, want, relative):
    """Every array within `relative` of its largest entry."""
    for name, reference in want.items():
        scale = float(jnp.max(jnp.abs(reference)))
        difference = float(jnp.max(jnp.abs(got[name] - reference)))
        assert difference <= relative * scale, f"{name}: off by {difference:.3g} of {scale:.3g}"
