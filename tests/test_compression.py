"""Ions that give way: against energies of explicit states, closed forms and finite differences."""

import importlib.util
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from systems import padded_cluster, weights_of_states

from ectjax import build_system, calculate
from ectjax.basis import build_basis
from ectjax.model import Parameters, assemble, cast
from ectjax.pairs.compression import WIDTH, Compressible
from ectjax.potential import compressed, energy_and_slopes, ensemble_energy, geometry_terms, potential_energy, push_of
from ectjax.tables import load_element
from ectjax.units import HARTREE_IN_EV

pytestmark = pytest.mark.usefixtures("x64")

NUMBERS = [9, 11, 8]
PARAMETERS = Parameters.uniform(3, a=0.9, sigma=1.0, kappa=20.0, m=0.0, pi=0.5)
OF_TWO = jax.tree.map(lambda x: x[:2], PARAMETERS)
SALT = {"resonance": "orbitals", "pair": "heitler_london"}


@pytest.fixture(scope="module")
def models():
    """The same model with polarisation alone, and with anions that give way."""

    def build(form):
        return cast(assemble(build_basis(NUMBERS, polarization=form, **SALT), PARAMETERS))

    with jax.enable_x64(True):
        return build("states"), build("breathing")


@cache
def explicit():
    """A model of F and Na in which the compressed fluoride ion is a state of its own."""
    states = {"F": ["0", "-1", "-1*"], "Na": ["0", "+1"]}
    return cast(assemble(build_basis(["F", "Na"], states=states, **SALT), OF_TWO))


def _energy(model, numbers, positions, labels, **options):
    system = build_system(model, numbers, positions, **options)
    weights = weights_of_states(model, numbers, labels)
    return _of_weights(model, system, weights)


@eqx.filter_jit
def _of_weights(model, system, weights):
    return ensemble_energy(weights, jnp.sqrt(weights), geometry_terms(model, system))


def _cost(symbol="F"):
    element = load_element(symbol)
    return (element.state("-1*").energy_computed - element.state("-1").energy_computed) * HARTREE_IN_EV


@pytest.mark.parametrize("distance", [1.75, 2.0, 2.3])
def test_an_ion_balances_its_cost_and_what_an_explicit_compressed_state_gains(models, distance):
    """P from the energies of F⁻ and of F⁻ compressed beside Na⁺, in a model that has both as states of its own."""
    place = [[0.0, 0.0, 0.0], [0.0, 0.0, distance]]
    free, small = (_energy(explicit(), [9, 11], place, [label, "+1"]) for label in ("-1", "-1*"))
    push = float(free - small) + _cost()
    rigid, breathing = (float(_energy(m, [9, 11], place, ["-1", "+1"])) for m in models)
    lowest = minimize_scalar(lambda x: x * x * _cost() - x * push, bounds=(0.0, 1.0), options={"xatol": 1e-10})
    # its rounded ends take no more than Δ w
    assert breathing - rigid == pytest.approx(min(lowest.fun, 0.0), abs=_cost() * WIDTH)
    terms = geometry_terms(models[1], build_system(models[1], [9, 11], place))
    weights = weights_of_states(models[1], [9, 11], ["-1", "+1"])
    np.testing.assert_allclose(push_of(terms.pairs.background(weights)), [push, 0.0], rtol=1e-6, atol=1e-9)
    assert float(compressed(weights, terms)[0]) == pytest.approx(lowest.x, abs=WIDTH)


@pytest.mark.parametrize("side", [1.7, 1.85, 2.0])
def test_two_anions_shrink_together(models, side):
    """A square of two NaF: the lowest energy that is bilinear in both x, with x + y − 1 in place of x y, from energies
    of explicit states."""
    numbers, place = [11, 9, 11, 9], side * np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    free, one, both = (
        float(_energy(explicit(), numbers, place, ["+1", first, "+1", second]))
        for first, second in (["-1", "-1"], ["-1*", "-1"], ["-1*", "-1*"])
    )
    cost = _cost()
    one, both = one - cost, both - 2 * cost  # of densities alone

    def energy(x):
        return 2 * (1 - x) * one + (2 * x - 1) * both + 2 * x * x * cost

    lowest = minimize_scalar(energy, bounds=(0.0, 1.0), options={"xatol": 1e-10})
    assert 0.3 < lowest.x < 0.9
    assert abs(free - energy(0.0)) > 2e-3  # where neither is compressed the line is not that of free ions
    assert _gained(models, numbers, place, ["+1", "-1", "+1", "-1"]) == pytest.approx(
        float(lowest.fun) - free, abs=2 * cost * WIDTH
    )


