"""Equilibrate: minimise an ensemble energy over all weights under the sum rules and the total charge."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from ectjax.ensemble._implicit import implicit_minimum
from ectjax.ensemble._multipliers import mean_charge
from ectjax.ensemble._problem import Problem, first_order, recalled, slopes_of
from ectjax.ensemble._result import Equilibration
from ectjax.ensemble._screening import Screening


def default_tolerance(dtype) -> float:
    """Residual in eV at which a solve stops: 1e-8 in float64, 1e-4 in float32."""
    return 1e-8 if jnp.dtype(dtype) == jnp.float64 else 1e-4


def equilibrate(
    energy: Callable[[Array, Array, PyTree], Array],
    args: PyTree,
    starts: Float[Array, "K N S"],
    *,
    charges: Float[Array, "N S"],
    mask: Bool[Array, "N S"],
    total_charge: Float[Array, ""],
    slopes: Callable[[Array, Array, PyTree], tuple] | None = None,
    screening: Screening | None = None,
    tolerance: float | None = None,
    max_iterations: int = 300,
    rounds: int = 0,
    throw: bool = False,
) -> Equilibration:
    """Lowest minimum reached from K start points.

    Weights are squared amplitudes ω = c². The result is differentiable (forward, reverse, any order) in
    everything inside `args` and in `total_charge`, by implicit differentiation; not in `starts`.

    Args:
        energy: E(ω, c, args) in eV with weights ω and amplitudes c = √ω, both (N, S); an energy of the
            weights alone ignores c. Must close over no traced value.
        args: everything that the energy depends on.
        starts: amplitudes (K, N, S); they are normalised and given the total charge.
        charges, mask: q_α in e and which states exist, (N, S). An atom without states is padding.
        total_charge: Q in e.
        slopes: (ω, c, args) → E, ∂E/∂ω, ∂E/∂c where a caller has them cheaper than by automatic differentiation; what
            it returns besides is, at the end of the solve, the result's `beside`.
        screening: preconditions the coupling of charges; it changes the number of products, not the result.
        tolerance: residual in eV (see `Equilibration.residual`); an energy error is of the order
            tolerance²/gap. Defaults to `default_tolerance`.
        max_iterations: limit of steps for each start; raise it if `converged` is False.
        rounds: after the descents from `starts`, up to so many times, descend from the most promising charge transfers
            and excitations away from the lowest end, while that finds a lower one.
        throw: raise an error at run time, from inside `jit` as well, where the solve did not converge. If False
            the result's `converged` says so.
    """
    dtype = starts.dtype
    tolerance = default_tolerance(dtype) if tolerance is None else tolerance
    total_charge = jnp.asarray(total_charge, dtype)
    charges = jnp.asarray(charges, dtype)
    some = jnp.any(mask, axis=1, keepdims=True)
    full = mask | (~some & (jnp.arange(mask.shape[1]) == 0))  # padding sits in its first slot
    charges = jnp.where(some, charges, 0.0)
    allowed = _allowed(charges, full, jax.lax.stop_gradient(total_charge))
    slopes = slopes_of(energy) if slopes is None else slopes
    fixed = (slopes, charges, allowed, screening, tolerance, max_iterations, rounds)
    padded = (jnp.arange(mask.shape[1]) == 0).astype(dtype)
    starts = jnp.where(some, jax.lax.stop_gradient(starts), padded)
    amplitudes, known, (free_step, residual, iterations, own, descents, evaluations) = implicit_minimum(
        args, total_charge, starts, fixed
    )
    if throw:
        amplitudes, known = eqx.error_if(
            (amplitudes, known),
            ~(residual <= tolerance),
            "equilibrate: the weights did not converge. Raise max_iterations, loosen tolerance, or start cold "
            "(no weights); if the energy is not finite, `ectjax.explain` names the atoms",
        )
    # at the end of the reachable range μ is where states outside `allowed` would take part
    point = recalled(slopes, args, amplitudes, known)
    first, _, _ = first_order(Problem(slopes, args, charges, full, total_charge), amplitudes, point)
    weights = amplitudes**2
    return Equilibration(
        weights=weights,
        amplitudes=amplitudes,
        corrected=jax.lax.stop_gradient(amplitudes) + free_step,
        charges=mean_charge(amplitudes, charges),
        chemical_potential=first.chemical_potential,
        energy=point.energy,
        residual=residual,
        iterations=iterations,
        evaluations=own,
        descents=descents,
        search_evaluations=evaluations - own,
        converged=residual <= tolerance,
        beside=point.beside,
    )


def _allowed(charges, mask, total_charge):
    """States that can hold any weight: all, unless the total charge is the lowest or highest reachable one.

    There every atom must be in its states of extreme charge, and the constraint leaves no tangent to move along.
    """
    low = jnp.min(jnp.where(mask, charges, jnp.inf), axis=1, keepdims=True)
    high = jnp.max(jnp.where(mask, charges, -jnp.inf), axis=1, keepdims=True)
    slack = 1e-9 if charges.dtype == jnp.float64 else 1e-5
    at_low, at_high = total_charge <= jnp.sum(low) + slack, total_charge >= jnp.sum(high) - slack
    return mask & jnp.where(at_low, charges == low, True) & jnp.where(at_high, charges == high, True)
