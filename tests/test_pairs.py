"""Pair functions against closed forms and independent quadrature."""

import numpy as np
import pytest

from ectjax.basis import build_basis, distance_knots
from ectjax.model import Parameters, assemble, cast
from ectjax.pairs.background import background_table, bessel_kernel
from ectjax.pairs.coulomb_overlap import penetration_table
from ectjax.pairs.fourier import k_grid, k_max_of
from ectjax.tables import load_element
from ectjax.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

pytestmark = pytest.mark.usefixtures("x64")


def _table(states, distances):
    grid = k_grid(float(np.max(distances)), k_max_of(max(z for z, _ in states)))
    safe = np.maximum(distances, 1e-6)
    factors = np.array([d.form_factor(grid.k) for _, d in states])
    screened = np.array([safe * np.asarray(d.screened_remainder(safe)) for _, d in states])
    z = np.array([float(z) for z, _ in states])
    n = np.array([float(d.electron_count()) for _, d in states])
    return penetration_table(z, n, screened, factors, grid, np.asarray(distances))


def test_hydrogen_pair_is_the_exact_heitler_london_coulomb_energy():
    """Theory section 3: e^{−2R}(1/R + 5/8 − 3R/4 − R²/6), −0.00227314 at 1.4 and −0.00691985 at 3 bohr."""
    r = np.array([0.3, 0.7, 1.4, 3.0, 6.0, 10.0])
    hydrogen = (1, load_element("H").state("0").density)
    energy = _table([hydrogen], r)[0, 0] / r
    exact = np.exp(-2 * r) * (1 / r + 5 / 8 - 3 * r / 4 - r**2 / 6)
    np.testing.assert_allclose(energy, exact, atol=1e-8, rtol=0)
    np.testing.assert_allclose(energy[2:4], [-0.00227314, -0.00691985], atol=5e-9, rtol=0)


@pytest.mark.parametrize("other, label", [("C", "0"), ("O", "-1"), ("O", "+1")])
def test_against_an_integral_over_shells(other, label):
    """φ of H and another ion: Z_H V(R) − ∫ρ_H V with V the ion's potential averaged over shells about H."""
    ion = load_element(other)
    density = ion.state(label).density
    h = load_element("H").state("0").density
    x, w = np.polynomial.legendre.leggauss(64)
    x, w = 0.5 * (x + 1), 0.5 * w
    for r in (1.1, 2.5, 5.0):
        energy = 0.0
        for low, high in ((0.0, r), (r, r + 2.0), (r + 2.0, 20.0)):
            shells = low + (high - low) * x
            start, width = np.abs(r - shells), np.minimum(2 * r, 2 * shells)
            s = start[:, None] + width[:, None] * x
            moment = s * (ion.number / s - np.asarray(density.potential(s)))
            average = np.sum(moment * w, axis=1) * width / (2 * r * shells)
            energy -= np.sum(w * (high - low) * 4 * np.pi * shells**2 * np.asarray(h.density(shells)) * average)
        energy += ion.number / r - float(density.potential(r))
        ours = _table([(1, h), (ion.number, density)], np.array([r]))[0, 1, 0] / r
        assert ours == pytest.approx(energy, abs=2e-7)  # hydrogen is neutral: no q q/R part


def test_contact_limit_is_the_nuclear_repulsion():
    h, c = load_element("H").state("0"), load_element("C").state("+1")
    table = _table([(1, h.density), (6, c.density)], np.array([1e-4]))
    assert table[0, 1, 0] == pytest.approx(6.0, abs=2e-2)
    assert table[1, 1, 0] == pytest.approx(36.0 - 1.0, abs=2e-1)


def test_background_density_equals_the_closed_form_and_a_delta_window():
    density = load_element("C").state("0").density
    r = np.array([0.0, 0.5, 1.3, 2.7, 6.0, 11.0])
    grid = k_grid(11.0, k_max_of(6))
    factors = np.asarray(density.form_factor(grid.k))[None]
    sigma = np.array([0.1, 0.4, 1.0, 2.0])
    table = background_table(factors, sigma, grid.k, bessel_kernel(grid, r))[:, 0]
    for row, s in zip(table, sigma, strict=True):
        np.testing.assert_allclose(row, density.smeared_density(r, s), rtol=2e-8, atol=1e-12)
    far = table[0, 3:]  # a window of 0.1 bohr hardly differs from a point where the density is smooth
    np.testing.assert_allclose(far, density.density(r[3:]), rtol=0.05)


def test_model_tables_interpolate_between_knots():
    basis = build_basis(["H", "O"], cutoff=6.0)
    model = cast(assemble(basis, Parameters.uniform(2, sigma=0.7)))
    r = np.random.default_rng(1).uniform(0.5, 4.4, 40)  # below the switch at 4.5 Å
    at_i, at_j, short = model.pair_functions(model.pair_places(np.zeros(40, int), np.ones(40, int), r))
    oxygen = [load_element("O").state(x) for x in basis.labels[1]]
    hydrogen = [load_element("H").state(x) for x in basis.labels[0]]
    bohr = r / BOHR_IN_ANGSTROM
    for s, state in enumerate(oxygen):
        np.testing.assert_allclose(at_i[s], state.density.smeared_density(bohr, 0.7), rtol=1e-5, atol=1e-9)
    for s, state in enumerate(hydrogen):
        np.testing.assert_allclose(at_j[s], state.density.smeared_density(bohr, 0.7), rtol=1e-5, atol=1e-9)
    states = [(1, x.density) for x in hydrogen] + [(8, x.density) for x in oxygen]
    exact = _table(states, np.sort(bohr))[:3, 3:] / np.sort(bohr) * HARTREE_IN_EV
    np.testing.assert_allclose(short[:, :, np.argsort(r)], exact, atol=2e-5)


def test_pair_functions_vanish_smoothly_at_the_cutoff():
    basis = build_basis(["H"], cutoff=5.0)
    model = cast(assemble(basis, Parameters.uniform(1)))
    zero = np.zeros(3, int)
    at_i, _, short = model.pair_functions(model.pair_places(zero, zero, np.array([4.9999, 5.0, 5.5])))
    assert np.all(np.abs(at_i) < 1e-9) and np.all(np.abs(short) < 1e-9)
    assert distance_knots(5.0)[-1] == 5.0


def test_two_builds_agree_and_states_are_checked():
    with pytest.raises(ValueError, match="neutral ground state"):
        build_basis(["H"], states=["+1"])
    with pytest.raises(ValueError, match="cutoff"):
        build_basis(["H"], cutoff=100.0)
    with pytest.raises(ValueError, match="energies"):
        build_basis(["H"], energies="guessed")
    with pytest.raises(ValueError, match=r"Xx|unknown element"):
        build_basis(["Xx"])
