"""What a Slater fit has to match: radial distribution, moments, tail; and where it has to stay positive.

Gaussian basis functions give densities whose far tail is wrong. Beyond the radius where the reference is
trusted, the asymptotic form ρ ∝ r^{2β} e^{−ar}, β = 2(q+1)/a − 1, takes its place.
"""

import copy
from math import factorial

import numpy as np

from ..tables.verify import evaluate
from .pyscf_atom import RADII, VOLUME_WEIGHTS

_STRIDE = 4
_MOMENT_WEIGHT = 3.0  # electrons² per relative error of a moment
_TAIL_WEIGHT = 2e-3  # per relative error of the density in the tail, electrons
_FLOOR = 0.5  # the fit stays above this fraction of the reference where the reference is trusted
_TAIL_FLOOR = 0.1  # and above this fraction of the asymptotic form further out
_OUTER = 3e-3  # electrons/bohr³; below it the density has to fall at least like e^{−sar}, s = _SLOPE
_SLOPE = 0.5
_SMOOTH = 9
_TRUSTED = 1e-6  # electrons/bohr³


def norms(powers: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """∫ r^n e^{−ar} d³r of each term."""
    gamma = np.array([factorial(n + 2) for n in powers], dtype=float)
    return 4 * np.pi * gamma / exponents ** (powers + 3)


def basis_values(powers: np.ndarray, exponents: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Terms normalised to one electron, (len(r), K)."""
    return np.exp(-np.outer(r, exponents)) * r[:, None] ** powers / norms(powers, exponents)


class Target:
    """The least-squares problem of one state; `rows` and `bound_rows` are linear in electrons per term."""

    def __init__(self, density: np.ndarray, number: int, electrons: int, decay: float):
        self.density, self.decay, self.charge = density, decay, number - electrons
        self.r = RADII[::_STRIDE]
        rho = density[::_STRIDE]
        volume = VOLUME_WEIGHTS[::_STRIDE] * _STRIDE
        # squares of the radial distribution: electrons² per bohr
        self.weight = np.sqrt(volume * 4 * np.pi * self.r**2 * (1 + 0.3 / (0.3 / number + self.r)))
        self.plain = None
        self.moments = {k: float(np.sum(volume * rho * self.r**k)) for k in (-1, 1, 2)}
        self.moment_scale = _MOMENT_WEIGHT / np.array(list(self.moments.values()))
        inner = np.geomspace(1e-5, 0.02, 12)
        # out to 100 bohr, or to where the density of a compact ion leaves the range of floating-point numbers
        middle, far = np.geomspace(0.03 / number, 18.0, 170), np.linspace(18.5, min(100.0, 620 / decay), 90)
        self._constrain(np.concatenate([inner, middle, far]))
        tail = np.geomspace(0.3, 80.0, 300)
        value = self.expected(tail)
        inside = (value < 3e-3) & (value > 1e-13)
        self.tail = tail[inside][:: max(1, int(inside.sum()) // 40)]
        self.tail_scale = _TAIL_WEIGHT / self.expected(self.tail)
        self.values = np.concatenate(
            [self.weight * rho, _MOMENT_WEIGHT * np.ones(3), np.full(len(self.tail), _TAIL_WEIGHT)]
        )

    def expected(self, r: np.ndarray) -> np.ndarray:
        """The reference density, continued by its asymptotic form where it is not trusted."""
        logarithm = np.log(np.maximum(self.density, 1e-300))
        last = np.flatnonzero(self.density > _TRUSTED)[-1]
        edge = RADII[last]
        power = 2 * (2 * (self.charge + 1) / self.decay - 1)
        outside = np.maximum(r, edge)
        tail = logarithm[last] + power * np.log(outside / edge) - self.decay * (outside - edge)
        return np.exp(np.where(r <= edge, np.interp(np.log(r), np.log(RADII), logarithm), np.maximum(tail, -640)))

    def with_points(self, r: np.ndarray) -> "Target":
        """The same target with more radii at which ρ must not be negative."""
        other = copy.copy(self)
        other._constrain(np.concatenate([self.grid, r]))
        return other

    def emphasised(self, coefficients, powers, exponents) -> "Target":
        """The same target with weights for the absolute error of the radial distribution, as of this fit."""
        other = copy.copy(self)
        rho = self.density[::_STRIDE]
        error = 4 * np.pi * self.r**2 * np.abs(evaluate(coefficients, powers, exponents, self.r) - rho)
        error = np.convolve(error, np.full(_SMOOTH, 1 / _SMOOTH), mode="same")
        plain = self.weight if self.plain is None else self.plain
        most = error.max()
        other.plain, other.weight = plain, plain * np.sqrt(most / (error + 0.05 * most))
        other.values = np.concatenate([other.weight * rho, self.values[len(rho) :]])
        return other

    def _constrain(self, grid):
        self.grid = np.unique(grid[grid > 0])
        self.envelope = self.expected(self.grid)
        trusted = self.envelope > _TRUSTED
        # the outer region starts where the expected density itself has begun to fall for good
        slope = -np.gradient(np.log(self.envelope), self.grid)
        inner = (self.envelope > _OUTER) | (slope < 1.2 * _SLOPE * self.decay)
        self.outer = self.grid > self.grid[np.flatnonzero(inner)[-1]]
        self.bound_values = np.concatenate([np.where(trusted, _FLOOR, _TAIL_FLOOR), np.zeros(self.outer.sum())])

    def rows(self, powers, exponents):
        radial = basis_values(powers, exponents, self.r) * self.weight[:, None]
        moments = []
        for scale, k in zip(self.moment_scale, self.moments, strict=True):
            ratio = np.array([factorial(n + 2 + k) / factorial(n + 2) for n in powers]) / exponents**k
            moments.append(scale * ratio)
        tail = basis_values(powers, exponents, self.tail) * self.tail_scale[:, None]
        return np.vstack([radial, moments, tail])

    def bound_rows(self, powers, exponents):
        """Rows of G in G u ≥ bound_values: the density, then its fall in the outer region, both over the envelope."""
        with np.errstate(under="ignore"):
            scaled = basis_values(powers, exponents, self.grid) / self.envelope[:, None]
        r = self.grid[self.outer][:, None]
        falling = scaled[self.outer] * (exponents - powers / r - _SLOPE * self.decay)
        return np.vstack([scaled, falling])
