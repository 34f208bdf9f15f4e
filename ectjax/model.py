"""The model: radial tables of a set of elements and a few parameters per element, as one pytree.

`Basis` holds what no parameter touches (form factors, Coulomb and embedding components; built once, float64).
`assemble(basis, parameters)` is a pure, differentiable function to the `Model` that energies are computed with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ectjax.embedding.analytic import baskes_combination, baskes_projection
from ectjax.embedding.concordance import bond_density
from ectjax.embedding.table import EmbeddingTable, background_knots, combine, component_values
from ectjax.pairs.background import SIGMA_MIN, background_table, bessel_kernel
from ectjax.pairs.closed_shells import repulsion_factors
from ectjax.pairs.compression import COMPRESSED, FREE, Compression, Shrinking, compressed_ion, shrinking_of
from ectjax.pairs.coulomb_overlap import penetration_table
from ectjax.pairs.fluctuations import unit_transfer
from ectjax.pairs.fourier import k_grid, k_max_of
from ectjax.pairs.orbitals import SATURATION, Orbitals, electron_pairs, likeness
from ectjax.pairs.polarization import Polarizabilities
from ectjax.pairs.two_center_tables import two_center_array
from ectjax.pairs.valence import core_density, core_radius
from ectjax.radial.spline import locate, reciprocal_values, spline_coefficients, table_values
from ectjax.radial.switching import smoothstep
from ectjax.tables import Element, load_element, parse_label
from ectjax.tables.polarizabilities import polarizability
from ectjax.tables.symbols import SYMBOLS
from ectjax.units import BOHR_IN_ANGSTROM, COULOMB_EV_ANGSTROM, HARTREE_IN_EV

DEFAULT_STATES = ("-1", "0", "+1")
DEFAULT_CUTOFF = 8.0
PAIR_FORMS = ("coulomb", "two_center", "heitler_london")
EMBEDDING_FORMS = ("dft", "baskes")
RESONANCE_FORMS = ("spherical", "orbitals")
POLARIZATION_FORMS = ("none", "states", "breathing")
SWITCH_FRACTION = 0.75
KNOT_SPACING = 0.03  # Å: spline error of Rφ below 1e-6 eV Å beyond 0.4 Å
BOUNDS = {
    "a": (-1.0, 4.0),
    "b": (-3.0, 3.0),
    "sigma": (SIGMA_MIN, 5.0),
    "kappa": (0.0, 500.0),
    "m": (0.0, 2.0),
    "anion": (0.0, 4.0),
    "pi": (0.0, 1.0),
    "tau": (0.0, 3.0),
}
"""Physical ranges of the parameters, units as in `Parameters`."""
RESONANCE_SOFTENING = 1e-8  # e/bohr³: g(ρ̄) = √(ρ̄ + δ) − √δ keeps a finite slope where no neighbour is


class Parameters(eqx.Module):
    """A handful of numbers per element, each (E,).

    a, b: prefactors of the Thomas–Fermi and von Weizsäcker terms. sigma: width of the density window in bohr.
    kappa: resonance in eV per (e/bohr³)^½. m: scale of the many-body embedding (1 unless pair="two_center"). anion:
    resonance with anionic states in units of kappa (1 unless fitted). pi: overlap of orbitals side by side (0 unless
    resonance="orbitals"). tau: how much an atom's bonds add up (`ectjax.pairs.orbitals`; 1.4 unless fitted).
    """

    a: Float[Array, " E"]
    b: Float[Array, " E"]
    sigma: Float[Array, " E"]
    kappa: Float[Array, " E"]
    m: Float[Array, " E"]
    anion: Float[Array, " E"]
    pi: Float[Array, " E"]
    tau: Float[Array, " E"]

    @classmethod
    def uniform(
        cls, elements: int, a=0.5, b=0.0, sigma=1.0, kappa=0.0, m=1.0, anion=1.0, pi=0.0, tau=SATURATION
    ) -> "Parameters":
        """The same numbers for every element."""
        return cls(*(jnp.full(elements, float(x)) for x in (a, b, sigma, kappa, m, anion, pi, tau)))


class Valence(NamedTuple):
    """Form factors (E, K) of the valence densities of the neutral atoms, their rms and mean radii (E,) in bohr."""

    factors: Float[Array, "E K"]
    radius: Float[Array, " E"]
    mean_radius: Float[Array, " E"]


class Basis(eqx.Module):
    """Everything about a set of elements that no fitted parameter touches. Atomic units unless named.

    E elements, S states (padded), M distance knots, K wave numbers, B background knots.
    """

    numbers: tuple[int, ...] = eqx.field(static=True)
    labels: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    spacing: float = eqx.field(static=True)
    state_charge: Float[Array, "E S"]
    state_energy: Float[Array, "E S"]
    state_mask: Bool[Array, "E S"]
    adjacency: Float[Array, "E S S"]
    penetration: Float[Array, "E E S S M"]
    form_factors: Float[Array, "T K"]
    wave_numbers: Float[Array, " K"]
    kernel: Float[Array, "K M"]
    components: Float[Array, "E S 3 B"]
    projections: tuple[Float[Array, "E S 3 2"], Float[Array, "E S"]] | None
    two_center: Float[Array, "E E S S 3 M"] | None
    valence: Valence | None
    polarizabilities: Polarizabilities | None
    shrinking: Shrinking | None


class PairPlaces(NamedTuple):
    """Of P pairs (i, j): the pair of elements; the interval in the tables of that pair, and in those of (j, i); the
    fraction t in the interval; distances in Å, at most the cutoff; whether the pair lies within it."""

    elements: Int[Array, " P"]
    forward: Int[Array, " P"]
    backward: Int[Array, " P"]
    t: Float[Array, " P"]
    distance: Float[Array, " P"]
    inside: Bool[Array, " P"]


class Bonding(eqx.Module):
    """What a resonance with orbitals has of its own: the orbitals; tables of the valence density of the neutral atom j
    in the window of i in e/bohr³ (with polarisation times the likeness of both); and of R J, the interaction of two
    unit transfers, in eV Å/e²."""

    orbitals: Orbitals
    density: Float[Array, "4 E E M"]
    fluctuation: Float[Array, "4 E E M"]

    def functions(self, at: PairPlaces):
        """Valence densities at i from j and at j from i in e/bohr³, and J in eV/e², each (P,); 0 beyond the cutoff."""
        density, fluctuation = self.density.reshape(4, -1), self.fluctuation.reshape(4, -1)
        parts = (
            table_values(density, at.forward, at.t),
            table_values(density, at.backward, at.t),
            reciprocal_values(fluctuation, at.forward, at.t, at.distance, self.fluctuation.shape[-1]),
        )
        return tuple(jnp.where(at.inside, x, 0.0) for x in parts)


class Model(eqx.Module):
    """Radial splines and parameters of E elements with up to S states; eV, Å, e, densities in e/bohr³.

    Used through `ectjax.potential`. Species are rows of this model (`species_of` maps atomic numbers).
    """

    numbers: tuple[int, ...] = eqx.field(static=True)
    labels: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    spacing: float = eqx.field(static=True)
    state_charge: Float[Array, "E S"]
    state_energy: Float[Array, "E S"]
    state_mask: Bool[Array, "E S"]
    resonance: Float[Array, "E C S S"]
    embedding: EmbeddingTable
    density: Float[Array, "S 4 E E M"]
    interaction: Float[Array, "S S 4 E E M"]
    bonding: Bonding | None = None
    polarizabilities: Polarizabilities | None = None
    compression: Compression | None = None

    @property
    def most_charge(self) -> int:
        """Largest charge of a state, of either sign, in e."""
        return most_charge(self.labels)

    def species_of(self, numbers) -> np.ndarray:
        """Rows (N,) int32 of atomic numbers (N,). Raises ValueError for an element the model lacks."""
        given = np.asarray(numbers)
        if given.ndim != 1 or not np.issubdtype(given.dtype, np.number) or (given != np.round(given)).any():
            raise ValueError(f"atomic numbers are {given.tolist()}; give one whole number per atom, e.g. [11, 17]")
        numbers = given.astype(int)
        unknown = sorted(set(numbers.tolist()) - set(self.numbers))
        if unknown:
            raise ValueError(
                f"the model has no element {', '.join(map(_symbol, unknown))}; it covers "
                f"{', '.join(map(_symbol, self.numbers))}: load a model that covers all elements of the structure"
            )
        lookup = {z: row for row, z in enumerate(self.numbers)}
        return np.array([lookup[z] for z in numbers.tolist()], np.int32)

    def pair_places(self, species_i, species_j, distance: Float[Array, " P"]) -> PairPlaces:
        """Where in the tables the pairs of a geometry are; distances R (P,) in Å."""
        elements, intervals = self.density.shape[-2:]
        inside = distance < self.cutoff
        r = jnp.where(inside, distance, self.cutoff)
        index, t = locate(r, 0.0, self.spacing, intervals)
        pair = species_i * elements + species_j
        backward = (species_j * elements + species_i) * intervals + index
        return PairPlaces(pair, pair * intervals + index, backward, t, r, inside)

    def pair_functions(self, at: PairPlaces):
        """h at i from j (S, P), h at j from i (S, P), and φ − q q/R in eV (S of i, S of j, P); 0 beyond the cutoff."""
        density, scaled = (x.reshape(*x.shape[:-3], -1) for x in (self.density, self.interaction))
        parts = (
            table_values(density, at.forward, at.t),
            table_values(density, at.backward, at.t),
            reciprocal_values(scaled, at.forward, at.t, at.distance, self.interaction.shape[-1]),
        )
        return tuple(jnp.where(at.inside, x, 0.0) for x in parts)

    def charge_products(self) -> Float[Array, "S S 1 E*E"]:
        """q_α q_β in e² of the states of every pair of elements: tables of constants at the places `elements`."""
        charge = self.state_charge.T
        products = charge[:, None, :, None] * charge[None, :, None, :]
        return products.reshape(*products.shape[:2], 1, -1)


def _symbol(number: int) -> str:
    return SYMBOLS[number - 1] if 0 < number <= len(SYMBOLS) else f"Z={number}"


def most_charge(labels: Sequence[Sequence[str]]) -> int:
    """Largest charge of the states of elements, of either sign, in e."""
    return max(abs(parse_label(x)[0]) for states in labels for x in states)


def adjacency_of(charges: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """1 where two states of an atom differ by one electron or by excitation only, 0 elsewhere: (E, S, S)."""
    step = np.abs(charges[:, :, None] - charges[:, None, :])
    near = (step <= 1) & mask[:, :, None] & mask[:, None, :]
    return np.where(near & ~np.eye(charges.shape[1], dtype=bool), 1.0, 0.0)


def build_basis(
    elements: Sequence[str | int | Element],
    *,
    states: Sequence[str] | dict[str, Sequence[str]] = DEFAULT_STATES,
    cutoff: float = DEFAULT_CUTOFF,
    spacing: float = KNOT_SPACING,
    energies: str = "experimental",
    pair: str = "coulomb",
    embedding: str = "dft",
    resonance: str = "spherical",
    polarization: str = "none",
    tables=None,
) -> Basis:
    """Radial tables of a set of elements, float64.

    Args:
        elements: symbols, atomic numbers or loaded `Element` records.
        states: labels to use; states that an element lacks or that are unbound are left out when this is one
            list for all, and are an error when a dict names them for the element.
        cutoff: Å; every short-range function goes smoothly to zero there, from 0.75 cutoff on.
        spacing: Å between knots.
        energies: "experimental" or "computed" state energies.
        pair: "coulomb", or "two_center" for the exact two-centre functional in every pair (theory section 3);
            its tables are shipped for seventeen elements, else made on first use and cached. "heitler_london": the
            same, with the overlap repulsion of closed shells nearer to that of an antisymmetrised product
            (`ectjax.pairs.closed_shells`).
        embedding: "dft" (Daw) or "baskes": for any prefactors the Baskes curve nearest to Daw's.
        resonance: "spherical", or "orbitals" for a resonance that knows the directions of an atom's neighbours and how
            many bonds it can form (`ectjax.pairs.orbitals`).
        polarization: "none", or "states" for atoms that their surroundings polarise (`ectjax.pairs.polarization`), or
            "breathing" for these with anions that shrink when surrounded (`ectjax.pairs.compression`; of elements whose
            table has a state "-1*"); with resonance="orbitals" only.
        tables: file or folder of tables to use instead of the shipped ones.

    Raises:
        ValueError: unknown element or state, no neutral state, bad cutoff, or a choice that is not allowed.
    """
    if not np.isfinite(cutoff) or not 2.0 <= cutoff <= 30.0:
        raise ValueError(f"cutoff is {cutoff} Å, allowed are 2 to 30 Å")
    for name, value, allowed in (
        ("energies", energies, ("experimental", "computed")),
        ("pair", pair, PAIR_FORMS),
        ("embedding", embedding, EMBEDDING_FORMS),
        ("resonance", resonance, RESONANCE_FORMS),
        ("polarization", polarization, POLARIZATION_FORMS),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}, allowed are {' and '.join(map(repr, allowed))}")
    if polarization != "none" and resonance != "orbitals":
        raise ValueError(
            f"polarization is {polarization!r} with resonance={resonance!r}: it takes from the orbitals who exchanges "
            "electrons with whom; use resonance='orbitals' or polarization='none'"
        )
    records = [x if isinstance(x, Element) else load_element(x, tables) for x in elements]
    chosen = [states_of(record, states) for record in records]
    count, most = len(records), max(map(len, chosen))
    charge, energy = np.zeros((count, most)), np.zeros((count, most))
    mask = np.zeros((count, most), bool)
    flat = []
    breathing = polarization == "breathing"
    compressed = [
        compressed_ion(record, list_) if breathing else None for record, list_ in zip(records, chosen, strict=True)
    ]
    # a compressed ion stands behind the states of its element while tables are made
    every = most + any(state is not None for state in compressed)
    densities: list[list] = [[None] * every for _ in records]
    z, electrons = np.zeros((2, count, every))
    for e, (record, list_) in enumerate(zip(records, chosen, strict=True)):
        for s, state in enumerate([*list_, *(None,) * (most - len(list_)), compressed[e]]):
            if state is None:
                continue
            z[e, s], electrons[e, s], densities[e][s] = record.number, state.electrons, state
            flat.append((e * every + s, state.density))
            if s < most:
                charge[e, s], mask[e, s] = state.charge, True
                energy[e, s] = state.energy_computed if energies == "computed" else state.energy
    radius = distance_knots(cutoff, spacing) / BOHR_IN_ANGSTROM
    grid = k_grid(radius[-1], k_max_of(z.max()))
    keep = grid.k <= 8.5 / SIGMA_MIN
    shape = count * every
    factors, screened = np.zeros((shape, grid.k.size)), np.zeros((shape, radius.size))
    components = np.zeros((shape, 3, background_knots().size))
    rows = [row for row, _ in flat]
    with jax.enable_x64(True):
        factors[rows], screened[rows] = _fourier_and_screening([density for _, density in flat], grid.k, radius)
        components[rows] = component_values([density for _, density in flat])
    table = penetration_table(z.ravel(), electrons.ravel(), screened, factors, grid, radius)
    table = table.reshape(count, every, count, every, radius.size).transpose(0, 2, 1, 3, 4)
    two_center = None if pair == "coulomb" else _two_center(records, densities, radius, pair)
    kernel = bessel_kernel(grid, radius)[keep]
    return Basis(
        numbers=tuple(record.number for record in records),
        labels=tuple(tuple(state.label for state in list_) for list_ in chosen),
        cutoff=float(cutoff),
        spacing=float(radius[1] * BOHR_IN_ANGSTROM),
        state_charge=charge,
        state_energy=energy,
        state_mask=mask,
        adjacency=adjacency_of(charge, mask),
        penetration=table[:, :, :most, :most],
        form_factors=factors.reshape(count, every, -1)[:, :most].reshape(count * most, -1)[:, keep],
        wave_numbers=grid.k[keep],
        kernel=kernel,
        components=components.reshape(count, every, 3, -1)[:, :most],
        projections=_baskes_projections(records, chosen, most) if embedding == "baskes" else None,
        two_center=None if two_center is None else two_center[:, :, :most, :most],
        valence=_valence(records, grid.k[keep]) if resonance == "orbitals" else None,
        polarizabilities=None if polarization == "none" else _polarizabilities(records, chosen, most),
        shrinking=None if every == most else shrinking_of(chosen, compressed, table, two_center),
    )


def _two_center(records, densities, radius, pair: str):
    """T, W and X of all pairs of densities (E, E, S, S, 3, M) in Hartree."""
    functionals = two_center_array(densities, radius)
    if pair == "heitler_london":
        # how much more than T a pair repels hardly depends on the size of an ion: a compressed one has f of the free
        names = [
            [(r.symbol, "0" if state is None else state.label.replace(COMPRESSED, FREE)) for state in row]
            for r, row in zip(records, densities, strict=True)
        ]
        functionals[..., 0, :] *= repulsion_factors(names)[..., None]
    return functionals


def _baskes_projections(records, chosen, most: int):
    """Daw's components in Baskes' form, (E, S, 3, 2), and the ranges they were compared on, (E, S)."""
    projections, end = np.zeros((len(records), most, 3, 2)), np.ones((len(records), most))
    for e, (record, list_) in enumerate(zip(records, chosen, strict=True)):
        at_bond = bond_density(record)
        for s, state in enumerate(list_):
            projections[e, s], end[e, s] = baskes_projection(state, at_bond)
    return projections, end


def _stacked(densities):
    """One expansion of a leading axis (T,), padded to one length so that one compilation serves all."""
    longest = max(density.coefficients.size for density in densities)
    return jax.tree.map(lambda *x: np.stack(x), *(density.padded(longest) for density in densities))


def _fourier_and_screening(densities, wave_numbers, radius):
    """f(k) (T, K) and N − R·V(R) (T, M) of T densities."""
    safe = np.maximum(radius, 1e-6)  # bohr; R·u(R) is finite at the nucleus, u(R) is not

    @jax.jit
    def both(stack):
        return jax.vmap(lambda x: (x.form_factor(wave_numbers), safe * x.screened_remainder(safe)))(stack)

    return both(_stacked(densities))


def _polarizabilities(records, chosen, most: int) -> Polarizabilities:
    """Those of the chosen states (E, S), padded with zeros."""
    polarizable, decay = np.zeros((2, len(records), most))
    for e, (record, list_) in enumerate(zip(records, chosen, strict=True)):
        for s, state in enumerate(list_):
            polarizable[e, s] = polarizability(record.symbol, state.label) * BOHR_IN_ANGSTROM**3
            decay[e, s] = state.decay / BOHR_IN_ANGSTROM
    core = np.array([core_radius(record.number) for record in records]) * BOHR_IN_ANGSTROM
    return Polarizabilities(polarizable, decay, core)


def _valence(records: Sequence[Element], wave_numbers) -> Valence:
    """`Valence` of elements: of the neutral atom less its core."""

    @jax.jit
    def integrals(stack):
        return jax.vmap(lambda x: (x.form_factor(wave_numbers), x.electron_count(), x.moment(2), x.moment(1)))(stack)

    cores = [core_density(record.number) for record in records]
    with jax.enable_x64(True):
        shells = [record.state("0").density for record in records] + [core for core in cores if core is not None]
        whole = [np.array(x) for x in integrals(_stacked(shells))]
    with_core = [row for row, core in enumerate(cores) if core is not None]
    for found in whole:
        found[with_core] -= found[len(records) :]
    factors, electrons, second, first = (found[: len(records)] for found in whole)
    return Valence(factors, np.sqrt(second / electrons), first / electrons)


def distance_knots(cutoff: float = DEFAULT_CUTOFF, spacing: float = KNOT_SPACING) -> np.ndarray:
    """Distances in Å (M,) from 0 to the cutoff at which pair functions are tabulated."""
    return np.linspace(0.0, cutoff, round(cutoff / spacing) + 1)


def states_of(record: Element, states) -> list:
    """The states of an element that a choice names; ValueError as `build_basis`."""
    if isinstance(states, dict):
        if record.symbol not in states:
            raise ValueError(f"no states are chosen for {record.symbol}; chosen are those of {', '.join(states)}")
        chosen = [record.state(label) for label in states[record.symbol]]
    else:
        chosen = [state for state in record.states if state.label in states and state.bound]
    if not any(state.label == "0" for state in chosen):
        got = ", ".join(state.label for state in chosen) or "none"
        raise ValueError(f"{record.symbol} was given the states {got}; the neutral ground state '0' must be one")
    return chosen


def assemble(basis: Basis, parameters: Parameters) -> Model:
    """The model of one set of parameters: differentiable in every one of them. Needs float64 arithmetic."""
    count, most = basis.state_charge.shape
    knots = distance_knots(basis.cutoff, basis.spacing)
    switch = jnp.asarray(smoothstep(knots, SWITCH_FRACTION * basis.cutoff, basis.cutoff))
    h = background_table(basis.form_factors, parameters.sigma, basis.wave_numbers, basis.kernel)
    h = jnp.maximum(h.reshape(count, count, most, -1), 0.0) * switch
    a, b = parameters.a[:, None], parameters.b[:, None]
    if basis.projections is None:
        free = HARTREE_IN_EV * combine(basis.components, a, b)
    else:
        free = HARTREE_IN_EV * baskes_combination(*basis.projections, a, b)
    free = jnp.where(basis.state_mask[:, :, None], free, 0.0)
    embedding = EmbeddingTable.fit(free * parameters.m[:, None, None])
    scaled = switch * basis.penetration * COULOMB_EV_ANGSTROM
    if basis.two_center is not None:
        scaled = scaled + knots * _two_center_energy(basis, parameters, embedding, h, switch)
    return Model(
        numbers=basis.numbers,
        labels=basis.labels,
        cutoff=basis.cutoff,
        spacing=basis.spacing,
        state_charge=jnp.asarray(basis.state_charge),
        state_energy=jnp.asarray(basis.state_energy) * HARTREE_IN_EV,
        state_mask=jnp.asarray(basis.state_mask),
        resonance=_resonance(basis, parameters),
        bonding=None if basis.valence is None else _bonding(basis, parameters, switch),
        polarizabilities=jax.tree.map(jnp.asarray, basis.polarizabilities),
        compression=None if basis.shrinking is None else _compression(basis, parameters, switch, knots),
        embedding=embedding,
        density=spline_coefficients(h).transpose(2, 4, 0, 1, 3),
        interaction=spline_coefficients(scaled).transpose(2, 3, 5, 0, 1, 4),
    )


def _resonance(basis: Basis, parameters: Parameters):
    """κ of every pair of states of an element that differ by one electron or an excitation, (E, C, S, S): one channel,
    or with orbitals those of `ectjax.pairs.orbitals`, which leave excitations out, for every electron that moves."""
    negative = basis.state_charge < 0
    anionic = negative[:, :, None] | negative[:, None, :]
    scale = jnp.where(anionic, parameters.anion[:, None, None], 1.0)
    coupling = parameters.kappa[:, None, None] * scale * basis.adjacency
    if basis.valence is None:
        return coupling[:, None]
    electrons = max(1, most_charge(basis.labels))
    return jnp.where(electron_pairs(basis.state_charge, electrons), coupling[:, None], 0.0)


def _bonding(basis: Basis, parameters: Parameters, switch) -> Bonding:
    """`Bonding` of one set of parameters."""
    assert basis.valence is not None
    density = background_table(basis.valence.factors, parameters.sigma, basis.wave_numbers, basis.kernel)
    density = jnp.maximum(density, 0.0)
    if basis.polarizabilities is not None:
        density = density * likeness(basis.valence.radius)[:, :, None]
    d = unit_transfer(basis.labels)
    penetration = jnp.einsum("ea,fb,efabm->efm", d, d, basis.penetration)
    fluctuation = COULOMB_EV_ANGSTROM * (1.0 + switch * penetration)
    return Bonding(
        orbitals=Orbitals.of(basis.numbers, basis.labels, basis.valence.mean_radius, parameters.pi, parameters.tau),
        density=spline_coefficients(density * switch).transpose(3, 0, 1, 2),
        fluctuation=spline_coefficients(fluctuation).transpose(3, 0, 1, 2),
    )


def _compression(basis: Basis, parameters: Parameters, switch, knots) -> Compression:
    """`Compression` of one set of parameters. Embedding knows the free ion only."""
    assert basis.shrinking is not None
    penetration, two_center, anion, cost = basis.shrinking
    push = COULOMB_EV_ANGSTROM * switch * penetration
    if two_center is not None:
        push = push + knots * switch * _functional(two_center, parameters, axes=2)
    push = spline_coefficients(push).transpose(2, 4, 0, 1, 3)
    return Compression(push, jnp.asarray(anion), jnp.asarray(cost) * HARTREE_IN_EV)


def _functional(parts, parameters: Parameters, axes: int):
    """a T + b W + X in eV of parts (E, E, …, 3, M) with `axes` axes between, of the mean a and b of two elements."""

    def mean(x):
        return (0.5 * (x[:, None] + x[None, :])).reshape(*2 * x.shape, *(1,) * axes)

    t, w, x = (parts[..., c, :] for c in range(3))
    return HARTREE_IN_EV * (mean(parameters.a) * t + mean(parameters.b) * w + x)


def _two_center_energy(basis: Basis, parameters: Parameters, embedding: EmbeddingTable, h, switch):
    """u(R) of every pair of states less the pair's embedding of each in the other, eV (E, E, S, S, M)."""
    pair = _functional(basis.two_center, parameters, axes=3)
    rows = [embedding_row(embedding, e)(h[e]) for e in range(h.shape[0])]  # each (S of i, E, S of j, M)
    embedded = jnp.stack(rows).transpose(0, 2, 1, 3, 4)  # (E, E, S, S, M)
    # h is switched off already, so a pair's own embedding cancels at every distance
    return switch * pair - embedded - embedded.transpose(1, 0, 3, 2, 4)


def embedding_row(embedding: EmbeddingTable, element: int) -> EmbeddingTable:
    """The embedding functions (S,) of one element."""
    return EmbeddingTable(embedding.coefficients[element], embedding.scale, embedding.maximum)


def cast(model: Model, dtype=None) -> Model:
    """The model with floating leaves in `dtype` (default: JAX's current default float)."""
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise ValueError(
            "float64 was asked for but JAX runs in float32: call jax.config.update('jax_enable_x64', True)"
        )

    def convert(leaf):
        leaf = np.asarray(leaf)
        return jnp.asarray(leaf.astype(dtype)) if np.issubdtype(leaf.dtype, np.floating) else jnp.asarray(leaf)

    return jax.tree.map(convert, model)
