"""Closed-form radial functions against quadrature, finite differences and exact hydrogen."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from ectjax.radial.slater import MAX_POWER, SlaterExpansion

RADII = np.array([1e-9, 1e-4, 0.02, 0.3, 0.9, 1.0, 2.5, 6.0, 15.0, 40.0])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def carbon_like():
    return SlaterExpansion([40.0, -3.0, 0.7, 0.02, 1e-4], [0, 1, 2, 3, MAX_POWER], [11.3, 6.0, 3.2, 1.9, 1.3])


def hydrogen():
    return SlaterExpansion([1 / np.pi], [0], [2.0])


def integrate(f, *points):
    edges = [0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0, *points]
    edges = sorted(set(edges))
    return sum(quad(f, a, b, epsabs=1e-15, epsrel=1e-12)[0] for a, b in itertools.pairwise(edges))


def numpy_density(s):
    c, n, a = (np.asarray(v) for v in (s.coefficients, s.powers, s.exponents))
    return lambda r: np.sum(c * np.asarray(r)[..., None] ** n * np.exp(-a * np.asarray(r)[..., None]), -1)


def test_hydrogen_has_its_textbook_values():
    h, r = hydrogen(), jnp.asarray(RADII)
    np.testing.assert_allclose(h.density(r), np.exp(-2 * RADII) / np.pi, rtol=1e-14)
    np.testing.assert_allclose(h.potential(r), -np.expm1(-2 * RADII) / RADII - np.exp(-2 * RADII), rtol=2e-8)
    np.testing.assert_allclose(h.screened_remainder(r), np.exp(-2 * RADII) * (1 / RADII + 1), rtol=1e-13)
    np.testing.assert_allclose(h.form_factor(r), 1 / (1 + RADII**2 / 4) ** 2, rtol=1e-13)
    assert float(h.self_repulsion()) == pytest.approx(5 / 16, abs=1e-14)
    assert float(h.electron_count()) == pytest.approx(1, abs=1e-15)
    assert [float(h.moment(p)) for p in (-2, -1, 1, 2)] == pytest.approx([2, 1, 1.5, 3], abs=1e-14)
    assert float(h.moment(20)) == pytest.approx(4 * math.factorial(22) / 2**23, rel=1e-12)


def test_density_gradient_and_laplacian_match_finite_differences(carbon_like):
    rho, step = numpy_density(carbon_like), 1e-4
    r = RADII[3:]
    up, mid, down = rho(r + step), rho(r), rho(r - step)
    np.testing.assert_allclose(carbon_like.density(r), mid, rtol=1e-13)
    np.testing.assert_allclose(carbon_like.gradient(r), (up - down) / (2 * step), rtol=1e-5, atol=1e-12)
    laplacian = (up - 2 * mid + down) / step**2 + (up - down) / (r * step)
    np.testing.assert_allclose(carbon_like.laplacian(r), laplacian, rtol=1e-4, atol=1e-6)
    assert float(carbon_like.gradient(0.0)) == pytest.approx(-40 * 11.3 - 3.0)


def test_gradient_and_laplacian_integrate_to_what_gauss_says(carbon_like):
    """∫ρ′ dr is the change of ρ, and the Laplacian's volume integral over a shell the flux of the gradient."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    for a, b in ((0.01, 0.3), (0.3, 2.0), (2.0, 9.0)):
        r, w = 0.5 * (b - a) * nodes + 0.5 * (a + b), 0.5 * (b - a) * weights
        change = float(carbon_like.density(b) - carbon_like.density(a))
        assert np.sum(w * np.asarray(carbon_like.gradient(r))) == pytest.approx(change, rel=1e-10)
        flux = b**2 * float(carbon_like.gradient(b)) - a**2 * float(carbon_like.gradient(a))
        assert np.sum(w * r**2 * np.asarray(carbon_like.laplacian(r))) == pytest.approx(flux, rel=1e-9)


