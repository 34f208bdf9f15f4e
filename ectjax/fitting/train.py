"""Fit parameters by bounded least squares, with derivatives through the equilibration."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares

from ectjax.basis import Basis
from ectjax.compilation import LIGHT, compiled
from ectjax.fitting.objective import Data, Weights, residuals
from ectjax.model import BOUNDS, Parameters


class Fit(NamedTuple):
    """Fitted parameters; root of the summed squares at start and end; evaluations; standard errors from the
    Gauss–Newton matrix (same structure as the parameters, zero where fixed); mean absolute error of the molecules kept
    for validation in eV per atom (nan without any)."""

    parameters: Parameters
    start_loss: float
    loss: float
    evaluations: int
    errors: Parameters
    validation: float = np.nan


class Free(NamedTuple):
    """What is fitted: fields of `Parameters`, and the rows of the elements."""

    names: tuple[str, ...]
    rows: tuple[int, ...]


class _Patience(Exception):
    """The validation error has not improved for long enough."""


class _Point(NamedTuple):
    """An evaluation: parameters (n,), residuals (R,), their derivatives (R, n), validation error."""

    x: np.ndarray
    residuals: np.ndarray
    jacobian: np.ndarray
    validation: float

    @property
    def loss(self) -> float:
        return float(np.linalg.norm(self.residuals))


def fit(
    basis: Basis,
    data: Data,
    start: Parameters,
    *,
    begin: Parameters | None = None,
    weights: Weights = Weights(),
    fixed: tuple[str, ...] = ("m", "anion", "pi", "tau"),
    hold: tuple[int, ...] = (),
    bounds: Mapping[str, Mapping[int, tuple[float, float]]] | None = None,
    steps: int = 60,
    tolerance: float = 1e-5,
    patience: int | None = None,
    report: Callable[[int, float], None] | None = None,
    keep: Callable[[Parameters], None] | None = None,
) -> Fit:
    """Parameters that minimise the squared errors of `objective.residuals` within `BOUNDS`. Needs float64.

    Trust-region reflective least squares (SciPy; Levenberg–Marquardt within bounds) with the exact Jacobian, one
    column per parameter. With molecules for validation the parameters of the lowest validation error are returned.

    Args:
        start: centre of the prior, and where the search begins unless `begin` says otherwise.
        begin: where an interrupted search goes on.
        fixed: names of fields of `Parameters` that stay at their start.
        hold: rows of elements that stay at their start.
        bounds: narrower ranges than `BOUNDS`, {field: {row of the element: (low, high)}}.
        steps: most evaluations of the residuals.
        patience: end after so many improvements of the objective that did not improve the validation error.
        report: called with (evaluation, root of the summed squares).
        keep: called with the parameters of every improvement, to be able to go on from there.
    """
    elements = range(len(basis.numbers))
    free = Free(tuple(f for f in BOUNDS if f not in fixed), tuple(e for e in elements if e not in hold))
    start = jax.tree.map(lambda x: jnp.asarray(x, float), start)
    flat = np.asarray(ravel_pytree(_selected(start if begin is None else begin, free))[0])
    lower, upper = (_limits(free, bounds or {}, side) for side in (0, 1))
    asked = None if data.molecules is None else (np.asarray(data.molecules.trained) == 0) & ~data.molecules.distorted
    validates = asked is not None and bool(asked.any())
    points: list[_Point] = []  # evaluation 0, and the last one
    improved: list[_Point] = []  # the lowest objective, and the lowest validation error
    count, waited = [0], [0]

    def evaluate(x) -> _Point:
        if points and np.array_equal(points[-1].x, x):
            return points[-1]
        value, slopes, errors = _value_and_jacobian(jnp.asarray(x), basis, data, start, weights, free)
        apart = float(np.mean(np.abs(np.asarray(errors)[asked]))) if validates else np.nan
        point = _Point(np.array(x), np.asarray(value), np.asarray(slopes), apart)
        points[1:] = [point]
        count[0] += 1
        if report is not None:
            report(count[0], point.loss)
        if not improved:
            improved[:] = [point, point]
        elif point.loss < improved[0].loss:
            better = not point.validation >= improved[1].validation
            improved[:] = [point, point if better else improved[1]]
            waited[0] = 0 if better else waited[0] + 1
            if keep is not None:
                keep(_rebuild(jnp.asarray(point.x), start, free))
            if patience is not None and waited[0] >= patience:
                raise _Patience
        return point

    x0 = np.clip(flat, lower + 1e-6, upper - 1e-6)
    try:
        least_squares(
            lambda x: evaluate(x).residuals,
            x0,
            jac=lambda x: evaluate(x).jacobian,
            bounds=(lower, upper),
            x_scale="jac",
            max_nfev=steps,
            ftol=tolerance,
            xtol=1e-8,
            gtol=1e-10,
        )
    except _Patience:
        pass
    best = improved[1] if validates else improved[0]
    found = _rebuild(jnp.asarray(best.x), start, free)
    errors = _errors(best, start, free)
    return Fit(found, points[0].loss, best.loss, count[0], errors, best.validation)


def _limits(free: Free, bounds, side: int) -> np.ndarray:
    """One side of the ranges as a flat vector in the order of `ravel_pytree`."""
    rows = [[bounds.get(name, {}).get(row, BOUNDS[name])[side] for row in free.rows] for name in sorted(free.names)]
    return np.concatenate(rows)


def _selected(parameters: Parameters, free: Free) -> dict[str, jax.Array]:
    return {n: getattr(parameters, n)[np.array(free.rows)] for n in free.names}


def _rebuild(x, start: Parameters, free: Free) -> Parameters:
    """`start` with what is free taken from the flat vector (fields in alphabetical order, as JAX flattens)."""
    values, rows = ravel_pytree(_selected(start, free))[1](x), np.array(free.rows)
    changed = [getattr(start, n).at[rows].set(values[n]) for n in free.names]
    return eqx.tree_at(lambda p: [getattr(p, n) for n in free.names], start, changed)


@compiled(LIGHT)
def _value_and_jacobian(x, basis: Basis, data: Data, start: Parameters, weights: Weights, free: Free):
    """Residuals (R,), their derivatives (R, parameters), errors of the molecules in eV per atom. The tables are
    arguments, so restarts share one program."""

    def vector(x):
        blocks, errors = residuals(_rebuild(x, start, free), basis, data, weights, start)
        return ravel_pytree(blocks)[0], errors

    value, push, errors = jax.linearize(vector, x, has_aux=True)
    return value, jax.vmap(push, out_axes=1)(jnp.eye(x.size, dtype=x.dtype)), errors


def _errors(best: _Point, start: Parameters, free: Free) -> Parameters:
    """Standard errors √diag(s² (JᵀJ)⁻¹) with s² the residual variance per degree of freedom."""
    freedom = max(best.residuals.size - best.x.size, 1)
    covariance = np.linalg.pinv(best.jacobian.T @ best.jacobian) * (best.loss**2 / freedom)
    spread = _rebuild(jnp.asarray(np.sqrt(np.diag(covariance))), start, free)
    return jax.tree.map(lambda x, y: jnp.where(x == y, 0.0, x), spread, start)
