"""Cubic splines: exactness, order of convergence, smoothness, differentiability in argument and values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax.radial import CubicSpline, smoothstep


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def test_reproduces_cubics_exactly():
    x = np.linspace(0.0, 2.0, 21)
    cubic = lambda x: 1.0 - 2.0 * x + 0.5 * x**2 + 3.0 * x**3  # noqa: E731
    spline = CubicSpline.fit(jnp.asarray(cubic(x)), 0.0, 0.1)
    points = np.random.default_rng(0).uniform(-0.3, 2.3, 50)
    np.testing.assert_allclose(spline(points), cubic(points), atol=1e-11)


def test_error_falls_with_the_fourth_power_of_the_spacing():
    points = np.linspace(0.5, 5.0, 777)
    errors = []
    for n in (41, 81):
        knots = np.linspace(0.0, 6.0, n)
        spline = CubicSpline.fit(jnp.sin(3 * knots), 0.0, knots[1])
        errors.append(np.max(np.abs(spline(points) - np.sin(3 * points))))
    assert 13.0 < errors[0] / errors[1] < 19.0


def test_second_derivative_is_continuous_at_knots():
    spline = CubicSpline.fit(jnp.exp(-jnp.linspace(0.0, 5.0, 26)), 0.0, 0.2)
    second = jax.vmap(jax.grad(jax.grad(spline)))
    knots = 0.2 * np.arange(1, 25)
    np.testing.assert_allclose(second(knots - 1e-10), second(knots + 1e-10), atol=1e-7)


def test_is_linear_and_differentiable_in_its_values():
    knots = jnp.linspace(0.0, 1.0, 11)

    def at(scale):
        return CubicSpline.fit(scale * jnp.cos(knots), 0.0, 0.1)(0.437)

    np.testing.assert_allclose(jax.grad(at)(2.0), at(1.0), rtol=1e-13)


def test_too_few_knots_are_refused():
    with pytest.raises(ValueError, match="at least 5"):
        CubicSpline.fit(jnp.ones(4), 0.0, 0.1)


def test_smoothstep_ends_with_two_vanishing_derivatives():
    f = lambda r: smoothstep(r, 2.0, 3.0)  # noqa: E731
    for r, value in ((1.9, 1.0), (2.0, 1.0), (3.0, 0.0), (3.2, 0.0)):
        assert float(f(r)) == value
        assert float(jax.grad(f)(r)) == 0.0
        assert float(jax.grad(jax.grad(f))(r)) == 0.0
    x = np.linspace(2.0, 3.0, 50)
    assert np.all(np.diff(f(x)) < 0)
