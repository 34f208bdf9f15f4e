"""Local density functionals as differences: what joining two densities changes, point by point.

Every function takes two densities u, v >= 0 (electrons/Bohr³, any shapes that broadcast) and returns
f(u + v) - f(u) - f(v) in Hartree/Bohr³, formed so that nothing cancels: relative accuracy survives where
one density is ten orders of magnitude below the other. They run in NumPy or JAX, whichever the inputs
are, and are differentiable in both densities, at zero too (first derivatives).

Sources: Thomas-Fermi and Slater exchange are textbook; correlation is J. P. Perdew and Y. Wang,
Phys. Rev. B 45, 13244 (1992), eq. 10, spin-unpolarised, with A to the digits of PBE (libxc: lda_c_pw_mod).
"""

import jax
import jax.numpy as jnp
import numpy as np

TF_CONSTANT = 0.3 * (3.0 * np.pi**2) ** (2.0 / 3.0)
SLATER_CONSTANT = 0.75 * (3.0 / np.pi) ** (1.0 / 3.0)
WIGNER_SEITZ = (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
"""rs = WIGNER_SEITZ / n^(1/3)."""

PW92_A = 0.0310907
PW92_ALPHA = 0.21370
PW92_BETA = (7.5957, 3.5876, 1.6382, 0.49294)


def array_namespace(*values):
    """`jax.numpy` as soon as one value is a JAX array or tracer, `numpy` otherwise."""
    return jnp if any(isinstance(v, jax.Array) for v in values) else np


def density_floor(dtype) -> float:
    """Density added to keep logarithms and roots finite; far below anything that carries energy."""
    return 1e-100 if np.dtype(dtype).itemsize >= 8 else 1e-12


def pw92_energy_density(n):
    """PW92 correlation energy per volume n ε_c(n), Hartree/Bohr³, of an unpolarised density n > 0."""
    xp = array_namespace(n)
    rs = WIGNER_SEITZ / xp.cbrt(n)
    return -2.0 * PW92_A * n * (1.0 + PW92_ALPHA * rs) * xp.log1p(1.0 / _pw92_denominator(xp, rs))


def _pw92_denominator(xp, rs):
    b1, b2, b3, b4 = PW92_BETA
    root = xp.sqrt(rs)
    return 2.0 * PW92_A * root * (b1 + root * (b2 + root * (b3 + root * b4)))


def overlap_differences(u, v):
    """Thomas-Fermi and Slater + PW92 differences f(u+v) - f(u) - f(v), each with prefactor 1.

    Parameters
    ----------
    u, v : densities, electrons/Bohr³, non-negative, broadcastable.

    Returns
    -------
    (tf, xc) : Hartree/Bohr³, broadcast shape; tf >= 0, xc <= 0, and both exactly 0 where u or v is 0.
    """
    xp = array_namespace(u, v)
    floor = density_floor(xp.result_type(u, v))
    large = xp.maximum(u, v) + floor
    small = xp.minimum(u, v) + floor
    large_root, small_root = xp.cbrt(large), xp.cbrt(small)
    ratio_log = xp.log1p(small / large)

    # (1+t)^(p/3) - 1 for p = 5 and 4 as polynomials in d = (1+t)^(1/3) - 1: all terms positive
    d = xp.expm1(ratio_log / 3.0)
    five = d * (5.0 + d * (10.0 + d * (10.0 + d * (5.0 + d))))
    four = d * (4.0 + d * (6.0 + d * (4.0 + d)))
    tf = TF_CONSTANT * (large * large_root**2 * five - small * small_root**2)
    exchange = -SLATER_CONSTANT * (large * large_root * four - small * small_root)

    # n ε_c: [e(s+t) - e(s)] - e(t), the bracket from the changes of rs, of y and of the logarithm
    q = xp.expm1(-ratio_log / 6.0)
    q2 = q * (2.0 + q)
    q3 = q * (3.0 + q * (3.0 + q))
    q4 = q2 * (2.0 + q2)
    rs = WIGNER_SEITZ / large_root
    root = xp.sqrt(rs)
    b1, b2, b3, b4 = PW92_BETA
    y = _pw92_denominator(xp, rs)
    y_fall = -2.0 * PW92_A * root * (b1 * q + root * (b2 * q2 + root * (b3 * q3 + root * b4 * q4)))
    inverse_rise = y_fall / (y * (y - y_fall))
    log_rise = xp.log1p(inverse_rise / (1.0 + 1.0 / y))
    log = xp.log1p(1.0 / y)
    prefactor = 1.0 + PW92_ALPHA * rs
    rs_change = PW92_ALPHA * rs * q2
    energy_change = -2.0 * PW92_A * ((prefactor + rs_change) * log_rise + rs_change * log)
    energy_joined = -2.0 * PW92_A * prefactor * log + energy_change
    correlation = small * energy_joined + large * energy_change - pw92_energy_density(small)

    empty = (u <= 0) | (v <= 0)
    return _zero_where(xp, empty, tf), _zero_where(xp, empty, exchange + correlation)


def weizsaecker_difference(u, v, slope_difference_squared):
    """Von Weizsäcker difference (1/8)[|∇u+∇v|²/(u+v) - |∇u|²/u - |∇v|²/v] = -(1/8) uv/(u+v) |∇ln u - ∇ln v|².

    Parameters
    ----------
    u, v : densities, electrons/Bohr³.
    slope_difference_squared : |∇ln u - ∇ln v|², 1/Bohr² (for a constant v: (u'/u)²).

    Returns
    -------
    Hartree/Bohr³, never positive, exactly 0 where u or v is 0.
    """
    xp = array_namespace(u, v)
    floor = density_floor(xp.result_type(u, v))
    large = xp.maximum(u, v) + floor
    small = xp.minimum(u, v) + floor
    value = -0.125 * small / (1.0 + small / large) * slope_difference_squared
    return _zero_where(xp, (u <= 0) | (v <= 0), value)


def _zero_where(xp, empty, value):
    """Exact zero where `empty`, with the derivative left in place."""
    if xp is np:
        return np.where(empty, 0.0, value)
    return jnp.where(empty, value - jax.lax.stop_gradient(value), value)
