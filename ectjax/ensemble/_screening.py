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

from ectjax.pairs.sums import over_neighbours
from ectjax.units import COULOMB_EV_ANGSTROM

NEAR_FLOOR, FAR_FLOOR = 0.05, 0.2  # eV, what smaller curvatures count as at least, near the minimum and far from it
_SAFE = 0.999  # largest part of an atom's susceptibility that its neighbours may screen; below 1, or directions turn
_STRONGEST = {"open": 1.26, "periodic": 1.6}
_BALANCINGS = 2  # scalings of rows; every one halves what rows miss, and smooth potentials feel the square of that


class Screening(eqx.Module):
    """What a Yukawa interaction between the charges of listed pairs needs.

    distances (P,) in Å, infinite for padding; stiffness, 4πKn in eV/(e² Å²) at n atoms per Å³; `strongest`, the square
    root of the most by which the interaction is made up for a list that ends too early, or at a surface.
    """

    i: Int[Array, " P"]
    j: Int[Array, " P"]
    distances: Float[Array, " P"]
    stiffness: Float[Array, ""]
    strongest: float = eqx.field(static=True)

    @classmethod
    def prepare(
        cls,
        i: Int[Array, " P"],
        j: Int[Array, " P"],
        distances: Float[Array, " P"],
        pair_mask: Bool[Array, " P"],
        density: Float[Array, ""],
        periodic: bool,
    ) -> "Screening":
        """Pairs i < j with their distances in Å; `density` in atoms per Å³."""
        distances = jax.lax.stop_gradient(jnp.where(pair_mask, distances, jnp.inf))
        strongest = _STRONGEST["periodic" if periodic else "open"]
        return cls(i, j, distances, 4 * jnp.pi * COULOMB_EV_ANGSTROM * density, strongest)

    def kernel(self, susceptibility: Float[Array, ""]) -> Float[Array, " P"]:
        """K e^(−κr)/r in eV/e² with κ² = 4πKn χ, for atoms of susceptibility χ in e²/eV."""
        wave = jnp.sqrt(self.stiffness * susceptibility)
        return COULOMB_EV_ANGSTROM * jnp.exp(-wave * self.distances) / self.distances

    def potential(self, kernel: Float[Array, " P"], charges: Float[Array, " N"]) -> Float[Array, " N"]:
        """Σ_j Y_ij q_j in eV/e."""
        from_j, from_i = kernel * charges[self.j], kernel * charges[self.i]
        return over_neighbours((self.i, self.j), from_j, from_i, len(charges))


def preconditioner(
    screening: Screening | None,
    amplitudes: Float[Array, "N S"],
    normal: Float[Array, "N S"],
    diagonal: Float[Array, "N S"],
    floor: Float[Array, ""] | float,
):
    """v → M⁻¹ v for tangential v (N, S): symmetric, positive semidefinite, tangential.

    `normal` is the slope t of the charges, `diagonal` the local curvature in eV, whose size is D, at least `floor`. The
    constraints are met in the metric of M, as its inverse on the tangent space wants: scaling first and projecting
    orthogonally afterwards misjudges an atom whose states have very different curvatures.
    """
    diagonal = jnp.maximum(jnp.abs(diagonal), floor)
    weight = jnp.sum(amplitudes**2 / diagonal, axis=1, keepdims=True)
    weight = jnp.where(weight > 0, weight, 1.0)

    def local(v):
        """The inverse of D on every atom's sphere."""
        free = v / diagonal
        along = jnp.sum(amplitudes * free, axis=1, keepdims=True)
        return free - amplitudes / diagonal * (along / weight)

    moved_by_normal = local(normal)
    coupled, along_normal = local, moved_by_normal
    if screening is not None:
        susceptibility = jnp.sum(normal * moved_by_normal, axis=1)
        movable = susceptibility > 0
        mean = jnp.sum(susceptibility) / jnp.maximum(jnp.sum(movable), 1)
        kernel = screening.kernel(mean)

        def screened(charges):
            return factor * screening.potential(kernel, factor * charges)

        # a smooth potential is screened entirely, whatever the list leaves out: γ Y γ χ = 1 in every row, which is then
        # its spectral radius. Whatever a row misses, charges of wave vector k would overshoot by 4πKnχ/k² times that
        factor = jnp.ones_like(susceptibility)
        for _ in range(_BALANCINGS):
            sums = screened(susceptibility)
            factor = jnp.minimum(screening.strongest, factor * jnp.sqrt(_SAFE / jnp.where(sums > 0, sums, 1.0)))
        along_normal = moved_by_normal * (1.0 - screened(susceptibility))[:, None]

        def coupled(v):
            free = local(v)
            return free - moved_by_normal * screened(jnp.sum(normal * free, axis=1))[:, None]

    square = jnp.sum(normal * along_normal)
    square = jnp.where(square > 0, square, 1.0)

    def apply(v):
        found = coupled(v)
        return found - along_normal * (jnp.sum(normal * found) / square)

    return apply
