"""Limited-memory quasi-Newton descent on the manifold of amplitudes: one gradient per step, monotone, matrix-free.

The direction is that of L-BFGS (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.4) with the screened
preconditioner as first guess of the inverse Hessian, all vectors projected on the tangent space of the present point;
then the step is cut back until the energy has fallen. States with zero amplitude and a falling energy, which a gradient
cannot see (∂E/∂c = 2c ∂E/∂ω), are populated again.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ectjax.ensemble._manifold import retract, tangent
from ectjax.ensemble._multipliers import Multipliers
from ectjax.ensemble._problem import EMPTY, Point, Problem, evaluate, first_order
from ectjax.ensemble._screening import FAR_FLOOR, NEAR_FLOOR, preconditioner

_MEMORY = 5  # pairs of steps and gradient changes
_DAMPING = 0.9  # of the preconditioner, right within a factor of 2: errors shrink without a line search too
_FLATTEST = 0.001  # eV, curvature along a step below which it teaches nothing
_MAX_ROTATION = 0.7  # largest change of one atom's amplitude vector in one step
_OVERSHOOT = 0.9  # slope at the end of a step in units of minus that at its start, from which on it is cut back
_PATIENCE = 12  # steps in a row in which neither energy nor residual falls


class Memory(NamedTuple):
    """Steps s, changes y of the projected gradient, and 1/(s·y), newest first; zeros where there is none yet."""

    steps: Float[Array, "M N S"]
    changes: Float[Array, "M N S"]
    scales: Float[Array, " M"]

    @classmethod
    def empty(cls, like: Float[Array, "N S"]) -> "Memory":
        """Nothing remembered."""
        nothing = jnp.zeros((_MEMORY, *like.shape), like.dtype)
        return cls(nothing, nothing, jnp.zeros(_MEMORY, like.dtype))

    def inverse_hessian(self, gradient: Float[Array, "N S"], first_guess) -> Float[Array, "N S"]:
        """H g by the two-loop recursion, `first_guess` being v → H₀ v."""
        v, along = gradient, []
        for step, change, scale in zip(*self, strict=True):
            along.append(scale * jnp.sum(step * v))
            v = v - along[-1] * change
        v = first_guess(v)
        for step, change, scale, a in reversed(list(zip(*self, along, strict=True))):
            v = v + (a - scale * jnp.sum(change * v)) * step
        return v

    def after(self, step: Float[Array, "N S"], change: Float[Array, "N S"]) -> "Memory":
        """With one more pair where the curvature along it is positive, so that H stays positive definite."""
        product = jnp.sum(step * change)
        good = product > _FLATTEST * jnp.sum(step**2)
        news = Memory(step, change, 1.0 / jnp.where(good, product, 1.0))
        return jax.tree.map(lambda new, old: jnp.where(good, jnp.roll(old, 1, axis=0).at[0].set(new), old), news, self)


class DescentState(NamedTuple):
    """`direction` is the step to try next from `amplitudes`, `slope` the energy's along it."""

    amplitudes: Float[Array, "N S"]
    point: Point
    first: Multipliers
    diagonal: Float[Array, "N S"]
    residual: Float[Array, ""]
    direction: Float[Array, "N S"]
    slope: Float[Array, ""]
    memory: Memory
    iterations: Int[Array, ""]
    evaluations: Int[Array, ""]
    stalled: Int[Array, ""]


