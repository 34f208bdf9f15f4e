"""Tabulated embedding functions: accuracy, both ends, smoothness, batching."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax.embedding import EmbeddingTable, background_knots, combine, component_values, daw_components
from ectjax.radial.slater import SlaterExpansion


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def hydrogen():
    return SlaterExpansion([1 / np.pi], [0], [2.0])


def hydride():
    """A diffuse two-electron density, tail exponent 0.47."""
    a = np.array([2.2, 0.47])
    return SlaterExpansion(a**3 / (8 * np.pi) * np.array([1.3, 0.7]), [0, 0], a)


def table(a=1.0, b=1.0):
    return EmbeddingTable.fit(combine(jnp.asarray(component_values([hydrogen(), hydride()])), a, b))


def test_interpolation_error():
    rho = np.geomspace(1e-13, 1.0, 700)
    exact = np.stack([daw_components(d, rho).T for d in (hydrogen(), hydride())])
    spline = EmbeddingTable.fit(jnp.asarray(component_values([hydrogen(), hydride()])))
    assert np.abs(spline(rho) - exact).max() < 1e-6  # Hartree; 27 µeV
    exact = np.stack([daw_components(d, [9.0]).T for d in (hydrogen(), hydride())])
    np.testing.assert_allclose(spline(np.array([9.0])), exact, rtol=1e-6)


def test_zero_background():
    f = table()
    grad = jax.grad(lambda r: f(r).sum())
    assert np.all(np.asarray(f(0.0)) == 0.0)
    for derivative in (grad(0.0), jax.grad(grad)(0.0), grad(-0.1)):
        assert np.isfinite(derivative)
    # one-sided difference: the slope at exactly 0 is the whole slope
    np.testing.assert_allclose(grad(0.0), (f(1e-12) - f(0.0)).sum() / 1e-12, rtol=1e-3)


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (0.3, -0.3), (0.0, 2.0)])
def test_continuation_is_smooth_and_repels_in_the_end(a, b):
    f = table(a, b)
    value = lambda r: f(r)[0]  # noqa: E731
    derivatives = [value, jax.grad(value), jax.grad(jax.grad(value))]
    below, above = 10.0 * (1 - 1e-9), 10.0 * (1 + 1e-9)
    for order, d in enumerate(derivatives):
        np.testing.assert_allclose(d(below), d(above), rtol=1e-6, atol=1e-8, err_msg=f"derivative {order}")
    far = jnp.array([30.0, 100.0, 1000.0])
    assert np.all(jax.vmap(derivatives[2])(far) > 0)
    assert derivatives[1](1000.0) > 0


def test_derivatives_against_finite_differences():
    f = table()
    for rho in (1e-6, 3e-3, 0.2, 12.0):
        step = 1e-5 * rho
        slope = (f(rho + step) - f(rho - step)) / (2 * step)
        np.testing.assert_allclose(jax.jacfwd(f)(jnp.array(rho)), slope, rtol=1e-5)


def test_species_gather_matches_batch():
    values = jnp.asarray(component_values([hydrogen(), hydride()]))
    both = jnp.stack([combine(values, 1.0, 1.0), combine(values, 0.5, 0.2)])  # 2 elements, 2 states
    f = EmbeddingTable.fit(both)
    species, rho = jnp.array([0, 1, 1, 0]), jnp.array([1e-3, 0.2, 15.0, 0.0])
    whole = f(rho)
    expected = np.stack([whole[s, :, i] for i, s in enumerate(species)])
    np.testing.assert_allclose(f.of_species(species, rho), expected, rtol=1e-14)
    assert f(jnp.ones((3, 5))).shape == (2, 2, 3, 5)


def test_prefactors_are_trainable():
    values = jnp.asarray(component_values([hydrogen()]))
    energy = lambda p: EmbeddingTable.fit(combine(values, p[0], p[1]))(0.01)[0]  # noqa: E731
    parts = daw_components(hydrogen(), [0.01])[0]
    np.testing.assert_allclose(jax.grad(energy)(jnp.array([1.0, 1.0])), parts[:2], atol=1e-6)


def test_single_precision():
    with jax.enable_x64(False):
        f = EmbeddingTable.fit(jnp.asarray(component_values([hydrogen()]).sum(1), jnp.float32))
        rho = np.geomspace(1e-8, 5, 50)
        exact = daw_components(SlaterExpansion([1 / np.pi], [0], [2.0]), rho).sum(1)
        assert f(rho).dtype == jnp.float32
        np.testing.assert_allclose(f(rho)[0], exact, atol=2e-5)


def test_knots_and_bad_range():
    knots = background_knots(101, 5.0, 1e-6)
    assert knots[0] == 0 and np.isclose(knots[-1], 5.0) and np.all(np.diff(knots) > 0)
    with pytest.raises(ValueError, match="scale"):
        EmbeddingTable.fit(jnp.zeros(101), maximum=1.0, scale=2.0)
