"""Daw's embedding functional against published values, an independent quadrature and libxc."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from ectjax.embedding import daw, daw_components
from ectjax.embedding.functionals import (
    overlap_differences,
    pw92_energy_density,
    weizsaecker_difference,
)
from ectjax.radial.slater import SlaterExpansion

HARTREE_TABLE = {  # exact 1s hydrogen: background -> Thomas-Fermi, von Weizsäcker, exchange-correlation
    1e-4: (0.002129, -0.015821, -0.002817),
    1e-3: (0.018456, -0.065005, -0.016772),
    1e-2: (0.139261, -0.198388, -0.080122),
    5e-2: (0.511002, -0.334257, -0.203256),
}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def hydrogen():
    return SlaterExpansion([1 / np.pi], [0], [2.0])


def shells(*occupied):
    """Density of normalised Slater orbitals r^(n-1) exp(-ζr): (electrons, n, ζ) per shell."""
    c = [e * (2 * z) ** (2 * n + 1) / (4 * np.pi * math.factorial(2 * n)) for e, n, z in occupied]
    return SlaterExpansion(c, [2 * n - 2 for _, n, _ in occupied], [2 * z for *_, z in occupied])


def heavy_states():
    """Oxygen, the sodium cation and a diffuse chlorine anion, from Slater's rules or near them."""
    return {
        "O": shells((2, 1, 7.66), (6, 2, 2.25)),
        "Na+": shells((2, 1, 10.63), (8, 2, 3.5)),
        "Cl-": shells((2, 1, 16.5), (8, 2, 6.1), (7, 3, 2.0), (1, 3, 0.6)),
    }


