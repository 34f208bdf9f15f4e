"""The two-centre functional inside a model: a pair of neutral atoms is exact at this level, whatever m is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax.basis import build_basis
from ectjax.model import Parameters, assemble
from ectjax.pairs.two_center import two_center_components
from ectjax.potential import ensemble_energy, geometry_terms
from ectjax.system import build_system
from ectjax.tables import load_element
from ectjax.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

A, B, M = np.array([0.7, 1.0]), np.array([0.2, -0.1]), np.array([0.6, 1.3])


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        records = [load_element(symbol) for symbol in ("H", "O")]
        basis = build_basis(records, states=["0"], pair="two_center")
        one = Parameters.uniform(2, sigma=0.8)
        given = eqx.tree_at(lambda p: (p.a, p.b, p.m), one, (jnp.array(A), jnp.array(B), jnp.array(M)))
        return assemble(basis, given)


def energy(model, numbers, positions):
    """Energy in eV; with one state per element there is nothing to equilibrate."""
    system = build_system(model, numbers, np.asarray(positions, float))
    pure = jnp.ones((len(numbers), 1))
    return float(jax.jit(ensemble_energy)(pure, pure, geometry_terms(model, system)))


def coulomb(first, second, distance):
    """Classical interaction of two neutral atoms by a plain k-space integral, Hartree."""
    node, weight = np.polynomial.legendre.leggauss(40)
    k = (np.arange(100)[:, None] + 0.5 + 0.5 * node).ravel() * 3.0  # 100 panels up to 300 / bohr
    w = np.tile(1.5 * weight, 100)
    f, g = (np.asarray(record.state("0").density.form_factor(k)) for record in (first, second))
    bare = first.number * second.number  # the nuclei in closed form: their part of the integral does not decay
    rest = np.sum(w * ((first.number - f) * (second.number - g) - bare) * np.sinc(k * distance / np.pi))
    return bare / distance + 2 / np.pi * rest


@pytest.mark.parametrize("i, j", [(0, 0), (0, 1), (1, 1)])
def test_pair_of_neutral_atoms_is_exact(model, i, j):
    with jax.enable_x64(True):
        records = [load_element(symbol) for symbol in ("H", "O")]
        if i == j == 0:
            assert abs(coulomb(*records[:1] * 2, 1.4) + 0.00227314) < 1e-7  # closed form for two 1s hydrogens
        for distance in (1.4, 2.2, 4.0, 7.0):
            t, w, x = two_center_components(records[i].state("0"), records[j].state("0"), [distance])[0]
            exact = 0.5 * (A[i] + A[j]) * t + 0.5 * (B[i] + B[j]) * w + x
            exact = HARTREE_IN_EV * (exact + coulomb(records[i], records[j], distance))
            numbers = [records[i].number, records[j].number]
            found = energy(model, numbers, [[0, 0, 0], [0, 0, distance * BOHR_IN_ANGSTROM]])
            np.testing.assert_allclose(found, exact, atol=2e-4, err_msg=f"{distance} bohr")


def test_three_atoms_feel_the_many_body_rest(model):
    """Beyond pairs the embedding acts, and is the only thing that m scales."""
    with jax.enable_x64(True):
        place = np.array([[0, 0, 0], [1.0, 0, 0], [0.3, 0.95, 0]])
        whole = energy(model, [8, 1, 1], place)
        pairs = sum(energy(model, [n, m], place[[i, j]]) for i, j, n, m in ((0, 1, 8, 1), (0, 2, 8, 1), (1, 2, 1, 1)))
        assert abs(whole - pairs) > 0.5  # eV
