"""The two-centre functional u(R): what density functionals add to the Coulomb energy of two rigid ions.

u_αβ(R) = a T[...] + b W[...] + X[...],  [...] = functional[ρ_α + ρ_β] - functional[ρ_α] - functional[ρ_β]

T Thomas-Fermi, W von Weizsäcker (with the cross gradient), X Slater exchange + PW92 correlation, for two
spherical densities R apart. Each is tabulated with prefactor 1, so a and b stay outside and trainable. The
signs are definite (T > 0, W < 0, X < 0) and all three decay exponentially, W slowest: like the density midway
between the nuclei, exp(-aR/2) for equal tails exp(-ar). Atomic units throughout.

Quadrature: with s = (r_A + r_B - R)/2 and t = (r_A - r_B + R)/2, prolate spheroidal coordinates in Bohr, both
distances are linear (r_A = s + t, r_B = s + R - t), the volume element is (4π/R) r_A r_B ds dt, and every
integrand is analytic up to both nuclei, the cross gradient too. Gauss-Legendre points on exponentially
stretched s and t therefore converge exponentially, to below 1e-6 Hartree at the defaults. Slater terms
factorise, exp(-a r_A) = exp(-a s) exp(-a t), so a density on the whole grid is a matrix product.
"""

import numpy as np

from ectjax.embedding.daw import SphericalDensity, density_terms, is_empty
from ectjax.embedding.functionals import overlap_differences, weizsaecker_difference

COMPONENTS = ("thomas_fermi", "weizsaecker", "xc")
RADIAL_POINTS = 96
AXIAL_POINTS = 56
_CHUNK = 16


def two_center_components(
    density_a: SphericalDensity,
    density_b: SphericalDensity,
    distances,
    *,
    radial_points: int = RADIAL_POINTS,
    axial_points: int = AXIAL_POINTS,
) -> np.ndarray:
    """T, W and X of two spherical densities at distances R, each with prefactor 1.

    Parameters
    ----------
    density_a, density_b : Slater expansions; with no electrons in either, the result is exactly 0.
    distances : (M,) Bohr, positive.
    radial_points, axial_points : Gauss-Legendre points along s and along each half of t.

    Returns
    -------
    (M, 3) Hartree, order T (> 0), W (< 0), X (< 0); symmetric under exchange of the densities.

    Raises
    ------
    ValueError : a distance that is not positive and finite.
    """
    distances = np.atleast_1d(np.asarray(distances, dtype=np.float64))
    good = np.isfinite(distances) & (distances > 0)
    if distances.ndim != 1 or not good.all():
        bad = distances[~good][:1] if distances.ndim == 1 else distances.shape
        raise ValueError(f"distances must be positive, finite and of shape (M,), in Bohr; got {bad}")
    a, b = density_terms(density_a), density_terms(density_b)
    if is_empty(a) or is_empty(b):
        return np.zeros((distances.size, 3))
    rules = [unit_rule(radial_points), unit_rule(axial_points)]
    # near in size: chunks of neighbouring distances keep the work arrays inside the cache
    return np.concatenate(
        [_integrate(a, b, distances[i : i + _CHUNK], *rules) for i in range(0, distances.size, _CHUNK)]
    )


def unit_rule(points: int):
    """Gauss–Legendre points and weights on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(points)
    return 0.5 + 0.5 * node, 0.5 * weight


def _stretched(rule, total, first):
    """Points (D, P) and weights on [0, total] that grow exponentially; `first` sets their density at 0."""
    x, w = rule
    rate = np.log(np.maximum(total / first, 1.001))[:, None]
    total = total[:, None] / np.expm1(rate)
    return total * np.expm1(rate * x), w * total * rate * np.exp(rate * x)


def prolate_grid(distances, reach, cores, radial_rule, axial_rule):
    """Points of the quadrature at D distances: s (D, I), t and R − t (D, J), r_A r_B and volume elements (D, I, J).

    reach : Bohr, largest s. cores : steepest decay of the density at either nucleus, 1/Bohr.
    """
    core_a, core_b = cores
    span = distances[:, None]
    s, ws = _stretched(radial_rule, np.full_like(distances, reach), 8.0 / max(core_a, core_b))
    near_a, weight_a = _stretched(axial_rule, 0.5 * distances, 8.0 / core_a)
    near_b, weight_b = _stretched(axial_rule, 0.5 * distances, 8.0 / core_b)
    from_a = np.concatenate([near_a, span - near_b], axis=1)
    from_b = np.concatenate([span - near_a, near_b], axis=1)
    wt = np.concatenate([weight_a, weight_b], axis=1)
    product = (s[:, :, None] + from_a[:, None, :]) * (s[:, :, None] + from_b[:, None, :])
    volume = product * ws[:, :, None] * (4.0 * np.pi / span * wt)[:, None, :]
    return s, from_a, from_b, product, volume


def _integrate(a, b, distances, radial_rule, axial_rule):
    """Quadrature of all three differences for D distances: (D, 3)."""
    tail_a, tail_b = a[2].min(), b[2].min()
    decay = tail_a + tail_b - max(tail_a, tail_b) / 3.0
    cores = a[2].max(), b[2].max()
    s, from_a, from_b, product, volume = prolate_grid(distances, 36.0 / decay, cores, radial_rule, axial_rule)
    u, slope_u = _density_on_grid(a, s, from_a)
    v, slope_v = _density_on_grid(b, s, from_b)
    slope_u /= np.maximum(u, 1e-280)
    slope_v /= np.maximum(v, 1e-280)
    # |∇ln u - ∇ln v|² = (x - y)² + 2xy(1 - cos), cos the angle between the two unit vectors: no cancellation
    angle = (2.0 * from_a * from_b)[:, None, :] / product
    slopes = (slope_u - slope_v) ** 2 + 2.0 * slope_u * slope_v * angle
    t, x = overlap_differences(u, v)
    w = weizsaecker_difference(u, v, slopes)
    return np.stack([np.einsum("dij,dij->d", f, volume) for f in (t, w, x)], axis=-1)


def _density_on_grid(terms, s, t):
    """(ρ, dρ/dr), each (D, I, J), at r = s_i + t_j from one matrix product per power of r."""
    c, n, a = terms
    r = s[:, :, None] + t[:, None, :]
    rho, slope = np.zeros_like(r), np.zeros_like(r)
    for power in np.unique(n):
        pick = n == power
        left = c[pick] * np.exp(-s[:, :, None] * a[pick])
        right = np.exp(-a[pick][:, None] * t[:, None, :])
        value, falling = left @ right, (left * a[pick]) @ right
        if power > 0:
            lower = r ** (power - 1.0)
            slope += (power * value - r * falling) * lower
            rho += value * (r * lower)
        else:
            slope -= falling
            rho += value
    return np.maximum(rho, 0.0), slope
