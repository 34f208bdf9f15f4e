"""Compiled sums against the JAX code, which is the reference: sums, forces, stress, solves, dynamics."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from ectjax import build_system, calculate, load_model
from ectjax.coulomb import PMEParameters, PMEReciprocal, damped_shifted_force, ewald_parameters
from ectjax.dynamics.integrators import make_integrator
from ectjax.dynamics.run import Simulation
from ectjax.dynamics.session import start_momenta
from ectjax.native import library, native_tables
from ectjax.native.mesh import NativeMesh
from ectjax.native.terms import Geometry, native_terms, slopes_with_forces
from ectjax.potential import energy_and_slopes, ensemble_energy, geometry_terms
from ectjax.sharding import shard_system
from ectjax.units import EV_PER_ANGSTROM3_IN_GPA, FEMTOSECOND

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(autouse=True, scope="module")
def built():
    """The library, compiled now if need be."""
    try:
        library.build()
    except library.NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        return load_model("curves", ["H", "O", "Na", "Cl"], dtype="float64")


def salt(model, repeat, accuracy=1e-7, seed=0, **options):
    atoms = bulk("NaCl", "rocksalt", a=5.85, cubic=True).repeat(repeat)
    positions = atoms.positions + np.random.default_rng(seed).normal(0, 0.15, atoms.positions.shape)
    return build_system(model, atoms.numbers, positions, cell=atoms.cell[:], accuracy=accuracy, **options)


def skewed(model):
    """A triclinic cell smaller than the cutoff with a charge: atoms meet their own images."""
    cell = np.array([[5.6, 0.0, 0.3], [1.2, 5.9, 0.0], [-0.8, 1.1, 6.1]])
    positions = np.array([[0.1, 0.2, 0.0], [2.6, 2.5, 2.4], [2.9, 0.1, 0.3], [0.2, 2.8, 2.9]])
    return build_system(model, [11, 17, 8, 1], positions, cell=cell, charge=1.0)


def padded_cluster(model):
    """An open system with a field and two slots of padding."""
    rng = np.random.default_rng(3)
    places = 2.2 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:26] + rng.normal(0, 0.2, (26, 3))
    system = build_system(model, rng.choice([1, 8, 11, 17], 26), places, charge=0.0)
    potential = jnp.asarray(rng.normal(0, 0.3, 28))
    grown = jnp.pad(system.positions, [(0, 2), (0, 0)]), jnp.pad(system.species, (0, 2), constant_values=-1)
    return dataclasses.replace(system, positions=grown[0], species=grown[1], external_potential=potential)


SYSTEMS = {
    "PME": lambda m: salt(m, 3),
    "Ewald": skewed,
    "open": padded_cluster,
    "shifted force": lambda m: salt(m, 2, long_range=damped_shifted_force(m.cutoff, 0.25)),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_energy_slopes_and_derivatives_are_those_of_the_reference(model, name):
    system = SYSTEMS[name](model)
    tables = native_tables(model, system.long_range)
    reference = eqx.filter_jit(geometry_terms)(model, system)
    terms = eqx.filter_jit(native_terms)(tables, model, system)
    rng = np.random.default_rng(1)
    raw = jnp.asarray(rng.uniform(0.05, 1.0, reference.state_mask.shape)) * reference.state_mask
    weights = raw / jnp.maximum(raw.sum(1, keepdims=True), 1e-300)
    change = jnp.asarray(rng.normal(size=weights.shape)) * reference.state_mask

    def both(terms):
        known = energy_and_slopes(weights, jnp.sqrt(weights), terms)
        _, second = jax.jvp(lambda w: energy_and_slopes(w, jnp.sqrt(weights), terms)[1], (weights,), (change,))
        return *known, second, terms.pairs.atomic_energies(weights), terms.pairs.energy(weights)

    for a, b in zip(eqx.filter_jit(both)(terms), eqx.filter_jit(both)(reference), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("name", SYSTEMS)
def test_equilibrated_results_are_those_of_the_reference(model, name):
    system = SYSTEMS[name](model)
    reference = calculate(model, system)
    found = calculate(model, system, native=native_tables(model, system.long_range))
    assert bool(found.equilibration.converged)
    assert int(found.equilibration.evaluations) == int(reference.equilibration.evaluations)
    np.testing.assert_allclose(found.energy, reference.energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.forces, reference.forces, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.stress, reference.stress, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.dipole, reference.dipole, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.equilibration.weights, reference.equilibration.weights, rtol=0, atol=1e-8)


@pytest.mark.parametrize("tolerance", [0.3, 1e-7])
@pytest.mark.parametrize("name", SYSTEMS)
def test_forces_that_come_with_gradients_are_those_at_the_end(model, name, tolerance):
    """Whether the warm start is good enough or several steps are needed."""
    system = SYSTEMS[name](model)
    tables = native_tables(model, system.long_range)
    start = calculate(model, system, native=tables).equilibration.weights
    moved = dataclasses.replace(system, positions=system.positions.at[1, 0].add(0.02))
    apart = calculate(model, moved, start, native=tables, tolerance=tolerance)
    together = calculate(model, moved, start, native=tables, tolerance=tolerance, eager=True)
    assert (int(together.equilibration.evaluations) == 1) == (tolerance > 1e-3)
    assert together.equilibration.beside == ()
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_forces_are_the_derivative_of_the_compiled_energy(model):
    system = skewed(model)
    tables = native_tables(model, system.long_range)
    run = eqx.filter_jit(lambda s: calculate(model, s, native=tables, tolerance=1e-9))
    found = run(system)
    step = 1e-4
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            moved = system.positions.at[atom, axis].add(sign * step)
            ends.append(float(run(dataclasses.replace(system, positions=moved)).energy))
        assert float(found.forces[atom, axis]) == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=2e-6)


def test_many_pairs_are_shared_among_threads(model):
    """Enough pairs for as many threads as there are cores; each has sums of its own."""
    system = salt(model, 6, accuracy=1e-4, skin=0.3)
    assert int(system.neighbors.mask.sum()) > 50_000
    tables = native_tables(model, system.long_range)
    weights = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(model.state_charge.shape[1]), 1728))

    def forces(positions):
        moved = dataclasses.replace(system, positions=positions)
        return ensemble_energy(weights, jnp.sqrt(weights), geometry_terms(model, moved))

    energy, slope = jax.jit(jax.value_and_grad(forces))(system.positions)

    @jax.jit
    def natively(positions):
        terms = native_terms(tables, model, system)
        forces, virial = slopes_with_forces(weights, jnp.sqrt(weights), Geometry(terms, system))[-1]
        return ensemble_energy(weights, jnp.sqrt(weights), terms), forces, virial

    found, force, _ = natively(system.positions)
    assert float(found) == pytest.approx(float(energy), rel=1e-12)
    np.testing.assert_allclose(force, -slope, rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [4, 5, 6, 7, 8, 10, 12])
def test_particle_mesh_is_that_of_the_reference(order):
    rng = np.random.default_rng(order)
    cell = jnp.asarray([[9.0, 0.2, 0.0], [1.0, 8.0, 0.4], [-0.5, 0.6, 10.0]])
    positions = jnp.asarray(rng.uniform(-12, 25, (60, 3)))
    charges, mask = jnp.asarray(rng.normal(size=60)), jnp.arange(60) < 55
    parameters = PMEParameters(0.6, 4.0, (20, 21, 24), order)

    def energy(positions, strain):
        moved, box = (x + x @ strain for x in (positions, cell))
        return parameters.prepare(moved, box, mask).energy(charges)

    expected = parameters.prepare(positions, cell, mask).potential(charges)
    assert isinstance(parameters.prepare(positions, cell, mask), PMEReciprocal)
    slope, strained = jax.grad(energy, argnums=(0, 1))(positions, jnp.zeros((3, 3)))
    found = NativeMesh.prepare(parameters, positions, cell, mask)
    np.testing.assert_allclose(found.potential(charges), expected, rtol=0, atol=1e-11)
    assert float(found.energy(charges)) == pytest.approx(float(energy(positions, jnp.zeros((3, 3)))), abs=1e-10)
    potential, forces, virial = found.with_forces(charges, cell)
    np.testing.assert_allclose(potential, found.potential(charges), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(forces, -slope, rtol=0, atol=1e-10)
    np.testing.assert_allclose(0.5 * (virial + virial.T), 0.5 * (strained + strained.T), rtol=0, atol=1e-9)


def test_float32_agrees_as_far_as_it_can(model):
    system = salt(model, 3)
    reference = calculate(model, system)
    single = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, (model, system))
    found = calculate(*single, native=native_tables(single[0], system.long_range))
    assert found.energy.dtype == found.forces.dtype == jnp.float32
    assert bool(found.equilibration.converged)
    np.testing.assert_allclose(found.forces, reference.forces, rtol=0, atol=2e-4)
    assert float(found.energy) == pytest.approx(float(reference.energy), abs=2e-3)


def test_dynamics_take_the_same_way(model):
    atoms = bulk("NaCl", "rocksalt", a=5.85, cubic=True).repeat(2)
    system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], skin=1.0)
    cell = tuple(map(tuple, atoms.cell.tolist()))
    integrator = make_integrator("nve", FEMTOSECOND, temperature=600.0, cell=cell, atoms=len(atoms))
    momenta, _ = start_momenta(atoms, 600.0, 0)
    ends = []
    for native in (True, False):
        simulation = Simulation(model, system, integrator, skin=1.0, native=native)
        simulation.begin(momenta, atoms.get_masses(), jax.random.PRNGKey(0))
        assert (simulation.native is not None) == native
        simulation.advance(30)
        ends.append(simulation.moment)
    moved = np.abs(ends[0].state.position - atoms.positions).max()
    assert moved > 0.1
    np.testing.assert_allclose(ends[0].state.position, ends[1].state.position, rtol=0, atol=1e-7 * moved)
    np.testing.assert_allclose(ends[0].results.stress, ends[1].results.stress, rtol=0, atol=1e-9)


def test_a_restart_in_a_new_process_goes_on_bit_for_bit(model):
    atoms = bulk("NaCl", "rocksalt", a=5.85, cubic=True)
    system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], skin=1.0)
    integrator = make_integrator(
        "nve", FEMTOSECOND, temperature=600.0, cell=tuple(map(tuple, atoms.cell.tolist())), atoms=len(atoms)
    )
    start = (start_momenta(atoms, 600.0, 0)[0], atoms.get_masses(), jax.random.PRNGKey(0))
    whole = Simulation(model, system, integrator, skin=1.0, native=True)
    whole.begin(*start)
    whole.advance(4)
    packed = whole.pack()
    whole.advance(8)
    jax.clear_caches()  # as in a new process: nothing has been traced there
    later = Simulation(model, system, integrator, skin=1.0, native=True)
    later.unpack(packed, *start)
    later.advance(8)
    np.testing.assert_array_equal(later.moment.state.position, whole.moment.state.position)


@pytest.mark.slow
def test_compression_at_constant_pressure_keeps_complete_lists(model):
    """Under 20 GPa the box shrinks; the last step's results are those of a list made afresh."""
    atoms = bulk("NaCl", "rocksalt", a=5.85, cubic=True).repeat(2)
    system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], skin=0.3)
    cell = tuple(map(tuple, atoms.cell.tolist()))
    options = {"pressure": 20.0 / EV_PER_ANGSTROM3_IN_GPA, "tau": 50 * FEMTOSECOND, "barostat_tau": 100 * FEMTOSECOND}
    integrator = make_integrator("npt", FEMTOSECOND, temperature=300.0, cell=cell, atoms=len(atoms), **options)
    simulation = Simulation(model, system, integrator, skin=0.3, native=True)
    momenta, _ = start_momenta(atoms, 300.0, 0)
    simulation.begin(momenta, atoms.get_masses(), jax.random.PRNGKey(0))
    simulation.advance(80)
    state, found = simulation.moment.state, simulation.moment.results
    box = np.asarray(integrator.cell(state))
    assert np.linalg.det(box) < 0.95 * np.linalg.det(atoms.cell[:])
    assert simulation.rebuilds > 0
    fresh = calculate(model, build_system(model, atoms.numbers, np.asarray(state.position), cell=box))
    assert float(found.energy) == pytest.approx(float(fresh.energy), abs=2e-5)
    np.testing.assert_allclose(found.forces, fresh.forces, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.stress, fresh.stress, rtol=0, atol=1e-7)


