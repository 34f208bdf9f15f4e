"""Harmonic vibrations and their infrared intensities, with the full response of the charges."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from scipy import constants

from ectjax.analysis.response import check_open, perturbed
from ectjax.model import Model
from ectjax.potential import System, dipole_moment, potential_energy, solve_weights

_AMU = constants.physical_constants["atomic mass constant"][0]
WAVENUMBER = (constants.e / _AMU) ** 0.5 / constants.angstrom / (200 * constants.pi * constants.c)
"""cm⁻¹ of a mode whose force constant is 1 eV/(Å² amu)."""
INTENSITY = constants.N_A * constants.e**2 / _AMU / (12 * constants.epsilon_0 * constants.c**2) * 1e-3
"""km/mol of a mode whose dipole derivative is 1 e/√amu."""


class Infrared(eqx.Module):
    """wavenumbers (3N,) in cm⁻¹, ascending, imaginary ones negative; intensities (3N,) in km/mol;
    modes (3N, N, 3), displacements in Å √amu of unit norm; hessian (3N, 3N) in eV/Å²."""

    wavenumbers: Float[Array, " M"]
    intensities: Float[Array, " M"]
    modes: Float[Array, "M N 3"]
    hessian: Float[Array, "M M"]


@eqx.filter_jit
def infrared(model: Model, system: System, masses: Float[Array, " N"], **options) -> Infrared:
    """Normal modes at a stationary geometry; masses (N,) in amu, options as in `ectjax.solve_weights`.

    The three translations and the rotations are among the modes, near zero wavenumber where forces vanish.

    Raises ValueError for a periodic system.
    """
    check_open(system)
    n = system.positions.shape[0]

    def moved(positions):
        return perturbed(system, positions, system.total_charge, jnp.zeros(3, positions.dtype))

    hessian = jax.hessian(lambda x: potential_energy(model, moved(x), **options)[0])(system.positions)
    hessian = hessian.reshape(3 * n, 3 * n)

    def moment(positions):
        there = moved(positions)
        return dipole_moment(model, there, solve_weights(model, there, **options))

    dipole = jax.jacrev(moment)(system.positions)
    root = jnp.repeat(jnp.sqrt(jnp.asarray(masses, hessian.dtype)), 3)
    squares, vectors = jnp.linalg.eigh(0.5 * (hessian + hessian.T) / (root[:, None] * root[None, :]))
    slopes = dipole.reshape(3, 3 * n) @ (vectors / root[:, None])
    return Infrared(
        wavenumbers=WAVENUMBER * jnp.sign(squares) * jnp.sqrt(jnp.abs(squares)),
        intensities=INTENSITY * jnp.sum(slopes**2, axis=0),
        modes=vectors.T.reshape(3 * n, n, 3),
        hessian=hessian,
    )
