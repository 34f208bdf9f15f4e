"""Elastic constants by second derivatives; the equation of state of a crystal. eV, Å; Voigt order xx yy zz yz xz xy.

C_ab = (1/V) [∂²E/∂ε_a∂ε_b − Λ_aᵀ Φ⁻¹ Λ_b] with Φ = ∂²E/∂u∂u of the ions and Λ = ∂²E/∂u∂ε: what ions relax by inside
a strained cell (M. Born and K. Huang, Dynamical Theory of Crystal Lattices, 1954). Second derivatives hold the response
of charges and weights, by implicit differentiation; nothing is displaced by a finite amount.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ectjax.calculate import strained
from ectjax.coulomb import long_range_parameters
from ectjax.model import Model
from ectjax.neighbors import neighbor_list
from ectjax.potential import System, potential_energy
from ectjax.system import EWALD_ACCURACY

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
LARGEST_FORCE = 0.02  # eV/Å; ions that are farther from rest have no elastic constants


class Elasticity(eqx.Module):
    """Second derivatives of a crystal at rest.

    stiffness: C (6, 6) in eV/Å³ (times 160.2: GPa) with relaxed ions, engineering shear strains. clamped: the same with
    ions that follow the cell. internal_strain: du/dε (N, 3, 6) in Å, of ions beyond their following the cell. stress
    (6,) in eV/Å³ and largest_force in eV/Å of the geometry itself: C are elastic constants where both vanish.
    """

    stiffness: Float[Array, "6 6"]
    clamped: Float[Array, "6 6"]
    internal_strain: Float[Array, "N 3 6"]
    stress: Float[Array, " 6"]
    largest_force: Float[Array, ""]

    @property
    def bulk_modulus(self) -> Float[Array, ""]:
        """Of a single crystal under hydrostatic pressure in eV/Å³: 1 / Σ_ab (C⁻¹)_ab of the normal strains (Reuss)."""
        return 1.0 / jnp.sum(jnp.linalg.inv(self.stiffness)[:3, :3])

    @property
    def shear_modulus(self) -> Float[Array, ""]:
        """Of a polycrystal in eV/Å³: the mean of two bounds (R. Hill, Proc. Phys. Soc. A 65, 349 (1952))."""
        c, s = self.stiffness, jnp.linalg.inv(self.stiffness)
        off = ((0, 1), (0, 2), (1, 2))
        voigt = (sum(c[a, a] for a in range(3)) - sum(c[x] for x in off) + 3 * sum(c[a, a] for a in range(3, 6))) / 15
        reuss = 4 * sum(s[a, a] for a in range(3)) - 4 * sum(s[x] for x in off) + 3 * sum(s[a, a] for a in range(3, 6))
        return 0.5 * (voigt + 15 / reuss)


def elastic_constants(
    model: Model, system: System, weights: Float[Array, "N S"] | None = None, **options
) -> Elasticity:
    """Elastic constants of a periodic system of some hundred atoms at most, in a minimum of its energy.

    `weights` (N, S) is a warm start; options as in `ectjax.solve_weights`.

    Raises:
        ValueError: no cell, or forces above 0.02 eV/Å: relax the ions first.
    """
    if system.cell is None:
        raise ValueError("the system has no cell, so no elastic constants: give a crystal")
    found = _elasticity(model, system, weights, options)
    force = float(found.largest_force)
    if not force <= LARGEST_FORCE:
        raise ValueError(
            f"the largest force is {force:.3g} eV/Å, elastic constants need ions at rest (at most {LARGEST_FORCE} "
            "eV/Å): relax them first, for example with `ectjax relax --cell`"
        )
    return found


@eqx.filter_jit
def _elasticity(model, system, weights, options) -> Elasticity:
    n = system.positions.shape[0]
    dtype = system.positions.dtype
    basis = np.zeros((6, 3, 3))
    for a, (k, m) in enumerate(VOIGT):
        basis[a, k, m] += 0.5
        basis[a, m, k] += 0.5

    def energy(x):
        strain = jnp.tensordot(x[:6], jnp.asarray(basis, dtype), axes=1)
        moved = eqx.tree_at(lambda s: s.positions, system, system.positions + x[6:].reshape(n, 3))
        return potential_energy(model, strained(moved, strain), weights, **options)[0]

    zero = jnp.zeros(6 + 3 * n, dtype)
    slope = jax.grad(energy)
    first = slope(zero)
    # one direction after the other: all at once would hold as many copies of the pair terms
    second = jax.lax.map(lambda direction: jax.jvp(slope, (zero,), (direction,))[1], jnp.eye(zero.size, dtype=dtype))
    second = 0.5 * (second + second.T)
    clamped, mixed, force_constants = second[:6, :6], second[6:, :6], second[6:, 6:]
    drift = jnp.tile(jnp.eye(3, dtype=dtype), (n, 1)) / n**0.5  # moving all ions costs nothing and changes nothing
    stiff = force_constants + jnp.trace(force_constants) / (3 * n) * (drift @ drift.T)
    inner = -jnp.linalg.solve(stiff, mixed)
    volume = jnp.abs(jnp.linalg.det(system.cell))
    return Elasticity(
        stiffness=(clamped + mixed.T @ inner) / volume,
        clamped=clamped / volume,
        internal_strain=inner.reshape(n, 3, 6),
        stress=first[:6] / volume,
        largest_force=jnp.max(jnp.linalg.norm(first[6:].reshape(n, 3), axis=1)),
    )


class EquationOfState(eqx.Module):
    """Energies (K,) in eV at volumes (K,) in Å³, and the third-order Birch-Murnaghan curve through them: volume in Å³,
    energy in eV and bulk modulus in eV/Å³ (times 160.2: GPa) at its minimum, the modulus' derivative with pressure."""

    volumes: Float[np.ndarray, " K"]
    energies: Float[np.ndarray, " K"]
    volume: float
    energy: float
    bulk_modulus: float
    bulk_derivative: float