def test_integrals_match_quadrature(carbon_like):
    rho = numpy_density(carbon_like)
    for order in (-2, -1, 0, 1, 2, 4):
        expected = integrate(lambda r, p=order: 4 * np.pi * r ** (2 + p) * rho(r))
        assert float(carbon_like.moment(order)) == pytest.approx(expected, rel=1e-10)
    count = float(carbon_like.moment(0))
    assert float(carbon_like.electron_count()) == pytest.approx(count, rel=1e-14)
    for r in RADII:
        inside = quad(lambda s: 4 * np.pi * s * s * rho(s), 0, min(r, 1), epsabs=0, epsrel=1e-12)[0]
        if r > 1:
            inside += sum(
                quad(lambda s: 4 * np.pi * s * s * rho(s), a, b, epsabs=1e-14)[0]
                for a, b in zip(np.linspace(1, r, 9)[:-1], np.linspace(1, r, 9)[1:], strict=True)
            )
        assert float(carbon_like.count_inside(r)) == pytest.approx(inside, rel=1e-10)
        inner = inside / r
        outer = integrate(lambda s, r=r: 4 * np.pi * s * rho(s) * (s > r), float(r))
        remainder = integrate(lambda s, r=r: 4 * np.pi * s * (s / r - 1) * rho(s) * (s > r), float(r))
        assert float(carbon_like.potential(r)) == pytest.approx(inner + outer, rel=1e-9)
        assert float(carbon_like.screened_remainder(r)) == pytest.approx(remainder, rel=1e-7, abs=1e-18)
    assert float(carbon_like.potential(0.0)) == pytest.approx(float(carbon_like.moment(-1)), rel=1e-13)
    repulsion = integrate(lambda r: 2 * np.pi * r * r * rho(r) * float(carbon_like.potential(r)))
    assert float(carbon_like.self_repulsion()) == pytest.approx(repulsion, rel=1e-9)


@pytest.mark.parametrize("k", [0.0, 1e-6, 0.1, 1.0, 7.0, 60.0])
def test_form_factor_matches_quadrature(carbon_like, k):
    rho = numpy_density(carbon_like)
    r, w = np.polynomial.legendre.leggauss(400)
    edges = np.linspace(0, 60, 121)
    expected = 0.0
    for a, b in itertools.pairwise(edges):
        s = 0.5 * (b - a) * r + 0.5 * (a + b)
        expected += 0.5 * (b - a) * np.sum(w * 4 * np.pi * s**2 * rho(s) * np.sinc(k * s / np.pi))
    assert float(carbon_like.form_factor(k)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.5, 4.0])
@pytest.mark.parametrize("distance", [0.0, 1e-3, 0.01, 0.2, 1.0, 3.7, 12.0])
@pytest.mark.parametrize("exponent", [1.3, 11.3, 70.0])
@pytest.mark.parametrize("power", [0, 1, 4, MAX_POWER])
def test_smeared_density_matches_quadrature(sigma, distance, exponent, power):
    s = SlaterExpansion([1.0], [power], [exponent])
    rho, nodes = numpy_density(s), np.polynomial.legendre.leggauss(60)
    top = distance + 9 * sigma if exponent * sigma < 4 else min(80 / exponent + distance, distance + 9 * sigma)
    edges, expected = np.linspace(0.0, top, 200), 0.0
    for a, b in itertools.pairwise(edges):
        x = 0.5 * (b - a) * nodes[0] + 0.5 * (a + b)
        if distance == 0:
            kernel = 2 * x / sigma**2 * np.exp(-0.5 * (x / sigma) ** 2)
        else:
            kernel = -np.exp(-0.5 * ((distance - x) / sigma) ** 2) * np.expm1(-2 * distance * x / sigma**2) / distance
        expected += 0.5 * (b - a) * np.sum(nodes[1] * x * rho(x) * kernel) / (sigma * np.sqrt(2 * np.pi))
    assert float(s.smeared_density(distance, sigma)) == pytest.approx(expected, rel=2e-9, abs=1e-30)


def test_smeared_density_tends_to_the_density(carbon_like):
    r = jnp.array([0.3, 1.0, 5.0])
    np.testing.assert_array_equal(carbon_like.smeared_density(r, 0.0), carbon_like.density(r))
    sigma = 1e-3
    expected = carbon_like.density(r) + 0.5 * sigma**2 * carbon_like.laplacian(r)
    np.testing.assert_allclose(carbon_like.smeared_density(r, sigma), expected, rtol=1e-8)


def test_shell_average_matches_angular_quadrature(carbon_like):
    rho, (t, w) = numpy_density(carbon_like), np.polynomial.legendre.leggauss(2000)
    for r in (0.0, 1e-5, 0.05, 0.8, 3.0):
        for distance in (1e-6, 0.07, 0.8, 0.81, 4.0):
            expected = 0.5 * np.sum(w * rho(np.sqrt(np.abs(r * r + distance**2 + 2 * r * distance * t))))
            assert float(carbon_like.shell_average(r, distance)) == pytest.approx(expected, rel=1e-6)
            swapped = float(carbon_like.shell_average(distance, r))
            assert swapped == pytest.approx(float(carbon_like.shell_average(r, distance)), rel=1e-12)


