"""Convolution of one Slater term with a three-dimensional Gaussian, stable for every ratio of their widths.

With b = R − aσ² the convolution is [J(R) − J(−R)]/R, J(R) = e^{−aR + a²σ²/2} M_{n+1}(b), where
M_m(b) = ∫_0^∞ s^m N(s; b, σ) ds obeys M_m = b M_{m−1} + (m−1) σ² M_{m−2}. Upwards the recurrence is stable for
b ≳ 0; for b ≪ 0 it cancels, and the ratios M_m/M_{m−1} are found downwards (all terms positive) instead.
"""

import math

import jax
import jax.numpy as jnp

from .slater import MAX_POWER

_SWITCH = -1.0  # b/σ below which the downward recurrence is used
_DEPTH = 120  # start of the downward recurrence; converged to rounding at the switch


def _scaled_moments(exponent, distance, sigma, top):
    """e^{−aR + a²σ²/2} M_m(b) for m = 0 … top, a list; `distance` may be negative."""
    b = distance - exponent * sigma**2
    z = b / sigma
    gauss = jnp.exp(-0.5 * (distance / sigma) ** 2) / math.sqrt(2 * math.pi)

    up = jnp.maximum(z, _SWITCH)
    log_scale = jnp.where(z >= _SWITCH, -exponent * distance + 0.5 * (exponent * sigma) ** 2, 0.0)
    zeroth = jnp.exp(log_scale + jax.scipy.special.log_ndtr(up))
    forward = [zeroth, sigma * (up * zeroth + gauss)]
    for m in range(2, top + 1):
        forward.append(sigma * up * forward[m - 1] + (m - 1) * sigma**2 * forward[m - 2])

    down = jnp.minimum(z, _SWITCH)
    ratio = 0.5 * (down + jnp.sqrt(down**2 + 4 * _DEPTH))
    step = jax.checkpoint(lambda carry, m: ((m - 1) / (carry - down), None))
    ratio, _ = jax.lax.scan(step, ratio, jnp.arange(_DEPTH, top + 1, -1, dtype=ratio.dtype))
    ratios = [ratio]  # ratio M_{top+1−i}/(σ M_{top−i}) after i further steps, down to m = 1
    for m in range(top + 1, 1, -1):
        ratios.append((m - 1) / (ratios[-1] - down))
    ratios = ratios[::-1]
    backward = [gauss / (ratios[0] - down)]
    for m in range(1, top + 1):
        backward.append(backward[m - 1] * sigma * ratios[m - 1])
    return [jnp.where(z >= _SWITCH, f, g) for f, g in zip(forward, backward, strict=True)]


def _pick(values, index):
    chosen = jnp.zeros_like(values[0])
    for m, value in enumerate(values):
        chosen = jnp.where(index == m, value, chosen)
    return chosen


def smeared_terms(powers, exponents, distance, sigma):
    """(r^n e^{−ar}) ∗ Gaussian at `distance` (≥ 0), per term; all arguments broadcast to (..., K)."""
    shape = jnp.broadcast_shapes(powers.shape, exponents.shape, distance.shape, sigma.shape)
    powers, exponents, distance, sigma = (jnp.broadcast_to(v, shape) for v in (powers, exponents, distance, sigma))
    near = distance < 0.01 * sigma
    far = jnp.where(near, sigma, distance)
    plus = _pick(_scaled_moments(exponents, far, sigma, MAX_POWER + 1), powers + 1)
    minus = _pick(_scaled_moments(exponents, -far, sigma, MAX_POWER + 1), powers + 1)
    # near the centre J(R) − J(−R) cancels; its odd Taylor series, Hermite polynomials under the integral, does not
    centre = _scaled_moments(exponents, jnp.zeros_like(distance), sigma, MAX_POWER + 6)
    m1, m3, m5 = (_pick(centre, powers + 1 + k) / sigma**k for k in (1, 3, 5))
    t2 = (jnp.where(near, distance, 0.0) / sigma) ** 2
    series = (2 / sigma) * (m1 + t2 * (m3 - 3 * m1) / 6 + t2**2 * (m5 - 10 * m3 + 15 * m1) / 120)
    return jnp.where(near, series, (plus - minus) / far)
