"""Ewald sums against the literature's lattice constants, physical laws and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coulomb_cases import CELLS, assert_all_close, derivatives, energy_function, random_system
from hypothesis import given, settings
from hypothesis import strategies as st

from ectjax.coulomb import EwaldReciprocal, ewald_energy, ewald_parameters, ewald_stress
from ectjax.neighbors import neighbor_list
from ectjax.units import COULOMB_EV_ANGSTROM

MADELUNG_TOLERANCE = 1e-9
SPLITTING_TOLERANCE = 1e-9
DIFFERENCE_TOLERANCE = 1e-7
FLOAT32_TOLERANCE = 2e-5
INVARIANCE_TOLERANCE = 1e-6

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
CUBE = np.eye(3)
ROCK_SALT_CUBE = np.concatenate([[(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]] * 2)
ROCK_SALT_CUBE[4:, 0] += 0.5


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def total(positions, charges, cell, **options):
    return float(ewald_energy(jnp.asarray(positions, float), jnp.asarray(charges, float), cell, **options))


@pytest.mark.parametrize(
    "cell, sites, nearest, constant",
    [
        (FCC, [[0, 0, 0], [0.5, 0, 0]], 0.5, 1.747564594633182),  # rock salt
        (CUBE, ROCK_SALT_CUBE, 0.5, 1.747564594633182),
        (CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], np.sqrt(3) / 2, 1.762674773070988),  # caesium chloride
        (FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], np.sqrt(3) / 4, 1.638055053388790),  # zincblende
    ],
    ids=["NaCl-2", "NaCl-8", "CsCl", "ZnS"],
)
@pytest.mark.parametrize("cutoff", [4.0, 9.0])
def test_madelung_constants_of_binary_crystals(cell, sites, nearest, constant, cutoff):
    a = 5.64
    pairs = len(sites) // 2
    charges = np.repeat([1.0, -1.0], pairs)
    energy = total(np.array(sites) * a, charges, jnp.asarray(cell * a), cutoff=cutoff, accuracy=1e-12)
    got = -energy / pairs * nearest * a / COULOMB_EV_ANGSTROM
    assert abs(got - constant) < MADELUNG_TOLERANCE


def test_charged_cubic_cell_has_the_published_background_energy():
    side, charge = 7.3, 1.7
    energy = total([[1.0, 2.0, 3.0]], [charge], jnp.eye(3) * side, accuracy=1e-12)
    assert abs(energy * 2 * side / (COULOMB_EV_ANGSTROM * charge**2) + 2.837297) < 5e-7


@pytest.mark.parametrize(
    "cell, constant",
    [(CUBE, 0.880059442), (BCC, 0.895929255682), (FCC, 0.895873615195)],
    ids=["sc", "bcc", "fcc"],
)
def test_one_component_plasma(cell, constant):
    cell = cell * 4.1
    radius = (3 * abs(np.linalg.det(cell)) / (4 * np.pi)) ** (1 / 3)
    energy = total([[0, 0, 0]], [1.0], jnp.asarray(cell), accuracy=1e-12)
    assert energy * radius / COULOMB_EV_ANGSTROM == pytest.approx(-constant, abs=1e-9)


@pytest.mark.parametrize("shape", ["orthorhombic", "left-handed"])
def test_result_does_not_depend_on_the_splitting(shape):
    cell = CELLS[shape]
    positions, charges = random_system(cell)
    results = []
    for cutoff in (4.0, 7.0):
        energy = energy_function(positions, cell, ewald_parameters(cell, cutoff, 1e-12))
        slopes = jax.jit(jax.grad(energy, argnums=(0, 1, 2)))(positions, charges, jnp.zeros((3, 3)))
        results.append(dict(enumerate((energy(positions, charges, jnp.zeros((3, 3))), *slopes))))
    assert_all_close(*results, SPLITTING_TOLERANCE)


def test_accuracy_bounds_the_errors_it_names():
    """Errors of field and potential of random ±1 e at 0.1 Å⁻³, relative to those 1 Å off an electron."""
    cell = CELLS["triclinic"] * (100 / 0.1 / np.linalg.det(CELLS["triclinic"])) ** (1 / 3)
    rng = np.random.default_rng(5)
    positions = jnp.asarray(rng.uniform(size=(100, 3)) @ cell)
    charges = jnp.asarray(rng.choice([-1.0, 1.0], 100))

    def slopes(parameters):
        energy = energy_function(positions, cell, parameters)
        return jax.jit(jax.grad(energy, argnums=(0, 1)))(positions, charges, jnp.zeros((3, 3)))

    force, potential = slopes(ewald_parameters(cell, 8.0, 1e-12))
    for accuracy in (1e-3, 1e-6, 1e-9):
        rough_force, rough_potential = slopes(ewald_parameters(cell, 5.0, accuracy))
        field_error = jnp.sqrt(jnp.mean(jnp.sum((rough_force - force) ** 2, axis=1))) / COULOMB_EV_ANGSTROM
        potential_error = jnp.sqrt(jnp.mean((rough_potential - potential) ** 2)) / COULOMB_EV_ANGSTROM
        assert 0.1 * accuracy < field_error < 1.3 * accuracy
        assert potential_error < accuracy


def test_forces_and_strain_agree_with_central_differences():
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell)
    parameters = ewald_parameters(cell, 6.0, 1e-13)
    energy = jax.jit(energy_function(positions, cell, parameters))
    zero, step = jnp.zeros((3, 3)), 1e-4
    force, strain = jax.grad(energy, argnums=(0, 2))(positions, charges, zero)
    for shift in jnp.eye(24)[::5].reshape(-1, 8, 3) * step:
        ends = [energy(positions + sign * shift, charges, zero) for sign in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(
            float(jnp.sum(force * shift) / step), abs=DIFFERENCE_TOLERANCE * 10
        )
    for shift in jnp.eye(9).reshape(9, 3, 3) * step:
        ends = [energy(positions, charges, sign * shift) for sign in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(
            float(jnp.sum(strain * shift) / step), abs=DIFFERENCE_TOLERANCE * 10
        )


@pytest.mark.parametrize("net", [0.0, 1.3])
def test_stress_obeys_the_virial_theorem_of_coulomb_systems(net):
    """E scales as 1/length, background included, so that V·tr(stress) = −E."""
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell, net=net)
    stress = ewald_stress(positions, charges, jnp.asarray(cell), accuracy=1e-12)
    energy = total(positions, charges, jnp.asarray(cell), accuracy=1e-12)
    assert float(jnp.trace(stress)) * np.linalg.det(cell) == pytest.approx(-energy, rel=1e-9)


def test_potential_is_the_symmetric_derivative_of_the_energy():
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell)
    for operator in (
        ewald_parameters(cell, 6.0, 1e-8).prepare(positions, jnp.asarray(cell)),
        ewald_parameters(cell, 60.0, 1e-3).prepare(positions, jnp.asarray(cell)),
    ):
        matrix = jax.vmap(operator.potential)(jnp.eye(8))
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(operator.potential(charges), matrix @ charges, atol=1e-12)
        slope = jax.grad(operator.energy)(charges)
        np.testing.assert_allclose(slope, operator.potential(charges), atol=1e-12)


def test_large_systems_skip_the_matrix_and_agree(monkeypatch):
    cell = CELLS["orthorhombic"]
    positions, charges = random_system(cell)
    parameters = ewald_parameters(cell, 6.0, 1e-8)
    stored = parameters.prepare(positions, jnp.asarray(cell))
    monkeypatch.setattr("ectjax.coulomb.ewald.MATRIX_LIMIT", 0)
    summed = parameters.prepare(positions, jnp.asarray(cell))
    assert stored.matrix is not None and summed.matrix is None
    np.testing.assert_allclose(summed.potential(charges), stored.potential(charges), rtol=1e-12)


def test_padding_atoms_change_nothing_and_leave_no_nan():
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell)
    padded = jnp.concatenate([positions, jnp.zeros((3, 3))])
    mask = jnp.arange(11) < 8
    garbage = jnp.concatenate([charges, jnp.array([5.0, -3.0, 2.0])])
    parameters = ewald_parameters(cell, 6.0, 1e-8)
    neighbors = neighbor_list(positions, cell, True, 6.1)

    def energy(x, q, strain):
        return ewald_energy(x, q, jnp.asarray(cell), neighbors, parameters, strain=strain, atom_mask=mask)

    got = derivatives(energy, padded, garbage)
    want = derivatives(energy_function(positions, cell, parameters), positions, charges)
    for name, reference in want.items():
        assert jnp.isfinite(got[name]).all(), name
        if name.startswith("dE") and name != "dE/dstrain":
            np.testing.assert_allclose(got[name][:8], reference, atol=1e-10)
            assert not got[name][8:].any()
    np.testing.assert_allclose(got["dE/dstrain"], want["dE/dstrain"], atol=1e-10)
    operator = parameters.prepare(padded, jnp.asarray(cell), mask)
    np.testing.assert_allclose(
        operator.potential(garbage)[:8], parameters.prepare(positions, jnp.asarray(cell)).potential(charges)
    )


@pytest.mark.parametrize("x64", [True, False])
def test_float32_stays_float32_and_close(x64):
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell)
    parameters = ewald_parameters(cell, 6.0, 1e-6)
    energy = energy_function(positions, cell, parameters)
    want = jax.grad(energy, argnums=(0, 1))(positions, charges, jnp.zeros((3, 3)))
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        x, q, box = (jnp.asarray(np.asarray(part), jnp.float32) for part in (positions, charges, cell))
        neighbors = neighbor_list(x, box, True, 6.1)
        got = jax.jit(jax.grad(ewald_energy, argnums=(0, 1)))(x, q, box, neighbors, parameters)
    for part, reference in zip(got, want, strict=True):
        assert part.dtype == jnp.float32
        np.testing.assert_allclose(part, reference, atol=FLOAT32_TOLERANCE * float(jnp.abs(reference).max()))


def test_operators_batch_over_geometries():
    cell = CELLS["orthorhombic"]
    parameters = ewald_parameters(cell, 6.0, 1e-6)
    systems = [random_system(cell, seed=seed) for seed in range(3)]
    positions, charges = (jnp.stack(part) for part in zip(*systems, strict=True))
    got = jax.vmap(lambda x, q: parameters.prepare(x, jnp.asarray(cell)).potential(q))(positions, charges)
    want = [parameters.prepare(x, jnp.asarray(cell)).potential(q) for x, q in systems]
    np.testing.assert_allclose(got, jnp.stack(want), atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(CELLS)),
    net=st.sampled_from([0.0, 1.0]),
    shift=st.tuples(*[st.floats(-30, 30)] * 3),
)
def test_energy_knows_neither_origin_nor_order_nor_choice_of_cell(seed, shape, net, shift):
    cell = CELLS[shape]
    positions, charges = random_system(cell, n=5, net=net, seed=seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(5)
    images = positions + rng.integers(-2, 3, (5, 3)) @ cell
    sheared = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ cell
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    both, twice = jnp.concatenate([positions, positions + cell[1]]), jnp.tile(charges, 2)
    want = total(positions, charges, jnp.asarray(cell))
    for got in (
        total(positions + jnp.array(shift), charges, jnp.asarray(cell)),
        total(positions[order], charges[order], jnp.asarray(cell)),
        total(images, charges, jnp.asarray(cell)),
        total(positions, charges, jnp.asarray(sheared)),
        total(positions @ rotation, charges, jnp.asarray(cell @ rotation)),
        total(both, twice, jnp.asarray(np.diag([1, 2, 1]) @ cell)) / 2,
    ):
        assert got == pytest.approx(want, abs=INVARIANCE_TOLERANCE)


@pytest.mark.parametrize(
    "cell, cutoff, accuracy, message",
    [
        (np.zeros((3, 3)), 5.0, 1e-6, "no volume"),
        (np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]]) * 5.0, 5.0, 1e-6, "no volume"),
        (np.full((3, 3), np.nan), 5.0, 1e-6, "finite"),
        (np.eye(2), 5.0, 1e-6, r"\(3, 3\)"),
        (np.eye(3) * 5, 0.0, 1e-6, "cutoff is 0.0 Å"),
        (np.eye(3) * 5, np.inf, 1e-6, "cutoff is inf"),
        (np.eye(3) * 5, 5.0, 0.0, "accuracy is 0.0"),
        (np.eye(3) * 5, 5.0, 1.0, "accuracy is 1.0"),
        (np.eye(3) * 5, 5.0, np.nan, "accuracy is nan"),
        (np.eye(3) * 3000, 5.0, 1e-6, "use PME"),
    ],
)
def test_bad_arguments_are_one_clear_line(cell, cutoff, accuracy, message):
    with pytest.raises(ValueError, match=message) as caught:
        ewald_parameters(cell, cutoff, accuracy)
    assert "\n" not in str(caught.value)


def test_padding_wave_vectors_do_nothing():
    cell = CELLS["cubic"]
    positions, charges = random_system(cell)
    integers = ewald_parameters(cell, 6.0, 1e-6).k_integers
    more = jnp.concatenate([integers, jnp.zeros((64, 3), integers.dtype)])
    operators = [EwaldReciprocal.prepare(positions, jnp.asarray(cell), 0.5, k) for k in (integers, more)]
    np.testing.assert_allclose(*[operator.potential(charges) for operator in operators], rtol=1e-13)


def test_phases_by_products_equal_phases_by_sines():
    cell = jnp.asarray(CELLS["left-handed"])
    positions, _ = random_system(CELLS["left-handed"])
    parameters = ewald_parameters(cell, 5.0, 1e-9)
    direct = EwaldReciprocal.prepare(positions, cell, parameters.alpha, parameters.k_integers)
    np.testing.assert_allclose(parameters.prepare(positions, cell).phases, direct.phases, atol=1e-12)
