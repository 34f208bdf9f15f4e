"""Physical parameters as numbers an optimiser may move freely: p = low + (high − low) sigmoid(x), bounds of the fit."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ectjax.model import BOUNDS, Parameters

MARGIN = 1e-4
"""Fraction of a range by which a start on its bound is moved inside."""


def unbounded(parameters: Parameters, fields) -> dict[str, Float[Array, " E"]]:
    """x of the named fields. Raises ValueError for a name that is no parameter."""
    unknown = [f for f in fields if f not in BOUNDS]
    if unknown:
        raise ValueError(f"trainable got {', '.join(map(repr, unknown))}; allowed are {', '.join(BOUNDS)}")

    def inverse(value, low, high):
        fraction = jnp.clip((jnp.asarray(value) - low) / (high - low), MARGIN, 1 - MARGIN)
        return jnp.log(fraction) - jnp.log1p(-fraction)

    return {f: inverse(getattr(parameters, f), *BOUNDS[f]) for f in fields}


def bounded(free: Mapping[str, Float[Array, " E"]], fixed: Parameters) -> Parameters:
    """`fixed` with the fields in `free` replaced by their bounded values."""
    names = sorted(free)
    values = [BOUNDS[n][0] + (BOUNDS[n][1] - BOUNDS[n][0]) * jax.nn.sigmoid(free[n]) for n in names]
    return eqx.tree_at(lambda p: [getattr(p, n) for n in names], fixed, values) if names else fixed
