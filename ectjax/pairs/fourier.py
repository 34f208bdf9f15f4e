"""The k-grid on which radial integrals of spherical densities are done. Atomic units.

An integral ∫₀^∞ dk of a smooth even function against sin(kR) or j₀(kR) converges exponentially under the
trapezoid rule once 2π/Δk lies well beyond R plus the reach of the densities (Poisson summation), so one
uniform grid serves every state, and a whole table is one matrix product.
"""

from typing import NamedTuple

import numpy as np


class KGrid(NamedTuple):
    """Uniform wave numbers k (K,) in 1/bohr, without k = 0, and their spacing."""

    k: np.ndarray
    spacing: float


def k_grid(reach: float, k_max: float) -> KGrid:
    """Grid for distances up to `reach` bohr and form factors that have died (as k⁻⁴) at `k_max`.

    The aliasing error decays with the slowest density exponent over 2π/Δk − reach = 5 reach + 60 bohr.
    """
    spacing = 2 * np.pi / (6.0 * reach + 60.0)
    return KGrid(spacing * np.arange(1, int(np.ceil(k_max / spacing)) + 1), spacing)


def k_max_of(nuclear_charge: float) -> float:
    """Where |f(k)|², which falls as k⁻⁸ past the core exponent 2Z, contributes below 1e-10 Hartree."""
    return 60.0 + 12.0 * nuclear_charge
