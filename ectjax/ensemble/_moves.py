"""Charge transfers and excitations of single atoms and pairs: where to descend from next when a basin has been found.

Without resonance the minima are integer states, and moving one electron from i to j gains e_j − e_i less the
attraction of the two changes, which no slope at the old state shows. The Hessian shows it: for each of the cheapest
one-atom moves one Hessian product gives the new energies of all other atoms' states, and with them the best partner.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ectjax.ensemble._descent import DescentState
from ectjax.ensemble._problem import Problem

CANDIDATES = 12  # one-atom moves that are completed to pairs
_OCCUPIED = 0.9  # weight from which on a state counts as the atom's own
_TRACE = 0.03  # weight spread over all states of every atom, so that a descent can go anywhere


def transfer_starts(problem: Problem, state: DescentState, count: int) -> Float[Array, "count N S"]:
    """Amplitudes one move away from a converged state, by predicted energy to second order, lowest first.

    A move puts one atom i into a state β and, where that changes its charge, another atom j into the state γ that
    takes up the charge at the least predicted energy.
    """
    c, mask, charges = state.amplitudes, problem.mask, problem.charges
    w, e = c**2, state.point.local
    mu = state.first.chemical_potential
    pure = jnp.eye(w.shape[1], dtype=w.dtype)
    change = charges - jnp.sum(w * charges, axis=1, keepdims=True)
    free = mask & (w < _OCCUPIED)

    def cost(local):
        """Energy of moving each atom into each state, with the charge at the price μ; (N, S)."""
        return jnp.where(free, local - jnp.sum(w * local, axis=1, keepdims=True) - mu * change, jnp.inf)

    def slopes(weights):
        return problem.slopes(weights, c, problem.args)[1]

    single = cost(e)
    # states of one atom at most: padding must not run out of candidates
    candidates = min(CANDIDATES, w.size)
    _, cheapest = jax.lax.top_k(-single.ravel(), candidates)

    def complete(move):
        i, state_i = move // w.shape[1], move % w.shape[1]
        step = jnp.zeros_like(w).at[i].set(pure[state_i] - w[i])
        _, shift = jax.jvp(slopes, (w,), (step,))
        own = single.ravel()[move] + 0.5 * jnp.sum(step * shift)
        taken = change.ravel()[move]
        opposite = jnp.abs(change + taken) < 0.5
        partner = jnp.where(opposite, cost(e + shift), jnp.inf).at[i].set(jnp.inf)
        best = jnp.argmin(partner)
        j, state_j = best // w.shape[1], best % w.shape[1]
        paired = (jnp.abs(taken) > 0.5) & jnp.isfinite(partner.ravel()[best])
        moved = w.at[i].set(pure[state_i])
        moved = jnp.where(paired, moved.at[j].set(pure[state_j]), moved)
        return own + jnp.where(paired, partner.ravel()[best], 0.0), moved

    predicted, moved = jax.lax.map(complete, cheapest)
    predicted = jnp.where(jnp.isfinite(predicted), predicted, jnp.inf)
    _, best = jax.lax.top_k(-predicted, min(count, candidates))
    best = jnp.resize(best, count)
    spread = mask / jnp.sum(mask, axis=1, keepdims=True, dtype=w.dtype)
    return jnp.sqrt((1.0 - _TRACE) * moved[best] + _TRACE * spread)
