"""Baskes' analytic embedding function F(ρ̄) = A E_c x ln x, x = ρ̄/ρ0.

M. I. Baskes, Phys. Rev. Lett. 59, 2666 (1987); Phys. Rev. B 46, 2727 (1992). One well: minimum -A E_c / e at
x = 1/e, zero at x = 1, repulsive beyond. A E_c enters as one number. Any unit of energy and density.
"""

from typing import NamedTuple

from jax.typing import ArrayLike

from ectjax.embedding.functionals import array_namespace

E = 2.718281828459045
_SOFTENING = 1e-12


class BaskesParameters(NamedTuple):
    """strength A E_c (energy, positive) and rho0 (density, positive)."""

    strength: ArrayLike
    rho0: ArrayLike

    @property
    def minimum(self):
        """(ρ̄_min, F_min): where the well is deepest, and its energy, negative."""
        return self.rho0 / E, -self.strength / E


def baskes(background, strength, rho0):
    """F = A E_c x ln(x + 1e-12), x = background / rho0; all arguments broadcast. NumPy or JAX.

    The softening moves no value by more than 1e-12 A E_c and leaves F(0) = 0 with the finite slope
    -27.6 A E_c / rho0 where the bare form has an infinite one. Energies in the unit of `strength`.
    """
    xp = array_namespace(background, strength, rho0)
    x = xp.maximum(xp.asarray(background), 0.0) / rho0
    return strength * x * xp.log(x + _SOFTENING)


def from_minimum(rho_min, f_min) -> BaskesParameters:
    """The closed form through a well: ρ0 = e ρ̄_min, A E_c = e |F_min|.

    Raises ValueError unless ρ̄_min > 0 and F_min < 0: without a well there is no such form.
    """
    if not (rho_min > 0 and f_min < 0):
        raise ValueError(
            f"Baskes' form needs a well: got its minimum at density {rho_min} with energy {f_min}; "
            "the density must be positive and the energy negative"
        )
    return BaskesParameters(E * abs(f_min), E * rho_min)
