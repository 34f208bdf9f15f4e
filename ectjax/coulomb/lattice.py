"""What every periodic Coulomb sum needs from its cell, and the checks of its arguments (host side)."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

SMALLEST_ACCURACY, LARGEST_ACCURACY = 1e-15, 1e-1

REFERENCE_DENSITY = 0.1
"""Å⁻³; density of ±1 e charges at which error estimates are stated (rock salt has 0.045, water 0.1)."""


def reciprocal_cell(cell: Float[Array, "3 3"]) -> tuple[Float[Array, "3 3"], Float[Scalar, ""]]:
    """Rows b_d with b_d·a_e = δ_de (Å⁻¹, without 2π) and the volume |det cell| in Å³."""
    a, b, c = cell
    normals = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
    determinant = jnp.sum(cell[0] * normals[0])
    return normals / determinant, jnp.abs(determinant)


def fractional_coordinates(positions: Float[Array, "n 3"], reciprocal: Float[Array, "3 3"]):
    """(N, 3) coordinates along the lattice vectors; sums instead of a product, which might run in TF32."""
    return jnp.sum(positions[:, None, :] * reciprocal[None, :, :], axis=-1)


def check_cell(cell) -> np.ndarray:
    """The cell as a float64 array; ValueError unless it is (3, 3), finite and has a volume."""
    box = np.asarray(cell, np.float64)
    if box.shape != (3, 3) or not np.isfinite(box).all():
        raise ValueError(f"cell is {box.tolist()}, must be (3, 3) and finite: lattice vectors as rows, in Å")
    if not abs(np.linalg.det(box)) > 1e-9 * np.prod(np.linalg.norm(box, axis=1)):
        raise ValueError(f"cell {box.tolist()} has no volume: pass three independent lattice vectors, in Å")
    return box


def check_cutoff(cutoff: float) -> float:
    """The real-space cutoff; ValueError unless finite and positive."""
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"real-space cutoff is {cutoff} Å, must be finite and > 0: pass a distance in Å")
    return float(cutoff)


def check_accuracy(accuracy: float) -> float:
    """The accuracy; ValueError when outside SMALLEST_ACCURACY ... LARGEST_ACCURACY."""
    if not SMALLEST_ACCURACY <= accuracy <= LARGEST_ACCURACY:
        raise ValueError(
            f"accuracy is {accuracy}, allowed is {SMALLEST_ACCURACY:g} to {LARGEST_ACCURACY:g}: "
            "1e-6 suits dynamics, 1e-10 tests"
        )
    return float(accuracy)


def splitting_parameter(cutoff: float, accuracy: float) -> float:
    """Smallest α (Å⁻¹) whose truncated real-space sum meets the accuracy at REFERENCE_DENSITY.

    Root mean square errors of field and potential of random charges beyond r_c (Kolafa & Perram 1992):
    δE = 2√(ρ/r_c) e^(−x²) and δφ = √(ρ/α) x^(−3/2) e^(−x²), x = αr_c, per unit charge in units of K.
    """

    def error(x):
        field = 2.0 * math.sqrt(REFERENCE_DENSITY / cutoff)
        potential = math.sqrt(REFERENCE_DENSITY * cutoff) / x**2
        return max(field, potential) * math.exp(-(x**2))

    return bisect_decreasing(error, accuracy, 0.5, 10.0) / cutoff


def bisect_decreasing(function, target: float, low: float, high: float) -> float:
    """Where a decreasing function falls to `target`; `low` or `high` if that lies outside."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) > target else (low, middle)
    return high