def test_the_gain_is_minus_a_quarter_of_the_squared_push_over_the_cost():
    ion = Compressible(jnp.array([[0.0, 1.0]]), jnp.array([0.6]))
    weights = jnp.array([[0.3, 0.7]])

    def of(push):
        return ion.gain(weights, jnp.array([push]))[0][0]

    for push in (-3.0, -1e-6, 0.0):
        assert of(push) == 0.0
    start = WIDTH / 2
    for u in (0.3, 0.6, 0.9):  # R = (u − w/2)²/2 + w²/24
        exact = -0.7 * 2 * 0.6 * (0.5 * (u - start) ** 2 + WIDTH**2 / 24)
        assert float(of(2 * 0.6 * u)) == pytest.approx(exact, rel=1e-12)
    # beyond the end of the line the ion gains all of the push, less its cost and half the rounding
    far = 10.0
    assert float(of(far)) == pytest.approx(-0.7 * (far - 0.6 - 0.6 * WIDTH), rel=1e-12)


@pytest.mark.parametrize("push", [-0.2, 0.05, 0.2, 0.7, 1.25, 1.4, 3.0])
def test_slopes_and_curvature_of_the_gain(push):
    ion = Compressible(jnp.array([[0.0, 1.0]]), jnp.array([0.6]))
    weights = jnp.array([[0.3, 0.7]])

    def of(weights, push):
        return ion.gain(weights, jnp.reshape(push, (1,)))[0][0]

    _, pull, back = ion.gain(weights, jnp.array([push]))
    by_weights, by_push = jax.grad(of, argnums=(0, 1))(weights, jnp.asarray(push))
    np.testing.assert_allclose(pull, by_weights, atol=1e-14)
    np.testing.assert_allclose(back[0], by_push, atol=1e-14)
    step = 1e-5
    curvature = jax.grad(jax.grad(of, argnums=1), argnums=1)(weights, jnp.asarray(push))
    slopes = [float(ion.gain(weights, jnp.array([push + d]))[2][0]) for d in (step, -step)]
    assert float(curvature) == pytest.approx((slopes[0] - slopes[1]) / (2 * step), abs=1e-6)


def test_a_piece_of_rock_salt_is_pressed_together_and_single_atoms_are_what_they_were(models):
    sites = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    numbers = np.where(sites.sum(1) % 2, 9, 11)
    labels = ["+1" if z == 11 else "-1" for z in numbers]
    gains = [_gained(models, numbers, distance * sites, labels) for distance in (2.1, 2.2, 2.4, 3.2)]
    assert all(g < 0 for g in gains[:-1]) and gains == sorted(gains)
    # far apart nothing is left but what two free anions have beyond the line, 4 meV a pair
    assert gains[0] < -0.4 and -1e-3 < gains[-1] < 6 * 5e-3
    # four ions with three neighbours each win more than twelve molecules do
    assert gains[1] < 4 * 3 * _gained(models, [9, 11], [[0, 0, 0], [0, 0, 2.2]], ["-1", "+1"])
    for label, charge in (("0", 0.0), ("-1", -1.0), ("+1", 1.0)):
        alone = [float(_energy(m, [9], np.zeros((1, 3)), [label], charge=charge)) for m in models]
        assert alone[0] == alone[1]


def _gained(models, numbers, positions, labels):
    rigid, breathing = (float(_energy(m, numbers, positions, labels)) for m in models)
    return breathing - rigid


def test_a_cation_and_a_neutral_atom_do_not_give_way(models):
    for labels in (["0", "+1"], ["+1", "0"], ["0", "0"]):
        rigid, breathing = (float(_energy(m, [9, 11], [[0, 0, 0], [0, 0, 1.9]], labels)) for m in models)
        assert breathing == pytest.approx(rigid, abs=1e-12)


CLUSTER = [11, 9, 11, 9, 8]
PLACES = np.array([[0, 0, 0], [2.1, 0.1, 0], [2.0, 2.15, 0.1], [-0.1, 2.0, 0.2], [0.2, 0.1, 2.3]])
"""A distorted piece of a salt with an oxygen atom beside it."""


def test_slopes_in_weights_are_those_of_automatic_differentiation(models):
    model, rng = models[1], np.random.default_rng(5)
    system = padded_cluster(model, CLUSTER, PLACES)
    terms = geometry_terms(model, system)
    mask = np.asarray(terms.state_mask)
    amplitudes = np.where(mask, rng.uniform(0.1, 1.0, mask.shape), 0.0)
    amplitudes = jnp.asarray(amplitudes / np.maximum(np.linalg.norm(amplitudes, axis=1, keepdims=True), 1e-9))
    energy, *slopes = eqx.filter_jit(energy_and_slopes)(amplitudes**2, amplitudes, terms)
    found, expected = eqx.filter_jit(jax.value_and_grad(ensemble_energy, (0, 1)))(amplitudes**2, amplitudes, terms)
    assert float(energy) == pytest.approx(float(found), abs=1e-10)
    for one, exact in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(np.where(mask, one, 0), np.where(mask, exact, 0), atol=1e-9)


@pytest.fixture(scope="module")
def solved(models):
    """The cluster in padded slots, and what the model makes of it."""
    with jax.enable_x64(True):
        system = padded_cluster(models[1], CLUSTER, PLACES)
        return system, calculate(models[1], system)


