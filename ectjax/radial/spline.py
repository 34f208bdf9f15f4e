"""Cubic splines on a uniform grid: twice continuously differentiable, linear in their values.

The spline is a linear map of the knot values, so a table stays differentiable in whatever made its values.
Evaluation gathers one contiguous block of four coefficients per interval; derivatives with respect to the
argument are those of the polynomial, so autodiff never passes through a search.
"""

from functools import lru_cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@lru_cache(maxsize=64)
def slope_operator(n: int) -> np.ndarray:
    """Matrix (n, n) that takes knot values to knot slopes (per grid spacing) of the C² spline.

    The end slopes are five-point one-sided differences, exact for quartics; between them the slopes solve
    m[i-1] + 4 m[i] + m[i+1] = 3 (y[i+1] - y[i-1]).
    """
    if n < 5:
        raise ValueError(f"a spline was given {n} knots, at least 5 are needed: use a finer grid")
    left, right = np.zeros((n, n)), np.zeros((n, n))
    rows = np.arange(1, n - 1)
    left[rows, rows - 1], left[rows, rows], left[rows, rows + 1] = 1.0, 4.0, 1.0
    right[rows, rows - 1], right[rows, rows + 1] = -3.0, 3.0
    left[0, 0] = left[-1, -1] = 1.0
    end = np.array([-25.0, 48.0, -36.0, 16.0, -3.0]) / 12.0
    right[0, :5], right[-1, -5:] = end, -end[::-1]
    return np.linalg.solve(left, right)


def spline_coefficients(values: Float[Array, "*batch n"]) -> Float[Array, "*batch n-1 4"]:
    """Polynomial coefficients, lowest power first, in the fraction t ∈ [0, 1] of each interval."""
    values = jnp.asarray(values)
    operator = jnp.asarray(slope_operator(values.shape[-1]), values.dtype)
    slopes = jnp.einsum("...k,nk->...n", values, operator, precision="highest")
    step = values[..., 1:] - values[..., :-1]
    first, last = slopes[..., :-1], slopes[..., 1:]
    return jnp.stack([values[..., :-1], first, 3 * step - 2 * first - last, first + last - 2 * step], axis=-1)


def locate(x: Float[Array, "*shape"], start: float, spacing: float, intervals: int):
    """Interval index (int32) and fraction in it. Outside the grid the first or last polynomial goes on."""
    scaled = (x - start) / spacing
    index = jnp.clip(jnp.floor(scaled), 0, intervals - 1)
    return index.astype(jnp.int32), scaled - index


def polynomial(coefficients: Float[Array, "*shape 4"], t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Value of gathered coefficients at the fraction t; broadcasts over leading axes."""
    c = coefficients
    return ((c[..., 3] * t + c[..., 2]) * t + c[..., 1]) * t + c[..., 0]


class CubicSpline(eqx.Module):
    """One function (or a batch of them on one grid) as a cubic spline; call it with x of any shape.

    `coefficients` has shape (*batch, n-1, 4); the result has shape (*batch, *x.shape).
    """

    coefficients: Float[Array, "*batch intervals 4"]
    start: float = eqx.field(static=True)
    spacing: float = eqx.field(static=True)

    @classmethod
    def fit(cls, values: Float[Array, "*batch n"], start: float, spacing: float) -> "CubicSpline":
        """Interpolate `values` at start + spacing * (0 … n-1)."""
        if not spacing > 0:
            raise ValueError(f"spline spacing is {spacing}, it must be positive")
        return cls(spline_coefficients(values), float(start), float(spacing))

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*result"]:
        x = jnp.asarray(x, self.coefficients.dtype)
        index, t = locate(x, self.start, self.spacing, self.coefficients.shape[-2])
        return polynomial(self.coefficients[..., index, :], t)
