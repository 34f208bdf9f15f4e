"""The energy of theory section 3, put together: one pure function of (model, system, weights).

E = Σ_iα ω_iα [ε_iα + F_iα(ρ̄_i)] + Σ_{pairs} ω_i φ_ij ω_j + ½ Σ q_i q_j/R_ij − Σ_i κ_i g(ρ̄_i) c_i·A c_i

with ρ̄_i = Σ_j Σ_β ω_jβ h_iβ(R_ij), q_i = Σ_α q_α ω_iα, c = √ω. With bonding orbitals g depends on the directions of
the neighbours as well (`ectjax.pairs.orbitals`) and charges fluctuate together (`ectjax.pairs.fluctuations`). eV, Å, e.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ectjax.coulomb import DirectCoulomb
from ectjax.embedding.table import EmbeddingTable
from ectjax.ensemble import Equilibration, Screening, equilibrate, start_amplitudes
from ectjax.model import RESONANCE_SOFTENING, Bonding, Model, PairPlaces
from ectjax.neighbors import Neighbors, computed_once, pair_distances, pair_vectors
from ectjax.pairs.carriers import Carriers
from ectjax.pairs.compression import Compressible, Pushes
from ectjax.pairs.fluctuations import mean_attraction, relief
from ectjax.pairs.lone_pairs import lone_pair_moments, whole_bonds
from ectjax.pairs.orbitals import MOMENTS, Orbitals, bond_shapes, further_bonds, resonance_argument, shared
from ectjax.pairs.polarization import Polarizable, surroundings, unit_fields
from ectjax.pairs.terms import BondShapes, PairSums, PairTerms, UnitFields
from ectjax.radial.spline import reciprocal_values, table_values
from ectjax.radial.switching import cutoff_switch
from ectjax.units import COULOMB_EV_ANGSTROM

ROUNDS = 4  # searches for a lower basin after a cold start; nearly always one is enough


class System(eqx.Module):
    """A geometry. Pad atoms with species −1 and zero positions; they carry no energy, charge or force.

    positions (N, 3) in Å; species (N,), rows of the model; total_charge in e; neighbors, a half list that
    covers the model's cutoff; cell (3, 3), lattice vectors as rows in Å, or None for an open system;
    long_range, parameters of an Ewald, PME or shifted-force sum of a periodic system, None for the direct sum;
    external_potential (N,), V_i in eV/e at every atom, adds Σ q_i V_i (a uniform field ℰ in V/Å is V_i = −ℰ·r_i), None
    for none. Polarisable atoms need the field itself too: external_field (3,), uniform, in V/Å, or None.
    """

    positions: Float[Array, "N 3"]
    species: Int[Array, " N"]
    total_charge: Float[Array, ""]
    neighbors: Neighbors
    cell: Float[Array, "3 3"] | None = None
    long_range: eqx.Module | None = None
    external_potential: Float[Array, " N"] | None = None
    external_field: Float[Array, "3"] | None = None

    @property
    def atom_mask(self) -> Bool[Array, " N"]:
        """True for real atoms."""
        return self.species >= 0


class Terms(eqx.Module):
    """Everything of a geometry that the weights meet; computed once, used in every iteration of a solve.

    `coulomb` is an operator of `ectjax.coulomb`; both it and `pairs` have a compiled twin in `ectjax.native`.
    """

    species: Int[Array, " N"]
    state_energy: Float[Array, "N S"]
    state_charge: Float[Array, "N S"]
    state_mask: Bool[Array, "N S"]
    resonance: Float[Array, "N C S S"]
    embedding: EmbeddingTable
    orbitals: Orbitals | None
    further_bonds: Float[Array, " N"] | None
    attraction: Float[Array, " N"] | None
    polarizable: Polarizable | None
    carriers: Carriers | None
    compressible: Compressible | None
    pairs: PairSums
    coulomb: eqx.Module
    screening: Screening


def geometry_terms(model: Model, system: System) -> Terms:
    """Pair functions and the long-range operator of a geometry."""
    real = system.atom_mask
    species = jnp.where(real, system.species, 0)
    distances = pair_distances(system.positions, system.cell, system.neighbors)
    i, j = system.neighbors.i, system.neighbors.j
    if system.long_range is None:
        coulomb, screened = DirectCoulomb.prepare(system.positions, real), None
    else:
        coulomb = system.long_range.prepare(system.positions, system.cell, real)
        near = system.neighbors.mask & (distances < system.long_range.cutoff)
        kernel = jnp.where(near, system.long_range.kernel(distances), 0.0)
        screened = kernel, model.charge_products()
    places = model.pair_places(species[i], species[j], distances)
    functions = computed_once(_pair_terms, jnp.any(places.inside), model, places, screened)
    screening = charge_screening(system, distances)
    if model.bonding is None:
        return terms_of(model, system, PairTerms(i, j, *functions), coulomb, screening)
    vectors = pair_vectors(system.positions, system.cell, system.neighbors)
    shapes, couplings, exchange, interaction = _bonds(model.bonding, system, species, places, vectors)
    attraction = mean_attraction((i, j), exchange, interaction, species.shape[0])
    fields, polarizable = _fields(model, system, species, places, vectors, exchange)
    pushes, compressible = _pushes(model, system, species, places)
    pairs, further, carriers = PairTerms(i, j, *functions, shapes, fields, pushes), None, None
    if model.most_charge > 1:
        further = further_bonds((i, j), couplings, species.shape[0])
        charge = jnp.where(real[:, None], model.state_charge[species], 0.0)
        carriers = Carriers.prepare((i, j), exchange, charge, model.state_mask[species] & real[:, None])
    return terms_of(model, system, pairs, coulomb, screening, further, attraction, polarizable, carriers, compressible)


def _bonds(bonding: Bonding, system: System, species, places: PairPlaces, vectors):
    """Shapes of the bonds of a geometry; couplings t at i and at j, each (P,); in what measure pairs exchange
    electrons (P,), and J of each in eV/e² (P,)."""
    i, j, mask = system.neighbors.i, system.neighbors.j, system.neighbors.mask
    orbitals = bonding.orbitals
    at_i, at_j, interaction = (jnp.where(mask, x, 0.0) for x in bonding.functions(places))
    exchange = at_i * orbitals.source[species[j]], at_j * orbitals.source[species[i]]
    left = shared(orbitals, (i, j), species, exchange, mask)
    couplings = left * exchange[0], left * exchange[1]
    shapes = bond_shapes(orbitals, species[i], species[j], vectors, places.distance, couplings)
    return BondShapes(*shapes, orbitals.open[species]), couplings, exchange[0] + exchange[1], interaction


def _fields(model: Model, system: System, species, places: PairPlaces, vectors, exchange):
    """What polarisation adds to the terms of a geometry: fields of unit charges, and what atoms make of fields."""
    if model.polarizabilities is None:
        return None, None
    pairs, distances = (system.neighbors.i, system.neighbors.j), places.distance
    inside = system.neighbors.mask & places.inside
    switch = jnp.where(inside, cutoff_switch(distances, model.cutoff), 0.0)
    fields = unit_fields(vectors, distances, switch)
    charge = jnp.where(system.atom_mask[:, None], model.state_charge[species], 0.0)
    left, counter = surroundings(model.polarizabilities.at(species), pairs, distances, switch, fields, exchange)
    external = None if system.external_field is None else system.external_field / COULOMB_EV_ANGSTROM
    left = jnp.where(system.atom_mask[:, None], left, 0.0)
    return UnitFields(fields, charge), Polarizable(charge, left, counter, external)


def _pushes(model: Model, system: System, species, places: PairPlaces):
    """What pairs do to anions that give way, and what these make of it."""
    if model.compression is None:
        return None, None
    size, push = model.compression.push.shape[-1], model.compression.push
    push = push.reshape(*push.shape[:2], -1)
    at_i, at_j = (
        jnp.where(places.inside, reciprocal_values(push, rows, places.t, places.distance, size), 0.0)
        for rows in (places.forward, places.backward)
    )
    anion = jnp.where(system.atom_mask[:, None], model.compression.anion[species], 0.0)
    return Pushes(at_i, at_j), Compressible(anion, model.compression.cost[species])


def terms_of(
    model: Model,
    system: System,
    pairs,
    coulomb,
    screening: Screening,
    further=None,
    attraction=None,
    polarizable=None,
    carriers=None,
    compressible=None,
) -> Terms:
    """What belongs to single atoms, joined with what belongs to pairs."""
    real = system.atom_mask
    species = jnp.where(real, system.species, 0)
    charge = jnp.where(real[:, None], model.state_charge[species], 0.0)
    energy = jnp.where(real[:, None], model.state_energy[species], 0.0)
    if system.external_potential is not None:
        energy = energy + charge * system.external_potential[:, None]
    return Terms(
        species=species,
        state_energy=energy,
        state_charge=charge,
        state_mask=model.state_mask[species] & real[:, None],
        resonance=jnp.where(real[:, None, None, None], model.resonance[species], 0.0),
        embedding=model.embedding,
        orbitals=None if model.bonding is None else model.bonding.orbitals.at(species),
        further_bonds=further,
        attraction=attraction,
        polarizable=polarizable,
        carriers=carriers,
        compressible=compressible,
        pairs=pairs,
        coulomb=coulomb,
        screening=screening,
    )


def _pair_terms(model: Model, places: PairPlaces, screened):
    """Densities at i and at j (S, P) and interactions (S, S, P), with `screened`, the real-space part of an Ewald sum:
    its kernel in eV/e² (P,) and the charge products that it multiplies."""
    at_i, at_j, interaction = model.pair_functions(places)
    if screened is not None:
        kernel, products = screened
        interaction = interaction + kernel * table_values(products, places.elements, places.t)
    return at_i, at_j, interaction


def charge_screening(system: System, distances: Float[Array, " P"]) -> Screening:
    """Preconditioner of the charges at the density of the cell, or of the sphere that an open system fills."""
    system = jax.lax.stop_gradient(system)
    real = system.atom_mask[:, None]
    count = jnp.maximum(jnp.sum(real, dtype=system.positions.dtype), 1.0)
    if system.cell is None:
        placed = jnp.where(real, system.positions, 0.0)
        centred = jnp.where(real, placed - jnp.sum(placed, axis=0) / count, 0.0)
        radius = jnp.sqrt(5.0 / 3.0 * jnp.sum(centred**2) / count)
        volume = 4.0 / 3.0 * jnp.pi * jnp.maximum(radius, 1.0) ** 3
    else:
        volume = jnp.abs(jnp.linalg.det(system.cell))
    pairs = system.neighbors
    return Screening.prepare(pairs.i, pairs.j, distances, pairs.mask, count / volume, system.cell is not None)


def resonance_strength(
    background: Float[Array, " N *K"],
    orbitals: Orbitals | None = None,
    further: Float[Array, " N"] | None = None,
    electrons: int = 1,
) -> Float[Array, "N C"]:
    """g = √(ρ̄ + δ) − √δ, zero for an isolated atom, of finite slope everywhere; with bonding orbitals
    `resonance_argument` of the background's moments takes the place of ρ̄, in each channel."""
    if orbitals is None:
        argument = background[:, None]
    else:
        argument = resonance_argument(_moments(background, orbitals), orbitals, further, electrons)
    return jnp.sqrt(argument + RESONANCE_SOFTENING) - RESONANCE_SOFTENING**0.5


