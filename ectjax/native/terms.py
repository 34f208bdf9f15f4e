"""Terms of a geometry whose sums are compiled, and the forces and strain derivative that belong to them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ectjax.coulomb import DirectCoulomb, PMEParameters
from ectjax.model import Model
from ectjax.native.mesh import NativeMesh
from ectjax.native.pairs import NativePairs, NativeScreening
from ectjax.native.tables import NativeTables, kernel_of
from ectjax.potential import System, Terms, charge_screening, slopes_by, terms_of


def native_terms(tables: NativeTables, model: Model, system: System) -> Terms:
    """As `geometry_terms`; weights may be differentiated, geometry and model may not.

    Raises:
        ValueError: tables with another long-range kernel than the system's.
        TypeError: a derivative in the geometry or the model is taken.
    """
    model, system = _constant((model, system))
    needed = kernel_of(system.long_range)
    if needed != tables.kernel:
        raise ValueError(
            f"the packed tables hold the long-range kernel {tables.kernel}, the system needs {needed}: make them with "
            "native_tables(model, system.long_range)"
        )
    real = system.atom_mask
    species = jnp.where(real, system.species, 0)
    charge = jnp.where(real[:, None], model.state_charge[species], 0.0)
    pairs = NativePairs.prepare(tables, model, system, species, charge)
    if system.long_range is None:
        coulomb = DirectCoulomb.prepare(system.positions, real)
    elif isinstance(system.long_range, PMEParameters):
        coulomb = NativeMesh.prepare(system.long_range, system.positions, system.cell, real)
    else:
        coulomb = system.long_range.prepare(system.positions, system.cell, real)
    screening = charge_screening(system, pairs.distance)
    fields = (getattr(screening, field.name) for field in dataclasses.fields(screening))
    compiled = NativeScreening(*fields)
    return terms_of(model, system, pairs, coulomb, compiled)


@eqx.filter_custom_jvp
def _constant(x):
    """x, of which no derivative may be taken."""
    return x


@_constant.def_jvp
def _constant_jvp(primals, tangents):
    raise TypeError("compiled sums have no derivatives in the geometry or the model: use the JAX path (native=None)")


class Geometry(eqx.Module):
    """What forces need besides the terms: `slopes_with_forces` takes it as argument."""

    terms: Terms
    system: System


def slopes_with_forces(weights: Float[Array, "N S"], amplitudes: Float[Array, "N S"], geometry: Geometry):
    """As `energy_and_slopes`, and forces (N, 3) in eV/Å and dE/dε (3, 3) in eV at these weights."""
    terms, system = geometry.terms, geometry.system

    def sums(pressure, charges):
        around, pushes, virial = terms.pairs.around_with_forces(weights, pressure)
        if isinstance(terms.coulomb, NativeMesh):
            potential, more, strained = terms.coulomb.with_forces(charges, system.cell)
        else:
            potential = terms.coulomb.potential(charges)
            more, strained = _long_range_forces(system, charges)
        return around, potential, (pushes + more, virial + strained)

    return slopes_by(sums, weights, amplitudes, terms)


def _long_range_forces(system: System, charges):
    """The same of the long-range sum alone, by automatic differentiation: small systems."""

    def energy(positions, strain):
        if system.long_range is None:
            return DirectCoulomb.prepare(positions, system.atom_mask).energy(charges)
        moved = positions + jnp.matmul(positions, strain, precision="highest")
        cell = system.cell + jnp.matmul(system.cell, strain, precision="highest")
        return system.long_range.prepare(moved, cell, system.atom_mask).energy(charges)

    zero = jnp.zeros((3, 3), system.positions.dtype)
    slopes, strained = jax.grad(energy, argnums=(0, 1))(system.positions, zero)
    return -slopes, strained