def minimise(problem: Problem, amplitudes, *, tolerance, max_iterations: int) -> DescentState:
    """Follow the energy down from `amplitudes` until the residual is below `tolerance` (eV).

    The start need not fulfil the constraints: it is the end of a step of zero length from an energy of infinity.
    """
    charges, mask, total = problem.charges, problem.mask, problem.total_charge
    eps = jnp.finfo(amplitudes.dtype).eps

    def project(v, c, first: Multipliers):
        return jnp.where(mask, tangent(v, c, first.normal, first.normal_square), 0.0)

    def propose(state: DescentState) -> DescentState:
        c, first, diagonal = state.amplitudes, state.first, state.diagonal
        # far from the minimum a local curvature says little of the next step, and a long one ends in another basin
        floor = jnp.clip(state.residual, NEAR_FLOOR, FAR_FLOOR)
        scale = preconditioner(problem.screening, c, first.normal, diagonal, floor)
        # beside integer states μ is clipped, and the gradient has a part along the normal that no step can remove
        gradient = project(first.gradient, c, first)
        aim = state.memory.inverse_hessian(gradient, lambda v: _DAMPING * scale(project(v, c, first)))
        aim = -project(aim, c, first)
        empty = mask & (jnp.abs(c) < EMPTY)
        kick = jnp.where(empty & (diagonal < -2 * tolerance) & go_on(state), 0.3, 0.0)
        # a kick is only needed once nothing else moves
        stuck = jnp.max(jnp.abs(first.gradient)) <= tolerance
        direction = jnp.where(stuck & jnp.any(kick > 0), kick, aim)
        # every atom's own step is cut off: a rare far one must not hold up all others
        length = jnp.sqrt(jnp.sum(direction**2, axis=1, keepdims=True))
        direction = direction * jnp.minimum(1.0, _MAX_ROTATION / jnp.where(length > 0, length, 1.0))
        return state._replace(direction=direction, slope=jnp.minimum(jnp.sum(gradient * direction), 0.0))

    def move(state: DescentState) -> DescentState:
        c, old = state.amplitudes, state.point.energy
        # rounding of an energy is that of its terms, which are some 100 eV per atom and cancel
        noise = 4 * eps * (jnp.abs(old) + 100.0 * c.shape[0])

        begun = state.iterations >= 0

        def unfit(carry):
            t, (moved, point, first, *_), trials = carry
            along = jnp.sum(project(first.gradient, moved, first) * (moved - c))
            rising = ~(point.energy <= old + 1e-4 * t * state.slope + noise)
            # where rounding hides the energy's change the slope must tell that the minimum was not far overshot
            overshot = begun & (point.energy >= old - noise) & (along > -_OVERSHOOT * t * state.slope)
            return (trials == 0) | ((rising | overshot) & (t > 1e-6))

        def trial(carry):
            t, _, trials = carry
            t = jnp.where(trials == 0, 1.0, 0.4 * t)
            # |c| leaves the weights as they are and never raises a resonance energy −κ c_α c_β
            moved = retract(jnp.abs(c + t * state.direction), charges, mask, total)
            point = evaluate(problem, moved)
            return t, (moved, point, *first_order(problem, moved, point)), trials + 1

        here = (c, state.point, state.first, state.diagonal, state.residual)
        begin = (jnp.ones((), c.dtype), here, jnp.zeros((), jnp.int32))
        _, there, trials = jax.lax.while_loop(unfit, trial, begin)
        accepted = there[1].energy <= old + noise
        there = jax.tree.map(lambda new, kept: jnp.where(accepted, new, kept), there, here)
        moved, point, first, diagonal, residual = there
        # rounding bounds the residual from below: stop when neither energy nor residual falls any more
        flat = (old - point.energy <= noise) & (residual > 0.99 * state.residual)
        change = project(first.gradient - state.first.gradient, moved, first)
        # what was learned far away can be wrong here: a step that fails is tried again without
        learned = state.memory.after(jnp.where(begun, project(moved - c, moved, first), 0.0), change)
        memory = jax.tree.map(lambda x: jnp.where(accepted, x, 0.0), learned)
        hopeless = ~accepted & jnp.all(state.memory.scales == 0)
        return state._replace(
            amplitudes=moved,
            point=point,
            first=first,
            diagonal=diagonal,
            residual=residual,
            memory=memory,
            iterations=state.iterations + 1,
            evaluations=state.evaluations + trials,
            stalled=jnp.where(hopeless, _PATIENCE, jnp.where(flat, state.stalled + 1, 0)),
        )

    def go_on(state: DescentState):
        return (state.residual > tolerance) & (state.iterations < max_iterations) & (state.stalled < _PATIENCE)

    def step(state: DescentState) -> DescentState:
        return propose(move(state))

    return jax.lax.while_loop(go_on, step, before_any(problem, amplitudes))


def before_any(problem: Problem, amplitudes: Float[Array, "N S"]) -> DescentState:
    """The state before the first step: no slopes, no direction, an infinite energy."""
    zeros, count = jnp.zeros_like(amplitudes), jnp.zeros((), jnp.int32)
    zero, infinity = (jnp.full((), x, amplitudes.dtype) for x in (0.0, jnp.inf))
    shapes = eqx.filter_eval_shape(evaluate, problem, amplitudes).beside
    beside = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return DescentState(
        amplitudes=amplitudes,
        point=Point(infinity, zeros, zeros, beside),
        first=Multipliers(zero, zeros, zeros, jnp.ones_like(zero), zeros),
        diagonal=jnp.ones_like(amplitudes),
        residual=infinity,
        direction=zeros,
        slope=zero,
        memory=Memory.empty(amplitudes),
        iterations=count - 1,
        evaluations=count,
        stalled=count,
    )
