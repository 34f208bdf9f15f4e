"""The model: radial tables and a few parameters per element, as one pytree.

`assemble(basis, parameters)` is a pure, differentiable function from the tables of `ectjax.basis` to the `Model` that
energies are computed with.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ectjax.basis import Basis, distance_knots, most_charge
from ectjax.embedding.analytic import baskes_combination
from ectjax.embedding.table import EmbeddingTable, combine
from ectjax.pairs.background import SIGMA_MIN, background_table
from ectjax.pairs.compression import Compression, Shrinking
from ectjax.pairs.fluctuations import unit_transfer
from ectjax.pairs.orbitals import SATURATION, Orbitals, electron_pairs, likeness
from ectjax.pairs.polarization import Polarizabilities
from ectjax.radial.spline import locate, reciprocal_values, spline_coefficients, table_values
from ectjax.radial.switching import cutoff_switch
from ectjax.tables.symbols import SYMBOLS
from ectjax.units import COULOMB_EV_ANGSTROM, HARTREE_IN_EV

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


def assemble(basis: Basis, parameters: Parameters) -> Model:
    """The model of one set of parameters: differentiable in every one of them. Needs float64 arithmetic."""
    count, most = basis.state_charge.shape
    knots = distance_knots(basis.cutoff, basis.spacing)
    switch = jnp.asarray(cutoff_switch(knots, basis.cutoff))
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
    if basis.shrinking is not None:
        scaled = scaled + _pairs_of_anions(basis.shrinking, parameters, switch, knots)
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
        compression=None if basis.shrinking is None else _compression(basis.shrinking, parameters, switch, knots),
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


def _compression(shrinking: Shrinking, parameters: Parameters, switch, knots) -> Compression:
    """`Compression` of one set of parameters. Embedding knows the free ion only."""
    push = _scaled(shrinking.penetration, shrinking.two_center, parameters, switch, knots)
    push = spline_coefficients(push).transpose(2, 4, 0, 1, 3)
    return Compression(push, jnp.asarray(shrinking.anion), jnp.asarray(shrinking.cost) * HARTREE_IN_EV)


def _pairs_of_anions(shrinking: Shrinking, parameters: Parameters, switch, knots):
    """R times what a pair of anions that give way has beyond φ of the free ones, eV Å (E, E, S, S, M)."""
    both = _scaled(shrinking.penetration_of_anions, shrinking.two_center_of_anions, parameters, switch, knots)
    return jnp.einsum("ea,fb,efm->efabm", shrinking.anion, shrinking.anion, both)


def _scaled(penetration, two_center, parameters: Parameters, switch, knots):
    """R φ in eV Å of R φ in Hartree bohr (E, E, …, M) and of T, W and X in Hartree (E, E, …, 3, M) or None."""
    scaled = COULOMB_EV_ANGSTROM * switch * penetration
    if two_center is not None:
        scaled = scaled + knots * switch * _functional(two_center, parameters)
    return scaled


def _functional(parts, parameters: Parameters):
    """a T + b W + X in eV of parts (E, E, …, 3, M), of the mean a and b of two elements."""

    def mean(x):
        return (0.5 * (x[:, None] + x[None, :])).reshape(*2 * x.shape, *(1,) * (parts.ndim - 3))

    t, w, x = (parts[..., c, :] for c in range(3))
    return HARTREE_IN_EV * (mean(parameters.a) * t + mean(parameters.b) * w + x)


def _two_center_energy(basis: Basis, parameters: Parameters, embedding: EmbeddingTable, h, switch):
    """u(R) of every pair of states less the pair's embedding of each in the other, eV (E, E, S, S, M)."""
    pair = _functional(basis.two_center, parameters)
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