def _moments(background: Float[Array, "N K"], orbitals: Orbitals) -> Float[Array, "N C M"]:
    channels = orbitals.most.shape[1]
    return background[:, 1 : 1 + channels * MOMENTS].reshape(len(background), channels, MOMENTS)


def _couplings(terms: Terms) -> Float[Array, "N C S S"]:
    """What mixes states: resonance, and in an external field the moments of lone pairs."""
    if terms.polarizable is None or terms.polarizable.external is None:
        return terms.resonance
    return jnp.concatenate([terms.resonance, whole_bonds(terms.state_charge, terms.state_mask)], axis=1)


def _strengths(background: Float[Array, " N *K"], terms: Terms) -> Float[Array, "N C"]:
    """g for κ, and for lone pairs their moments along the field, in eV: factors of `_couplings`."""
    electrons = 1 if terms.orbitals is None else terms.resonance.shape[1] // terms.orbitals.most.shape[1]
    strength = resonance_strength(background, terms.orbitals, terms.further_bonds, electrons)
    if terms.polarizable is None or terms.polarizable.external is None:
        return strength
    assert terms.orbitals is not None
    moments = lone_pair_moments(_moments(background, terms.orbitals), terms.orbitals)
    return jnp.concatenate([strength, moments @ (COULOMB_EV_ANGSTROM * terms.polarizable.external)], axis=1)


