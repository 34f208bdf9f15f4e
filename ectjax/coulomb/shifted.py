"""Damped shifted force: Coulomb forces that fade to zero at a cutoff, without a reciprocal sum. An approximation.

C. J. Fennell and J. D. Gezelter, J. Chem. Phys. 124, 234104 (2006). Every ion sees itself neutralised at its own
cutoff; the energy of that image is quadratic in the charge and belongs to the sum when charges move.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import erfc
from jaxtyping import Array, Bool, Float, Scalar

from ectjax.coulomb.ewald import masked
from ectjax.coulomb.lattice import check_cutoff
from ectjax.units import COULOMB_EV_ANGSTROM


class DampedShiftedForce(eqx.Module):
    """Damping α (Å⁻¹) and cutoff (Å) in place of Ewald or PME parameters; make it with `damped_shifted_force`."""

    alpha: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    def screened_charge(self, r: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
        """r times the kernel, in eV Å/e²; with its first derivative zero at the cutoff."""
        level, slope = self._at_cutoff()
        return COULOMB_EV_ANGSTROM * (erfc(self.alpha * r) - r * level - slope * r * (r - self.cutoff))

    def kernel(self, r: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
        """What a pair at r > 0 (Å) within the cutoff adds to q_i q_j, in eV/e²."""
        return self.screened_charge(r) / r

    def prepare(self, positions: Float[Array, "n 3"], cell=None, atom_mask: Bool[Array, " n"] | None = None) -> Image:
        """The energy of every charge with its own image; nothing else is left beyond pairs."""
        level, slope = self._at_cutoff()
        own = -2.0 * (0.5 * (level - slope * self.cutoff) + self.alpha / math.sqrt(math.pi))
        return Image(jnp.asarray(own * COULOMB_EV_ANGSTROM, positions.dtype), atom_mask)

    def _at_cutoff(self) -> tuple[float, float]:
        """erfc(αr)/r at the cutoff and its derivative."""
        level = math.erfc(self.alpha * self.cutoff) / self.cutoff
        bell = 2.0 * self.alpha / math.sqrt(math.pi) * math.exp(-((self.alpha * self.cutoff) ** 2))
        return level, -(level + bell) / self.cutoff


def damped_shifted_force(cutoff: float = 8.0, alpha: float = 0.2) -> DampedShiftedForce:
    """Parameters of the damped shifted force: `cutoff` in Å, that of the model; damping `alpha` in Å⁻¹.

    Raises:
        ValueError: a cutoff that is not positive, or α outside 0 ... 1 Å⁻¹.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"the damping alpha is {alpha} 1/Å, allowed is 0 to 1: 0.2 suits most")
    return DampedShiftedForce(float(alpha), check_cutoff(cutoff))


class Image(eqx.Module):
    """Potential c q_i of every charge's own image, in eV/e."""

    coefficient: Float[Scalar, ""]
    atom_mask: Bool[Array, " n"] | None

    def potential(self, charges: Float[Array, " n"]) -> Float[Array, " n"]:
        """Potential at every atom in eV/e (charges in e), without the pairs."""
        return masked(self.coefficient * charges, self.atom_mask)

    def energy(self, charges: Float[Array, " n"]) -> Float[Scalar, ""]:
        """½ q·φ in eV."""
        return 0.5 * jnp.sum(charges * self.potential(charges))
