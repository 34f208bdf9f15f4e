"""Switching functions that take a radial function smoothly to zero at a cutoff."""

import jax.numpy as jnp
from jaxtyping import Array, Float

SWITCH_FRACTION = 0.75
"""Of the cutoff, from where on the short-range functions of a model are switched off."""


def smoothstep(r: Float[Array, "*shape"], onset: float, cutoff: float) -> Float[Array, "*shape"]:
    """1 up to `onset`, 0 from `cutoff` on, a quintic between: first and second derivatives vanish at both ends."""
    x = jnp.clip((r - onset) / (cutoff - onset), 0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def cutoff_switch(r: Float[Array, "*shape"], cutoff: float) -> Float[Array, "*shape"]:
    """What takes the short-range functions of a model to zero at its cutoff: `smoothstep` from `SWITCH_FRACTION` on."""
    return smoothstep(r, SWITCH_FRACTION * cutoff, cutoff)
