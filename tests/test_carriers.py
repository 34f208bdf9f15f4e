"""What neighbours can carry: by hand, in derivatives, and where nothing is asked of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import force_error, padded_cluster

from ectjax.basis import build_basis
from ectjax.model import Parameters, assemble, cast
from ectjax.pairs.carriers import WIDTH, Carriers, _beyond
from ectjax.potential import energy_and_slopes, ensemble_energy, geometry_terms
from ectjax.units import HARTREE_IN_EV

pytestmark = pytest.mark.usefixtures("x64")

CHARGE = np.array([0.0, -1.0, 1.0, 2.0])
SILICON = np.ones(4, bool)
FLUORINE = np.array([True, True, True, False])
STATES = {"F": ["0", "-1", "+1"], "Si": ["0", "-1", "+1", "+2"]}


@pytest.fixture(scope="module")
def models():
    """Of silicon and fluorine, without and with Si²⁺."""

    def build(states):
        basis = build_basis(["F", "Si"], states=states, resonance="orbitals")
        return cast(assemble(basis, Parameters.uniform(2, a=0.8, sigma=0.9, kappa=25.0, pi=0.4)))

    with jax.enable_x64(True):
        return build(STATES | {"Si": STATES["Si"][:3]}), build(STATES)


def _star(count, exchange=1e-3, sign=1.0):
    """Silicon with so many fluorine neighbours, all alike; with `sign` −1 all charges are the opposite ones."""
    centre, others = jnp.zeros(count, int), jnp.arange(1, count + 1)
    mask = np.stack([SILICON, *[FLUORINE] * count])
    charge = np.where(mask, sign * CHARGE, 0.0)
    exchanges = jnp.full(count, exchange)
    return Carriers.prepare((centre, others), exchanges, jnp.asarray(charge), jnp.asarray(mask)), jnp.asarray(charge)


@pytest.mark.parametrize("count, asked, sign", [(1, 2.0, 1.0), (2, 1.0, 1.0), (4, 0.5, 1.0), (1, 2.0, -1.0)])
def test_one_neighbour_cannot_carry_two_electrons_and_more_can(count, asked, sign):
    """Silicon is neutral half of the time and Si²⁺ in the other half; its neighbours have −1 together. A dianion asks
    for positive neighbours."""
    carriers, charge = _star(count, sign=sign)
    ion = 1.0 / count
    weights = jnp.asarray([[0.5, 0.0, 0.0, 0.5], *[[1.0 - ion, ion, 0.0, 0.0]] * count])
    excess = max(asked - 1.0, 0.0)
    expected = 0.5 * HARTREE_IN_EV * (excess - WIDTH if excess else 0.0)
    found = np.asarray(carriers.excess(weights, charge))
    assert found[0] == pytest.approx(expected, rel=1e-4, abs=1e-4) and np.all(found[1:] == 0.0)


def test_whole_ions_and_far_neighbours_ask_for_nothing():
    carriers, charge = _star(1)
    ions = jnp.asarray([[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    assert np.all(np.asarray(carriers.excess(ions, charge)) == 0.0)
    carriers, charge = _star(1, exchange=0.0)
    apart = jnp.asarray([[0.5, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0]])
    assert np.all(np.asarray(carriers.excess(apart, charge)) == 0.0)


def test_the_excess_begins_smoothly():
    x = np.linspace(-3 * WIDTH, 4 * WIDTH, 200)
    value, slope, curvature = (
        np.asarray(jax.vmap(f)(jnp.asarray(x))) for f in (_beyond, jax.grad(_beyond), jax.grad(jax.grad(_beyond)))
    )
    assert np.all(value[x <= 0] == 0.0) and np.all(np.diff(value) >= 0.0)
    np.testing.assert_allclose(value[x >= 2 * WIDTH], x[x >= 2 * WIDTH] - WIDTH, rtol=1e-12)
    step = 1e-6
    np.testing.assert_allclose(slope, (_beyond(x + step) - _beyond(x - step)) / (2 * step), atol=1e-8)
    assert np.abs(np.diff(curvature)).max() < 0.1 * np.abs(curvature).max()  # no jump


def test_derivatives_with_double_charges_and_padding(models):
    """Slopes in weights against automatic differentiation, forces against the energy."""
    single, double = models
    positions = np.array([[0.0, 0.0, 0.0], [1.5, 0.1, 0.0], [-0.6, 2.9, 0.2], [0.9, -0.4, 3.9]])
    numbers, rng = [14, 9, 9, 14], np.random.default_rng(5)
    system = padded_cluster(double, numbers, positions)
    assert geometry_terms(single, padded_cluster(single, numbers, positions)).carriers is None
    terms = eqx.filter_jit(geometry_terms)(double, system)
    mask = np.asarray(terms.state_mask)
    weights = np.where(mask, rng.dirichlet(np.ones(mask.shape[1]), len(mask)), 0.0)
    weights = jnp.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-300))
    amplitudes = jnp.sqrt(weights)
    charge = terms.state_charge
    assert float(jnp.sum(terms.carriers.excess(weights, charge))) > 0.1
    exact = jax.jit(jax.value_and_grad(ensemble_energy, argnums=(0, 1)))(weights, amplitudes, terms)
    energy, slopes, direct = jax.jit(energy_and_slopes)(weights, amplitudes, terms)
    assert float(energy) == pytest.approx(float(exact[0]), abs=1e-9)
    np.testing.assert_allclose(slopes[: len(numbers)], exact[1][0][: len(numbers)], atol=1e-9)
    np.testing.assert_allclose(direct, exact[1][1], atol=1e-9)
    assert force_error(double, system, rng, len(numbers), 1) < 5e-7
