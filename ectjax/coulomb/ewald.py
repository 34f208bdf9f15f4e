"""Ewald summation of point charges in a periodic cell of any shape, charged cells included.

P. P. Ewald, Ann. Phys. 369, 253 (1921); errors after J. Kolafa and J. W. Perram, Mol. Simul. 9, 351 (1992);
charged cells after the neutralising background of S. W. de Leeuw et al., Proc. R. Soc. A 373, 27 (1980),
with conducting ("tin foil") surroundings. The cost grows as N^(3/2) at best; see `pme` for large systems.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Bool, Float, Int, Scalar

from ectjax.coulomb.lattice import (
    REFERENCE_DENSITY,
    bisect_decreasing,
    check_accuracy,
    check_cell,
    check_cutoff,
    fractional_coordinates,
    reciprocal_cell,
    splitting_parameter,
)
from ectjax.units import COULOMB_EV_ANGSTROM

MATRIX_LIMIT = 512
"""Atoms up to which φ(q) is one stored (N, N) matrix where that is smaller than the phases."""

MOST_WAVE_VECTORS = 5_000_000


def ewald_real_kernel(r: Float[Array, "*pairs"], alpha: float) -> Float[Array, "*pairs"]:
    """K erfc(αr)/r in eV/e² (r > 0 in Å): what a pair within the cutoff adds to q_i q_j."""
    return COULOMB_EV_ANGSTROM * erfc(alpha * r) / r


class EwaldParameters(eqx.Module):
    """Splitting α (Å⁻¹), real-space cutoff (Å) and half the integer wave vectors (K, 3), k = 2π n·cell⁻ᵀ.

    Zero rows are padding. Valid while the cell stays near the one they were made for.
    """

    alpha: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    k_integers: Int[Array, "k 3"]

    def prepare(
        self,
        positions: Float[Array, "n 3"],
        cell: Float[Array, "3 3"],
        atom_mask: Bool[Array, " n"] | None = None,
    ) -> EwaldReciprocal:
        """The reciprocal operator of a geometry."""
        return EwaldReciprocal.prepare(positions, cell, self.alpha, self.k_integers, atom_mask)


def ewald_parameters(cell: Float[Array, "3 3"], cutoff: float, accuracy: float = 1e-6) -> EwaldParameters:
    """Choose α and the wave vectors for a real-space cutoff (host side).

    `accuracy` is the root mean square error of the field on (and, at least as small, of the potential at) a
    unit charge in a disordered system of ±1 e charges at 0.1 Å⁻³, relative to the field (potential) of a
    unit charge 1 Å away, 14.4 V/Å (V); each of the two truncated sums gets half of it.

    Raises:
        ValueError: cell without volume, cutoff not positive, accuracy outside 1e-15 ... 1e-1, or more than
            5,000,000 wave vectors.
    """
    box, cutoff = check_cell(cell), check_cutoff(cutoff)
    share = 0.5 * check_accuracy(accuracy)
    alpha = splitting_parameter(cutoff, share)

    def error(x):  # modes beyond k = 2αx: rms field √(8ρ) α k^(-1/2) e^(-x²), potential 1/k of it
        field = math.sqrt(8.0 * REFERENCE_DENSITY * alpha / (2.0 * x)) * math.exp(-(x**2))
        return field * max(1.0, 1.0 / (2.0 * alpha * x))

    largest = 2.0 * alpha * bisect_decreasing(error, share, 0.5, 10.0)
    return EwaldParameters(alpha, cutoff, jnp.asarray(_half_sphere(box, largest)))


class EwaldReciprocal(eqx.Module):
    """Reciprocal, self and background potential of a geometry: φ = P Pᵀq − 2αK/√π q − πK/(Vα²) Σq.

    Column pairs of P are cos and sin of k·r times √(8πK/V) e^(−k²/8α²)/k, so that φ is linear and
    symmetric in q, and E = ½ q·φ. The real-space part, `ewald_real_kernel` over pairs, is not included.
    """

    phases: Float[Array, "n 2k"]
    matrix: Float[Array, "n n"] | None
    self_coefficient: Float[Scalar, ""]
    background_coefficient: Float[Scalar, ""]
    atom_mask: Bool[Array, " n"] | None

    @classmethod
    def prepare(
        cls,
        positions: Float[Array, "n 3"],
        cell: Float[Array, "3 3"],
        alpha: float,
        k_integers: Int[Array, "k 3"],
        atom_mask: Bool[Array, " n"] | None = None,
    ) -> EwaldReciprocal:
        """Positions and cell in Å, α in Å⁻¹, half space of integers (zero rows are padding)."""
        dtype = positions.dtype
        cell = jnp.asarray(cell, dtype)
        reciprocal, volume = reciprocal_cell(cell)
        n = k_integers.astype(dtype)
        k = 2.0 * jnp.pi * sum(n[:, d, None] * reciprocal[d] for d in range(3))
        used = jnp.any(k_integers != 0, axis=-1)
        squared = jnp.where(used, jnp.sum(k * k, axis=-1), 1.0)
        amplitude = jnp.sqrt(8.0 * jnp.pi * COULOMB_EV_ANGSTROM / volume / squared)
        amplitude = jnp.where(used, amplitude * jnp.exp(-squared / (8.0 * alpha**2)), 0.0)
        fractional = fractional_coordinates(positions, reciprocal)
        turns = sum(fractional[:, d, None] * n[None, :, d] for d in range(3))
        angles = 2.0 * jnp.pi * (turns - jnp.round(turns))
        phases = jnp.concatenate([amplitude * jnp.cos(angles), amplitude * jnp.sin(angles)], axis=1)
        if atom_mask is not None:
            phases = jnp.where(atom_mask[:, None], phases, 0.0)
        atoms, columns = phases.shape
        small = atoms <= min(columns, MATRIX_LIMIT)
        matrix = jnp.matmul(phases, phases.T, precision="highest") if small else None
        constants = self_and_background(alpha, volume)
        return cls(phases, matrix, *constants, atom_mask)

    def potential(self, charges: Float[Array, " n"]) -> Float[Array, " n"]:
        """Potential at every atom in eV/e (charges in e), without the real-space part."""
        charges = masked(charges, self.atom_mask)
        if self.matrix is not None:
            smooth = jnp.matmul(self.matrix, charges, precision="highest")
        else:
            factors = jnp.matmul(charges, self.phases, precision="highest")
            smooth = jnp.matmul(self.phases, factors, precision="highest")
        constant = self.self_coefficient * charges + self.background_coefficient * jnp.sum(charges)
        return smooth + masked(constant, self.atom_mask)

    def energy(self, charges: Float[Array, " n"]) -> Float[Scalar, ""]:
        """½ q·φ(q) in eV, through the structure factors only: cheap to differentiate in the geometry."""
        charges = masked(charges, self.atom_mask)
        factors = jnp.matmul(charges, self.phases, precision="highest")
        own = self.self_coefficient * jnp.sum(charges**2)
        background = self.background_coefficient * jnp.sum(charges) ** 2
        return 0.5 * (jnp.sum(factors**2) + own + background)


def self_and_background(alpha, volume):
    """Coefficients −2αK/√π (of q_i) and −πK/(Vα²) (of Σq) of the potential, in eV/e²."""
    own = jnp.asarray(-2.0 * alpha * COULOMB_EV_ANGSTROM / math.sqrt(math.pi), volume.dtype)
    return own, -math.pi * COULOMB_EV_ANGSTROM / (volume * alpha**2)


def masked(values, atom_mask):
    """Values with padded atoms set to zero."""
    return values if atom_mask is None else jnp.where(atom_mask, values, 0.0)


def _half_sphere(box: np.ndarray, largest: float) -> np.ndarray:
    """Integers n ≠ 0 with |2π n·box⁻ᵀ| ≤ largest, one of each ±n, zero rows up to a multiple of 64."""
    expected = largest**3 / (6 * math.pi**2) * abs(np.linalg.det(box)) / 2
    if expected > MOST_WAVE_VECTORS:
        raise ValueError(
            f"Ewald sum would need about {expected:.3g} wave vectors, {MOST_WAVE_VECTORS} are allowed: "
            "raise the cutoff, accept a larger accuracy value, or use PME"
        )
    limits = np.floor(largest * np.linalg.norm(box, axis=1) / (2 * math.pi)).astype(int)
    axes = [np.arange(-m, m + 1) for m in limits]
    axes[0] = axes[0][limits[0] :]
    n = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    first = np.where(n[:, 0] != 0, n[:, 0], np.where(n[:, 1] != 0, n[:, 1], n[:, 2]))
    k = 2 * math.pi * n @ np.linalg.inv(box).T
    n = n[(first > 0) & (np.sum(k * k, axis=1) <= largest**2)]
    rows = max(64, 64 * math.ceil(len(n) / 64))
    return np.concatenate([n, np.zeros((rows - len(n), 3))]).astype(np.int32)
