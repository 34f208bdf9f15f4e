"""Equilibration: against brute force and analytic cases, constraints, warm starts, faults."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import ATOMS, model, padded_cluster, random_cluster

from ectjax import build_system, calculate, solve_weights
from ectjax.ensemble import equilibrate
from ectjax.ensemble._descent import Memory
from ectjax.potential import ensemble_energy, geometry_terms

NUMBERS = [1, 3, 6, 7, 8, 9, 11, 17]


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def default():
    with jax.enable_x64(True):
        return model()


def _strict(base):
    return eqx.tree_at(lambda m: m.resonance, base, 0 * base.resonance)


@eqx.filter_jit
def _from_many_starts(default, system, starts):
    """Lowest energy that descents from all `starts` (K, N, S) reach."""
    terms = geometry_terms(default, system)

    def one(start):
        found = equilibrate(
            ensemble_energy,
            terms,
            start[None],
            charges=terms.state_charge,
            mask=terms.state_mask,
            total_charge=system.total_charge,
        )
        return jnp.where(found.converged, found.energy, jnp.inf)

    return jax.lax.map(one, starts)


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_finds_the_lowest_minimum_that_forty_random_starts_find(default, strict):
    rng = np.random.default_rng(11 + strict)
    chosen = _strict(default) if strict else default
    missed = []
    for n in range(40):
        numbers, positions = random_cluster(rng, NUMBERS)
        charge = float(rng.choice([0.0, 0.0, 1.0]))
        system = padded_cluster(chosen, numbers, positions, charge)
        ours = float(calculate(chosen, system).energy)
        starts = jnp.asarray(np.sqrt(rng.dirichlet(np.full(3, 0.4), size=(40, ATOMS))))
        best = float(jnp.min(_from_many_starts(chosen, system, starts)))
        if ours > best + 1e-6:
            missed.append((n, numbers.tolist(), ours - best))
    print("missed:", missed)
    assert not missed, missed


def test_two_state_pair_has_the_analytic_minimum():
    """E = ε₊ω₊ + ε₋ω₋ − K ω₊ω₋ is concave: the minimum is a corner, whichever is lower."""
    charges = jnp.array([[0.0, 1.0], [0.0, -1.0]])

    def energy(w, c, args):
        return args[0] * w[0, 1] + args[1] * w[1, 1] - args[2] * w[0, 1] * w[1, 1]

    starts = jnp.sqrt(jnp.array([[[0.5, 0.5], [0.5, 0.5]], [[0.95, 0.05]] * 2, [[0.05, 0.95]] * 2]))
    for attraction, expected in ((2.5, 0.0), (3.5, 1.0)):
        found = equilibrate(
            energy,
            jnp.array([5.0, -2.0, attraction]),
            starts,
            charges=charges,
            mask=jnp.ones((2, 2), bool),
            total_charge=0.0,
        )
        assert bool(found.converged)
        np.testing.assert_allclose(found.charges, [expected, -expected], atol=1e-12)
        assert float(found.energy) == pytest.approx(expected * (3.0 - attraction), abs=1e-12)


def test_resonance_between_two_states_is_a_two_level_problem():
    """E = ε ω₁ − 2κ √(ω₀ω₁): the lowest eigenvalue of [[0, −κ], [−κ, ε]]."""
    level, coupling = 3.0, 1.2

    def energy(w, c, args):
        return args[0] * w[0, 1] - 2 * args[1] * c[0, 0] * c[0, 1]

    args = jnp.array([level, coupling])
    options = {"charges": jnp.zeros((1, 2)), "mask": jnp.ones((1, 2), bool), "total_charge": 0.0}
    found = equilibrate(energy, args, jnp.ones((1, 1, 2)), **options)
    exact, vectors = np.linalg.eigh([[0.0, -coupling], [-coupling, level]])
    assert float(found.energy) == pytest.approx(exact[0], abs=1e-12)
    np.testing.assert_allclose(found.weights[0], vectors[:, 0] ** 2, atol=1e-7)
    slope = jax.jacfwd(lambda a: equilibrate(energy, a, jnp.ones((1, 1, 2)), **options).weights[0, 1])(args)
    step = 1e-5
    numeric = [
        (
            np.linalg.eigh([[0, -k - dk], [-k - dk, e + de]])[1][1, 0] ** 2
            - np.linalg.eigh([[0, -k + dk], [-k + dk, e - de]])[1][1, 0] ** 2
        )
        / (2 * step)
        for e, k, de, dk in ((level, coupling, step, 0.0), (level, coupling, 0.0, step))
    ]
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_constraints_and_stationarity(seed):
    with jax.enable_x64(True):
        default = model()
        rng = np.random.default_rng(seed)
        numbers, positions = random_cluster(rng, [1, 3, 6, 8, 9, 11, 17])
        charge = float(rng.choice([-1.0, 0.0, 0.5, 1.0]))
        found = calculate(default, padded_cluster(default, numbers, positions, charge)).equilibration
        n = len(numbers)
        assert bool(found.converged) and float(found.residual) < 1e-8
        assert np.all(np.asarray(found.weights) >= 0)
        np.testing.assert_allclose(found.weights[:n].sum(axis=1), 1.0, atol=1e-12)
        assert float(jnp.sum(found.charges)) == pytest.approx(charge, abs=1e-12 * ATOMS)
        assert np.all(np.asarray(found.charges[n:]) == 0)


def test_chemical_potential_is_the_slope_in_the_total_charge(default):
    positions = [[0, 0, 0], [0, 0, 1.2], [0.9, 0.3, -0.6]]

    def energy(charge):
        return float(calculate(default, padded_cluster(default, [6, 8, 1], positions, charge), tolerance=1e-9).energy)

    found = calculate(default, padded_cluster(default, [6, 8, 1], positions, 0.3)).equilibration
    step = 1e-3
    slope = (energy(0.3 + step) - energy(0.3 - step)) / (2 * step)
    assert float(found.chemical_potential) == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("charge", [-2.0, 2.0])
def test_charge_at_the_end_of_the_range(default, charge):
    system = build_system(default, [1, 17], [[0, 0, 0], [0, 0, 1.3]], charge=charge)
    found = solve_weights(default, system)
    np.testing.assert_allclose(found.charges, [charge / 2] * 2, atol=1e-9)
    assert bool(found.converged)


def test_a_warm_start_costs_less_and_gives_the_same(default):
    rng = np.random.default_rng(4)
    numbers, positions = random_cluster(rng, NUMBERS, ATOMS)
    system = padded_cluster(default, numbers, positions)
    cold = calculate(default, system)
    moved = padded_cluster(default, numbers, positions + 0.005 * rng.normal(size=positions.shape))
    fresh, warm = calculate(default, moved), calculate(default, moved, cold.equilibration.weights)
    cold = fresh.equilibration.evaluations + fresh.equilibration.search_evaluations
    assert int(warm.equilibration.evaluations) < 0.5 * int(cold)
    assert float(warm.energy) == pytest.approx(float(fresh.energy), abs=1e-9)


def test_memory_meets_the_secant_equation_and_stays_positive():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 12))
    hessian = root @ root.T + np.eye(12)
    memory = Memory.empty(jnp.zeros((4, 3)))
    for _ in range(7):  # more pairs than it holds
        step = rng.normal(size=(4, 3))
        change = (hessian @ step.ravel()).reshape(4, 3)
        memory = memory.after(jnp.asarray(step), jnp.asarray(change))
    np.testing.assert_allclose(memory.inverse_hessian(jnp.asarray(change), lambda v: 0.8 * v), step, atol=1e-12)
    kept = memory.after(jnp.asarray(step), jnp.asarray(-change))  # negative curvature
    np.testing.assert_array_equal(kept.steps, memory.steps)
    units = jnp.eye(12).reshape(12, 4, 3)
    inverse = jax.vmap(lambda v: memory.inverse_hessian(v, lambda u: 0.8 * u))(units).reshape(12, 12)
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-12)
    assert np.linalg.eigvalsh(inverse).min() > 0


def test_the_energy_falls_in_every_step_and_a_step_costs_about_one_gradient(default):
    system = build_system(default, [8, 1, 1, 11], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0], [0, -2.1, 0.3]])
    start = jnp.where(default.state_mask[system.species], 0.3, 0.0)
    solve = eqx.filter_jit(solve_weights)
    after = [solve(default, system, start, max_iterations=jnp.asarray(k)) for k in range(20)]
    energies = np.array([float(found.energy) for found in after])
    assert (np.diff(energies) <= 1e-11).all() and energies[-1] < energies[0] - 1.0
    assert bool(after[-1].converged) and int(after[-1].evaluations) <= int(after[-1].iterations) + 4


def test_an_iteration_limit_is_reported_not_hidden(default):
    system = build_system(default, [11, 17], [[0, 0, 0], [0, 0, 2.4]])
    found = solve_weights(default, system, max_iterations=1)
    assert not bool(found.converged) and float(found.residual) > 1e-7


@pytest.mark.parametrize("warm", [False, True])
def test_no_energy_is_no_convergence(default, warm):
    system = build_system(default, [11, 17], [[0, 0, 0], [0, 0, 2.4]])
    lost = eqx.tree_at(lambda s: s.positions, system, system.positions.at[1, 0].set(jnp.nan))
    start = jnp.where(default.state_mask[system.species], 0.3, 0.0) if warm else None
    found = solve_weights(default, lost, start)
    assert not bool(found.converged) and not np.isfinite(float(found.residual))


def test_batches_by_vmap_equal_single_solves(default):
    rng = np.random.default_rng(6)
    systems = [padded_cluster(default, *random_cluster(rng, NUMBERS)) for _ in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *systems)
    many = eqx.filter_jit(eqx.filter_vmap(lambda s: solve_weights(default, s).energy))(stacked)
    single = [float(calculate(default, s).energy) for s in systems]
    np.testing.assert_allclose(many, single, atol=1e-9)
