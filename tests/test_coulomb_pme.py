"""Particle mesh Ewald against the Ewald sum, its own error estimate and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coulomb_cases import CELLS, assert_all_close, derivatives, energy_function, random_system
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from ectjax.coulomb import (
    EwaldParameters,
    PMEParameters,
    PMEReciprocal,
    ewald_energy,
    ewald_parameters,
    long_range_parameters,
    pme_parameters,
)
from ectjax.coulomb.pme import bspline_weights
from ectjax.coulomb.pme_parameters import friendly_size
from ectjax.neighbors import neighbor_list
from ectjax.units import COULOMB_EV_ANGSTROM

EWALD_TOLERANCE = 1e-7
FLOAT32_TOLERANCE = 5e-5


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@jax.jit
def potential_of(parameters, positions, cell, charges, atom_mask=None):
    return parameters.prepare(positions, cell, atom_mask).potential(charges)


@pytest.mark.parametrize("order", [4, 5, 6, 9])
def test_weights_are_cardinal_splines(order):
    t = np.linspace(0, 1, 7, endpoint=False)
    spline = BSpline.basis_element(np.arange(order + 1), extrapolate=False)
    want = [np.nan_to_num(spline(t + k)) for k in range(order - 1, -1, -1)]
    np.testing.assert_allclose(bspline_weights(jnp.asarray(t), order), np.stack(want, axis=-1), atol=1e-14)


def test_agrees_with_ewald_in_all_derivatives():
    cell = CELLS["left-handed"]
    positions, charges = random_system(cell)
    mesh, sums = pme_parameters(cell, 6.0, 1e-10, order=8), ewald_parameters(cell, 6.0, 1e-10)
    assert mesh.alpha == sums.alpha
    got = derivatives(energy_function(positions, cell, mesh), positions, charges)
    want = derivatives(energy_function(positions, cell, sums), positions, charges)
    assert_all_close(got, want, EWALD_TOLERANCE)


@pytest.mark.parametrize("accuracy, order", [(1e-3, None), (1e-4, 4), (1e-5, 5), (1e-7, None), (1e-7, 8)])
def test_accuracy_bounds_the_errors_it_names(order, accuracy):
    cell = CELLS["triclinic"] * (100 / 0.1 / np.linalg.det(CELLS["triclinic"])) ** (1 / 3)
    rng = np.random.default_rng(5)
    positions = jnp.asarray(rng.uniform(size=(100, 3)) @ cell)
    charges = jnp.asarray(rng.choice([-1.0, 1.0], 100))
    mesh = pme_parameters(cell, 5.0, accuracy, order=order)

    def slopes(parameters):
        energy = energy_function(positions, cell, parameters)
        return jax.jit(jax.grad(energy, argnums=(0, 1)))(positions, charges, jnp.zeros((3, 3)))

    force, potential = slopes(ewald_parameters(cell, 8.0, 1e-11))
    rough_force, rough_potential = slopes(mesh)
    field_error = jnp.sqrt(jnp.mean(jnp.sum((rough_force - force) ** 2, axis=1))) / COULOMB_EV_ANGSTROM
    potential_error = jnp.sqrt(jnp.mean((rough_potential - potential) ** 2)) / COULOMB_EV_ANGSTROM
    assert 0.1 * accuracy < field_error < 1.3 * accuracy
    assert potential_error < accuracy


@pytest.mark.parametrize("mesh, order", [((8, 9, 10), 4), ((7, 8, 12), 5), ((9, 6, 8), 6)])
def test_potential_is_the_symmetric_derivative_of_the_energy(mesh, order):
    """Also on coarse, even and odd meshes: a wrong sum, but a consistent one."""
    cell = jnp.asarray(CELLS["triclinic"])
    positions, charges = random_system(cell)

    @jax.jit
    def views(x, q):
        operator = PMEReciprocal.prepare(x, cell, 0.6, mesh, order)
        slope = jax.grad(operator.energy)
        matrix = jax.vmap(operator.potential)(jnp.eye(8))
        return matrix, operator.potential(q), operator.energy(q), slope(q), jax.jacfwd(slope)(q)

    matrix, potential, energy, slope, hessian = views(positions, charges)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    np.testing.assert_allclose(potential, matrix @ charges, atol=1e-12)
    np.testing.assert_allclose(energy, 0.5 * charges @ matrix @ charges, atol=1e-12)
    np.testing.assert_allclose(slope, matrix @ charges, atol=1e-12)
    np.testing.assert_allclose(hessian, matrix, atol=1e-12)


def test_forces_are_exact_derivatives_even_on_a_coarse_mesh():
    cell = jnp.asarray(CELLS["triclinic"])
    positions, charges = random_system(cell)

    @jax.jit
    def energy(x, strain):
        deform = jnp.eye(3) + strain
        return PMEReciprocal.prepare(x @ deform, cell @ deform, 0.6, (8, 9, 10), 5).energy(charges)

    zero, step = jnp.zeros((3, 3)), 1e-4
    slopes = jax.jit(jax.grad(energy, argnums=(0, 1)))(positions, zero)
    for k in range(0, 24, 5):
        shift = jnp.eye(24)[k].reshape(8, 3) * step
        slope = (energy(positions + shift, zero) - energy(positions - shift, zero)) / (2 * step)
        assert slope == pytest.approx(float(slopes[0].ravel()[k]), abs=1e-6)
    for k in range(9):
        shift = jnp.eye(9)[k].reshape(3, 3) * step
        slope = (energy(positions, shift) - energy(positions, -shift)) / (2 * step)
        assert slope == pytest.approx(float(slopes[1].ravel()[k]), abs=1e-6)


def test_charged_cell_background_in_energy_and_stress():
    """E ∝ 1/length, so that tr dE/dstrain = −E, with a net charge as without."""
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell, net=0.0)
    energy = energy_function(positions, cell, pme_parameters(cell, 6.0, 1e-10, order=8))
    strained = jax.jit(jax.value_and_grad(energy, argnums=2))
    for net in (0.0, 1.3):
        value, slope = strained(positions, charges + net / len(charges), jnp.zeros((3, 3)))
        assert float(jnp.trace(slope)) == pytest.approx(-float(value), rel=1e-8)


def test_padding_atoms_change_nothing_and_leave_no_nan():
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell)
    padded, mask = jnp.concatenate([positions, jnp.zeros((3, 3))]), jnp.arange(11) < 8
    garbage = jnp.concatenate([charges, jnp.array([5.0, -3.0, 2.0])])
    parameters = pme_parameters(cell, 6.0, 1e-5)
    neighbors = neighbor_list(positions, cell, True, 6.1)

    def energy(x, q, strain):
        return ewald_energy(x, q, jnp.asarray(cell), neighbors, parameters, strain=strain, atom_mask=mask)

    got = derivatives(energy, padded, garbage)
    assert all(jnp.isfinite(value).all() for value in got.values())
    assert not got["dE/dr"][8:].any()
    want = energy_function(positions, cell, parameters)(positions, charges, jnp.zeros((3, 3)))
    np.testing.assert_allclose(got["energy"], want, atol=1e-10)
    potential = potential_of(parameters, padded, jnp.asarray(cell), garbage, mask)
    bare = potential_of(parameters, positions, jnp.asarray(cell), charges)
    np.testing.assert_allclose(potential[:8], bare, atol=1e-12)
    assert not potential[8:].any()


@pytest.mark.parametrize("x64", [True, False])
def test_float32_stays_float32_and_close(x64):
    cell = CELLS["triclinic"]
    positions, charges = random_system(cell)
    parameters = pme_parameters(cell, 6.0, 1e-6)
    energy = energy_function(positions, cell, parameters)
    want = jax.jit(jax.grad(energy, argnums=(0, 1)))(positions, charges, jnp.zeros((3, 3)))
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
        x, q, box = (jnp.asarray(np.asarray(part), jnp.float32) for part in (positions, charges, cell))
        neighbors = neighbor_list(x, box, True, 6.1)
        got = jax.jit(jax.grad(ewald_energy, argnums=(0, 1)))(x, q, box, neighbors, parameters)
        potential = potential_of(parameters, x, box, q)
    assert potential.dtype == jnp.float32
    for part, reference in zip(got, want, strict=True):
        assert part.dtype == jnp.float32
        np.testing.assert_allclose(part, reference, atol=FLOAT32_TOLERANCE * float(jnp.abs(reference).max()))


def test_operators_batch_over_geometries():
    cell = jnp.asarray(CELLS["orthorhombic"])
    parameters = pme_parameters(cell, 6.0, 1e-4)
    systems = [random_system(cell, seed=seed) for seed in range(3)]
    positions, charges = (jnp.stack(part) for part in zip(*systems, strict=True))
    got = jax.vmap(lambda x, q: potential_of(parameters, x, cell, q))(positions, charges)
    want = [potential_of(parameters, x, cell, q) for x, q in systems]
    np.testing.assert_allclose(got, jnp.stack(want), atol=1e-11)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.tuples(*[st.floats(-30, 30)] * 3))
def test_energy_knows_neither_origin_nor_order_nor_image(seed, shift):
    cell = jnp.asarray(CELLS["triclinic"])
    positions, charges = random_system(cell, n=5, seed=seed)
    parameters = pme_parameters(cell, 5.0, 1e-9)
    rng = np.random.default_rng(seed)
    order = rng.permutation(5)
    want = float(ewald_energy(positions, charges, cell, parameters=parameters))
    for x, q in (
        (positions + jnp.array(shift), charges),
        (positions[order], charges[order]),
        (positions + rng.integers(-2, 3, (5, 3)) @ cell, charges),
    ):
        assert float(ewald_energy(x, q, cell, parameters=parameters)) == pytest.approx(want, abs=1e-6)


def test_mesh_sizes_suit_the_fft():
    assert [friendly_size(n) for n in (1, 11, 13, 64, 97, 121.5)] == [1, 12, 14, 64, 98, 125]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((3, 3)), 5.0, 1e-6), "no volume"),
        ((np.eye(3) * 5, -1.0, 1e-6), "cutoff is -1.0 Å"),
        ((np.eye(3) * 5, 5.0, 1e-16), "accuracy is 1e-16"),
        ((np.eye(3) * 1e4, 1.0, 1e-10), "raise the cutoff"),
    ],
)
def test_bad_parameters_are_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        pme_parameters(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mesh, order", [((8, 8, 3), 4), ((8, 8), 4), ((8, 8, 8), 3), ((20, 20, 20), 17)])
def test_bad_meshes_are_refused(mesh, order):
    with pytest.raises(ValueError, match=r"mesh is|spline order is"):
        PMEReciprocal.prepare(jnp.zeros((1, 3)), jnp.eye(3) * 5, 0.5, mesh, order)
    if order > 16:
        with pytest.raises(ValueError, match="spline order is 17"):
            pme_parameters(np.eye(3) * 5, 5.0, 1e-6, order=order)


def test_choice_takes_ewald_for_few_atoms_and_the_mesh_for_many():
    small = long_range_parameters(np.eye(3) * 5.6, 8, 8.0, 1e-6)
    large = long_range_parameters(np.eye(3) * 51.0, 5832, 8.0, 1e-6)
    assert isinstance(small, EwaldParameters) and isinstance(large, PMEParameters)
    assert small.alpha == large.alpha
    with pytest.raises(ValueError, match="no volume"):
        long_range_parameters(np.zeros((3, 3)), 8, 8.0)


def test_spreading_by_blocks_changes_nothing(monkeypatch):
    cell = jnp.asarray(CELLS["triclinic"])
    positions, charges = random_system(CELLS["triclinic"])

    def both():
        def energy(x, q):
            operator = PMEReciprocal.prepare(x, cell, 0.6, (8, 9, 10), 5)
            return operator.energy(q) + jnp.sum(operator.potential(q) ** 3)

        return jax.jit(jax.value_and_grad(energy, argnums=(0, 1)))(positions, charges)

    want = both()
    monkeypatch.setattr("ectjax.coulomb.pme.LARGEST_BLOCK", 4)
    monkeypatch.setattr("ectjax.coulomb.pme.BLOCK", 3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), both(), want)
