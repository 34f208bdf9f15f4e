"""Truncated Newton on the manifold of amplitudes: monotone, matrix-free, quadratic at the end.

Each step solves (P(∇²E − shift)P) v = −Pg by preconditioned conjugate gradients, stopped early far from the
minimum and at the first direction of negative curvature (Nash 2000, J. Comput. Appl. Math. 124, 45), and
backtracks along v until the energy falls. States with zero amplitude and a falling energy, which a gradient
cannot see (∂E/∂c = 2c ∂E/∂ω), are populated again.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ectjax.ensemble._manifold import retract, tangent
from ectjax.ensemble._multipliers import Multipliers, multipliers
from ectjax.ensemble._screening import Screening, preconditioner

_MAX_ROTATION = 0.7  # largest change of one atom's amplitude vector in one step
_DAMPING = 0.8  # of a step without a line search: errors shrink where the preconditioner is right within a factor of 2
_EMPTY = 1e-3  # amplitude below which a state counts as empty


class Problem(NamedTuple):
    """An energy of weights and amplitudes, ω = c², by its slopes, and the constraints."""

    slopes: Callable  # (weights, amplitudes, args) -> energy, ∂E/∂ω and ∂E/∂c
    args: object
    charges: Array
    mask: Array
    total_charge: Array
    screening: Screening | None = None


class Point(NamedTuple):
    """Energy and its slopes: `local` = ∂E/∂ω and `gradient` = dE/dc = 2c ∂E/∂ω + ∂E/∂c, both (N, S)."""

    energy: Array
    local: Array
    gradient: Array


def slopes_of(energy: Callable) -> Callable:
    """Slopes by automatic differentiation of an energy (weights, amplitudes, args) -> scalar."""

    def slopes(weights, amplitudes, args):
        value, (local, direct) = jax.value_and_grad(energy, argnums=(0, 1))(weights, amplitudes, args)
        return value, local, direct

    return slopes


def evaluate(problem: Problem, amplitudes) -> Point:
    """Energy and slopes at amplitudes (N, S)."""
    energy, local, direct = problem.slopes(amplitudes**2, amplitudes, problem.args)
    return Point(energy, local, 2.0 * amplitudes * local + direct)


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


class NewtonState(NamedTuple):
    """`direction` is the step to try from `amplitudes`, `slope` the energy's along it, `products` what it cost.

    At the end, where nothing more is tried, it is the damped preconditioned gradient, which costs nothing.
    """

    amplitudes: Array
    point: Point
    first: Multipliers
    diagonal: Array
    residual: Array
    direction: Array
    slope: Array
    products: Array
    iterations: Array
    evaluations: Array
    stalled: Array


def first_order(problem: Problem, amplitudes, point: Point) -> tuple[Multipliers, Array, Array]:
    """Multipliers, the diagonal of the Lagrangian's Hessian (N, S), and the residual in eV.

    The residual is the larger of |Pg|_∞ and the worst −½ diagonal among empty states: a state left out
    although its energy lies below the atom's.
    """
    first = multipliers(point.gradient, amplitudes, point.local, problem.charges, problem.mask)
    diagonal = jnp.where(problem.mask, 2.0 * point.local - first.shift, 1.0)
    empty = problem.mask & (jnp.abs(amplitudes) < _EMPTY)
    missing = jnp.max(jnp.where(empty, -0.5 * diagonal, 0.0))
    return first, diagonal, jnp.maximum(jnp.max(jnp.abs(first.gradient)), missing)


def _conjugate_gradient(hessian, gradient, z0, precondition, max_steps, floor):
    """Minimise the quadratic model, z0 being the preconditioned gradient; returns (direction, products).

    It stops where the norm has fallen by a factor that is the norm per atom (eV; at least 0.3), so that the work does
    not grow with N, or where no entry exceeds `floor`, in eV.
    """
    norm0 = jnp.sqrt(jnp.sum(gradient**2))
    goal = norm0 * jnp.minimum(0.3, norm0 / gradient.shape[0] ** 0.5)

    def cond(carry):
        _, residual, _, _, steps, done = carry
        unsolved = (jnp.sqrt(jnp.sum(residual**2)) > goal) & (jnp.max(jnp.abs(residual)) > floor)
        return (steps < max_steps) & ~done & unsolved

    def body(carry):
        v, residual, p, rz, steps, _ = carry
        hp = hessian(p)
        curvature = jnp.sum(p * hp)
        negative = curvature <= 1e-12 * jnp.sum(p**2)
        alpha = rz / jnp.where(negative, 1.0, curvature)
        fallback = jnp.where(steps == 0, p, v)  # steepest descent when nothing better is known
        new_residual = residual + alpha * hp
        z = precondition(new_residual)
        new_rz = jnp.sum(new_residual * z)
        v_new = jnp.where(negative, fallback, v + alpha * p)
        return (
            v_new,
            jnp.where(negative, residual, new_residual),
            -z + (new_rz / rz) * p,
            new_rz,
            steps + 1,
            negative,
        )

    start = (
        jnp.zeros_like(gradient),
        gradient,
        -z0,
        jnp.sum(gradient * z0),
        jnp.zeros((), jnp.int32),
        norm0 == 0,
    )
    direction, _, _, _, steps, _ = jax.lax.while_loop(cond, body, start)
    return direction, steps


def minimise(problem: Problem, amplitudes, *, tolerance, max_iterations: int, max_products: int = 60) -> NewtonState:
    """Follow the energy down from `amplitudes` until the residual is below `tolerance` (eV).

    The start need not fulfil the constraints: it is the end of a step of zero length from an energy of infinity.
    """
    charges, mask, total = problem.charges, problem.mask, problem.total_charge
    eps = jnp.finfo(amplitudes.dtype).eps

    def propose(state: NewtonState) -> NewtonState:
        """The next direction; at the end one that costs nothing."""
        c, first, diagonal = state.amplitudes, state.first, state.diagonal
        scale = preconditioner(problem.screening, c, first.normal, diagonal)

        def project(v):
            return jnp.where(mask, tangent(v, c, first.normal, first.normal_square), 0.0)

        def precondition(v):
            return project(scale(v))

        # beside integer states μ is clipped, and the gradient has a part along the normal that no step can remove
        gradient = project(first.gradient)
        steepest = precondition(gradient)

        def newton(_):
            _, product = jax.linearize(lambda x: evaluate(problem, x).gradient, c)

            def hessian(v):
                return project(product(v) - first.shift * v)

            return _conjugate_gradient(hessian, gradient, steepest, precondition, max_products, 0.2 * tolerance)

        def last(_):
            return -_DAMPING * steepest, jnp.zeros((), jnp.int32)

        aim, products = jax.lax.cond(go_on(state), newton, last, None)
        empty = mask & (jnp.abs(c) < _EMPTY)
        kick = jnp.where(empty & (diagonal < -2 * tolerance) & go_on(state), 0.3, 0.0)
        # a kick is only needed once nothing else moves
        stuck = jnp.max(jnp.abs(first.gradient)) <= tolerance
        direction = jnp.where(stuck & jnp.any(kick > 0), kick, aim)
        length = jnp.sqrt(jnp.max(jnp.sum(direction**2, axis=1)))
        direction = direction * jnp.minimum(1.0, _MAX_ROTATION / jnp.where(length > 0, length, 1.0))
        slope = jnp.minimum(jnp.sum(gradient * direction), 0.0)
        return state._replace(direction=direction, slope=slope, products=products)

    def move(state: NewtonState) -> NewtonState:
        c, old = state.amplitudes, state.point.energy
        # rounding of an energy is that of its terms, which are some 100 eV per atom and cancel
        noise = 4 * eps * (jnp.abs(old) + 100.0 * c.shape[0])

        def too_high(carry):
            t, _, point, trials = carry
            rising = ~(point.energy <= old + 1e-4 * t * state.slope + noise)
            return (trials == 0) | (rising & (t > 1e-6))

        def trial(carry):
            t, _, _, trials = carry
            t = jnp.where(trials == 0, 1.0, 0.4 * t)
            # |c| leaves the weights as they are and never raises a resonance energy −κ c_α c_β
            moved = retract(jnp.abs(c + t * state.direction), charges, mask, total)
            return t, moved, evaluate(problem, moved), trials + 1

        begin = (jnp.ones((), c.dtype), c, state.point, jnp.zeros((), jnp.int32))
        _, moved, point, trials = jax.lax.while_loop(too_high, trial, begin)
        accepted = point.energy <= old + noise
        moved, point = jax.tree.map(lambda new, kept: jnp.where(accepted, new, kept), (moved, point), (c, state.point))
        first, diagonal, residual = first_order(problem, moved, point)
        # rounding bounds the residual from below: stop when neither energy nor residual falls any more
        flat = (old - point.energy <= noise) & (residual > 0.5 * state.residual) & (state.products < max_products)
        return state._replace(
            amplitudes=moved,
            point=point,
            first=first,
            diagonal=diagonal,
            residual=residual,
            iterations=state.iterations + 1,
            # a direction costs its products and the gradient that they are linearised about
            evaluations=state.evaluations + trials + jnp.where(state.iterations < 0, 0, state.products + 1),
            stalled=jnp.where(~accepted, 3, jnp.where(flat, state.stalled + 1, 0)),
        )

    def go_on(state: NewtonState):
        return (state.residual > tolerance) & (state.iterations < max_iterations) & (state.stalled < 3)

    def step(state: NewtonState) -> NewtonState:
        return propose(move(state))

    return jax.lax.while_loop(go_on, step, before_any(amplitudes))


def before_any(amplitudes) -> NewtonState:
    """The state before the first step: no slopes, no direction, an infinite energy."""
    zeros, count = jnp.zeros_like(amplitudes), jnp.zeros((), jnp.int32)
    zero, infinity = (jnp.full((), x, amplitudes.dtype) for x in (0.0, jnp.inf))
    return NewtonState(
        amplitudes=amplitudes,
        point=Point(infinity, zeros, zeros),
        first=Multipliers(zero, zeros, zeros, jnp.ones_like(zero), zeros),
        diagonal=jnp.ones_like(amplitudes),
        residual=infinity,
        direction=zeros,
        slope=zero,
        products=count,
        iterations=count - 1,
        evaluations=count,
        stalled=count,
    )
