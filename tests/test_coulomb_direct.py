"""The open-boundary Coulomb sum against NumPy, closed forms, padding and large-system paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ectjax.coulomb import DirectCoulomb, ewald_energy, ewald_real_kernel
from ectjax.units import COULOMB_EV_ANGSTROM


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def cluster(n=7, seed=0):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3)
    places = grid[rng.choice(len(grid), n, replace=False)] * 2.0 + rng.uniform(-0.5, 0.5, (n, 3))
    return jnp.asarray(places), jnp.asarray(rng.uniform(-1, 1, n))


def test_pair_and_reference_sum():
    pair = DirectCoulomb.prepare(jnp.array([[0.0, 0, 0], [0, 0, 2.0]]))
    assert float(pair.energy(jnp.array([1.0, -1.0]))) == pytest.approx(-COULOMB_EV_ANGSTROM / 2, rel=1e-15)
    positions, charges = cluster()
    r = np.linalg.norm(np.asarray(positions)[:, None] - np.asarray(positions), axis=-1)
    np.fill_diagonal(r, np.inf)
    operator = DirectCoulomb.prepare(positions)
    np.testing.assert_allclose(operator.potential(charges), COULOMB_EV_ANGSTROM / r @ charges, rtol=1e-13)
    np.testing.assert_allclose(jax.grad(operator.energy)(charges), operator.potential(charges), rtol=1e-13)


def test_forces_and_hessian_agree_with_differences():
    positions, charges = cluster()

    @jax.jit
    def energy(x):
        return DirectCoulomb.prepare(x).energy(charges)

    force, step = jax.jit(jax.grad(energy)), 1e-4
    bend = jax.jit(jax.hessian(energy))(positions).reshape(21, 21)
    for k in range(0, 21, 4):
        shift = jnp.eye(21)[k].reshape(7, 3) * step
        slope = (energy(positions + shift) - energy(positions - shift)) / (2 * step)
        assert slope == pytest.approx(float(force(positions).ravel()[k]), abs=1e-6)
        row = (force(positions + shift) - force(positions - shift)).ravel() / (2 * step)
        np.testing.assert_allclose(row, bend[k], atol=1e-5)


def test_coinciding_padding_leaves_no_nan():
    positions, charges = cluster()
    padded, mask = jnp.concatenate([positions, jnp.zeros((4, 3))]), jnp.arange(11) < 7
    garbage = jnp.concatenate([charges, jnp.full(4, 9.0)])

    def energy(x, q):
        return DirectCoulomb.prepare(x, mask).energy(q)

    want = DirectCoulomb.prepare(positions).energy(charges)
    np.testing.assert_allclose(energy(padded, garbage), want, rtol=1e-14)
    assert not jax.grad(energy)(padded, garbage)[7:].any()
    for block in jax.tree.leaves(jax.jit(jax.hessian(energy, argnums=(0, 1)))(padded, garbage)):
        assert jnp.isfinite(block).all()


def test_blocks_of_large_systems_agree_with_the_matrix(monkeypatch):
    positions, charges = cluster()

    def energy(x, q):
        return DirectCoulomb.prepare(x).energy(q)

    both = jax.value_and_grad(energy, argnums=(0, 1))
    want = both(positions, charges)
    monkeypatch.setattr("ectjax.coulomb.direct.DENSE_LIMIT", 0)
    monkeypatch.setattr("ectjax.coulomb.direct.ROWS_PER_BLOCK", 3)
    assert DirectCoulomb.prepare(positions).matrix is None
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), both(positions, charges), want)


def test_batches_and_float32():
    systems = [cluster(seed=seed) for seed in range(3)]
    positions, charges = (jnp.stack(part) for part in zip(*systems, strict=True))
    got = jax.vmap(lambda x, q: DirectCoulomb.prepare(x).energy(q))(positions, charges)
    want = [DirectCoulomb.prepare(x).energy(q) for x, q in systems]
    np.testing.assert_allclose(got, jnp.stack(want), rtol=1e-12)
    with jax.numpy_dtype_promotion("strict"):
        x, q = positions[0].astype(jnp.float32), charges[0].astype(jnp.float32)
        single = DirectCoulomb.prepare(x).energy(q)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, want[0], rtol=1e-5)


def test_large_periodic_cell_approaches_the_open_sum():
    """A neutral cluster without dipole in a wide cell: images matter only as quadrupoles."""
    places = jnp.array([[-1.5, 0, 0], [1.5, 0, 0], [0, 0.0, 0.0]])
    charges = jnp.array([1.0, 1.0, -2.0])
    open_energy = DirectCoulomb.prepare(places).energy(charges)
    periodic = ewald_energy(places, charges, jnp.eye(3) * 60.0, cutoff=15.0, accuracy=1e-8)
    assert float(periodic) == pytest.approx(float(open_energy), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.tuples(*[st.floats(-100, 100)] * 3))
def test_energy_knows_no_frame_and_neutral_fragments_add(seed, shift):
    positions, charges = cluster(seed=seed)
    charges = charges - charges.mean()
    want = float(DirectCoulomb.prepare(positions).energy(charges))
    rng = np.random.default_rng(seed)
    turn, order = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.permutation(7)
    moved = (positions @ turn + jnp.array(shift))[order]
    assert float(DirectCoulomb.prepare(moved).energy(charges[order])) == pytest.approx(want, abs=1e-9)
    far = jnp.concatenate([positions, positions + 1e5])
    twice = float(DirectCoulomb.prepare(far).energy(jnp.tile(charges, 2)))
    assert twice == pytest.approx(2 * want, abs=1e-6)


def test_real_space_kernel_completes_to_the_bare_interaction():
    r = jnp.linspace(0.5, 9.0, 20)
    bare = COULOMB_EV_ANGSTROM / r
    screening = COULOMB_EV_ANGSTROM * jax.scipy.special.erf(0.4 * r) / r
    np.testing.assert_allclose(ewald_real_kernel(r, 0.4) + screening, bare, rtol=1e-13)
