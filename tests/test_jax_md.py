"""The jax-md adapter: the same numbers as ASE, jax-md's integrators and minimisers, and its traps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from ectjax import load_model
from ectjax.ase import ECTCalculator
from ectjax.units import FEMTOSECOND

jax_md = pytest.importorskip("jax_md")
from jax_md import minimize, quantity, simulate, space  # noqa: E402

from ectjax.jax_md import ect_neighbor_list  # noqa: E402

pytestmark = pytest.mark.usefixtures("x64")
SAME = 3e-6  # eV: wave vectors are chosen with another margin here than in the calculator
KT = 0.02585


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        return load_model("curves", ["Na", "Cl"], cutoff=5.0)


@pytest.fixture(scope="module")
def atoms(model):
    """Eight atoms in a skewed cell that is smaller than the cutoff."""
    crystal = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
    crystal.rattle(0.05, seed=1)
    skew = np.array([[0.0, 0.1, -0.2], [0.05, 0.0, 0.15], [-0.1, 0.2, 0.0]])
    crystal.set_cell(crystal.cell[:] + skew, scale_atoms=True)
    crystal.calc = ECTCalculator(model)
    return crystal


def build(atoms, model, fractional, **options):
    box = jnp.asarray(atoms.cell[:].T)
    displacement, shift = space.periodic_general(box, fractional_coordinates=fractional)
    neighbor_fn, energy_fn = ect_neighbor_list(displacement, box, atoms.numbers, model, **options)
    R = jnp.asarray(atoms.get_scaled_positions() if fractional else atoms.positions)
    return box, shift, neighbor_fn, energy_fn, R


def ase_energy(atoms, model, R, box, fractional):
    image = atoms.copy()
    image.set_cell(np.asarray(box).T)
    image.set_scaled_positions(np.asarray(R)) if fractional else image.set_positions(np.asarray(R))
    image.calc = ECTCalculator(model, warm_start=0.0)
    return image.get_potential_energy()


def last_weights(atoms):
    atoms.get_potential_energy()
    return jnp.asarray(atoms.calc.results["weights"])


@pytest.mark.parametrize("fractional", [True, False])
def test_energy_forces_stress_as_in_ase(atoms, model, fractional):
    box, _, neighbor_fn, energy_fn, R = build(atoms, model, fractional)
    neighbor = neighbor_fn.allocate(R)
    assert not bool(neighbor.did_buffer_overflow)

    @jax.jit
    def both(R, weights):
        energy, slope = jax.value_and_grad(energy_fn)(R, neighbor, weights=weights)
        return energy, slope, quantity.stress(energy_fn, R, box, neighbor=neighbor, weights=weights)

    energy, slope, stress = both(R, last_weights(atoms))
    assert abs(energy - atoms.get_potential_energy()) < SAME
    assert np.abs(slope + atoms.get_forces()).max() < SAME
    assert np.abs(stress + atoms.get_stress(voigt=False)).max() < 1e-6  # jax-md's sign is the other one


def test_update_inside_jit_follows_moves_wraps_and_boxes(atoms, model):
    box, shift, neighbor_fn, energy_fn, R = build(atoms, model, True)
    neighbor = neighbor_fn.allocate(R)
    update = jax.jit(lambda R, neighbor, box: neighbor_fn.update(R, neighbor, box=box))
    energy = jax.jit(lambda R, neighbor, box: energy_fn(R, neighbor=neighbor, box=box))
    across = shift(R, jnp.full_like(R, -0.3))  # some atoms reappear on the other side
    assert np.abs(across - R).max() > 0.5
    assert abs(energy(across, neighbor, box) - energy(R, neighbor, box)) < 1e-8
    moved = shift(R, 0.7 * jnp.asarray(np.random.default_rng(0).normal(size=R.shape)))
    assert np.isnan(energy(moved, neighbor, box))  # the list is too old: loud, not wrong
    fresh = update(moved, neighbor, box)
    assert abs(energy(moved, fresh, box) - ase_energy(atoms, model, moved, box, True)) < 1e-5
    for scale in (0.96, 1.04):
        scaled = update(R, neighbor, scale * box)
        assert not bool(scaled.did_buffer_overflow)
        expected = ase_energy(atoms, model, R, scale * box, True)
        assert abs(energy(R, scaled, scale * box) - expected) < 2e-5
    for scale in (0.9, 1.1):
        assert bool(update(R, neighbor, scale * box).did_buffer_overflow)
        assert np.isnan(energy(R, update(R, neighbor, scale * box), scale * box))


def test_too_many_pairs_set_the_flag(atoms, model):
    box, _, neighbor_fn, energy_fn, R = build(atoms, model, True, capacity_multiplier=1.0)
    sparse = neighbor_fn.allocate(R, box=1.35 * box)
    squeezed = neighbor_fn.update(R, sparse, box=0.8 * box)
    assert bool(squeezed.did_buffer_overflow) and bool(squeezed.update(R, box=box).did_buffer_overflow)
    assert np.isnan(energy_fn(R, squeezed, box=0.8 * box))
    assert not bool(neighbor_fn.allocate(R, box=0.8 * box).did_buffer_overflow)


def test_nve_conserves_energy_and_weights_can_be_carried(atoms, model):
    _, shift, neighbor_fn, energy_fn, R = build(atoms, model, True)
    neighbor = neighbor_fn.allocate(R)
    init, step = simulate.nve(energy_fn, shift, 0.5 * FEMTOSECOND)
    weights = energy_fn.equilibrate(R, neighbor).weights
    options = {"neighbor": neighbor, "weights": weights}
    state = init(jax.random.PRNGKey(0), R, KT, mass=jnp.asarray(atoms.get_masses()), **options)

    @jax.jit
    def run(state, neighbor, weights):
        def body(_, carry):
            state, neighbor, weights = carry
            neighbor = neighbor_fn.update(state.position, neighbor)
            weights = energy_fn.equilibrate(state.position, neighbor, weights=weights).weights
            return step(state, neighbor=neighbor, weights=weights), neighbor, weights

        return jax.lax.fori_loop(0, 40, body, (state, neighbor, weights))

    def total(state, neighbor, weights):
        return energy_fn(state.position, neighbor=neighbor, weights=weights) + simulate.kinetic_energy(state)

    before = total(state, neighbor, weights)
    after = total(*run(state, neighbor, weights))
    assert abs(after - before) / len(atoms) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["nvt_nose_hoover", "nvt_langevin", "npt_nose_hoover"])
def test_thermostats_and_barostat_run_and_conserve(atoms, model, ensemble):
    box, shift, neighbor_fn, energy_fn, R = build(atoms, model, True)
    neighbor = neighbor_fn.allocate(R)
    known = {"neighbor": neighbor, "weights": last_weights(atoms)}
    mass, key, dt = jnp.asarray(atoms.get_masses()), jax.random.PRNGKey(1), 0.5 * FEMTOSECOND
    pressure = (0.0,) if ensemble.startswith("npt") else ()
    init, step = getattr(simulate, ensemble)(energy_fn, shift, dt, *pressure, KT)
    start = jax.jit(lambda R: init(key, R, *((box,) if pressure else ()), mass=mass, **known))(R)
    end = jax.jit(lambda s: jax.lax.fori_loop(0, 10, lambda _, s: step(s, **known), s))(start)
    assert np.isfinite(end.position).all() and np.isfinite(end.force).all()
    if ensemble != "nvt_langevin":
        invariant = getattr(simulate, ensemble + "_invariant")
        conserved = jax.jit(lambda s: invariant(energy_fn, s, *pressure, KT, **known))
        assert abs(conserved(start) - conserved(end)) / len(atoms) < 1e-3


def test_minimisers_lower_the_force(atoms, model):
    _, shift, neighbor_fn, energy_fn, R = build(atoms, model, True)
    neighbor = neighbor_fn.allocate(R)
    init, step = minimize.fire_descent(energy_fn, shift, dt_start=0.05, dt_max=0.2)
    weights = last_weights(atoms)
    state = init(R, neighbor=neighbor, weights=weights)
    start = float(jnp.abs(state.force).max())

    def body(_, carry):
        state, neighbor = carry
        neighbor = neighbor.update(state.position)
        return step(state, neighbor=neighbor, weights=weights), neighbor

    state, neighbor = jax.jit(lambda *carry: jax.lax.fori_loop(0, 30, body, carry))(state, neighbor)
    assert not bool(neighbor.did_buffer_overflow)
    assert float(jnp.abs(state.force).max()) < 0.5 * start


def test_open_boundary_and_total_charge(model):
    displacement, _ = space.free()
    R = jnp.asarray([[0.0, 0, 0], [0, 0, 2.5], [0, 2.4, 2.5]])
    numbers = [11, 17, 11]
    neighbor_fn, energy_fn = ect_neighbor_list(displacement, None, numbers, model, charge=1.0)
    neighbor = neighbor_fn.allocate(R)
    result = energy_fn.equilibrate(R, neighbor)
    assert abs(result.charges.sum() - 1.0) < 1e-9
    from ase import Atoms

    reference = Atoms(numbers, np.asarray(R), calculator=ECTCalculator(model, charge=1.0))
    assert abs(energy_fn(R, neighbor) - reference.get_potential_energy()) < 1e-9
    far = neighbor_fn.update(R + jnp.asarray([[0.0, 0, 0], [0, 0, 40], [0, 0, 80]]), neighbor)
    assert not bool(far.did_buffer_overflow)


def test_contradictions_are_value_errors(atoms, model):
    box = jnp.asarray(atoms.cell[:].T)
    displacement, _ = space.periodic_general(box, fractional_coordinates=True)
    with pytest.raises(ValueError, match="displacement_fn does not fit"):
        ect_neighbor_list(displacement, box.T, atoms.numbers, model, fractional_coordinates=True)
    with pytest.raises(ValueError, match="displacement_fn does not fit"):
        ect_neighbor_list(displacement, box, atoms.numbers, model, fractional_coordinates=False)
    with pytest.raises(ValueError, match="dr_threshold"):
        ect_neighbor_list(displacement, box, atoms.numbers, model, dr_threshold=0.0)
    with pytest.raises(ValueError, match="Xe"):
        ect_neighbor_list(displacement, box, [54], model)
    neighbor_fn, energy_fn = ect_neighbor_list(displacement, box, atoms.numbers, model)
    with pytest.raises(ValueError, match="finite"):
        neighbor_fn.allocate(jnp.full((8, 3), jnp.nan))
    with pytest.raises(ValueError, match="neighbor"):
        energy_fn(jnp.zeros((8, 3)))
