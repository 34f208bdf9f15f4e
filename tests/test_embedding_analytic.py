"""Baskes' form in place of Daw's: nearest curve, for any prefactors, and a model made of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax import Parameters, load_model
from ectjax.basis import build_basis
from ectjax.embedding import EmbeddingTable, baskes, baskes_combination, baskes_projection, concordance
from ectjax.embedding.concordance import bond_density, range_nodes
from ectjax.embedding.daw import daw_components
from ectjax.fitting.objective import pair_energy
from ectjax.model import assemble
from ectjax.tables import load_element


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("symbol", "label"), [("H", "0"), ("O", "-1"), ("Na", "+1")])
def test_no_baskes_curve_is_nearer(symbol, label):
    """At the prefactors of the concordance the projection does at least as well as the concordance's own curve."""
    record = load_element(symbol)
    state, at_bond = record.state(label), bond_density(record)
    agreed = concordance(state, bond_density=at_bond)
    projections, end = baskes_projection(state, at_bond)
    assert end == pytest.approx(agreed.range[1], rel=1e-12)
    table = EmbeddingTable.fit(baskes_combination(projections, end, agreed.a, agreed.b))
    rho, weight = range_nodes(end)
    daw = daw_components(state, rho) @ np.array([agreed.a, agreed.b, 1.0])
    rms = np.sqrt(weight @ (np.asarray(table(rho)) - daw) ** 2)
    assert rms <= agreed.rms * (1 + 1e-6)


def test_the_combination_is_of_baskes_form():
    """A E_c x ln x has ρ̄ F'' constant: recover A E_c and ρ0 from two points and meet the curve everywhere."""
    record = load_element("C")
    projections, end = baskes_projection(record.state("0"), bond_density(record))
    table = EmbeddingTable.fit(baskes_combination(projections, end, 0.6, 0.4))
    x = np.array([0.003, 0.02])
    p, q = np.linalg.solve(np.stack([x * np.log(x), x], axis=1), np.asarray(table(x)))
    rho0 = np.exp(-q / p)
    rho = np.geomspace(1e-5, 0.3, 50)
    np.testing.assert_allclose(table(rho), baskes(rho, p * rho0, rho0), rtol=1e-4, atol=1e-7)


def test_a_curve_that_bends_down_becomes_a_line():
    record = load_element("Cl")
    projections, end = baskes_projection(record.state("0"), bond_density(record))
    values = np.asarray(baskes_combination(projections, end, 0.4, -0.8))
    table = EmbeddingTable.fit(values)
    rho = np.array([1e-3, 1e-2, 0.1, 1.0])
    np.testing.assert_allclose(table(rho) / rho, table(rho)[0] / rho[0], rtol=1e-4)
    rho, weight = range_nodes(end)
    daw = daw_components(record.state("0"), rho) @ np.array([0.4, -0.8, 1.0])
    best = np.sum(weight * rho * daw) / np.sum(weight * rho**2)
    np.testing.assert_allclose(table(rho), best * rho, rtol=1e-3, atol=1e-7)


def test_slope_in_the_prefactors():
    record = load_element("N")
    projections, end = baskes_projection(record.state("0"), bond_density(record))
    pick = np.arange(0, 257, 16)

    def curve(x):
        return baskes_combination(projections, end, x[0], x[1])[pick]

    x, step = jnp.array([0.5, 0.2]), 1e-5
    exact = jax.jacfwd(curve)(x)
    for n in range(2):
        difference = (curve(x.at[n].add(step)) - curve(x.at[n].add(-step))) / (2 * step)
        np.testing.assert_allclose(exact[:, n], difference, rtol=1e-7, atol=1e-9)


def test_states_without_electrons_are_not_embedded():
    projections, _ = baskes_projection(load_element("H").state("+1"), 0.03)
    assert not np.any(projections)


def test_one_argument_switches_the_form():
    """Same set, other embedding: another energy, forces that still match it, and still neutral apart."""

    @jax.jit
    def pair(model, distance):
        return jax.value_and_grad(lambda r: pair_energy(model, jnp.array([0, 1]), r), has_aux=True)(distance)

    energies = {}
    for form in ("dft", "baskes"):
        model, step = load_model("curves", ["Li", "H"], embedding=form), 1e-4
        (energies[form], _), slope = pair(model, 1.6)
        difference = (pair(model, 1.6 + step)[0][0] - pair(model, 1.6 - step)[0][0]) / (2 * step)
        assert abs(slope - difference) < 1e-6
        (far, charge), _ = pair(model, 30.0)
        assert abs(far) < 1e-3 and abs(charge) < 1e-3
    assert energies["dft"] != energies["baskes"]
    assert abs(energies["dft"] - energies["baskes"]) < 1.0  # eV; the curves are near each other where bonds are


@pytest.mark.parametrize("embedding", ["dft", "baskes"])
def test_two_neutral_atoms_do_not_see_the_form_in_the_two_centre_model(embedding):
    """The pair is exact, whatever is subtracted and added for the many-body rest."""
    basis = build_basis(["H", "O"], states=["0"], pair="two_center", embedding=embedding)
    start = Parameters.uniform(2, a=0.8, b=0.3)

    @eqx.filter_jit
    def energy(basis, m):
        model = assemble(basis, eqx.tree_at(lambda p: p.m, start, jnp.full(2, m)))
        return pair_energy(model, jnp.array([0, 1]), jnp.array(1.1))[0]

    assert float(energy(basis, 0.3)) == pytest.approx(float(energy(basis, 1.0)), abs=1e-4)


@pytest.mark.parametrize(("name", "message"), [("pair", "two_center"), ("embedding", "baskes")])
def test_unknown_forms_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        load_model("curves", ["H"], **{name: "other"})
