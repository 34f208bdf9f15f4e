"""Baskes' form and the concordance with Daw's functional."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax.embedding import baskes, concordance, daw_components
from ectjax.embedding.baskes import BaskesParameters, E, from_minimum
from ectjax.embedding.concordance import find_minimum
from ectjax.units import HARTREE_IN_EV


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


class Density:
    """c exp(-a r) terms that hold the given electrons: (electrons, a)."""

    def __init__(self, *terms):
        self.coefficients = np.array([n * a**3 / (8 * np.pi) for n, a in terms])
        self.powers = np.zeros(len(terms), int)
        self.exponents = np.array([float(a) for _, a in terms])


HYDROGEN = Density((1, 2.0))


def test_baskes_well():
    parameters = BaskesParameters(strength=0.4, rho0=0.03)
    rho_min, f_min = parameters.minimum
    np.testing.assert_allclose(baskes(rho_min, *parameters), f_min, rtol=1e-11)
    np.testing.assert_allclose(baskes(0.03, *parameters), 0.0, atol=1e-12)
    slope = jax.grad(lambda r: baskes(r, *parameters))
    np.testing.assert_allclose(slope(rho_min), 0.0, atol=1e-9)
    np.testing.assert_allclose(slope(0.03), 0.4 / 0.03, rtol=1e-10)  # A E_c / ρ0 at x = 1
    assert slope(3.0) > slope(0.3) > slope(0.03)


def test_baskes_at_zero_is_safe():
    f = lambda r: baskes(r, 0.4, 0.03)  # noqa: E731
    assert f(0.0) == 0.0 and f(-1.0) == 0.0
    for r in (0.0, 1e-300, 1e-12):
        assert np.isfinite(jax.grad(f)(r)) and np.isfinite(jax.grad(jax.grad(f))(r))
    x = np.geomspace(1e-6, 3, 40)
    np.testing.assert_allclose(baskes(x * 0.03, 0.4, 0.03), 0.4 * x * np.log(x), atol=1e-12)
    # differentiable in its parameters, and the same in NumPy and JAX
    expected = [np.log(1 / 3) / 3, -0.4 / 0.03 / 3 * (np.log(1 / 3) + 1)]
    gradient = jax.grad(lambda p: baskes(0.01, p[0], p[1]))(jnp.array([0.4, 0.03]))
    np.testing.assert_allclose(gradient, expected, rtol=1e-9)
    np.testing.assert_allclose(baskes(x, 0.4, 0.03), baskes(jnp.asarray(x), 0.4, 0.03), rtol=1e-14)


def test_closed_form_start():
    start = from_minimum(0.0123, -0.14)
    np.testing.assert_allclose(start.minimum, (0.0123, -0.14))
    np.testing.assert_allclose(start, (0.14 * E, 0.0123 * E))
    for well in ((0.01, 0.1), (0.0, -0.1), (float("nan"), -0.1)):
        with pytest.raises(ValueError, match="needs a well"):
            from_minimum(*well)


def test_hydrogen_minimum():
    """About -3.8 eV near 0.01 electrons/Bohr³ (the known shape), and lower than any point of a dense scan."""
    rho, f = find_minimum(HYDROGEN)
    assert abs(f * HARTREE_IN_EV + 3.8) < 0.1 and 0.008 < rho < 0.016
    scan = daw_components(HYDROGEN, np.linspace(0.5 * rho, 2 * rho, 2001)).sum(1)
    assert 0 <= scan.min() - f < 1e-8


def relative_rms(state, a, b, parameters, end):
    """Midpoint rule over the range: shares no quadrature with the implementation."""
    rho = (np.arange(4000) + 0.5) / 4000 * end
    daw = daw_components(state, rho) @ [a, b, 1.0]
    return np.sqrt(np.mean((daw - baskes(rho, *parameters)) ** 2)) / -daw.min()


@pytest.mark.parametrize("state", [HYDROGEN, Density((2, 7.0), (3, 1.9))], ids=["H", "two shells"])
def test_concordance_is_reached(state):
    result = concordance(state, tolerance=0.04)
    assert result.status == "agreed"
    assert result.range == (0.0, result.start.rho0)
    rms = relative_rms(state, result.a, result.b, result.baskes, result.range[1])
    np.testing.assert_allclose(rms, result.relative_rms, rtol=2e-3)
    assert 0.03 < rms < 0.0405  # no more adjusted than the tolerance asks


def test_adjustment_is_the_least():
    """No point nearer to the start reaches the tolerance: 3000 random ones inside 97 % of the way fail."""
    result = concordance(HYDROGEN, tolerance=0.04)
    rho = (np.arange(400) + 0.5) / 400 * result.range[1]
    components = daw_components(HYDROGEN, rho)
    rng = np.random.default_rng(0)
    z = np.array(
        [
            result.a - 1,
            result.b - 1,
            np.log(result.baskes.strength / result.start.strength),
            np.log(result.baskes.rho0 / result.start.rho0),
        ]
    )
    np.testing.assert_allclose(np.linalg.norm(z), result.adjustment, rtol=1e-9)
    best = np.inf
    for _ in range(3000):
        trial = z + rng.normal(scale=rng.choice([0.03, 0.1, 0.3]), size=4)
        trial *= min(1.0, 0.97 * result.adjustment / np.linalg.norm(trial))
        daw = components @ [1 + trial[0], 1 + trial[1], 1.0]
        form = baskes(rho, *(np.array(result.start) * np.exp(trial[2:])))
        best = min(best, np.sqrt(np.mean((daw - form) ** 2)) / max(-daw.min(), 1e-9))
    assert best > 0.04


def test_looser_tolerance_adjusts_less():
    adjustments = [concordance(HYDROGEN, tolerance=t).adjustment for t in (0.02, 0.04, 0.08)]
    assert adjustments[0] > adjustments[1] > adjustments[2]


def test_state_without_a_well_is_reported():
    result = concordance(Density())
    assert result.status == "no minimum" and np.isnan(result.a) and np.isnan(result.relative_rms)


def test_state_that_cannot_agree_is_reported():
    result = concordance(HYDROGEN, tolerance=1e-6)
    assert result.status == "best effort" and result.relative_rms > 1e-6
    assert result.relative_rms < concordance(HYDROGEN, tolerance=0.1).relative_rms


def test_bad_arguments():
    for kwargs in ({"tolerance": 0.0}, {"reach": -1.0}):
        with pytest.raises(ValueError, match="positive"):
            concordance(HYDROGEN, **kwargs)


def test_range_follows_the_bond_density():
    """Through the well, but at least one and at most twelve neighbours at bonding distance."""
    well = concordance(HYDROGEN).start.rho0
    for bond, end in ((0.5 * well, well), (3 * well, 3 * well), (well / 40, 12 * well / 40)):
        assert np.isclose(concordance(HYDROGEN, bond_density=bond).range[1], end)
    with pytest.raises(ValueError, match="bond_density"):
        concordance(HYDROGEN, bond_density=-1.0)
