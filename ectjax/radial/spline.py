"""Cubic splines on a uniform grid: twice continuously differentiable, linear in their values.

The spline is a linear map of the knot values, so a table stays differentiable in whatever made its values.
Evaluation gathers one contiguous block of four coefficients per interval; derivatives with respect to the
argument are those of the polynomial, so autodiff never passes through a search.
"""

from functools import lru_cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


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
    return polynomial_of([coefficients[..., k] for k in range(4)], t)


@eqx.filter_custom_jvp
def table_values(
    tables: Float[Array, "*batch powers intervals"], index: Int[Array, " P"], t: Float[Array, " P"]
) -> Float[Array, "*batch P"]:
    """Values of a batch of tables at P places: many arguments, each in an interval of its own.

    The coefficients lie apart, power by power from the lowest, and the places are the last axis: such loops XLA turns
    into vector code. The derivative in t reads tables of its own. If it read these, a compiler would keep everything
    gathered for the value until the derivative wants it, which costs far more than gathering twice.
    """
    return polynomial_of(_gathered(tables, index), t)


@table_values.def_jvp
def _table_values_jvp(primals, tangents):
    tables, index, t = primals
    d_tables, _, d_t = tangents
    value = table_values(tables, index, t)
    change = jnp.zeros_like(value)
    if d_t is not None and tables.shape[-2] > 1:
        powers = jnp.arange(1, tables.shape[-2], dtype=tables.dtype)[:, None]
        change = change + table_values(powers * tables[..., 1:, :], index, t) * d_t
    if d_tables is not None:
        change = change + table_values(d_tables, index, t)
    return value, change


def _gathered(tables, index):
    """The coefficients, each (*batch, P), of intervals `index`, by gathers of single numbers."""
    *batch, powers, intervals = tables.shape
    rows = jnp.arange(int(np.prod(batch)), dtype=index.dtype).reshape(*batch, 1) * (powers * intervals) + index
    flat = tables.reshape(-1)

    def pick(power):
        return flat.at[rows + power * intervals].get(mode="promise_in_bounds", wrap_negative_indices=False)

    return [pick(power) for power in range(powers)]


def polynomial_of(coefficients, t):
    """Value of coefficients, lowest power first, at the fraction t (Horner)."""
    *lower, value = coefficients
    for c in reversed(lower):
        value = value * t + c
    return value


@eqx.filter_custom_jvp
def reciprocal_values(
    tables: Float[Array, "*batch 4 places"],
    index: Int[Array, " P"],
    t: Float[Array, " P"],
    x: Float[Array, " P"],
    intervals: int,
) -> Float[Array, "*batch P"]:
    """v(x)/x, x > 0, for tables of v on grids that start at x = 0 and have so many intervals each, as `table_values`.

    The derivative in x, which t follows, is (x v′ − v)/x²: its numerator is a table again.
    """
    return table_values(tables, index, t) / x


@reciprocal_values.def_jvp
def _reciprocal_values_jvp(primals, tangents):
    tables, index, t, x, intervals = primals
    d_tables, _, _, d_x, _ = tangents
    value = reciprocal_values(*primals)
    change = jnp.zeros_like(value)
    if d_x is not None:
        k = jnp.arange(tables.shape[-1]) % intervals  # x v′ = (k + t) dv/dt
        c0, c1, c2, c3 = (tables[..., power, :] for power in range(4))
        numerator = jnp.stack([k * c1 - c0, 2 * k * c2, c2 + 3 * k * c3, 2 * c3], axis=-2)
        change = change + table_values(numerator, index, t) * (d_x / x**2)
    if d_tables is not None:
        change = change + table_values(d_tables, index, t) / x
    return value, change


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