def equation_of_state(
    model: Model, system: System, *, span: float = 0.04, points: int = 9, **options
) -> EquationOfState:
    """Energy of a crystal against volume, all distances scaled between 1 − span and 1 + span; ions follow the cell.

    F. Birch, Phys. Rev. 71, 809 (1947). Options as in `ectjax.solve_weights`.

    Raises:
        ValueError: no cell, span outside 0.001 ... 0.2, fewer than 5 points, or no minimum in the range.
    """
    if system.cell is None:
        raise ValueError("the system has no cell, so no equation of state: give a crystal")
    if not 0.001 <= span <= 0.2 or points < 5:
        raise ValueError(f"span is {span} and points {points}; allowed are 0.001 to 0.2, and at least 5 points")
    cell, positions = np.asarray(system.cell, float), np.asarray(system.positions, float)
    pairs = neighbor_list(positions, cell, True, model.cutoff / (1.0 - span))
    long_range = long_range_parameters(cell * (1.0 + span), len(positions), model.cutoff, EWALD_ACCURACY)
    wide = eqx.tree_at(lambda s: (s.neighbors, s.long_range), system, (pairs, long_range))
    scales = np.linspace(1.0 - span, 1.0 + span, points)

    @eqx.filter_jit
    def energy(model, wide, scale):
        return potential_energy(model, strained(wide, (scale - 1.0) * jnp.eye(3)), **options)[0]

    energies = np.array([float(energy(model, wide, jnp.asarray(s, wide.positions.dtype))) for s in scales])
    volumes = abs(np.linalg.det(cell)) * scales**3
    return EquationOfState(volumes, energies, *_birch_murnaghan(volumes, energies))


def _birch_murnaghan(volumes, energies) -> tuple[float, float, float, float]:
    """V₀, E₀, B, B′: the curve is a cubic in x = V^(−2/3)."""
    middle = float(volumes.mean())
    cubic = np.polynomial.Polynomial.fit((volumes / middle) ** (-2 / 3), energies, 3)
    slope, bend, third = (cubic.deriv(k) for k in (1, 2, 3))
    low, high = sorted((volumes[[0, -1]] / middle) ** (-2 / 3))
    at = [x.real for x in slope.roots() if abs(x.imag) < 1e-9 and low < x.real < high and bend(x.real) > 0]
    if not at:
        raise ValueError(
            f"the energy has no minimum between {volumes[0]:.4g} and {volumes[-1]:.4g} Å³: start nearer to the "
            "crystal's own volume (`ectjax relax --cell`) or widen span"
        )
    x = float(at[0])
    energy, curvature, change = (float(f(x)) for f in (cubic, bend, third))
    volume = middle * x**-1.5
    return volume, energy, 4 / 9 * x**2 * curvature / volume, 4 + 2 / 3 * x * change / curvature
