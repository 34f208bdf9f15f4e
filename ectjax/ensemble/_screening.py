"""How far the other atoms' charges follow when one charge moves: the preconditioner's part that couples atoms.

The Hessian is roughly local excitation energies D plus the Coulomb matrix J between charges, D + t J tᵀ with t the
slope of each atom's charge. Its inverse is D⁻¹ − D⁻¹ t (J⁻¹ + χ)⁻¹ tᵀ D⁻¹ with the susceptibility χ = tᵀ D⁻¹ t, and
(J⁻¹ + χ)⁻¹ is nearly a Yukawa interaction of screening length 1/√(4πKnχ), short-ranged: a neighbour list holds it.
Without it conjugate gradients build the screening up atom by atom, the more of it the larger the system is.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ectjax.units import COULOMB_EV_ANGSTROM

_TYPICAL_SUSCEPTIBILITY = 0.05  # e²/eV
_SAFE = 0.95  # largest part of an atom's susceptibility that its neighbours may screen; below 1, or directions turn


class Screening(eqx.Module):
    """Yukawa interaction in eV/e² between the charges of listed pairs."""

    i: Int[Array, " P"]
    j: Int[Array, " P"]
    kernel: Float[Array, " P"]

    @classmethod
    def prepare(
        cls,
        i: Int[Array, " P"],
        j: Int[Array, " P"],
        distances: Float[Array, " P"],
        pair_mask: Bool[Array, " P"],
        density: Float[Array, ""],
    ) -> "Screening":
        """Pairs i < j with their distances in Å; `density` in atoms per Å³ sets the screening length."""
        square = 4 * jnp.pi * COULOMB_EV_ANGSTROM * _TYPICAL_SUSCEPTIBILITY * density
        r = jnp.where(pair_mask, distances, 1.0)
        kernel = jnp.where(pair_mask, COULOMB_EV_ANGSTROM * jnp.exp(-jnp.sqrt(square) * r) / r, 0.0)
        return cls(i, j, jax.lax.stop_gradient(kernel))

    def potential(self, charges: Float[Array, " N"]) -> Float[Array, " N"]:
        """Σ_j Y_ij q_j in eV/e."""
        zero = jnp.zeros_like(charges)
        return zero.at[self.i].add(self.kernel * charges[self.j]).at[self.j].add(self.kernel * charges[self.i])


def preconditioner(screening: Screening | None, normal: Float[Array, "N S"], diagonal: Float[Array, "N S"]):
    """v → M⁻¹ v for tangential v (N, S), symmetric and positive definite; project the result.

    `normal` is the slope t of the charges, `diagonal` the positive local curvature D in eV.
    """
    if screening is None:
        return lambda v: v / diagonal
    susceptibility = jnp.sum(normal**2 / diagonal, axis=1)
    # the spectral radius of √γ Y √γ χ is at most the largest row sum of γ Y χ
    sums = screening.potential(susceptibility)
    factor = jnp.sqrt(jnp.minimum(1.0, _SAFE / jnp.where(sums > 0, sums, 1.0)))

    def apply(v):
        free = v / diagonal
        moved = jnp.sum(normal * free, axis=1)
        potential = factor * screening.potential(factor * moved)
        return free - normal * potential[:, None] / diagonal

    return apply
