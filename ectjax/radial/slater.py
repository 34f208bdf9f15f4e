"""Spherical densities as sums of Slater terms, and everything that follows from them in closed form.

ρ(r) = Σ_k c_k r^{n_k} e^{−a_k r} in atomic units (bohr, electrons/bohr³, Hartree). All functions take `r` of any
shape, are pure, and can be differentiated in r, in the coefficients and in the exponents, also at r = 0.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

MAX_POWER = 9
"""Largest power n_k that the closed forms are built for."""

_SERIES = 30  # terms of the power series used at small x, where the finite sums would cancel
_J = np.arange(MAX_POWER + 4)
_FACTORIAL = np.array([math.factorial(j) for j in range(2 * MAX_POWER + 6)], dtype=float)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(14)


def _horner(coefficients, x):
    """Σ_j coefficients[..., j] x^j for coefficients (K, J) and x (..., K)."""
    value = jnp.zeros_like(x)
    for j in reversed(range(coefficients.shape[-1])):
        value = value * x + coefficients[..., j]
    return value


def _power(x, n):
    """x^n for integers n from 0 to MAX_POWER + 3, with every derivative finite at x = 0 (lax.pow gives NaN)."""
    value = running = jnp.ones_like(x)
    for m in range(1, MAX_POWER + 4):
        running = running * x
        value = jnp.where(n == m, running, value)
    return value


def _lower_gamma(order, x):
    """Regularised γ(m, x) with m = order for small x, from its series of positive terms; accurate for x < m/2."""
    total, term = jnp.zeros_like(x), jnp.ones_like(x)
    for i in range(_SERIES):
        total = total + term
        term = term * x / (order + (1 + i)).astype(x.dtype)
    return jnp.exp(-x) * _power(x, order) * total / jnp.asarray(_FACTORIAL, x.dtype)[order]


def _potential_series(order, x):
    """x^m/(m−1)! Σ_i (−x)^i / (i! (m+i)(m+i+1)), m = order: what the potential lacks to its value at r = 0."""
    total, term = jnp.zeros_like(x), jnp.ones_like(x)
    for i in range(_SERIES):
        total = total + term / ((order + i) * (order + i + 1)).astype(x.dtype)
        term = -term * x / (i + 1)
    return _power(x, order) * total / jnp.asarray(_FACTORIAL, x.dtype)[order - 1]


class SlaterExpansion(eqx.Module):
    """ρ(r) = Σ_k c_k r^{n_k} e^{−a_k r}, a spherical electron density in atomic units.

    Pad with zero coefficients (and any positive exponent) to stack expansions of different length; see `padded`.
    """

    coefficients: Float[Array, "... K"]
    powers: Int[Array, "... K"]
    exponents: Float[Array, "... K"]

    def __init__(self, coefficients, powers, exponents):
        """Raises ValueError for unequal shapes, powers outside 0…MAX_POWER, or exponents that are not positive."""
        shapes = [np.shape(coefficients), np.shape(powers), np.shape(exponents)]
        if len(set(shapes)) != 1 or len(shapes[0]) < 1:
            raise ValueError(f"Slater terms got shapes {shapes} for coefficients, powers, exponents; give equal ones")
        if not any(isinstance(x, jax.core.Tracer) for x in (powers, exponents)):
            n, a = np.asarray(powers), np.asarray(exponents)
            if n.size and (n.min() < 0 or n.max() > MAX_POWER or np.any(n != np.round(n))):
                raise ValueError(f"Slater powers got {n.tolist()}; allowed are the integers 0 to {MAX_POWER}")
            if not np.all(a > 0):
                raise ValueError(f"Slater exponents got {a.tolist()}; each must be positive")
        self.coefficients = jnp.asarray(coefficients, jnp.result_type(float))
        self.exponents = jnp.asarray(exponents, jnp.result_type(float))
        self.powers = jnp.asarray(powers, jnp.int32)

    def padded(self, terms: int) -> "SlaterExpansion":
        """The same density written with `terms` terms; the added ones have coefficient zero."""
        extra = terms - self.coefficients.shape[-1]
        if extra < 0:
            raise ValueError(f"cannot pad {self.coefficients.shape[-1]} terms to {terms}; ask for at least as many")
        width = [(0, 0)] * (self.coefficients.ndim - 1) + [(0, extra)]
        return SlaterExpansion(
            jnp.pad(self.coefficients, width),
            jnp.pad(self.powers, width),
            jnp.pad(self.exponents, width, constant_values=1.0),
        )

    # --- the density and its radial derivatives -------------------------------------------------------------

    def density(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """ρ(r), electrons/bohr³."""
        r = self._column(r)
        return jnp.sum(self.coefficients * _power(r, self.powers) * jnp.exp(-self.exponents * r), -1)

    __call__ = density

    def gradient(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """dρ/dr."""
        r, a = self._column(r), self.exponents
        n, real_n = self.powers, self.powers.astype(a.dtype)
        lower = real_n * _power(r, jnp.maximum(n - 1, 0))
        return jnp.sum(self.coefficients * (lower - a * _power(r, n)) * jnp.exp(-a * r), -1)

    def laplacian(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """∇²ρ = ρ″ + 2ρ′/r. Diverges as 2ρ′(0)/r at a cusp; r = 0 is evaluated at r = 1e-12."""
        r, a = jnp.maximum(self._column(r), 1e-12), self.exponents
        n, real_n = self.powers, self.powers.astype(a.dtype)
        factor = real_n * (real_n + 1) / r**2 - 2 * a * (real_n + 1) / r + a**2
        return jnp.sum(self.coefficients * factor * _power(r, n) * jnp.exp(-a * r), -1)

    # --- integrals -----------------------------------------------------------------------------------------

    def electron_count(self) -> Float[Array, "..."]:
        """N = ∫ρ d³r."""
        return self.moment(0)

    def moment(self, order: int) -> Float[Array, "..."]:
        """∫ρ r^order d³r for an integer order ≥ −2; divide by `electron_count()` for an average per electron."""
        if order < -2:
            raise ValueError(f"moment got order {order}; the integral exists for orders of at least -2")
        exponent = self.powers + (3 + order)
        gamma = jnp.exp(jax.lax.lgamma(exponent.astype(self.exponents.dtype)))
        if order + MAX_POWER + 2 < len(_FACTORIAL):
            gamma = self._constant(_FACTORIAL)[exponent - 1]
        return 4 * jnp.pi * jnp.sum(self.coefficients * gamma / jax.lax.pow(self.exponents, exponent), -1)

    def count_inside(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """∫_0^r 4πs²ρ ds: the electrons inside a sphere."""
        x = self._column(r) * self.exponents
        top = jnp.broadcast_to(self.powers + 2, x.shape)
        sums = (_J[None, :] <= np.arange(2, MAX_POWER + 3)[:, None]) / _FACTORIAL[: len(_J)]
        big = 1 - jnp.exp(-x) * _horner(self._constant(sums)[self.powers], x)
        limit = 1 + 0.5 * self.powers.astype(x.dtype)
        small = _lower_gamma(top + 1, jnp.minimum(x, limit))
        scale = self._constant(_FACTORIAL)[self.powers + 2] / jax.lax.pow(self.exponents, self.powers + 3)
        return 4 * jnp.pi * jnp.sum(self.coefficients * scale * jnp.where(x < limit, small, big), -1)

    def potential(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """∫ρ(r′)/|r−r′| d³r′ in Hartree per unit charge, positive; N/r far outside, finite at r = 0."""
        x = self._column(r) * self.exponents
        top = jnp.broadcast_to(self.powers + 1, x.shape)
        safe = jnp.maximum(x, 0.5)
        whole = (self.powers + 2).astype(x.dtype)
        big = (whole - jnp.exp(-safe) * _horner(self._screening_polynomial(), safe)) / safe
        low = jnp.minimum(x, 1.0)
        small = 1 - _potential_series(top + 1, low)
        return jnp.sum(self._potential_scale() * jnp.where(x < 1, small, big), -1)

    def screened_remainder(self, r: Float[Array, "..."]) -> Float[Array, "..."]:
        """N/r − potential(r), as a sum of exponentially decaying terms without cancellation; N/r at small r."""
        r = self._column(r)
        x = r * self.exponents
        terms = jnp.exp(-x) * _horner(self._screening_polynomial(), x) / self.exponents
        return jnp.sum(self._potential_scale() * terms / r, -1)

    def self_repulsion(self) -> Float[Array, ""]:
        """½∬ρρ′/|r−r′|, Hartree. One expansion at a time (vmap over stacks)."""
        c, n, a = self.coefficients, self.powers, self.exponents
        rate = a[:, None] + a[None, :]  # (k, l): the potential of term k felt by term l
        factorial, polynomial = self._constant(_FACTORIAL), self._screening_polynomial()
        overlap = jnp.zeros_like(rate)
        for j in range(polynomial.shape[-1]):
            order = jnp.broadcast_to(n[None, :] + (1 + j), rate.shape)
            inner = jax.lax.pow(a, jnp.full_like(n, j))[:, None] * factorial[order] / jax.lax.pow(rate, order + 1)
            overlap = overlap + polynomial[:, j][:, None] * inner
        screened = 4 * jnp.pi * (self._potential_scale() / a) @ overlap @ c
        return 0.5 * (self.electron_count() * self.moment(-1) - screened)

    # --- other representations -----------------------------------------------------------------------------

    def form_factor(self, k: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(k) = ∫ρ e^{ik·r} d³r = (4π/k)Σ c Im[(n+1)!/(a−ik)^{n+2}]; f(0) = N, no division by k."""
        t = self._column(k) / self.exponents
        p = 1 / (1 + t**2)
        q = t**2 * p
        real, imag = p, p  # 1/(1 − it)^m = real + i t imag, built up factor by factor
        value = jnp.zeros_like(t)
        for m in range(2, MAX_POWER + 3):
            real, imag = p * real - q * imag, p * (real + imag)
            value = jnp.where(self.powers + 2 == m, imag, value)
        scale = self._constant(_FACTORIAL)[self.powers + 1] / jax.lax.pow(self.exponents, self.powers + 3)
        return 4 * jnp.pi * jnp.sum(self.coefficients * scale * value, -1)

    def shell_average(self, r: Float[Array, "..."], distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mean of ρ over a sphere of radius r whose centre is `distance` from the nucleus; symmetric in the two."""
        r, distance = jnp.broadcast_arrays(*(jnp.asarray(v, self.exponents.dtype) for v in (r, distance)))
        short, long = self._column(jnp.minimum(r, distance)), self._column(jnp.maximum(r, distance))
        a, n = self.exponents, self.powers
        # far apart on the scale 1/a: the difference of two incomplete gamma functions
        sums = self._constant((_J[None, :] <= np.arange(1, MAX_POWER + 2)[:, None]) / _FACTORIAL[: len(_J)])[n]
        safe = jnp.where(a * short > 1, short, 1 / a)
        safe_long = jnp.maximum(long, safe)

        def upper(s):
            return jnp.exp(-a * s) * _horner(sums, a * s)

        scale = self._constant(_FACTORIAL)[n + 1] / jax.lax.pow(a, n + 2)
        wide = scale * (upper(safe_long - safe) - upper(safe_long + safe)) / (2 * safe * safe_long)
        # close: the integrand is smooth over the narrow interval, and Gauss-Legendre is exact to rounding
        narrow = jnp.zeros_like(wide)
        ratio = jnp.where(long > 0, short, 0.0) / jnp.where(long > 0, long, 1.0)
        low = jnp.minimum(short, 1 / a)
        for t, w in zip(_NODES, _WEIGHTS, strict=True):
            s = jnp.maximum(long + low * t, 0.0)
            power = _power(s, n)
            narrow = narrow + 0.5 * w * (1 + ratio * t) * power * jnp.exp(-a * s)
        return jnp.sum(self.coefficients * jnp.where(a * short > 1, wide, narrow), -1)

    def smeared_density(self, distance: Float[Array, "..."], sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        """∫w(r′)ρ(|R−r′|) d³r′, w a normalised Gaussian of width sigma (bohr) and R = distance; sigma = 0 is ρ(R)."""
        from ._smearing import smeared_terms

        distance, sigma = jnp.broadcast_arrays(*(jnp.asarray(v, self.exponents.dtype) for v in (distance, sigma)))
        floor = 1e-5 if self.exponents.dtype == jnp.float64 else 1e-3
        sharp = sigma < floor
        terms = smeared_terms(
            self._powers(self._column(distance)),
            self.exponents,
            self._column(distance),
            self._column(jnp.where(sharp, floor, sigma)),
        )
        return jnp.where(sharp, self.density(distance), jnp.sum(self.coefficients * terms, -1))

    # --- helpers -------------------------------------------------------------------------------------------

    def _column(self, r):
        return jnp.asarray(r, self.exponents.dtype)[..., None]

    def _powers(self, r):
        return jnp.broadcast_to(self.powers, jnp.broadcast_shapes(r.shape, self.powers.shape))

    def _constant(self, values):
        return jnp.asarray(values, self.exponents.dtype)

    def _potential_scale(self):
        factorial = self._constant(_FACTORIAL)[self.powers + 1]
        return 4 * jnp.pi * self.coefficients * factorial / jax.lax.pow(self.exponents, self.powers + 2)

    def _screening_polynomial(self):
        """Coefficients of Σ_j (n+2−j)₊ x^j/j!, shape (K, J)."""
        table = np.maximum(np.arange(2, MAX_POWER + 3)[:, None] - _J[None, :], 0) / _FACTORIAL[: len(_J)]
        return self._constant(table)[self.powers]
