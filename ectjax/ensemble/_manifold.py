"""The set the amplitudes live on: one unit sphere per atom, cut by the one total charge.

Weights are squared amplitudes, ω = c², so Σ_α ω_iα = 1 is a sphere and ω ≥ 0 needs no constraint. The
charge Σ_iα q_α c_iα² = Q is kept exactly by tilting, ω_α → ω_α e^{−ν q_α}/norm, which moves the total charge
monotonically in ν and keeps positive weights positive.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ectjax.ensemble._multipliers import mean_charge

_TILT_MAX = 60.0


def normalise(amplitudes: Float[Array, "N S"], mask: Bool[Array, "N S"]) -> Float[Array, "N S"]:
    """Scale every atom's amplitudes to the unit sphere; states outside the mask get zero."""
    c = jnp.where(mask, amplitudes, 0.0)
    return c / jnp.sqrt(jnp.sum(c**2, axis=1, keepdims=True))


def _tilted(amplitudes, charges, mask, nu):
    """Amplitudes times e^{−ν q/2}, normalised, with the exponent shifted so that nothing overflows."""
    exponent = jnp.where(mask & (amplitudes != 0), -0.5 * nu * charges, -jnp.inf)
    shift = jnp.max(exponent, axis=1, keepdims=True)
    return normalise(amplitudes * jnp.exp(exponent - jnp.where(jnp.isfinite(shift), shift, 0.0)), mask)


def retract(
    amplitudes: Float[Array, "N S"],
    charges: Float[Array, "N S"],
    mask: Bool[Array, "N S"],
    total_charge: Float[Array, ""],
) -> Float[Array, "N S"]:
    """Nearest-by-tilting point with unit atoms and the given total charge.

    Newton's method on ν inside a bracket, two or three steps near the manifold. Where the charge can only be
    met in the limit of integer states the excess falls as e^{−ν}; Newton then creeps, and bisection jumps.
    """
    c0 = normalise(amplitudes, mask)
    limit, eps = jnp.asarray(_TILT_MAX, c0.dtype), jnp.finfo(c0.dtype).eps
    goal = 2 * eps * (jnp.abs(total_charge) + jnp.sqrt(jnp.asarray(c0.shape[0], c0.dtype)))

    def measure(nu):
        c = _tilted(c0, charges, mask, nu)
        mean = mean_charge(c, charges)
        return jnp.sum(mean) - total_charge, jnp.sum(c**2 * (charges - mean[:, None]) ** 2)

    def unfinished(carry):
        _, _, _, excess, variance, _, steps = carry
        # steps of ν of some eps hardly change amplitudes, only how their charges are rounded
        return (jnp.abs(excess) > jnp.maximum(goal, 8 * eps * variance)) & (steps < 80)

    def improve(carry):
        low, high, nu, excess, variance, last, steps = carry
        low, high = jnp.where(excess > 0, nu, low), jnp.where(excess > 0, high, nu)
        newton = nu + excess / jnp.where(variance > 0, variance, 1.0)
        useful = (newton > low) & (newton < high) & (variance > 0) & (jnp.abs(excess) < 0.25 * last)
        new = jnp.where(useful, newton, 0.5 * (low + high))
        return low, high, new, *measure(new), jnp.where(useful, jnp.abs(excess), jnp.inf), steps + 1

    zero = jnp.zeros((), c0.dtype)
    start = (-limit, limit, zero, *measure(zero), jnp.full((), jnp.inf, c0.dtype), jnp.zeros((), jnp.int32))
    nu = jax.lax.while_loop(unfinished, improve, start)[2]
    return _tilted(c0, charges, mask, nu)


def tangent(vector: Float[Array, "N S"], amplitudes, normal, normal_square) -> Float[Array, "N S"]:
    """Orthogonal projection of a vector onto the tangent space at `amplitudes`.

    `normal` is the charge gradient without its radial part, `normal_square` its squared norm (guarded).
    """
    flat = vector - amplitudes * jnp.sum(amplitudes * vector, axis=1, keepdims=True)
    return flat - normal * (jnp.sum(normal * flat) / normal_square)
