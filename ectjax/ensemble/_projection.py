"""Euclidean projection of weights onto the product of simplices cut by the total charge."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def project_simplices(weights: Float[Array, "N S"], mask: Bool[Array, "N S"]) -> Float[Array, "N S"]:
    """Nearest point of every row's simplex {ω ≥ 0, Σω = 1}, exact by sorting (Held, Wolfe & Crowder 1974)."""
    low = jnp.finfo(weights.dtype).min / 4
    ordered = -jnp.sort(-jnp.where(mask, weights, low), axis=1)
    counts = jnp.arange(1, weights.shape[1] + 1, dtype=weights.dtype)
    excess = (jnp.cumsum(jnp.where(ordered > low / 2, ordered, 0.0), axis=1) - 1.0) / counts
    inside = (ordered > excess) & (ordered > low / 2)
    last = jnp.sum(inside, axis=1, keepdims=True) - 1
    threshold = jnp.take_along_axis(excess, last, axis=1)
    return jnp.where(mask, jnp.maximum(weights - threshold, 0.0), 0.0)


def project_weights(
    weights: Float[Array, "N S"],
    charges: Float[Array, "N S"],
    mask: Bool[Array, "N S"],
    total_charge: Float[Array, ""],
) -> Float[Array, "N S"]:
    """Nearest weights with every row on its simplex and Σ_iα ω_iα q_α = total_charge.

    The projection is project_simplices(weights − μ q) with the one μ that gives the charge; the charge falls
    monotonically and piecewise linearly in μ, so bisection brackets the segment and one secant step ends it.

    Args:
        weights: any real numbers, (N, S).
        charges: q_α of every state in e, (N, S).
        mask: states that exist, (N, S).
        total_charge: Q in e, within the reachable range (`charge_range`).
    """

    def excess(mu):
        return jnp.sum(project_simplices(weights - mu * charges, mask) * charges) - total_charge

    span = 2.0 + jnp.max(jnp.where(mask, jnp.abs(weights), 0.0)) * 2.0

    def body(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        positive = excess(middle) > 0
        return jnp.where(positive, middle, low), jnp.where(positive, high, middle)

    steps = 30 if weights.dtype == jnp.float32 else 50
    low, high = jax.lax.fori_loop(0, steps, body, (-span, span))
    low, high = jax.lax.stop_gradient((low, high))
    # one Newton step on the linear segment makes μ exact and differentiable
    middle = 0.5 * (low + high)
    support = jax.lax.stop_gradient(project_simplices(weights - middle * charges, mask) > 0)
    size = jnp.maximum(jnp.sum(support, axis=1, keepdims=True), 1)
    mean = jnp.sum(jnp.where(support, charges, 0.0), axis=1, keepdims=True) / size
    slope = jnp.sum(jnp.where(support, (charges - mean) ** 2, 0.0))
    step = excess(middle) / jnp.where(slope > 0, slope, 1.0)
    return project_simplices(weights - (middle + jnp.where(slope > 0, step, 0.0)) * charges, mask)


def charge_range(charges: Float[Array, "N S"], mask: Bool[Array, "N S"]) -> tuple[Array, Array]:
    """Lowest and highest total charge in e that the states can reach."""
    low = jnp.min(jnp.where(mask, charges, jnp.inf), axis=1)
    high = jnp.max(jnp.where(mask, charges, -jnp.inf), axis=1)
    some = jnp.any(mask, axis=1)
    return jnp.sum(jnp.where(some, low, 0.0)), jnp.sum(jnp.where(some, high, 0.0))
