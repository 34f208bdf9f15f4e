"""Switching functions that take a radial function smoothly to zero at a cutoff."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def smoothstep(r: Float[Array, "*shape"], onset: float, cutoff: float) -> Float[Array, "*shape"]:
    """1 up to `onset`, 0 from `cutoff` on, a quintic between: first and second derivatives vanish at both ends."""
    x = jnp.clip((r - onset) / (cutoff - onset), 0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
