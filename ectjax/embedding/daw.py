"""Daw's embedding function: an atom's density functional energy in a uniform background of electrons.

F_α(ρ̄) = G[ρ_α + ρ̄] - G[ρ_α] - G[ρ̄],   G[ρ] = a T_TF + b T_vW + E_xc

for a spherical state density ρ_α and a constant background ρ̄ (M. S. Daw, Phys. Rev. B 39, 7441 (1989)),
T_TF Thomas-Fermi, T_vW von Weizsäcker with the gradient of ρ_α only, E_xc Slater exchange + PW92. The three
parts are tabulated with prefactor 1, so that a and b stay outside and trainable. Atomic units throughout.
"""

import functools
from typing import Protocol

import jax.numpy as jnp
import numpy as np

from ectjax.embedding.functionals import array_namespace, overlap_differences, weizsaecker_difference

COMPONENTS = ("thomas_fermi", "weizsaecker", "xc")
POINTS_PER_PANEL = 16
_SMALLEST_TAIL = 1e-18
_CHUNK = 400_000


class SphericalDensity(Protocol):
    """What the embedding needs of a density: ρ(r) = Σ_k c_k r^n_k exp(-a_k r), atomic units, arrays (K,)."""

    coefficients: np.ndarray
    powers: np.ndarray
    exponents: np.ndarray


def daw_components(density: SphericalDensity, background):
    """The three parts of F_α(ρ̄) in a constant background, each with prefactor 1.

    F_α = a * tf + b * vw + xc with the prefactors a, b of the element. The quadrature is converged to 1e-8
    Hartree for backgrounds from 0 to 10 electrons/Bohr³ (measured in tests/test_embedding_daw.py). A JAX
    array as background gives a JAX result, differentiable in it (needs 64-bit mode for that accuracy);
    anything else is computed by NumPy in float64.

    The slope at ρ̄ -> 0 is finite for tf and xc; that of vw grows like -(ln ρ̄)³, because a dilute background
    reaches ever farther into the exponential tail.

    Parameters
    ----------
    density : Slater expansion ρ_α; with no terms, or all coefficients 0 (a bare nucleus), F is exactly 0.
    background : (M,) constant densities ρ̄ >= 0, electrons/Bohr³.

    Returns
    -------
    (M, 3) Hartree: Thomas-Fermi (>= 0), von Weizsäcker (<= 0), xc (<= 0); exactly 0 at ρ̄ = 0.

    Raises
    ------
    ValueError : a background that is negative or not finite (checked for NumPy input).
    """
    xp = array_namespace(background)
    background = xp.atleast_1d(xp.asarray(background, dtype=float))
    if background.ndim != 1:
        raise ValueError(f"background must have shape (M,), got {background.shape}")
    if xp is np and not np.all(np.isfinite(background) & (background >= 0)):
        bad = background[~(np.isfinite(background) & (background >= 0))][0]
        raise ValueError(f"background densities must be finite and >= 0 electrons/Bohr³, got {bad}")
    terms = density_terms(density)
    if is_empty(terms):
        return xp.zeros((background.shape[0], 3))
    r, weights = radial_quadrature(*terms)
    rho, slope = evaluate_density(terms, r)
    log_slope = np.divide(slope, rho, out=np.zeros_like(rho), where=rho > 0)
    integrate = functools.partial(_integrate, xp, xp.asarray(rho), xp.asarray(log_slope**2), xp.asarray(weights))
    if xp is jnp:
        return integrate(background)
    rows = max(1, _CHUNK // r.size)
    return np.concatenate([integrate(background[i : i + rows]) for i in range(0, background.size, rows)])


def _integrate(xp, rho, log_slope_squared, weights, background):
    v = background[:, None]
    tf, xc = overlap_differences(rho[None, :], v)
    vw = weizsaecker_difference(rho[None, :], v, log_slope_squared[None, :])
    return xp.stack([tf @ weights, vw @ weights, xc @ weights], axis=-1)


def density_terms(density: SphericalDensity):
    """(coefficients, powers, exponents), each (K,) float64, of a Slater expansion, zero terms dropped."""
    c, n, a = (
        np.asarray(x, dtype=np.float64).reshape(-1) for x in (density.coefficients, density.powers, density.exponents)
    )
    keep = c != 0.0
    return c[keep], n[keep], a[keep]


def is_empty(terms) -> bool:
    """Whether the terms of `density_terms` describe no electrons at all."""
    return terms[0].size == 0


def evaluate_density(terms, r):
    """(ρ, dρ/dr) at radii r >= 0 of any shape, float64; ρ is clipped at 0 from below."""
    c, n, a = terms
    x = r[..., None]
    parts = c * x**n * np.exp(-a * x)
    falling = np.where(n > 0, c * n * x ** np.maximum(n - 1, 0) * np.exp(-a * x), 0.0)
    rho = parts.sum(-1)
    return np.maximum(rho, 0.0), np.where(rho > 0, (falling - a * parts).sum(-1), 0.0)


def outer_radius(terms, smallest: float = _SMALLEST_TAIL) -> float:
    """Radius in Bohr beyond which r³ρ(r) stays below `smallest` electrons."""
    c, n, a = terms
    r = np.geomspace(1e-2, 2e3, 4000)
    bound = (np.log(np.abs(c)) + (n + 3) * np.log(r)[:, None] - a * r[:, None]).max(-1)
    return float(r[np.flatnonzero(bound > np.log(smallest))[-1] + 1])


def radial_quadrature(coefficients, powers, exponents, points: int = POINTS_PER_PANEL, refine: int = 1):
    """Composite Gauss-Legendre rule for ∫ f(r) d³r of functionals of one spherical density.

    Panels grow with r from the nucleus on (a shell at radius r has features of size r), capped at three decay
    lengths of the slowest term: the crossing of an exponential tail with the background is smooth on that
    scale.

    Parameters
    ----------
    coefficients, powers, exponents : (K,) Slater terms.
    points : Gauss-Legendre points per panel.
    refine : every panel is split into this many (for convergence tests).

    Returns
    -------
    (r, weights) : (P,) Bohr and Bohr³; weights include 4πr².
    """
    terms = (coefficients, powers, exponents)
    end = outer_radius(terms)
    first, cap = 0.5 / exponents.max(), 3.0 / exponents.min()
    edges = [0.0]
    while edges[-1] < end:
        edges.append(edges[-1] + min(first + 0.4 * edges[-1], cap))
    edges[-1] = end
    edges = np.interp(np.arange(0, (len(edges) - 1) * refine + 1) / refine, np.arange(len(edges)), edges)
    node, weight = np.polynomial.legendre.leggauss(points)
    half = 0.5 * np.diff(edges)
    r = (edges[:-1, None] + half[:, None] * (1.0 + node)).ravel()
    return r, (half[:, None] * weight).ravel() * 4.0 * np.pi * r**2
