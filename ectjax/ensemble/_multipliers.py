"""Lagrange multipliers of the sum rules and of the total charge."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_INTEGER = 1e-6  # squared charge gradient in e² below which every atom counts as sitting in one state


class Multipliers(NamedTuple):
    """First-order data at a point of the manifold.

    chemical_potential: μ = dE/dQ in eV/e.
    shift: (N, S), twice the multipliers: 2λ_i + 2μ q_α; the Hessian of the Lagrangian is ∇²E − diag(shift).
    normal, normal_square: tangential charge gradient 2 c (q − q̄) and its squared norm.
    gradient: (N, S), the energy gradient projected on the tangent space.
    """

    chemical_potential: Float[Array, ""]
    shift: Float[Array, "N S"]
    normal: Float[Array, "N S"]
    normal_square: Float[Array, ""]
    gradient: Float[Array, "N S"]


def mean_charge(amplitudes: Float[Array, "N S"], charges: Float[Array, "N S"]) -> Float[Array, " N"]:
    """Charge of each atom, Σ_α q_α c_α², in e."""
    return jnp.sum(amplitudes**2 * charges, axis=1)


def integer_window(amplitudes, local_energy, charges, mask):
    """Bounds on μ when every atom sits in one state: (highest occupied, lowest empty) transfer energies.

    Moving an atom from its main state to β costs e_β − e_main − μ (q_β − q_main) ≥ 0 for every β.
    """
    main = jnp.argmax(jnp.where(mask, amplitudes**2, -1.0), axis=1)[:, None]
    de = local_energy - jnp.take_along_axis(local_energy, main, axis=1)
    dq = charges - jnp.take_along_axis(charges, main, axis=1)
    slope = de / jnp.where(dq == 0, 1.0, dq)
    upper = jnp.min(jnp.where(mask & (dq > 0), slope, jnp.inf))
    lower = jnp.max(jnp.where(mask & (dq < 0), slope, -jnp.inf))
    upper, lower = jnp.where(jnp.isfinite(upper), upper, lower), jnp.where(jnp.isfinite(lower), lower, upper)
    return jnp.where(jnp.isfinite(lower), lower, 0.0), jnp.where(jnp.isfinite(upper), upper, 0.0)


def multipliers(
    energy_gradient: Float[Array, "N S"],
    amplitudes: Float[Array, "N S"],
    local_energy: Float[Array, "N S"],
    charges: Float[Array, "N S"],
    mask: Bool[Array, "N S"],
) -> Multipliers:
    """Least-squares multipliers; where no atom's charge can move to first order, μ is the middle of its window."""
    c = amplitudes
    mean = mean_charge(c, charges)
    normal = jnp.where(mask, 2.0 * c * (charges - mean[:, None]), 0.0)
    square = jnp.sum(normal**2)
    tiny = 100 * jnp.finfo(c.dtype).eps ** 2
    movable = square > tiny
    safe_square = jnp.where(movable, square, 1.0)
    radial = jnp.sum(c * energy_gradient, axis=1, keepdims=True)
    flat = jnp.where(mask, energy_gradient - c * radial, 0.0)
    lower, upper = integer_window(c, local_energy, charges, mask)
    mu = jnp.where(movable, jnp.sum(normal * flat) / safe_square, 0.5 * (lower + upper))
    # the traces of charge left beside integer states must not decide: μ stays between filled and empty
    mu = jnp.where((square < _INTEGER) & (lower <= upper), jnp.clip(mu, lower, upper), mu)
    shift = radial + 2.0 * mu * (charges - mean[:, None])
    gradient = jnp.where(mask, flat - mu * normal, 0.0)
    return Multipliers(mu, shift, normal, safe_square, gradient)
