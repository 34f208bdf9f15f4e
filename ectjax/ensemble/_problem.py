"""The constrained energy that an equilibration minimises: its slopes, and how far a point is from stationary."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ectjax.ensemble._multipliers import Multipliers, multipliers
from ectjax.ensemble._screening import Screening

EMPTY = 1e-3  # amplitude below which a state counts as empty


class Problem(NamedTuple):
    """An energy of weights and amplitudes, ω = c², by its slopes, and the constraints."""

    slopes: Callable  # (weights, amplitudes, args) -> energy, ∂E/∂ω and ∂E/∂c, and anything besides
    args: object
    charges: Array
    mask: Array
    total_charge: Array
    screening: Screening | None = None


class Point(NamedTuple):
    """Energy and its slopes: `local` = ∂E/∂ω and `gradient` = dE/dc = 2c ∂E/∂ω + ∂E/∂c, both (N, S); and `beside`,
    what else the evaluation gave."""

    energy: Array
    local: Array
    gradient: Array
    beside: PyTree = ()


def slopes_of(energy: Callable) -> Callable:
    """Slopes by automatic differentiation of an energy (weights, amplitudes, args) -> scalar."""

    def slopes(weights, amplitudes, args):
        value, (local, direct) = jax.value_and_grad(energy, argnums=(0, 1))(weights, amplitudes, args)
        return value, local, direct

    return slopes


def evaluate(problem: Problem, amplitudes) -> Point:
    """Energy and slopes at amplitudes (N, S)."""
    energy, local, direct, *beside = problem.slopes(amplitudes**2, amplitudes, problem.args)
    return Point(energy, local, 2.0 * amplitudes * local + direct, tuple(beside))


@eqx.filter_custom_jvp
def recalled(slopes: Callable, args: PyTree, amplitudes: Array, known: Point) -> Point:
    """`known`, which was evaluated at these arguments and amplitudes before, with the derivatives of the evaluation."""
    return known


@recalled.def_jvp
def _recalled_jvp(primals, tangents):
    slopes, args, amplitudes, _ = primals
    _, d_args, d_amplitudes, _ = tangents

    def point(args, amplitudes):
        return evaluate(Problem(slopes, args, None, None, None), amplitudes)

    _, change = eqx.filter_jvp(point, (args, amplitudes), (d_args, d_amplitudes))
    return recalled(*primals), change


def first_order(problem: Problem, amplitudes, point: Point) -> tuple[Multipliers, Array, Array]:
    """Multipliers, the diagonal of the Lagrangian's Hessian (N, S), and the residual in eV.

    The residual is the larger of |Pg|_∞ and the worst −½ diagonal among empty states: a state left out
    although its energy lies below the atom's.
    """
    first = multipliers(point.gradient, amplitudes, point.local, problem.charges, problem.mask)
    diagonal = jnp.where(problem.mask, 2.0 * point.local - first.shift, 1.0)
    empty = problem.mask & (jnp.abs(amplitudes) < EMPTY)
    missing = jnp.max(jnp.where(empty, -0.5 * diagonal, 0.0))
    return first, diagonal, jnp.maximum(jnp.max(jnp.abs(first.gradient)), missing)