def test_hydrogen_table():
    background = np.array(list(HARTREE_TABLE))
    np.testing.assert_allclose(daw_components(hydrogen(), background), list(HARTREE_TABLE.values()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["O", "Na+", "Cl-"])
def test_independent_quadrature(name):
    """Adaptive quadrature of the plain formulas with libxc for exchange and correlation."""
    libxc = pytest.importorskip("pyscf.dft.libxc", reason="libxc (pyscf) is the reference here")
    density = heavy_states()[name]

    def xc_energy(n):
        n = np.atleast_1d(n)
        return n * libxc.eval_xc("SLATER,PW_MOD", n, deriv=0)[0]

    edges = np.concatenate([np.linspace(0, 2, 21), np.linspace(2, 42, 21)[1:]])
    node, weight = np.polynomial.legendre.leggauss(40)
    half = np.diff(edges)[:, None] / 2
    r, w = (edges[:-1, None] + half * (1 + node)).ravel(), (half * weight).ravel() * 4 * np.pi
    u, g = np.asarray(density.density(r)), np.asarray(density.gradient(r))
    for v in (1e-4, 3e-2):
        tf = 0.3 * (3 * np.pi**2) ** (2 / 3) * ((u + v) ** (5 / 3) - u ** (5 / 3) - v ** (5 / 3))
        vw = g**2 / 8 * (1 / (u + v) - 1 / u)
        xc = xc_energy(u + v) - xc_energy(u) - xc_energy(np.full_like(u, v))
        reference = np.array([tf, vw, xc]) @ (w * r**2)
        np.testing.assert_allclose(daw_components(density, [v])[0], reference, rtol=1e-8, atol=1e-8)


def test_adaptive_quadrature_of_kinetic_parts():
    """QUADPACK, which shares no grid with the implementation, on oxygen's kinetic parts."""
    density, v = heavy_states()["O"], 0.01

    def tf(r):
        u = float(density.density(r))
        change = (u + v) ** (5 / 3) - u ** (5 / 3) - v ** (5 / 3)
        return 4 * np.pi * r**2 * 0.3 * (3 * np.pi**2) ** (2 / 3) * change

    breaks = [0.05, 0.2, 0.5, 1, 2, 4, 8]
    reference, error = quad(tf, 0, 20, points=breaks, epsabs=1e-10, epsrel=1e-12, limit=400)
    assert error < 1e-8
    np.testing.assert_allclose(daw_components(density, [v])[0, 0], reference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["O", "Na+", "Cl-"])
def test_quadrature_is_converged(name, monkeypatch):
    background = np.concatenate([[0.0], np.geomspace(1e-10, 10.0, 60)])
    coarse = daw_components(heavy_states()[name], background)
    rule = daw.radial_quadrature
    monkeypatch.setattr(daw, "radial_quadrature", lambda *terms: rule(*terms, points=24, refine=3))
    fine = daw_components(heavy_states()[name], background)
    np.testing.assert_allclose(coarse, fine, rtol=1e-12, atol=1e-8)


def test_zero_background_and_bare_nucleus():
    assert np.all(daw_components(hydrogen(), [0.0]) == 0.0)
    empty = SlaterExpansion([0.0], [0], [1.0])
    assert np.all(daw_components(empty, [0.0, 0.1, 10.0]) == 0.0)
    assert np.all(np.asarray(daw_components(hydrogen(), jnp.zeros(1))) == 0.0)


def test_signs_and_order():
    """Kinetic pressure repels, the gradient and exchange-correlation attract, each more at higher density."""
    tf, vw, xc = daw_components(hydrogen(), np.geomspace(1e-8, 10, 80)).T
    assert np.all(np.diff(tf) > 0) and np.all(np.diff(vw) < 0) and np.all(np.diff(xc) < 0)
    assert tf[0] > 0 > vw[0] and xc[0] < 0
    assert vw[-1] > -0.5  # the whole von Weizsäcker energy of hydrogen, 1/2, can be lost and no more


@pytest.mark.parametrize("background", [1e-8, 1e-4, 1e-2, 1.0])
def test_derivative_in_background(background):
    def energy(v):
        return daw_components(hydrogen(), v[None])[0]

    step = 1e-4 * background
    v = jnp.array(background)
    slope = (energy(v + step) - energy(v - step)) / (2 * step)
    curvature = (jax.jacfwd(energy)(v + step) - jax.jacfwd(energy)(v - step)) / (2 * step)
    np.testing.assert_allclose(jax.jacfwd(energy)(v), slope, rtol=1e-7)
    np.testing.assert_allclose(jax.jacrev(energy)(v), slope, rtol=1e-7)
    np.testing.assert_allclose(jax.hessian(energy)(v), curvature, rtol=1e-6)


def test_derivative_at_zero_background_is_finite():
    slope = np.asarray(jax.jacfwd(lambda v: daw_components(hydrogen(), v[None])[0])(jnp.array(0.0)))
    # closed forms for ρ = exp(-2r)/π: (5/3) c ∫ρ^(2/3) for Thomas-Fermi
    tf = 5 / 3 * 0.3 * (3 * np.pi**2) ** (2 / 3) * np.pi ** (-2 / 3) * 8 * np.pi / (4 / 3) ** 3
    np.testing.assert_allclose(slope[0], tf, rtol=1e-7)
    assert np.all(np.isfinite(slope))


def test_numpy_and_jax_agree():
    background = np.geomspace(1e-9, 10, 50)
    np.testing.assert_allclose(
        daw_components(hydrogen(), background), daw_components(hydrogen(), jnp.array(background)), rtol=1e-13
    )


def test_differences_do_not_cancel():
    """A density 1e-12 of the other still has a relative accuracy that 50-digit arithmetic confirms."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 50

    def mp_energies(n):
        n = mpmath.mpf(n)
        rs = (3 / (4 * mpmath.pi * n)) ** (mpmath.mpf(1) / 3)
        b = [mpmath.mpf(str(x)) for x in (7.5957, 3.5876, 1.6382, 0.49294)]
        a, alpha = mpmath.mpf("0.0310907"), mpmath.mpf("0.21370")
        y = 2 * a * (b[0] * mpmath.sqrt(rs) + b[1] * rs + b[2] * rs**1.5 + b[3] * rs**2)
        correlation = -2 * a * (1 + alpha * rs) * mpmath.log(1 + 1 / y)
        exchange = -mpmath.mpf(3) / 4 * (3 * n / mpmath.pi) ** (mpmath.mpf(1) / 3)
        tf = mpmath.mpf(3) / 10 * (3 * mpmath.pi**2) ** (mpmath.mpf(2) / 3) * n ** (mpmath.mpf(5) / 3)
        return tf, n * (exchange + correlation)

    for u in (1e-14, 1e-6, 0.3, 50.0):
        for v in (1e-13, 1e-7, 0.3, 7.0):
            both = [
                joined - one - other
                for joined, one, other in zip(
                    mp_energies(mpmath.mpf(u) + mpmath.mpf(v)), mp_energies(u), mp_energies(v), strict=True
                )
            ]
            values = overlap_differences(np.array(u), np.array(v))
            for value, exact in zip(values, both, strict=True):
                assert abs(float(value) / float(exact) - 1) < 2e-13


def test_weizsaecker_difference_formula():
    u, v, du, dv = 0.4, 0.07, np.array([0.3, -0.2, 0.1]), np.array([-0.5, 0.02, 0.3])
    joined = (np.sum((du + dv) ** 2) / (u + v) - np.sum(du**2) / u - np.sum(dv**2) / v) / 8
    value = weizsaecker_difference(np.array(u), np.array(v), np.sum((du / u - dv / v) ** 2))
    np.testing.assert_allclose(value, joined, rtol=1e-13)


def test_pw92_against_libxc():
    libxc = pytest.importorskip("pyscf.dft.libxc", reason="libxc (pyscf) is the reference here")
    n = np.geomspace(1e-9, 1e3, 60)
    reference = libxc.eval_xc(",LDA_C_PW_MOD", n, deriv=0)[0]
    np.testing.assert_allclose(pw92_energy_density(n) / n, reference, rtol=1e-9)


def test_bad_background_is_refused():
    for bad in (-1e-3, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and >= 0"):
            daw_components(hydrogen(), [0.1, bad])


def test_speed():
    """32 states on 257 backgrounds in well under two seconds (the bound leaves room for a loaded machine)."""
    states = [*heavy_states().values(), hydrogen()] * 8
    background = np.geomspace(1e-9, 10, 257)
    start = time.process_time()
    for state in states:
        daw_components(state, background)
    assert time.process_time() - start < 4.0