def density_of(background: Float[Array, " N *K"]) -> Float[Array, " N"]:
    """ρ̄ of a background with or without further moments."""
    return background if background.ndim == 1 else background[:, 0]


def dipole_moment(model: Model, system: System, result: Equilibration) -> Float[Array, "3"]:
    """Dipole in e Å of an equilibrated open system: of its charges, about the origin, and with polarisation of its
    polarised atoms and their lone pairs."""
    moment = result.charges @ system.positions
    if model.polarizabilities is None:
        return moment
    terms = geometry_terms(model, system)
    assert terms.polarizable is not None and terms.orbitals is not None
    background, c = terms.pairs.background(result.weights), result.amplitudes
    induced = terms.polarizable.moments(result.weights, field_of(background))
    whole = jnp.einsum("na,nkab,nb->nk", c, whole_bonds(terms.state_charge, terms.state_mask), c)
    lone = whole[..., None] * lone_pair_moments(_moments(background, terms.orbitals), terms.orbitals)
    return moment + jnp.sum(induced, axis=0) + jnp.sum(lone, axis=(0, 1))


def field_of(background: Float[Array, "N K"]) -> Float[Array, "N 3"]:
    """The field of the charges in e/Å², the last columns of a background with polarisation."""
    return background[:, -3:]