def test_everything_is_finite_and_differentiable_at_the_nucleus(carbon_like):
    functions = ["density", "gradient", "laplacian", "count_inside", "potential", "form_factor"]
    for name in functions:
        first = jax.grad(lambda r, name=name: getattr(carbon_like, name)(r))
        assert np.isfinite(first(0.0)), name
        assert np.isfinite(jax.grad(first)(0.0)), name
    for other in (0.0, 0.7):
        assert np.isfinite(jax.grad(carbon_like.smeared_density)(0.0, other))
        assert np.all(np.isfinite(jax.grad(carbon_like.shell_average, (0, 1))(0.0, other)))
    assert float(jax.grad(carbon_like.count_inside)(0.0)) == 0


@settings(max_examples=3, deadline=None)
@given(st.floats(0.05, 8), st.floats(0.1, 3), st.integers(0, MAX_POWER), st.floats(0.6, 30))
def test_derivatives_in_r_coefficients_and_exponents(r, sigma, power, exponent):
    functions = {
        "density": lambda s, r: s.density(r),
        "count": lambda s, r: s.count_inside(r),
        "potential": lambda s, r: s.potential(r),
        "remainder": lambda s, r: s.screened_remainder(r),
        "form": lambda s, r: s.form_factor(r),
        "smeared": lambda s, r: s.smeared_density(r, sigma),
        "shell": lambda s, r: s.shell_average(sigma, r),
        "repulsion": lambda s, r: s.self_repulsion(),
    }
    with jax.enable_x64(True):
        x = jnp.array([r, 0.7, exponent])
        for name, f in functions.items():

            def value(x, f=f):
                return f(
                    SlaterExpansion(jnp.stack([x[1], x[1] * 0 + 0.1]), [power, 0], jnp.stack([x[2], x[2]])),
                    x[0],
                )

            exact, steps = jax.grad(value)(x), np.array([1e-5, 1e-5, 1e-5 * exponent])
            for i, h in enumerate(steps):
                e = np.zeros(3)
                e[i] = h
                numeric = (value(x + e) - value(x - e)) / (2 * h)
                scale = abs(float(value(x))) / h
                assert float(exact[i]) == pytest.approx(float(numeric), rel=2e-5, abs=1e-10 * scale + 1e-12), (name, i)


def test_jit_vmap_and_float32_agree(carbon_like):
    pair = [carbon_like, hydrogen().padded(5)]
    stack = jax.tree.map(lambda *x: jnp.stack(x), *pair)
    got = jax.jit(jax.vmap(lambda s, r: s.potential(r), (0, None)))(stack, jnp.asarray(RADII))
    np.testing.assert_allclose(got, [s.potential(jnp.asarray(RADII)) for s in pair], rtol=1e-13)
    with jax.enable_x64(False):
        small = SlaterExpansion(
            *(np.asarray(v) for v in (carbon_like.coefficients, carbon_like.powers, carbon_like.exponents))
        )
        r = RADII.astype(np.float32)
        for name in ("density", "potential", "count_inside", "form_factor"):
            value = getattr(small, name)(r)
            assert value.dtype == jnp.float32
            np.testing.assert_allclose(value, getattr(small, name)(r), rtol=1e-4)
            with jax.enable_x64(True):
                reference = getattr(carbon_like, name)(jnp.asarray(RADII))
            np.testing.assert_allclose(value, reference, rtol=3e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [0, 1], [2.0]), "shapes"),
        (([1.0], [-1], [2.0]), "integers 0 to"),
        (([1.0], [MAX_POWER + 1], [2.0]), "integers 0 to"),
        (([1.0], [0], [0.0]), "positive"),
    ],
)
def test_impossible_terms_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SlaterExpansion(*arguments)


def test_padding_refuses_to_drop_terms(carbon_like):
    with pytest.raises(ValueError, match="cannot pad 5 terms to 3"):
        carbon_like.padded(3)


def test_importing_leaves_jax_flags_alone():
    import subprocess
    import sys

    code = "import jax; b=jax.config.jax_enable_x64; import ectjax.radial.slater; print(b == jax.config.jax_enable_x64)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"
