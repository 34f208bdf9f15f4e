"""Cubic splines: exactness, order of convergence, smoothness, differentiability in argument and values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax.radial import CubicSpline, smoothstep
from ectjax.radial.spline import locate, reciprocal_values, spline_coefficients, table_values

pytestmark = pytest.mark.usefixtures("x64")


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


def tables_and_places():
    """Two by three tables on the grid 0, 0.1, ..., 1.9, as splines and as `table_values` wants them, and 40 places."""
    rng = np.random.default_rng(4)
    values = np.cumsum(rng.normal(size=(2, 3, 20)), axis=-1)
    x = rng.uniform(0.05, 1.85, 40)
    tables = jnp.moveaxis(spline_coefficients(values), -1, -2)
    return CubicSpline.fit(values, 0.0, 0.1), tables, jnp.asarray(x)


def test_values_at_many_places_are_those_of_the_spline_to_second_order():
    spline, tables, x = tables_and_places()

    def plain(tables, x):
        return table_values(tables, *locate(x, 0.0, 0.1, 19))

    def divided(tables, x):
        return reciprocal_values(tables, *locate(x, 0.0, 0.1, 19), x, 19)

    def every(f):
        """Value, slope and curvature of (2, 3, 40) results in their own place."""
        slope = lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]  # noqa: E731
        return f(x), slope(x), jax.jvp(slope, (x,), (jnp.ones_like(x),))[1]

    for ours, want in ((plain, spline), (divided, lambda x: spline(x) / x)):
        for got, expected in zip(every(lambda x, f=ours: f(tables, x)), every(want), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-8)
        along = jnp.asarray(np.random.default_rng(5).normal(size=tables.shape))
        _, change = jax.jvp(lambda t, f=ours: f(t, x), (tables,), (along,))
        np.testing.assert_allclose(change, ours(along, x), rtol=1e-12, atol=1e-12)  # linear in the tables
        weights = jnp.asarray(np.random.default_rng(6).normal(size=(2, 3, 40)))
        back = jax.grad(lambda t, f=ours, w=weights: jnp.sum(w * f(t, x)))(tables)
        np.testing.assert_allclose(jnp.sum(back * along), jnp.sum(weights * change), rtol=1e-11)


def test_tables_of_constants_are_read_by_place():
    constants = jnp.arange(6.0).reshape(2, 1, 3)
    np.testing.assert_array_equal(
        table_values(constants, jnp.array([2, 0, 1]), jnp.zeros(3)), [[2.0, 0.0, 1.0], [5.0, 3.0, 4.0]]
    )