def push_of(background: Float[Array, "N K"]) -> Float[Array, " N"]:
    """What pushes on the anions of atoms in eV, the column before the field where anions give way."""
    return background[:, -4]


def compressed(weights: Float[Array, "N S"], terms: Terms) -> Float[Array, " N"]:
    """x of the anion of every atom, from 0 where it is free to 1 where it is as small as in its cage; 0 where none give
    way."""
    if terms.compressible is None:
        return jnp.zeros_like(weights[:, 0])
    return terms.compressible.shrunk(push_of(terms.pairs.background(weights)))


def _correlated(weights, background, terms: Terms):
    """What fluctuating charges and polarised atoms gain in eV (N,), less what their neighbours cannot carry, and its
    slopes in the weights (N, S) and in the last columns of the background, the field of the charges (N, 3) and before
    it, where anions give way, the push on them (N, 4), None without polarisation; 0 for what a model lacks."""
    gained, pull, push = jnp.zeros_like(weights[:, 0]), jnp.zeros_like(weights), None
    if terms.attraction is not None:
        gained, pull = relief(weights, terms.state_charge, terms.attraction)
    if terms.polarizable is not None:
        polarized, pulled, push = terms.polarizable.gain(weights, field_of(background))
        gained, pull = gained + polarized, pull + pulled
    if terms.carriers is not None:
        carriers = terms.carriers
        cost, back = jax.vjp(lambda x: carriers.excess(x, terms.state_charge), weights)
        gained, pull = gained + cost, pull + back(jnp.ones_like(cost))[0]
    if terms.compressible is not None:
        shrunk, there, push_back = terms.compressible.gain(weights, push_of(background))
        gained, pull = gained + shrunk, pull + there
        assert push is not None  # only what is polarised gives way
        push = jnp.concatenate([push_back[:, None], push], axis=1)
    return gained, pull, push


def _own_energies(weights, amplitudes, terms: Terms) -> Float[Array, " N"]:
    """Σ_α ω_α [ε_α + F_α(ρ̄)] − κ g(ρ̄) c·A c of every atom in eV, and what its fluctuating charge gains."""
    c, background = amplitudes, terms.pairs.background(weights)
    embedded = terms.embedding.of_species(terms.species, density_of(background))
    embedded = jnp.where(terms.state_mask, embedded, 0.0)
    own = jnp.sum(weights * (terms.state_energy + embedded), axis=1)
    own = own + _correlated(weights, background, terms)[0]
    mixed = jnp.einsum("na,nkab,nb->nk", c, _couplings(terms), c)
    return own - jnp.sum(_strengths(background, terms) * mixed, axis=1)


