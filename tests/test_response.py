"""Response of the charges against differences of solutions found anew; diagnosis of faults."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import model

from ectjax import build_system, calculate, explain, solve_weights
from ectjax.analysis import infrared, respond
from ectjax.ensemble import HISTORY, foreseen_weights
from ectjax.units import COULOMB_EV_ANGSTROM

WATER = ([8, 1, 1], np.array([[0, 0, 0.02], [0.79, 0.1, 0.6], [-0.75, 0.0, 0.61]]))
STEP = 1e-3


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def salt():
    """(NaCl)4, a cube distorted a little: model and system."""
    with jax.enable_x64(True):
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        positions = 2.6 * corners + np.random.default_rng(2).normal(scale=0.05, size=(8, 3))
        chosen = model(["Na", "Cl"])
        return chosen, build_system(chosen, np.where(corners.sum(axis=1) % 2, 17, 11), positions)


@eqx.filter_jit
def _again(chosen, system, positions, charge, field):
    """Charges, μ, dipole, energy and forces of a solution found anew."""
    moved = eqx.tree_at(
        lambda s: (s.positions, s.total_charge, s.external_potential),
        system,
        (positions, charge, -positions @ field),
        is_leaf=lambda x: x is None,
    )
    out = calculate(chosen, moved, tolerance=1e-10)
    found = out.equilibration
    return found.charges, found.chemical_potential, found.charges @ positions, out.energy, out.forces


def _difference(function, at, step=STEP):
    """Central difference of fourth order of a function of one number."""
    f = [jax.tree.map(np.asarray, function(at + k * step)) for k in (-2, -1, 1, 2)]
    return jax.tree.map(lambda a, b, c, d: (a - 8 * b + 8 * c - d) / (12 * step), *f)


def test_response_of_four_salt_molecules(salt):
    chosen, system = salt
    found = respond(chosen, system, tolerance=1e-10)
    place, zero = system.positions, jnp.zeros(3)

    charges, potential, *_ = _difference(lambda q: _again(chosen, system, place, jnp.asarray(q), zero), 0.0)
    np.testing.assert_allclose(found.fukui, charges, atol=1e-6)
    assert float(found.hardness) == pytest.approx(float(potential), rel=1e-6)
    assert float(jnp.sum(found.fukui)) == pytest.approx(1.0, abs=1e-9)
    assert float(found.hardness) > 0

    for axis in range(3):
        field = lambda e, axis=axis: _again(chosen, system, place, jnp.array(0.0), zero.at[axis].set(e))  # noqa: E731
        _, _, dipole, energy, _ = _difference(field, 0.0, 1e-2)
        np.testing.assert_allclose(found.polarisability[:, axis] / COULOMB_EV_ANGSTROM, dipole, rtol=1e-5, atol=1e-7)
        assert float(found.charges @ place[:, axis]) == pytest.approx(-float(energy), abs=1e-7)  # p = −dE/dℰ
    np.testing.assert_allclose(found.polarisability, found.polarisability.T, atol=1e-8)
    assert np.all(np.linalg.eigvalsh(found.polarisability) > 0)

    atom, axis = 3, 1
    shifted = lambda x: _again(chosen, system, place.at[atom, axis].add(x), jnp.array(0.0), zero)  # noqa: E731
    np.testing.assert_allclose(found.born_charges[atom, axis], _difference(shifted, 0.0)[2], atol=1e-6)
    np.testing.assert_allclose(jnp.sum(found.born_charges, axis=0), np.zeros((3, 3)), atol=1e-7)  # acoustic sum rule


def test_hessian_and_infrared_of_four_salt_molecules(salt):
    chosen, system = salt
    masses = np.where(np.asarray(system.species) == 0, 22.98976928, 35.45)
    found = infrared(chosen, system, masses, tolerance=1e-10)
    hessian = np.asarray(found.hessian)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-6)
    for atom, axis in ((0, 0), (5, 2)):
        shifted = lambda x, a=atom, d=axis: _again(  # noqa: E731
            chosen, system, system.positions.at[a, d].add(x), jnp.array(0.0), jnp.zeros(3)
        )
        row = -_difference(shifted, 0.0, 1e-4)[4].ravel()  # short: third derivatives of splines jump at knots
        np.testing.assert_allclose(hessian[3 * atom + axis], row, atol=1e-6 * np.abs(hessian).max())
    # trace of the mass-weighted Hessian is the sum of squared wavenumbers, Σ intensities follows from Born charges
    weighted = np.diag(hessian) / np.repeat(masses, 3)
    squares = np.sign(found.wavenumbers) * np.asarray(found.wavenumbers) ** 2
    assert np.sum(squares) == pytest.approx(521.4708984**2 * np.sum(weighted), rel=1e-6)
    born = np.asarray(respond(chosen, system, tolerance=1e-10).born_charges)
    total = 974.8802 * np.sum(born**2 / masses[:, None, None])  # km/mol for 1 e²/amu: 42.2561 (D/Å)² × 4.80320²
    assert np.sum(found.intensities) == pytest.approx(total, rel=1e-4)


def test_external_potential_shifts_the_energy_of_charges(salt):
    """A constant potential on a neutral cluster does nothing; on an ion it adds Q V."""
    chosen, system = salt
    for charge in (0.0, 1.0):
        charged = eqx.tree_at(lambda s: s.total_charge, system, jnp.asarray(charge))
        lifted = eqx.tree_at(lambda s: s.external_potential, charged, jnp.full(8, 0.7), is_leaf=lambda x: x is None)
        a, b = calculate(chosen, charged), calculate(chosen, lifted)
        assert float(b.energy - a.energy) == pytest.approx(0.7 * charge, abs=1e-9)
        np.testing.assert_allclose(a.forces, b.forces, atol=1e-6)


def test_response_refuses_a_crystal():
    chosen = model(["Na", "Cl"])
    crystal = build_system(chosen, [11, 17], [[0, 0, 0], [2.8, 2.8, 2.8]], cell=5.6 * np.eye(3))
    with pytest.raises(ValueError, match="periodic"):
        respond(chosen, crystal)


def test_throw_raises_where_the_weights_did_not_converge(salt):
    chosen, system = salt
    solve = eqx.filter_jit(lambda s: solve_weights(chosen, s, max_iterations=1, throw=True).energy)
    with pytest.raises(Exception, match="max_iterations"):
        jax.block_until_ready(solve(system))


def test_a_warm_start_that_searches_leaves_a_higher_basin():
    """Strict Na-Cl at 8 Å: neutral weights are a minimum, ionic ones a lower one."""
    base = model(["Na", "Cl"])
    strict = eqx.tree_at(lambda m: m.resonance, base, 0 * base.resonance)
    system = build_system(strict, [11, 17], [[0, 0, 0], [0, 0, 8.0]])
    neutral = jnp.asarray(np.array([[label == "0" for label in row] for row in strict.labels], float))
    followed = solve_weights(strict, system, neutral)
    searched = solve_weights(strict, system, neutral, search=True)
    np.testing.assert_allclose(followed.charges, [0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(searched.charges, [1.0, -1.0], atol=1e-6)
    assert float(searched.energy) < float(followed.energy) - 0.1


def test_explain_names_the_fault():
    chosen = model(["H", "O"])
    system = build_system(chosen, *WATER)
    assert "closest atoms are" in explain(chosen, system)
    lost = eqx.tree_at(lambda s: s.positions, system, system.positions.at[1, 0].set(jnp.nan))
    assert "atom 1 is at" in explain(chosen, lost)
    broken = eqx.tree_at(lambda m: m.interaction, chosen, chosen.interaction.at[..., 0, 0, :].set(jnp.nan))
    told = explain(broken, system)
    assert "atoms 1 and 2" in told and "Å apart" in told
    broken = eqx.tree_at(lambda m: m.state_energy, chosen, chosen.state_energy.at[1, 0].set(jnp.nan))
    assert "atom 0" in explain(broken, system)


def test_corrected_amplitudes_are_nearer_to_the_minimum_than_those_of_a_solve_that_stopped_early(salt):
    chosen, system = salt
    exact = solve_weights(chosen, system)
    rng = np.random.default_rng(3)
    start = jnp.abs(exact.amplitudes + 0.01 * jnp.asarray(rng.normal(size=exact.amplitudes.shape))) ** 2
    early = solve_weights(chosen, system, start, tolerance=10.0)  # no step at all: only the constraints are met
    assert int(early.iterations) == 0 and float(early.residual) > 0.05

    def error(amplitudes):
        unit = amplitudes / jnp.linalg.norm(amplitudes, axis=1, keepdims=True)
        return float(jnp.linalg.norm(unit - exact.amplitudes))

    assert error(early.corrected) < 0.5 * error(early.amplitudes)
    np.testing.assert_allclose(exact.corrected, exact.amplitudes, atol=1e-8)


def test_foreseen_weights_continue_a_parabola():
    t = -jnp.arange(HISTORY)[:, None, None]
    curve = lambda t: jnp.array([[0.9, 0.4]]) + 0.01 * t + jnp.array([[-0.002, 0.001]]) * t**2  # noqa: E731
    np.testing.assert_allclose(foreseen_weights(curve(t)), curve(jnp.ones((1, 1, 1)))[0] ** 2, rtol=1e-12)
