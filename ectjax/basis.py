"""Radial tables of a set of elements: everything that no fitted parameter touches.

Form factors, Coulomb and embedding components, two-centre functionals; built once, in float64, by `build_basis`.
`ectjax.model.assemble` makes the model of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from ectjax.embedding.analytic import baskes_projection
from ectjax.embedding.concordance import bond_density
from ectjax.embedding.table import background_knots, component_values
from ectjax.pairs.background import SIGMA_MIN, bessel_kernel
from ectjax.pairs.closed_shells import repulsion_factors
from ectjax.pairs.compression import COMPRESSED, FREE, Shrinking, compressed_ion, shrinking_of
from ectjax.pairs.coulomb_overlap import penetration_table
from ectjax.pairs.fourier import k_grid, k_max_of
from ectjax.pairs.polarization import Polarizabilities
from ectjax.pairs.two_center_tables import two_center_array
from ectjax.pairs.valence import core_density, core_radius
from ectjax.tables import Element, load_element, parse_label
from ectjax.tables.polarizabilities import polarizability
from ectjax.units import BOHR_IN_ANGSTROM

DEFAULT_STATES = ("-1", "0", "+1")
DEFAULT_CUTOFF = 8.0
PAIR_FORMS = ("coulomb", "two_center", "heitler_london")
EMBEDDING_FORMS = ("dft", "baskes")
RESONANCE_FORMS = ("spherical", "orbitals")
POLARIZATION_FORMS = ("none", "states", "breathing")
KNOT_SPACING = 0.03  # Å: spline error of Rφ below 1e-6 eV Å beyond 0.4 Å


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