def atomic_energies(weights: Float[Array, "N S"], amplitudes: Float[Array, "N S"], terms: Terms) -> Float[Array, " N"]:
    """Energy in eV shared among atoms (N,), half of every pair to each: their sum is the energy."""
    charges = jnp.sum(weights * terms.state_charge, axis=1)
    long_range = 0.5 * charges * terms.coulomb.potential(charges)
    return _own_energies(weights, amplitudes, terms) + terms.pairs.atomic_energies(weights) + long_range


def ensemble_energy(weights: Float[Array, "N S"], amplitudes: Float[Array, "N S"], terms: Terms) -> Float[Array, ""]:
    """Energy in eV of given weights ω and amplitudes c = √ω, relative to neutral ground-state atoms."""
    charges = jnp.sum(weights * terms.state_charge, axis=1)
    own = jnp.sum(_own_energies(weights, amplitudes, terms))
    return own + terms.pairs.energy(weights) + terms.coulomb.energy(charges)


def energy_and_slopes(
    weights: Float[Array, "N S"], amplitudes: Float[Array, "N S"], terms: Terms
) -> tuple[Float[Array, ""], Float[Array, "N S"], Float[Array, "N S"]]:
    """`ensemble_energy` with its derivatives in ω and in c, written out: one pass over pairs for the background, one
    for everything else, and one long-range sum, where automatic differentiation of the energy takes several of each.
    """

    def sums(pressure, charges):
        return terms.pairs.around(weights, pressure), terms.coulomb.potential(charges), None

    return slopes_by(sums, weights, amplitudes, terms)[:3]


def slopes_by(sums: Callable, weights: Float[Array, "N S"], amplitudes: Float[Array, "N S"], terms: Terms):
    """`energy_and_slopes` with given sums over pairs and long range, (∂E/∂ρ̄, charges) → around (N, S), potential (N,)
    and anything else, which is returned last."""
    c, background = amplitudes, terms.pairs.background(weights)
    mixing, embedded, pressure = _at_background(weights, c, background, terms)
    gained, pull, push = _correlated(weights, background, terms)
    if push is not None:
        pressure = pressure.at[:, -push.shape[1] :].add(push)
    charges = jnp.sum(weights * terms.state_charge, axis=1)
    around, potential, beside = sums(pressure, charges)
    # Σ ω·around counts every pair of states twice, and the pressure once for every density
    pair = 0.5 * (jnp.sum(weights * around) - jnp.sum(pressure * background))
    local = terms.state_energy + embedded
    energy = jnp.sum(weights * local) - jnp.sum(c * mixing) + pair + 0.5 * jnp.sum(charges * potential)
    energy = energy + jnp.sum(gained)
    slopes = local + around + terms.state_charge * potential[:, None] + pull
    return energy, slopes, -2.0 * mixing, beside


def _at_background(weights, amplitudes, background, terms: Terms):
    """Σ g A c over channels (N, S), F(ρ̄) (N, S) and the derivative of the energy in the background, of its shape."""
    density = density_of(background)
    embedded, push = _with_slope(lambda x: terms.embedding.of_species(terms.species, x), density)
    embedded, push = (jnp.where(terms.state_mask, x, 0.0) for x in (embedded, push))
    each = jnp.einsum("nkab,nb->nka", _couplings(terms), amplitudes)
    embedding, mixed = jnp.sum(weights * push, axis=1), jnp.sum(amplitudes[:, None] * each, axis=2)
    strength, back = jax.vjp(lambda x: _strengths(x, terms), background)
    (pressure,) = back(-mixed)
    pressure = pressure + embedding if pressure.ndim == 1 else pressure.at[:, 0].add(embedding)
    return jnp.sum(strength[:, :, None] * each, axis=1), embedded, pressure


def _with_slope(function, x):
    return jax.jvp(function, (x,), (jnp.ones_like(x),))


