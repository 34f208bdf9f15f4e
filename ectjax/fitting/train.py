"""Fit parameters by bounded least squares, with derivatives through the equilibration."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares

from ectjax.fitting.objective import Data, Weights, residuals
from ectjax.model import BOUNDS, Basis, Parameters


class Fit(NamedTuple):
    """Fitted parameters; root of the summed squares at start and end; evaluations; standard errors from the
    Gauss–Newton matrix (same structure as the parameters, zero where fixed)."""

    parameters: Parameters
    start_loss: float
    loss: float
    evaluations: int
    errors: Parameters


def fit(
    basis: Basis,
    data: Data,
    start: Parameters,
    *,
    weights: Weights = Weights(),
    fixed: tuple[str, ...] = ("m",),
    bounds: Mapping[str, Mapping[int, tuple[float, float]]] | None = None,
    steps: int = 60,
    tolerance: float = 1e-5,
    report: Callable[[int, float], None] | None = None,
) -> Fit:
    """Parameters that minimise the squared errors of `objective.residuals` within `BOUNDS`. Needs float64.

    Trust-region reflective least squares (SciPy) with the exact Jacobian, one column per parameter.

    Args:
        fixed: names of fields of `Parameters` that stay at their start.
        bounds: narrower ranges than `BOUNDS`, {field: {row of the element: (low, high)}}.
        steps: most evaluations of the residuals.
        report: called with (evaluation, root of the summed squares).
    """
    names = tuple(f for f in BOUNDS if f not in fixed)
    start = jax.tree.map(lambda x: jnp.asarray(x, float), start)
    flat = np.asarray(ravel_pytree(_selected(start, names))[0])
    lower, upper = (_limits(names, len(basis.numbers), bounds or {}, side) for side in (0, 1))

    cache: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    count = [0]

    def evaluate(x):
        key = np.asarray(x).tobytes()
        if key not in cache:
            cache.clear()
            cache[key] = tuple(
                np.asarray(y) for y in _value_and_jacobian(jnp.asarray(x), basis, data, start, weights, names)
            )
            count[0] += 1
            if report is not None:
                report(count[0], float(np.linalg.norm(cache[key][0])))
        return cache[key]

    x0 = np.clip(flat, lower + 1e-6, upper - 1e-6)
    first = float(np.linalg.norm(evaluate(x0)[0]))
    found = least_squares(
        lambda x: evaluate(x)[0],
        x0,
        jac=lambda x: evaluate(x)[1],
        bounds=(lower, upper),
        x_scale="jac",
        max_nfev=steps,
        ftol=tolerance,
        xtol=1e-8,
        gtol=1e-10,
    )
    best = _rebuild(jnp.asarray(found.x), start, names)
    return Fit(best, first, float(np.sqrt(2 * found.cost)), count[0], _errors(found, start, names))


def _limits(names, elements: int, bounds, side: int) -> np.ndarray:
    """One side of the ranges as a flat vector in the order of `ravel_pytree`."""
    columns = []
    for name in sorted(names):
        column = np.full(elements, BOUNDS[name][side])
        for row, limits in bounds.get(name, {}).items():
            column[row] = limits[side]
        columns.append(column)
    return np.concatenate(columns)


def _selected(parameters: Parameters, names) -> dict[str, jax.Array]:
    return {n: getattr(parameters, n) for n in names}


def _rebuild(x, start: Parameters, names) -> Parameters:
    """`start` with the named fields taken from the flat vector (fields in alphabetical order, as JAX flattens)."""
    values = ravel_pytree(_selected(start, names))[1](x)
    return eqx.tree_at(lambda p: [getattr(p, n) for n in names], start, [values[n] for n in names])


@eqx.filter_jit
def _value_and_jacobian(x, basis: Basis, data: Data, start: Parameters, weights: Weights, names):
    """Residuals (R,) and their derivatives (R, parameters). The tables are arguments, so restarts share one program."""

    def vector(x):
        return ravel_pytree(residuals(_rebuild(x, start, names), basis, data, weights, start))[0]

    value, push = jax.linearize(vector, x)
    return value, jax.vmap(push, out_axes=1)(jnp.eye(x.size, dtype=x.dtype))


def _errors(found, start: Parameters, names) -> Parameters:
    """Standard errors √diag(s² (JᵀJ)⁻¹) with s² the residual variance per degree of freedom."""
    freedom = max(found.fun.size - found.x.size, 1)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * (2 * found.cost / freedom)
    spread = _rebuild(jnp.asarray(np.sqrt(np.diag(covariance))), start, names)
    return jax.tree.map(lambda x, y: jnp.where(x == y, 0.0, x), spread, start)