def test_forces_and_second_derivatives_against_finite_differences(models, solved):
    model, (system, found) = models[1], solved
    push = push_of(geometry_terms(model, system).pairs.background(found.equilibration.weights))
    assert np.sum(np.asarray(push) > 0.1) >= 2  # fluoride gives way here

    def energy(positions):
        moved = eqx.tree_at(lambda s: s.positions, system, positions)
        return potential_energy(model, moved, found.equilibration.weights, tolerance=1e-11)[0]

    # energy, slope and its slope by one program
    along = jax.jit(lambda x, v: jax.jvp(jax.value_and_grad(energy), (x,), (v,)))
    direction = np.zeros(system.positions.shape)
    direction[: len(CLUSTER)] = np.random.default_rng(1).normal(size=PLACES.shape)
    direction /= np.linalg.norm(direction)
    (_, slope), (along_slope, curved) = along(system.positions, jnp.asarray(direction))
    ends = {d: along(system.positions + d * direction, jnp.asarray(direction))[0] for d in (2e-4, 1e-4, -1e-4, -2e-4)}
    first = [(ends[d][0] - ends[-d][0]) / (2 * d) for d in (1e-4, 2e-4)]
    assert float((4 * first[0] - first[1]) / 3) == pytest.approx(float(np.sum(slope * direction)), abs=5e-7)
    assert float(along_slope) == pytest.approx(float(np.sum(slope * direction)), abs=1e-9)
    np.testing.assert_allclose(curved, (ends[1e-4][1] - ends[-1e-4][1]) / 2e-4, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(-slope, found.forces, atol=1e-6)
    assert not np.asarray(slope)[len(CLUSTER) :].any() and not np.asarray(curved)[len(CLUSTER) :].any()


def test_single_precision_agrees(models, solved):
    double, single_model = solved[1], cast(models[1], jnp.float32)
    system = padded_cluster(single_model, CLUSTER, PLACES)
    single = calculate(single_model, system, double.equilibration.weights.astype(jnp.float32))
    assert single.energy.dtype == jnp.float32
    assert float(single.energy) == pytest.approx(float(double.energy), abs=2e-3)
    np.testing.assert_allclose(single.forces, double.forces, atol=2e-2)


def test_a_set_says_that_breathing_needs_orbitals():
    with pytest.raises(ValueError, match="resonance='orbitals'"):
        build_basis(["F"], polarization="breathing")


needs_pyscf = pytest.mark.skipif(
    importlib.util.find_spec("pyscf") is None or importlib.util.find_spec("basis_set_exchange") is None,
    reason="generation needs pyscf and basis_set_exchange",
)


def test_the_cage_has_madelung_s_potential_and_the_anion_s_counter_charge():
    from ectjax.generate.caged import MADELUNG, rock_salt

    near, others = rock_salt(1.0)
    potential = sum(1.0 / np.linalg.norm(x) for x in near) + sum(q / np.linalg.norm(x) for x, q in others)
    assert potential == pytest.approx(MADELUNG, rel=2e-3)
    assert len(near) + sum(q for _, q in others) == pytest.approx(1.0, abs=1e-12)


@needs_pyscf
def test_one_cation_from_all_directions_is_the_mean_over_cations_on_all_sides():
    """Exact with s and p functions: six sides integrate what their products hold."""
    from pyscf import gto

    from ectjax.generate.caged import over_directions

    molecule = gto.M(
        atom="H 0 0 0", basis={"H": [[0, [0.8, 1.0]], [0, [0.2, 1.0]], [1, [0.3, 1.0]]]}, charge=-1, verbose=0
    )

    def potential(place):
        with molecule.with_rinv_origin(place):
            return -molecule.intor("int1e_rinv")

    sides = [potential(3.0 * sign * axis) for axis in np.eye(3) for sign in (1, -1)]
    np.testing.assert_allclose(over_directions(molecule, sides[0]), np.mean(sides, axis=0), atol=1e-12)
    assert np.abs(sides[0] - np.mean(sides, axis=0)).max() > 0.01


@needs_pyscf
@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "electrons", "smaller"), [("F", 10, 0.85), ("H", 2, 0.52)])
def test_the_stored_ion_is_what_the_cage_makes_of_it(symbol, electrons, smaller):
    from ectjax.generate.caged import caged_ion
    from ectjax.generate.pyscf_atom import RADII, VOLUME_WEIGHTS
    from ectjax.generate.states import recipes
    from ectjax.tables.polarizabilities import polarizability

    ion, element = caged_ion(symbol, recipes(symbol)["-1*"]), load_element(symbol)
    assert VOLUME_WEIGHTS @ ion.density == pytest.approx(electrons, abs=1e-6)
    assert ion.cost * HARTREE_IN_EV == pytest.approx(_cost(symbol), abs=1e-4)
    assert ion.polarizability == pytest.approx(polarizability(symbol, "-1*"), rel=1e-3)
    square = VOLUME_WEIGHTS @ (ion.density * RADII**2)
    assert element.state("-1*").fit["r2"] == pytest.approx(square, rel=1e-5)
    assert square < smaller * element.state("-1").fit["r2"]
