"""Bonding orbitals in the resonance: against explicit matrices, in derivatives, and in what they count."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import ATOMS, force_error, padded_cluster, random_cluster, random_crystal, stress_error

from ectjax import build_system, calculate
from ectjax.basis import build_basis
from ectjax.model import Parameters, assemble, cast
from ectjax.native import native_tables
from ectjax.pairs.lone_pairs import lone_pair_moments
from ectjax.pairs.orbitals import (
    CAP_BELOW,
    CAP_SHARPNESS,
    NODES,
    SATURATION,
    UNLIMITED,
    Orbitals,
    bond_shapes,
    electron_pairs,
    further_bonds,
    resonance_argument,
    shared,
)
from ectjax.pairs.valence import bonds, core_density, valence
from ectjax.potential import energy_and_slopes, ensemble_energy, geometry_terms, potential_energy, resonance_strength
from ectjax.tables import load_element

NUMBERS = [1, 6, 7, 8, 9, 11]
STATES = ("0", "-1", "+1")
RADIUS = 1.2
"""Mean radius of valence shells in bohr where the tests do not mind."""


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def model():
    """With polarisation, whose derivatives the same tests check."""
    with jax.enable_x64(True):
        basis = build_basis(NUMBERS, resonance="orbitals", polarization="states")
        count = len(NUMBERS)
        kappa = jnp.asarray([20.0, 25.0, 25.0, 30.0, 30.0, 15.0])
        uniform = Parameters.uniform(count, a=0.6, sigma=0.9, pi=0.6)
        return cast(assemble(basis, eqx.tree_at(lambda p: p.kappa, uniform, kappa)))


def _orbitals(numbers, pi, tau=SATURATION):
    tau = jnp.broadcast_to(jnp.asarray(tau), len(numbers))
    return Orbitals.of(numbers, [STATES] * len(numbers), np.full(len(numbers), RADIUS), jnp.asarray(pi), tau)


def _moments(orbitals, receiver, senders, vectors):
    """Moments (1, C, K) of one atom whose neighbours couple with e^-r and are open to both channels."""
    count = len(senders)
    lengths = np.linalg.norm(vectors, axis=1)
    couplings = jnp.asarray(np.exp(-lengths) * np.asarray(orbitals.source)[np.asarray(senders)])
    at_i, _ = bond_shapes(
        orbitals,
        jnp.full(count, receiver),
        jnp.asarray(senders),
        jnp.asarray(vectors),
        jnp.asarray(lengths),
        (couplings, couplings),
    )
    return jnp.tile(jnp.sum(at_i, axis=1), (1, 2, 1))


def _matrix(orbitals, receiver, senders, vectors):
    """M of the module's docstring, 4 × 4."""
    total = np.zeros((4, 4))
    share = float(orbitals.share[receiver])
    for j, vector in zip(senders, vectors, strict=True):
        r = np.linalg.norm(vector)
        b = np.concatenate([[np.sqrt(share)], np.sqrt(1 - share) * vector / r])
        side = np.zeros((4, 4))
        side[1:, 1:] = np.eye(3) - np.outer(vector, vector) / r**2
        pi = float(orbitals.pi[receiver] * orbitals.pi[j])
        total += np.exp(-r) * float(orbitals.source[j]) * (np.outer(b, b) + pi * side)
    return total


