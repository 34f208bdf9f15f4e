"""The one pure function behind every layer: tables, a geometry and corrections to energy, charges and features."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ectjax.basis import Basis
from ectjax.embedding.table import EmbeddingTable
from ectjax.layers.corrections import Corrections, corrected
from ectjax.layers.shells import ShellTable, shell_densities
from ectjax.model import Model, Parameters, assemble
from ectjax.potential import (
    System,
    atomic_energies,
    density_of,
    equilibrated_energy,
    geometry_terms,
    solve_terms,
)
from ectjax.units import HARTREE_IN_EV


class Features(eqx.Module):
    """What a layer returns for one structure (a batch gains a leading axis); padded atoms have zeros.

    energy: eV, relative to neutral ground-state atoms. charges (N,): e. weights (N, S): ω_iα. atomic_energies (N,):
    eV, they sum to the energy. background (N,): ρ̄_i, e/bohr³. shells (N, R): sphericalised density of the surroundings,
    e/bohr³ (None for a layer without radii). chemical_potential: dE/dQ, eV/e. converged: whether
    the weights are a minimum.

    Energy and its first derivatives need no response of the weights; everything else differentiates implicitly.
    """

    energy: Float[Array, "*batch"]
    charges: Float[Array, "*batch N"]
    weights: Float[Array, "*batch N S"]
    atomic_energies: Float[Array, "*batch N"]
    background: Float[Array, "*batch N"]
    shells: Float[Array, "*batch N R"] | None
    chemical_potential: Float[Array, "*batch"]
    converged: Bool[Array, "*batch"]


class Tables(eqx.Module):
    """Everything fixed or assembled that `features` reads. `prefactors`: see `CorrectedEmbedding`."""

    model: Model
    shells: ShellTable | None
    prefactors: EmbeddingTable | None


def features(
    tables: Tables,
    system: System,
    corrections: Corrections | None = None,
    weights: Float[Array, "N S"] | None = None,
    **options,
) -> Features:
    """Equilibrate one structure. Pure and differentiable in tables, system and corrections; vmap it for batches.

    weights (N, S) is a warm start; options as in `ectjax.potential.solve_terms` (tolerance, rounds, …).
    """
    terms = corrected(geometry_terms(tables.model, system), corrections, tables.prefactors)
    found = solve_terms(terms, system.total_charge, weights, **options)
    real = system.atom_mask
    omega = jnp.where(real[:, None], found.weights, 0.0)
    return Features(
        energy=equilibrated_energy(terms, system.total_charge, found),
        charges=jnp.where(real, found.charges, 0.0),
        weights=omega,
        atomic_energies=jnp.where(real, atomic_energies(found.weights, found.amplitudes, terms), 0.0),
        background=jnp.where(real, density_of(terms.pairs.background(omega)), 0.0),
        shells=None if tables.shells is None else shell_densities(tables.shells, system, omega),
        chemical_potential=found.chemical_potential,
        converged=found.converged,
    )


def prefactor_table(basis: Basis, m) -> EmbeddingTable | None:
    """Tables of the parts that a and b multiply, times m (E,), eV; None for a basis in Baskes' form."""
    if basis.projections is not None:
        return None
    parts = HARTREE_IN_EV * jnp.asarray(basis.components)[:, :, :2] * jnp.asarray(m)[:, None, None, None]
    parts = jnp.where(jnp.asarray(basis.state_mask)[:, :, None, None], parts, 0.0)
    count = parts.shape[0]
    return EmbeddingTable.fit(jnp.moveaxis(parts, 2, 1).reshape(count, -1, parts.shape[-1]))


def assembled(basis: Basis, parameters: Parameters, shells: ShellTable | None) -> Tables:
    """Tables of these parameters, differentiable in them."""
    return Tables(assemble(basis, parameters), shells, prefactor_table(basis, parameters.m))