def test_atoms_that_are_nowhere_do_not_converge(model):
    for system in (salt(model, 3), padded_cluster(model)):
        lost = dataclasses.replace(system, positions=system.positions.at[2, 1].set(jnp.nan))
        found = calculate(model, lost, native=native_tables(model, system.long_range), max_iterations=3)
        assert not bool(found.equilibration.converged)


def test_what_cannot_be_done_is_said(model, monkeypatch, tmp_path):
    system = skewed(model)
    with pytest.raises(ValueError, match=r"kernel None.*native_tables"):
        calculate(model, system, native=native_tables(model))
    other = ewald_parameters(system.cell, 5.0)
    with pytest.raises(ValueError, match=r"cut off at 5.0 Å, the model at 8.0 Å"):
        native_tables(model, other)
    with pytest.raises(ValueError, match=r"ShardedLongRange.*one device"):
        native_tables(model, shard_system(system).long_range)
    tables = native_tables(model, system.long_range)
    with pytest.raises(TypeError, match="JAX path"):
        jax.grad(
            lambda r: native_terms(tables, model, dataclasses.replace(system, positions=r)).pairs.energy(
                jnp.ones((4, 3)) / 3
            )
        )(system.positions)
    monkeypatch.setenv("ECTJAX_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "nothing"))
    with pytest.raises(library.NoCompiler, match="cannot be run"):
        library.build()
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(library.NoCompiler, match="ended with status 1"):
        library.build()
    assert not list((tmp_path / "native").iterdir())


def test_the_environment_switches_it_off(monkeypatch):
    monkeypatch.setenv(library.SWITCH, "1")
    assert library.usable()
    monkeypatch.setenv(library.SWITCH, "0")
    assert not library.usable()