@pytest.mark.parametrize("receiver", range(4))
def test_against_explicit_matrices(receiver):
    numbers = [1, 6, 8, 9]
    orbitals = _orbitals(numbers, [0.0, 0.6, 0.5, 0.3], [1.4, 1.1, 1.3, 1.7])
    rng = np.random.default_rng(receiver)
    for count in (1, 2, 5):
        senders, vectors = rng.integers(0, 4, count), rng.normal(size=(count, 3)) + 1.0
        matrix = _matrix(orbitals, receiver, senders, vectors)
        trace = np.trace(matrix)
        roots = np.sqrt(np.linalg.eigvalsh(matrix / trace).clip(0.0, 1.0 - 1e-15))
        used = np.sum(roots * np.tanh(2 * NODES * np.arctanh(roots))) ** 2
        moments = _moments(orbitals, receiver, senders, vectors)
        found = resonance_argument(moments, orbitals.at(jnp.asarray([receiver])))[0]
        assert float(moments[0, 0, 0]) == pytest.approx(
            np.sum(np.exp(-np.linalg.norm(vectors, axis=1)) * np.asarray(orbitals.source)[senders])
        )
        for channel, charge in enumerate((-1, 1)):
            most = max(valence(numbers[receiver])[1], bonds(numbers[receiver], charge), 1) - CAP_BELOW
            more = used - 1.0
            counted = 1.0 + more / (1.0 + (more / most) ** CAP_SHARPNESS) ** (1 / CAP_SHARPNESS)
            expected = trace * counted / used * counted ** float(orbitals.tau[receiver])
            assert float(found[channel]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("number, paired", [(6, None), (7, 1.0), (9, 1.0), (17, 1.0)])
def test_lone_pairs_lie_opposite_to_the_bonds(number, paired):
    """2 P_sp ⟨s|z|p⟩ with P = √M/√(Tr M²/Tr M) by eigenvectors; carbon's pair is lost to further bonds."""
    orbitals = _orbitals([1, number], [0.0, 0.5])
    atom, share = orbitals.at(jnp.asarray([1])), 0.05 if number < 10 else 0.01
    whole = 2.0 * RADIUS * 0.529177 / np.sqrt(3.0) * np.sqrt(share * (1.0 - share))
    single = lone_pair_moments(_moments(orbitals, 1, [0], np.array([[0.0, 0.0, 1.1]])), atom)[0]
    np.testing.assert_allclose(single, [[0, 0, whole]] * 2, atol=0.01 * whole)

    vectors = np.array([[0.9, 0.2, 0.1], [0.0, 1.2, -0.3]])
    matrix = _matrix(orbitals, 1, [0, 0], vectors)
    values, axes = np.linalg.eigh(matrix)
    root = (axes * np.sqrt(values.clip(0.0))) @ axes.T
    projector = root[0, 1:] / np.linalg.norm(matrix) * np.sqrt(np.trace(matrix))
    scale = np.sqrt(float(atom.share[0]) * (1.0 - float(atom.share[0])))
    moments = _moments(orbitals, 1, [0, 0], vectors)
    found = np.asarray(lone_pair_moments(moments, atom))[0, 0]
    if number == 6:
        used = np.trace(root) ** 2 / np.trace(matrix)
        paired = 1.0 - ((used - 1.0) / 3.0) ** 2
    np.testing.assert_allclose(found, paired * whole / scale * projector, rtol=0.03)

    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    np.testing.assert_allclose(lone_pair_moments(_moments(orbitals, 1, [0] * 4, tetrahedron), atom), 0.0, atol=1e-12)
    assert np.all(np.isfinite(jax.grad(lambda m: jnp.sum(lone_pair_moments(m, atom)))(jnp.zeros_like(moments))))


def test_four_tetrahedral_bonds_use_four_orbitals_and_a_fifth_finds_none_left():
    orbitals = _orbitals([1, 6], [0.0, 0.5])
    carbon = orbitals.at(jnp.asarray([1]))
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)

    def argument(vectors):
        moments = _moments(orbitals, 1, [0] * len(vectors), np.asarray(vectors))
        return float(resonance_argument(moments, carbon)[0, 0])

    single = argument(corners[:1])
    assert single == pytest.approx(np.exp(-1.0), rel=1e-6)
    four, square = argument(corners), argument([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert four > 1.05 * square > 4 * single  # a tetrahedron is better than a square
    assert 1.0 < argument([*corners, -corners[0]]) / four < 5 / 4  # less than what it adds to the density


def test_an_atom_of_two_bonds_prefers_them_bent():
    orbitals = _orbitals([1, 8], [0.0, 0.5])
    oxygen = orbitals.at(jnp.asarray([1]))
    angles = np.radians(np.arange(60, 181, 5))
    vectors = [np.array([[1, 0, 0], [np.cos(x), np.sin(x), 0]]) for x in angles]
    found = np.array([resonance_argument(_moments(orbitals, 1, [0, 0], v), oxygen)[0] for v in vectors])
    best = np.degrees(angles[np.argmax(found, axis=0)])
    assert ((best >= 90) & (best <= 115)).all()


def test_ions_that_are_closed_shells_exchange_no_electrons(model):
    """Sodium and fluoride ions: F⁻ gives to Na⁺ and to no F⁻, Na⁺ has nothing to take in a channel of its own, and
    neutral atoms see everyone. Sodium does not divide itself here, so that a third atom changes only who is open."""
    model = eqx.tree_at(lambda m: m.bonding.orbitals.bonds, model, jnp.full(len(NUMBERS), UNLIMITED))
    places = np.array([[0, 0, 0], [2.0, 0, 0], [0, 2.0, 0]])

    def strengths(numbers, charges):
        terms = geometry_terms(model, padded_cluster(model, numbers, places[: len(numbers)]))
        weights = np.zeros(terms.state_charge.shape)
        weights[:, 0] = 1.0
        for n, q in enumerate(charges):
            weights[n] = np.asarray(terms.state_charge[n] == q) & np.asarray(terms.state_mask[n])
        return np.asarray(resonance_strength(terms.pairs.background(jnp.asarray(weights)), terms.orbitals))

    neutral, ionic = (strengths([9, 11, 9], q) for q in ((0, 0, 0), (-1, 1, -1)))
    pair = strengths([9, 11], (-1, 1))
    assert ionic[0, 0] == pytest.approx(pair[0, 0], rel=1e-12) and pair[0, 0] > 0.01  # F- with Na+, not with F-
    assert ionic[1, 1] == pytest.approx(0.0, abs=1e-9) and neutral[1, 1] > 0.005  # counted once, in the channel of F-
    assert neutral[0, 0] > 1.05 * ionic[0, 0]


def test_bonds_that_each_move_an_electron_make_a_ladder():
    """k independent bonds of coupling t have the energy −k t, whatever the number of electrons that moved: the chain of
    states 0 … k with the couplings of `resonance_argument` against k times one bond. A single bond moves one."""
    orbitals = _orbitals([1, 8, 6], [0.0, 0.0, 0.0], tau=0.0)
    t = float(np.exp(-0.5))
    directions = {1: [[0, 0, 1.0]], 2: [[1.0, 0, 0], [0, 1.0, 0]]}
    for count, vectors in directions.items():
        # at oxygen the s orbital hardly bonds: neighbours at a right angle have an orbital each
        atom, further = orbitals.at(jnp.asarray([1])), jnp.asarray([count - 1.0])
        moments = _moments(orbitals, 1, [0] * count, np.asarray(vectors))
        squares = np.asarray(resonance_argument(moments, atom, further, count))
        couplings = np.sqrt(squares.reshape(count, 2)[:, 0])
        chain = np.diag(-couplings, 1)
        lowest = np.linalg.eigvalsh(chain + chain.T)[0]
        assert lowest == pytest.approx(-count * t, rel=0.12 if count > 1 else 1e-6)
    single = _moments(orbitals, 2, [0], np.array([[0.0, 0.0, 1.0]]))
    # one orbital, whatever the neighbours; three orbitals, but all bonds to the same neighbour
    sides = _orbitals([1, 8, 6], [0.0, 0.6, 0.6], tau=0.0)
    double = _moments(sides, 2, [1], np.array([[0.0, 0.0, 1.0]]))
    for moments, further in ((single, 1.0), (double, 0.0)):
        found = resonance_argument(moments, orbitals.at(jnp.asarray([2])), jnp.asarray([further]), 3)
        second, third = np.asarray(found).reshape(3, 2)[1:] / np.asarray(found)[0, :2]
        assert np.all(np.abs(second) < 1e-6) and np.all((third > 0) & (third < 0.04))
    both = np.asarray(resonance_argument(double, orbitals.at(jnp.asarray([2])), jnp.asarray([1.0]), 2)).reshape(2, 2)
    assert np.all(both[1] > 0.5 * both[0])


def test_further_bonds_by_the_number_of_neighbours():
    """4/3 (Σ t)²/Σ t² − 1: 4n/3 − 1 of n equal neighbours, nothing where none is; finite slopes everywhere."""
    i, j = jnp.asarray([0, 0, 0]), jnp.asarray([1, 2, 3])
    at_i, at_j = jnp.asarray([0.1, 0.1, 0.2]), jnp.asarray([0.3, 0.01, 0.02])
    found = further_bonds((i, j), (at_i, at_j), 5)
    np.testing.assert_allclose(found, [4 / 3 * 0.16 / 0.06 - 1.0, 1 / 3, 1 / 3, 1 / 3, 0.0], rtol=1e-9)
    equal = further_bonds((i, j), (jnp.full(3, 0.2), at_j), 4)
    assert float(equal[0]) == pytest.approx(3.0, rel=1e-9)
    slopes = jax.jacfwd(lambda x: further_bonds((i, j), (x, x), 5))(jnp.zeros(3))
    assert np.all(np.isfinite(slopes))


def test_electrons_are_told_apart_by_the_charges_they_join():
    charges = jnp.asarray([[0.0, 0.0, -1.0, -2.0, 1.0, 2.0, 1.0]])
    pairs = np.asarray(electron_pairs(charges, 2))[0]
    first = {(0, 2), (1, 2)}, {(0, 4), (1, 4), (0, 6), (1, 6), (4, 6)}
    second = {(2, 3)}, {(4, 5), (5, 6)}
    near = np.abs(np.subtract.outer(np.asarray(charges[0]), np.asarray(charges[0]))) <= 1
    for found, expected in zip(pairs, (*first, *second), strict=True):
        assert {tuple(map(int, x)) for x in np.argwhere(np.triu(found & near, 1))} == expected


@pytest.mark.parametrize("number", [1, 3, 19])
def test_an_atom_of_one_valence_electron_shared_by_two_has_little_left_for_each(number):
    """Atoms H (Li, K), O, O: t_HO = t_HO' = 0.2, so that x = 2 at hydrogen; each oxygen, with it alone, x = ½."""
    orbitals = _orbitals([number, 8], [0.0, 0.0])
    species, pairs = jnp.asarray([0, 1, 1, 0]), (jnp.asarray([0, 0, 0]), jnp.asarray([1, 2, 0]))
    bonding = jnp.asarray([0.2, 0.2, 0.0]), jnp.asarray([0.1, 0.1, 0.0])
    mask = jnp.asarray([True, True, False])
    found = shared(orbitals, pairs, species, bonding, mask)
    np.testing.assert_allclose(found[:2], (2 / (1 + 2.0**4)) ** 0.25, rtol=1e-6)
    # a pair alone, near or far, shares with nobody
    alone = shared(orbitals, (pairs[0][:1], pairs[1][:1]), species, (jnp.zeros(1), jnp.zeros(1)), mask[:1])
    np.testing.assert_allclose(alone, 1.0)


VALENCE = {
    1: (1, 1, False),
    2: (2, 0, False),
    5: (3, 3, True),
    6: (4, 4, True),
    7: (5, 3, True),
    8: (6, 2, True),
    10: (8, 0, True),
    12: (2, 2, False),
    17: (7, 1, True),
    26: (2, 2, False),
    31: (3, 3, True),
    35: (7, 1, True),
    36: (8, 0, True),
}


def test_valence_electrons():
    assert {z: valence(z) for z in VALENCE} == VALENCE


def test_bonds_of_ions_are_those_of_the_atoms_they_look_like():
    expected = {(8, 1): 3, (8, -1): 1, (7, 1): 4, (17, -1): 0, (11, 1): 0, (1, 1): 0, (1, -1): 0}
    assert {(z, q): bonds(z, q) for z, q in expected} == expected
    assert [bonds(26, q) for q in (0, 1, -1)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("symbol", "ion"), [("Li", "+1"), ("Na", "+1"), ("Mg", "+2"), ("Al", "+3"), ("K", "+1"), ("Ca", "+2")]
)
def test_cores_are_those_of_the_closed_shell_ions(symbol, ion):
    """Slater's rules against the shipped densities of ions that are nothing but the core: count and mean radius."""
    element = load_element(symbol)
    core, state = core_density(element.number), element.state(ion)
    r = np.linspace(1e-4, 30.0, 60001)
    for density in (core, state.density):
        shell = 4 * np.pi * r**2 * np.asarray(density(jnp.asarray(r)))
        assert np.trapezoid(shell, r) == pytest.approx(state.electrons, abs=1e-3)
    radii = [np.trapezoid(4 * np.pi * r**3 * np.asarray(x(jnp.asarray(r))), r) for x in (core, state.density)]
    assert radii[0] == pytest.approx(radii[1], rel=0.12)


def _state(model, system, rng):
    """Random weights with an empty state, and their amplitudes."""
    weights = rng.dirichlet(np.ones(model.state_mask.shape[1]), len(system.species))
    mask = np.asarray(model.state_mask)[np.maximum(system.species, 0)] & (np.asarray(system.species) >= 0)[:, None]
    weights = np.where(mask, weights, 0.0)
    weights[0, 1] = 0.0
    return jnp.asarray(weights), jnp.asarray(np.sqrt(weights))


@eqx.filter_jit
def _energy(model, system, weights, amplitudes):
    return ensemble_energy(weights, amplitudes, geometry_terms(model, system))


@eqx.filter_jit
def _slopes(model, system, weights, amplitudes):
    terms = geometry_terms(model, system)
    found = energy_and_slopes(weights, amplitudes, terms)
    return found, jax.grad(ensemble_energy, (0, 1))(weights, amplitudes, terms), terms.state_mask


def test_slopes_in_weights_are_those_of_automatic_differentiation(model):
    rng = np.random.default_rng(5)
    for system in (padded_cluster(model, *random_cluster(rng, NUMBERS)), random_crystal(model, rng, NUMBERS)):
        weights, amplitudes = _state(model, system, rng)
        (energy, in_weights, in_amplitudes), expected, mask = _slopes(model, system, weights, amplitudes)
        assert float(energy) == pytest.approx(float(_energy(model, system, weights, amplitudes)), abs=1e-10)
        np.testing.assert_allclose(np.where(mask, in_weights, 0), np.where(mask, expected[0], 0), atol=1e-9)
        np.testing.assert_allclose(in_amplitudes, expected[1], atol=1e-9)


def test_forces_are_the_slope_of_the_energy_with_padding(model):
    rng = np.random.default_rng(17)
    for _ in range(12):
        numbers, positions = random_cluster(rng, NUMBERS)
        system = padded_cluster(model, numbers, positions)
        assert force_error(model, system, rng, len(numbers), 1) < 5e-7


def test_stress_is_the_strain_derivative(model):
    rng = np.random.default_rng(3)
    assert stress_error(model, random_crystal(model, rng, [6, 8, 9, 11]), ((0, 0), (1, 2))) < 5e-8


def test_second_derivatives_are_differences_of_forces(model):
    water = jnp.asarray([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    system = build_system(model, [8, 1, 1], water)
    start = jnp.zeros(model.state_mask.shape).at[:, :3].set(jnp.asarray([0.6, 0.2, 0.2]))[system.species]

    def energy(positions):
        moved = eqx.tree_at(lambda s: s.positions, system, positions)
        return potential_energy(model, moved, start, tolerance=1e-11)[0]

    # forces and their slope by one program
    along = jax.jit(lambda positions, direction: jax.jvp(jax.grad(energy), (positions,), (direction,)))
    direction = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))
    (up, _), (down, _) = (along(water + step * direction, direction) for step in (1e-4, -1e-4))
    np.testing.assert_allclose(along(water, direction)[1], (up - down) / 2e-4, atol=2e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_energy_is_invariant(model, seed):
    rng = np.random.default_rng(seed)
    numbers, positions = random_cluster(rng, NUMBERS, ATOMS)
    system = padded_cluster(model, numbers, positions)
    weights, amplitudes = _state(model, system, rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # a reflection among them
    order = rng.permutation(ATOMS)
    moved = padded_cluster(model, np.asarray(numbers)[order], (positions @ turn + rng.normal(size=3))[order])
    first, second = (
        _energy(model, system, weights, amplitudes),
        _energy(model, moved, weights[order], amplitudes[order]),
    )
    assert float(first) == pytest.approx(float(second), abs=1e-9)


def test_an_isolated_atom_has_no_resonance_and_finite_slopes(model):
    system = padded_cluster(model, [8, 1], [[0, 0, 0], [50.0, 0, 0]])
    found = calculate(model, system)
    assert float(found.energy) == pytest.approx(0.0, abs=1e-9)
    assert np.isfinite(found.forces).all() and np.abs(found.forces).max() < 1e-9


def test_single_precision_agrees(model):
    rng = np.random.default_rng(8)
    numbers, positions = random_cluster(rng, NUMBERS, ATOMS)
    double = calculate(model, padded_cluster(model, numbers, positions))
    single_model = cast(model, jnp.float32)
    single = calculate(
        single_model, padded_cluster(single_model, numbers, positions), double.equilibration.weights.astype(jnp.float32)
    )
    assert single.energy.dtype == jnp.float32
    assert float(single.energy) == pytest.approx(float(double.energy), abs=2e-3)
    np.testing.assert_allclose(single.forces, double.forces, atol=2e-2)


def test_compiled_sums_refuse_a_model_with_orbitals(model):
    with pytest.raises(ValueError, match=r"bonding orbitals.*native=None"):
        native_tables(model)


def test_an_unknown_form_is_answered():
    with pytest.raises(ValueError, match="resonance is 'angular', allowed are 'spherical' and 'orbitals'"):
        build_basis(["H"], resonance="angular")
