"""The layer: batches, graphs, corrections, descriptors, gradients, and both libraries it is written for."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import random_cluster

from ectjax import build_system, load_parameters
from ectjax.coulomb import ewald_parameters
from ectjax.layers import RADII, Corrections, ECTLayer, features, stack_systems, trainable
from ectjax.layers.corrections import FIELDS, corrected
from ectjax.layers.features import Tables
from ectjax.layers.graphs import ragged, systems_of_graph
from ectjax.layers.inputs import batch_of, system_of
from ectjax.load import basis_of, parameters_of
from ectjax.model import BOUNDS, assemble
from ectjax.tables import load_element
from ectjax.units import BOHR_IN_ANGSTROM

ELEMENTS, NUMBERS = ["H", "O", "Na", "Cl"], [1, 8, 11, 17]
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.02, 0.0], [-0.24, 0.93, 0.01]])
SLOTS = 5


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def layer():
    with jax.enable_x64(True):
        return ECTLayer("curves", ELEMENTS, rounds=0)


@pytest.fixture(scope="module")
def batched(layer):
    """Features and forces of a padded batch: the one program that most tests here share."""

    @jax.jit
    def run(positions, numbers, charge):
        def energy(x):
            found = layer.batch(x, numbers, charge)
            return jnp.sum(found.energy), found

        slope, found = jax.grad(energy, has_aux=True)(positions)
        return found, -slope

    return run


@pytest.fixture(scope="module")
def batch():
    """64 random structures of 2 to 5 atoms with charges −1, 0, 1, padded."""
    rng = np.random.default_rng(5)
    positions, numbers = np.zeros((64, SLOTS, 3)), np.zeros((64, SLOTS), int)
    for k in range(64):
        z, x = random_cluster(rng, NUMBERS, int(rng.integers(2, SLOTS + 1)))
        positions[k, : len(z)], numbers[k, : len(z)] = x, z
    return positions, numbers, rng.integers(-1, 2, 64).astype(float)


@pytest.mark.slow
def test_batch_of_64_equals_64_singles_and_compiles_once(layer, batched, batch):
    positions, numbers, charge = batch
    found, forces = batched(positions, numbers, charge)
    batched(positions[::-1], numbers[::-1], charge[::-1])
    assert batched._cache_size() == 1

    @jax.jit
    def single(x, z, q):
        slope, one = jax.grad(lambda x: (lambda f: (f.energy, f))(layer(x, z, q)), has_aux=True)(x)
        return one, -slope

    assert np.all(np.asarray(found.converged))
    for k in range(64):
        one, force = single(positions[k], numbers[k], charge[k])
        for name in ("energy", "charges", "weights", "atomic_energies", "background", "shells", "chemical_potential"):
            np.testing.assert_allclose(getattr(found, name)[k], getattr(one, name), atol=2e-7, err_msg=f"{name} {k}")
        np.testing.assert_allclose(forces[k], force, atol=2e-7)
    np.testing.assert_allclose(jnp.sum(found.charges, axis=1), charge, atol=1e-10)
    np.testing.assert_allclose(jnp.sum(found.atomic_energies, axis=1), found.energy, atol=1e-9)
    padding = numbers == 0
    for array in (found.charges, found.weights, found.shells, forces):
        assert not np.any(np.asarray(array)[padding])


@pytest.mark.slow
def test_a_compiled_function_may_hold_its_structures_as_numpy_arrays(layer, batched, batch):
    """As a training step does that is compiled for a model and closes over its data: the same forces."""
    positions, numbers, charge = (x[:3] for x in batch)

    @eqx.filter_jit
    def slopes(model):
        return jax.vmap(jax.grad(lambda *system: model(*system).energy))(positions, numbers, charge)

    np.testing.assert_allclose(-slopes(layer), batched(*batch)[1][:3], atol=1e-6)

    cell, places = 6.0 * np.eye(3), np.array([[[0.0, 0.0, 0.0], [2.4, 0.1, 0.3]]])
    numbers, charge = np.array([[11, 17]]), np.zeros(1)
    one = build_system(layer.fixed.model, numbers[0], places[0], cell=cell)

    def periodic(model, places):
        def energy(*system):
            return model(*system, cell, neighbors=one.neighbors, long_range=one.long_range).energy

        return jax.vmap(jax.grad(energy))(places, numbers, charge)

    held = eqx.filter_jit(lambda model: periodic(model, places))
    np.testing.assert_allclose(held(layer), eqx.filter_jit(periodic)(layer, places), atol=1e-9)


def _graph(positions, numbers, charge, nodes):
    """A jraph-style graph of padded rows, with `nodes` nodes in all; the last graph takes the padding."""
    counts = [int(np.sum(z > 0)) for z in numbers]
    x = np.concatenate([p[:n] for p, n in zip(positions, counts, strict=True)])
    z = np.concatenate([p[:n] for p, n in zip(numbers, counts, strict=True)])
    extra = nodes - len(z)
    return SimpleNamespace(
        nodes={"positions": np.pad(x, ((0, extra), (0, 0))), "numbers": np.pad(z, (0, extra))},
        edges=None,
        senders=None,
        receivers=None,
        globals={"charge": np.append(charge, 0.0)},
        n_node=np.array([*counts, extra]),
        n_edge=None,
    )


def test_graph_equals_batch_and_unknown_or_too_many_atoms_are_seen(layer, batched, batch):
    positions, numbers, charge = (x[:63] for x in batch)
    graph = _graph(positions, numbers, charge, 63 * SLOTS)
    systems, index, mask, fitted = systems_of_graph(layer.fixed.model, graph, SLOTS)
    assert np.all(np.asarray(fitted))
    as_batch = systems.positions, np.append(numbers, np.zeros((1, SLOTS), int), axis=0), systems.total_charge
    np.testing.assert_array_equal(systems.species[:63], batch_of(layer.fixed.model, *batch).species[:63])
    found = ragged(batched(*as_batch)[0], index, mask, 63 * SLOTS)
    expected, _ = batched(*batch)
    np.testing.assert_allclose(found.energy[:63], expected.energy[:63], atol=1e-9)
    assert found.energy[63] == 0.0
    order = numbers > 0
    for name in ("charges", "shells"):
        flat = np.asarray(getattr(expected, name))[:63][order]
        np.testing.assert_allclose(getattr(found, name)[: len(flat)], flat, atol=1e-8, err_msg=name)
        assert not np.any(np.asarray(getattr(found, name))[len(flat) :])
    traced = jax.eval_shape(lambda nodes: layer.graph(_with(graph, nodes=nodes), max_nodes=3), graph.nodes)
    assert traced.charges.shape == (63 * SLOTS,) and traced.energy.shape == (64,)
    with pytest.raises(ValueError, match="max_nodes=3"):
        layer.graph(graph, max_nodes=3)
    with pytest.raises(ValueError, match="no element Z=79"):
        layer.batch(positions, np.where(numbers == 8, 79, numbers), charge)
    gold = np.array(batch[1])
    gold[3, 0] = 79
    energy = np.asarray(batched(batch[0], gold, batch[2])[0].energy)
    assert np.isnan(energy[3]) and np.all(np.isfinite(np.delete(energy, 3)))


def _with(graph, **changes):
    return SimpleNamespace(**(vars(graph) | changes))


@pytest.mark.slow
def test_periodic_structures_stacked_and_as_graphs(layer):
    """Rock salt, two cells: stacked, in the other order, and as a jraph-style graph with edges in both directions."""
    model = layer.fixed.model
    points = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    systems = []
    for a in (3.99, 4.2):
        cell = a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2**0.5
        ewald = ewald_parameters(cell, model.cutoff, 1e-6)
        systems.append(build_system(model, [11, 17], points @ cell + 0.01, cell=cell, long_range=ewald, capacity=1024))
    stacked = stack_systems(systems)
    program = jax.jit(lambda s: layer.systems(s))
    found = program(stacked)
    np.testing.assert_allclose(found.charges[:, 0], -found.charges[:, 1], atol=1e-9)
    assert np.all(np.asarray(found.charges[:, 0]) > 0.7) and np.all(np.asarray(found.converged))
    np.testing.assert_allclose(program(stack_systems(systems[::-1])).energy[::-1], found.energy, atol=1e-8)

    half = [jax.tree.map(lambda x, n=n: np.asarray(x)[np.asarray(n.mask)], n) for n in (s.neighbors for s in systems)]
    graph = SimpleNamespace(
        nodes={"positions": np.concatenate([s.positions for s in systems]), "numbers": np.array([11, 17, 11, 17])},
        edges={"shifts": np.concatenate([np.concatenate([n.shifts, -n.shifts]) for n in half])},
        senders=np.concatenate([2 * k + np.concatenate([n.i, n.j]) for k, n in enumerate(half)]),
        receivers=np.concatenate([2 * k + np.concatenate([n.j, n.i]) for k, n in enumerate(half)]),
        globals={"charge": np.zeros(2), "cell": np.stack([s.cell for s in systems])},
        n_node=np.array([2, 2]),
        n_edge=np.array([2 * len(n.i) for n in half]),
    )
    with pytest.raises(ValueError, match="max_edges"):
        layer.graph(graph, max_nodes=2)
    with pytest.raises(ValueError, match="max_edges=100"):
        layer.graph(graph, max_nodes=2, max_edges=100, long_range=stacked.long_range)
    capacity = stacked.neighbors.mask.shape[1]
    from_graph = systems_of_graph(model, graph, 2, capacity, stacked.long_range)[0]
    assert int(from_graph.neighbors.mask.sum()) == int(stacked.neighbors.mask.sum())
    np.testing.assert_allclose(program(from_graph).energy, found.energy, atol=1e-8)


def test_shells_are_averages_of_the_densities(layer, batched, batch):
    """Against quadrature over spheres of the tabulated densities with the found weights: an independent integral."""
    positions, numbers, charge = (np.array(x) for x in batch)
    positions[0, :3], numbers[0], charge[0] = WATER, [8, 1, 1, 0, 0], 0.0
    found, _ = batched(positions, numbers, charge)
    nodes, weights = np.polynomial.legendre.leggauss(120)
    phi = 2 * np.pi * (np.arange(120) + 0.5) / 120
    sine = np.sqrt(1 - nodes**2)[:, None]
    sphere = np.stack([sine * np.cos(phi), sine * np.sin(phi), np.broadcast_to(nodes[:, None], (120, 120))], -1)
    labels = layer.tables().model.labels
    for k, radius in enumerate(RADII):
        points = WATER[1] + radius * sphere
        rho = np.zeros((120, 120))
        for atom, row in ((0, 1), (2, 0)):
            distance = np.linalg.norm(points - WATER[atom], axis=-1) / BOHR_IN_ANGSTROM
            for s, label in enumerate(labels[row]):
                density = load_element(ELEMENTS[row]).state(label).density
                rho += float(found.weights[0, atom, s]) * np.asarray(density(distance))
        average = float(np.sum(weights[:, None] * rho) / 240)
        assert float(found.shells[0, 1, k]) == pytest.approx(average, rel=2e-3), radius


@pytest.fixture(scope="module")
def evaluate(layer):
    """Energy and charges of water-like NaOH for given tables and corrections, one program for all corrections."""
    numbers, positions = np.array([11, 8, 1]), np.array([[0, 0, 0], [1.97, 0, 0], [2.4, 0.86, 0]])

    @eqx.filter_jit
    def run(tables, corrections, potential):
        system = system_of(tables.model, positions, numbers)
        system = eqx.tree_at(lambda s: s.external_potential, system, potential, is_leaf=lambda x: x is None)
        found = features(tables, system, corrections, rounds=0, tolerance=1e-10)
        return found.energy, found.charges

    return run


def _no_corrections(states):
    zero = jnp.zeros(3)
    return Corrections(jnp.zeros((3, states)), zero, zero, zero, zero)


@pytest.mark.slow
def test_corrections_do_what_they_say(layer, evaluate):
    """Each against the same physics by another way: an external potential, κ = 0, other prefactors, denser tables."""
    fixed = layer.fixed
    charge = fixed.model.state_charge[np.array([2, 1, 0])]
    none, potential = _no_corrections(charge.shape[1]), jnp.array([0.3, -0.2, 0.5])
    still = jnp.zeros(3)
    plain = evaluate(fixed, none, still)

    def agree(corrections, tables=fixed, potential=still, atol=1e-8):
        ours, other = evaluate(fixed, corrections, still), evaluate(tables, none, potential)
        assert abs(float(ours[0] - plain[0])) > 1e-3
        np.testing.assert_allclose(ours[0], other[0], atol=atol)
        np.testing.assert_allclose(ours[1], other[1], atol=max(atol, 1e-6))

    agree(eqx.tree_at(lambda c: c.state_energy, none, charge * potential[:, None]), potential=potential)
    strict = eqx.tree_at(lambda t: t.model.resonance, fixed, fixed.model.resonance / 2)
    agree(eqx.tree_at(lambda c: c.log_kappa, none, jnp.full(3, np.log(0.5))), strict)
    denser = eqx.tree_at(lambda t: t.model.density, fixed, fixed.model.density * 1.2)
    agree(eqx.tree_at(lambda c: c.log_background, none, jnp.full(3, np.log(1.2))), denser)
    chosen = load_parameters("curves")
    basis, numbers = basis_of(chosen, ELEMENTS), parameters_of(chosen, ELEMENTS)
    moved = eqx.tree_at(lambda p: (p.a, p.b), numbers, (numbers.a + 0.05, numbers.b - 0.03))
    changed = Tables(assemble(basis, moved), None, None)
    changed = eqx.tree_at(lambda t: t.model.embedding, fixed, changed.model.embedding)
    more = eqx.tree_at(lambda c: (c.a, c.b), none, (jnp.full(3, 0.05), jnp.full(3, -0.03)))
    agree(more, changed, atol=1e-7)


def test_split_takes_a_networks_output():
    raw = jnp.arange(8.0).reshape(1, 8)
    both = Corrections.split(raw[:, :5], 3, ("log_background", "state_energy", "a"))
    np.testing.assert_array_equal(both.state_energy, raw[:, 1:4])
    assert both.log_background[0] == 0.0 and both.a[0] == 4.0 and both.b is None
    assert Corrections.width(3, FIELDS) == 7
    with pytest.raises(ValueError, match="take 4 numbers per atom, got 8"):
        Corrections.split(raw, 3)
    with pytest.raises(ValueError, match="allowed are state_energy"):
        Corrections.width(3, ("charge",))


@pytest.mark.slow
def test_flax_and_equinox_agree_and_train_the_same_parameters():
    """The same parameters are free in both; derivatives in them against finite differences."""
    flax = pytest.importorskip("ectjax.layers.flax")
    from flax import nnx

    options = {"trainable": ("a", "kappa"), "radii": None, "rounds": 0}
    ours, theirs = (cls("curves", ["H", "O"], **options) for cls in (ECTLayer, flax.ECTLayer))
    z = np.array([8, 1, 1])

    def loss(layer):
        found = layer(WATER, z)
        return found.energy + found.charges[0] ** 2

    moving, _ = eqx.partition(ours, trainable(ours))
    assert {id(x) for x in jax.tree.leaves(moving)} == {id(x) for x in ours.free.values()}
    program = nnx.jit(nnx.value_and_grad(loss))
    _, slope = program(theirs)
    for name in options["trainable"]:
        np.testing.assert_allclose(getattr(ours.parameters, name), getattr(theirs.parameters, name))

        def at(step, name=name):
            values = ours.free | {name: ours.free[name].at[1].add(step)}
            theirs.free.set_value(values)
            return float(program(theirs)[0])

        numeric = (at(1e-4) - at(-1e-4)) / 2e-4
        assert float(slope["free"].get_value()[name][1]) == pytest.approx(numeric, rel=1e-5)
    low, high = BOUNDS["kappa"]
    wild = eqx.tree_at(lambda x: x.free["kappa"], ours, ours.free["kappa"] + 1e3)
    assert low <= float(wild.parameters.kappa.max()) <= high


def test_bad_input_says_what_to_do(layer):
    model = layer.fixed.model
    with pytest.raises(ValueError, match="use `batch`"):
        layer(np.zeros((2, 3, 3)), np.ones((2, 3), int))
    with pytest.raises(ValueError, match=r"takes \(B, N, 3\)"):
        layer.batch(WATER, [8, 1, 1])
    with pytest.raises(ValueError, match="neighbors= and long_range="):
        jax.eval_shape(lambda x: layer(x, np.array([8, 1, 1]), cell=5 * np.eye(3)).energy, WATER)
    with pytest.raises(ValueError, match="trainable got 'c'"):
        ECTLayer("curves", ["H"], trainable=("c",))
    with pytest.raises(ValueError, match="from a parameter set"):
        ECTLayer(model, trainable=("a",))
    with pytest.raises(ValueError, match="all positive"):
        ECTLayer(model, radii=(0.0, 1.0))
    with pytest.raises(ValueError, match="which this layer lacks"):
        corrected(None, Corrections(a=jnp.zeros(3)), None)
    with pytest.raises(ValueError, match="at least one"):
        stack_systems([])
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        ECTLayer("curves", ["H"], trainable=("a",))
