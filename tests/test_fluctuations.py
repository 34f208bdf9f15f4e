"""Charges that fluctuate together: the sum rule, its limits, and what it does to a pair's energy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax import build_system, calculate
from ectjax.basis import build_basis
from ectjax.model import Parameters, assemble, cast
from ectjax.pairs.fluctuations import mean_attraction, relief, unit_transfer
from ectjax.potential import ensemble_energy, geometry_terms
from ectjax.units import COULOMB_EV_ANGSTROM

NUMBERS = [1, 3, 7, 9]


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def model():
    """Without resonance and embedding of many bodies: Coulomb and fluctuations alone decide."""
    with jax.enable_x64(True):
        basis = build_basis(NUMBERS, resonance="orbitals")
        return cast(assemble(basis, Parameters.uniform(len(NUMBERS), sigma=0.8, kappa=0.0, m=0.0)))


def test_a_unit_transfer_moves_one_electron():
    labels = [("0", "-1", "+1"), ("0", "+1"), ("-1", "0"), ("0",), ("0", "+1", "+2", "0*", "-1")]
    charges = [[0, -1, 1, 0, 0], [0, 1, 0, 0, 0], [-1, 0, 0, 0, 0], [0] * 5, [0, 1, 2, 0, -1]]
    found = unit_transfer(labels)
    np.testing.assert_allclose(found.sum(axis=1), 0.0)
    np.testing.assert_allclose((found * charges).sum(axis=1), [1, 1, 1, 0, 1])


def test_the_partners_of_an_atom_share_its_fluctuation():
    """A chain of three: the middle one sees its neighbours in the measure of what bonds them, the ends the middle."""
    pairs = jnp.asarray([0, 1]), jnp.asarray([1, 2])
    found = mean_attraction(pairs, jnp.asarray([0.2, 0.3]), jnp.asarray([6.0, 4.0]), 4)
    np.testing.assert_allclose(found, [6.0, (0.2 * 6 + 0.3 * 4) / 0.5, 4.0, 0.0], rtol=1e-7)


def test_relief_and_its_slopes():
    rng = np.random.default_rng(0)
    weights, charge = jnp.asarray(rng.dirichlet(np.ones(4), 3)), jnp.asarray([[0.0, -1, 1, 2]] * 3)
    attraction = jnp.asarray([0.0, 3.0, 5.0])
    mean = weights @ charge[0]
    variance = weights @ charge[0] ** 2 - mean**2
    energies, slopes = relief(weights, charge, attraction)
    np.testing.assert_allclose(energies, -0.5 * attraction * variance)
    np.testing.assert_allclose(slopes, jax.grad(lambda w: relief(w, charge, attraction)[0].sum())(weights), atol=1e-12)
    pure, _ = relief(jnp.eye(4)[:3], charge, attraction)
    np.testing.assert_allclose(pure, 0.0, atol=1e-12)  # an atom in one state does not fluctuate


def _energies(model, numbers, distance, shares, first, second):
    """Energies in eV of a pair that is neutral but for a share in the states `first` and `second`."""
    system = build_system(model, numbers, [[0, 0, 0], [distance, 0, 0]])
    terms = geometry_terms(model, system)
    rows = [model.labels[int(s)] for s in model.species_of(numbers)]

    def energy(share):
        weights = jnp.zeros((2, model.state_charge.shape[1]))
        for atom, (row, label) in enumerate(zip(rows, (first, second), strict=True)):
            weights = weights.at[atom, row.index("0")].add(1 - share).at[atom, row.index(label)].add(share)
        return ensemble_energy(weights, jnp.sqrt(weights), terms)

    return np.array([float(energy(x)) for x in shares]), float(terms.attraction[0])


def test_an_ion_pair_forms_along_a_straight_line(model):
    """Two configurations that do not overlap: E(δ) = (1 − δ) E(neutral) + δ E(ionic). Without fluctuations the line
    bends by δ (1 − δ) e²/R, 0.7 eV at 5 Å."""
    shares = np.linspace(0, 1, 5)
    energies, attraction = _energies(model, [3, 9], 5.0, shares, "+1", "-1")
    assert attraction == pytest.approx(COULOMB_EV_ANGSTROM / 5.0, rel=0.03)  # Li- is large
    np.testing.assert_allclose(energies, energies[0] + shares * (energies[-1] - energies[0]), atol=0.02)


def test_one_electron_between_two_nuclei_does_not_repel_itself(model):
    """H2+ far apart: any division of the electron has the energy of H + H+."""
    row = model.labels[0]
    terms = geometry_terms(model, build_system(model, [1, 1], [[0, 0, 0], [4.0, 0, 0]], charge=1.0))
    energies = []
    for share in (0.0, 0.2, 0.5):
        weights = jnp.zeros((2, model.state_charge.shape[1]))
        weights = weights.at[0, row.index("+1")].set(1 - share).at[0, row.index("0")].set(share)
        weights = weights.at[1, row.index("+1")].set(share).at[1, row.index("0")].set(1 - share)
        energies.append(float(ensemble_energy(weights, jnp.sqrt(weights), terms)))
    # an electron shared in halves would repel itself by ¼ e²/R = 0.9 eV; what overlaps is left
    np.testing.assert_allclose(energies, energies[0], atol=0.05)


def test_far_apart_nothing_fluctuates(model):
    terms = geometry_terms(model, build_system(model, [3, 9], [[0, 0, 0], [20.0, 0, 0]]))
    np.testing.assert_allclose(terms.attraction, 0.0)


def test_an_element_without_anion_takes_part(model):
    with jax.enable_x64(True):
        basis = build_basis([1, 7], states={"H": ["0", "-1", "+1"], "N": ["0", "+1"]}, resonance="orbitals")
        other = cast(assemble(basis, Parameters.uniform(2, sigma=0.8, kappa=20.0)))
    system = build_system(other, [7, 1], [[0, 0, 0], [1.04, 0, 0]])
    assert np.asarray(geometry_terms(other, system).attraction).min() > 3.0
    found = calculate(other, system)
    moved = eqx.tree_at(lambda s: s.positions, system, system.positions.at[1, 0].add(1e-4))
    slope = (calculate(other, moved).energy - found.energy) / 1e-4
    assert float(found.forces[1, 0]) == pytest.approx(-float(slope), abs=1e-2)
