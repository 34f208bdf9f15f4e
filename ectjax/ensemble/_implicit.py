"""Derivatives of the equilibrated amplitudes by the implicit function theorem.

At the minimum c*(θ, Q) the tangential gradient vanishes. Differentiating it gives one symmetric positive
definite system on the tangent space,

    P (∇²E − shift) P v = −P ∂²E/∂c∂θ dθ,      dc* = v + n dQ/|n|²  (n: tangential charge gradient),

solved matrix-free by conjugate gradients (lineax). An empty state (c = 0, ω on its bound) has a positive
diagonal and a vanishing right-hand side, so the active set needs no bookkeeping: its weight does not respond.
The rule is written with differentiable operations only and refers to c* itself, so it nests: forward, reverse,
second order.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx

from ectjax.ensemble._descent import before_any, minimise
from ectjax.ensemble._manifold import tangent
from ectjax.ensemble._moves import CANDIDATES, transfer_starts
from ectjax.ensemble._problem import Problem, evaluate, first_order, recalled
from ectjax.ensemble._screening import NEAR_FLOOR
from ectjax.ensemble._screening import preconditioner as screened


def _solve(problem: Problem, amplitudes, right_hand_side, first, diagonal):
    """v in the tangent space with (P(∇²E − shift)P) v = right_hand_side, the right-hand side being tangential."""
    mask = problem.mask

    def project(v):
        return jnp.where(mask, tangent(v, amplitudes, first.normal, first.normal_square), 0.0)

    _, hessian = jax.linearize(lambda x: evaluate(problem, x).gradient, amplitudes)

    def operator(v):
        inside = project(v)
        # the identity on the normal space makes the whole operator positive definite
        return project(hessian(inside) - first.shift * inside) + (v - inside)

    # a preconditioner changes the path to the solution, not the solution: keep derivatives out of it
    c, normal, square, diagonal = jax.lax.stop_gradient((amplitudes, first.normal, first.normal_square, diagonal))

    scale = screened(problem.screening, c, normal, diagonal, NEAR_FLOOR)

    def preconditioner(v):
        inside = jnp.where(mask, tangent(v, c, normal, square), 0.0)
        return jnp.where(mask, tangent(scale(inside), c, normal, square), 0.0) + (v - inside)

    structure = jax.eval_shape(lambda: right_hand_side)
    tags = lx.positive_semidefinite_tag
    eps = float(jnp.finfo(amplitudes.dtype).eps)
    return lx.linear_solve(
        lx.FunctionLinearOperator(operator, structure, tags),
        right_hand_side,
        lx.CG(rtol=50 * eps, atol=50 * eps, stabilise_every=None, max_steps=max(200, 4 * amplitudes.size)),
        options={"preconditioner": lx.FunctionLinearOperator(preconditioner, structure, tags)},
        throw=False,
    ).value


@eqx.filter_custom_jvp
def implicit_minimum(args, total_charge, starts, fixed):
    """Amplitudes (N, S) of the lowest minimum reached from `starts` (K, N, S), its `Point`, and (one more step for
    free, residual, iterations and evaluations of the descent that ended there, number of descents, evaluations of all).

    Amplitudes are differentiable in `args` and `total_charge`; `starts` and `fixed` = (slopes, charges, mask,
    screening, tolerance, max_iterations, rounds) are constants of the solve. After the starts, up to `rounds` times,
    descents from the most promising moves away from the lowest end, for as long as that finds a lower one.
    """
    slopes, charges, mask, screening, tolerance, max_iterations, rounds = fixed
    problem = Problem(slopes, args, charges, mask, total_charge, screening)
    count, atoms = starts.shape[:2]

    def descend(start):
        return minimise(problem, start, tolerance=tolerance, max_iterations=max_iterations)

    def one_round(carry):
        starts, best, spent, done, _ = carry
        ends = jax.lax.map(descend, starts)
        # of equal ends the one from the first start, whatever the last digits say
        energies, old = ends.point.energy, best.point.energy
        least = jnp.min(energies)
        noise = 40 * jnp.finfo(old.dtype).eps * (jnp.abs(least) + 100.0 * atoms) + atoms * tolerance**2
        lowest = jax.tree.map(lambda x: x[jnp.argmax(energies <= least + noise)], ends)
        improved = lowest.point.energy < old - noise
        best = jax.tree.map(lambda new, kept: jnp.where(improved | (done == 0), new, kept), lowest, best)
        spent = spent[0] + count, spent[1] + jnp.sum(ends.evaluations, dtype=jnp.int32)
        if rounds > 0:
            starts = transfer_starts(problem, best, count)
            spent = spent[0], spent[1] + CANDIDATES
        return starts, best, spent, done + 1, improved

    zero = jnp.zeros((), jnp.int32)
    first = (starts, before_any(problem, starts[0]), (zero, zero), zero, jnp.ones((), bool))
    if rounds == 0:
        _, best, spent, _, _ = one_round(first)
    else:
        _, best, spent, _, _ = jax.lax.while_loop(lambda x: (x[3] <= rounds) & x[4], one_round, first)
    info = best.direction, best.residual, best.iterations, best.evaluations, *spent
    return best.amplitudes, best.point, info


@implicit_minimum.def_jvp
def _implicit_minimum_jvp(primals, tangents):
    args, total_charge, starts, fixed = primals
    d_args, d_total, _, _ = tangents
    amplitudes, point, info = implicit_minimum(args, total_charge, starts, fixed)
    slopes, charges, mask, screening, *_ = fixed
    problem = Problem(slopes, args, charges, mask, total_charge, screening)
    first, diagonal, _ = first_order(problem, amplitudes, recalled(slopes, args, amplitudes, point))

    def gradient(args_, amplitudes_):
        return evaluate(problem._replace(args=args_), amplitudes_).gradient

    mixed = jnp.zeros_like(amplitudes)
    if jax.tree.leaves(d_args):
        _, mixed = eqx.filter_jvp(lambda args_: gradient(args_, amplitudes), (args,), (d_args,))
    along = jnp.zeros_like(amplitudes)
    if d_total is not None:
        along = first.normal * (d_total / first.normal_square)
        _, product = jax.jvp(lambda x: gradient(args, x), (amplitudes,), (along,))
        mixed = mixed + product - first.shift * along
    right = jnp.where(mask, tangent(mixed, amplitudes, first.normal, first.normal_square), 0.0)
    response = along - _solve(problem, amplitudes, right, first, diagonal)
    return (amplitudes, point, info), (response, *jax.tree.map(lambda _: None, (point, info)))
