"""h(R): the density of one state as a distant atom's Gaussian window sees it. Atomic units.

h(R) = ∫ w_σ(r) ρ(r − R) d³r = (1/2π²) ∫₀^∞ k² f(k) e^{−k²σ²/2} sin(kR)/(kR) dk, with w_σ a normalised Gaussian.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ectjax.pairs.fourier import KGrid

SIGMA_MIN = 0.1
"""Smallest window width in bohr that the k-grid resolves to 1e-10 of the density at the nucleus."""


def bessel_kernel(grid: KGrid, distances: np.ndarray) -> np.ndarray:
    """Quadrature matrix (K, M): weights × k² j₀(kR)/2π², to be contracted with f(k) exp(−k²σ²/2)."""
    return np.sinc(np.outer(grid.k, distances) / np.pi) * (grid.k**2 * grid.spacing / (2 * np.pi**2))[:, None]


def background_table(
    form_factors: Float[Array, "T K"],
    sigma: Float[Array, " E"],
    k: Float[Array, " K"],
    kernel: Float[Array, "K M"],
) -> Float[Array, "E T M"]:
    """h of every state T in the window of every receiving element E, in e/bohr³; differentiable in sigma."""
    window = jnp.exp(-0.5 * (sigma[:, None] * k) ** 2)
    return jnp.einsum("ek,tk,km->etm", window, form_factors, kernel, optimize="optimal", precision="highest")