def solve_weights(model: Model, system: System, weights: Float[Array, "N S"] | None = None, **options) -> Equilibration:
    """Equilibrated weights of a geometry, differentiable in model, positions, cell, charge and external potential.

    `weights` (N, S) is a warm start; options as in `solve_terms`.
    """
    return solve_terms(geometry_terms(model, system), system.total_charge, weights, **options)


def solve_terms(
    terms: Terms,
    total_charge: Float[Array, ""],
    weights: Float[Array, "N S"] | None = None,
    *,
    search: bool | None = None,
    rounds: int = ROUNDS,
    tolerance: float | None = None,
    max_iterations: int = 300,
    throw: bool = False,
    slopes: Callable | None = None,
    args: PyTree = None,
) -> Equilibration:
    """Equilibrated weights of prepared terms, differentiable in them and in the total charge.

    Args:
        weights: a warm start (N, S).
        search: whether to descend from the cold starts and keep the lowest end: by default only without a warm
            start. True with `weights` tells whether another basin has become lower than the one being followed.
        rounds: most searches for a lower basin after the cold starts; 0 for the starts alone.
        tolerance, max_iterations, throw: see `ectjax.ensemble.equilibrate`.
        slopes, args: another form of `energy_and_slopes` with what it takes in place of the terms.
    """
    slopes, args = (energy_and_slopes, terms) if slopes is None else (slopes, args)
    starts = []
    if weights is not None:
        # an empty state has no slope in c: give it a breath of amplitude
        starts.append(jnp.sqrt(jnp.maximum(jax.lax.stop_gradient(weights), 1e-12))[None])
    if search or weights is None:
        starts.append(
            start_amplitudes(*jax.lax.stop_gradient((terms.state_energy, terms.state_charge, terms.state_mask)))
        )
    starts = jnp.concatenate(starts).astype(terms.state_energy.dtype)
    return equilibrate(
        ensemble_energy,
        args,
        starts,
        charges=terms.state_charge,
        mask=terms.state_mask,
        total_charge=total_charge,
        slopes=slopes,
        screening=terms.screening,
        tolerance=tolerance,
        max_iterations=max_iterations,
        rounds=rounds if search or weights is None else 0,
        throw=throw,
    )


@eqx.filter_custom_jvp
def _envelope(terms_and_charge: PyTree, amplitudes: Array, chemical_potential: Array, energy: Array) -> Array:
    """`energy` of equilibrated amplitudes. At the minimum dE = ∂E + μ dQ: no response of the weights is needed."""
    return energy


@_envelope.def_jvp
def _envelope_jvp(primals, tangents):
    terms_and_charge, amplitudes, chemical_potential, _ = primals
    direct = tangents[0]
    energy = _envelope(*primals)
    slope = jnp.zeros_like(energy)
    if jax.tree.leaves(direct[0]):
        terms = terms_and_charge[0]
        _, slope = eqx.filter_jvp(lambda x: ensemble_energy(amplitudes**2, amplitudes, x), (terms,), (direct[0],))
        slope = jnp.zeros_like(energy) if slope is None else slope
    if direct[1] is not None:
        slope = slope + chemical_potential * direct[1]
    return energy, slope


def equilibrated_energy(terms: Terms, total_charge: Float[Array, ""], result: Equilibration) -> Float[Array, ""]:
    """Energy in eV of the equilibration of these terms; its first derivative needs no response of the weights."""
    return _envelope((terms, total_charge), result.amplitudes, result.chemical_potential, result.energy)


def potential_energy(
    model: Model,
    system: System,
    weights: Float[Array, "N S"] | None = None,
    **options,
) -> tuple[Float[Array, ""], Equilibration]:
    """Equilibrated energy in eV and the equilibration it belongs to.

    The first derivative of the energy costs no response of the weights (envelope theorem) and is exact; second
    derivatives contain the response, by implicit differentiation. Use `jax.grad(…, has_aux=True)`.
    `weights` and options as in `solve_terms`.
    """
    terms = geometry_terms(model, system)
    result = solve_terms(terms, system.total_charge, weights, **options)
    return equilibrated_energy(terms, system.total_charge, result), result
