"""Polarisation: against closed forms and an independent damping, and in what it must not do."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from scipy.special import gammainc
from systems import weights_of_states

from ectjax import build_system
from ectjax.analysis.response import perturbed
from ectjax.basis import build_basis
from ectjax.fitting.config import read_config
from ectjax.model import Parameters, assemble, cast
from ectjax.pairs.polarization import ORDER, damping
from ectjax.potential import dipole_moment, ensemble_energy, geometry_terms, potential_energy
from ectjax.units import BOHR_IN_ANGSTROM, COULOMB_EV_ANGSTROM

NUMBERS = [9, 11, 8]
CORE = {9: 1 / (9 - 0.3), 11: 4 / (11 - 7 * 0.35 - 2 * 0.85), 8: 1 / (8 - 0.3)}
"""n/ζ in bohr of 1s² in fluorine and oxygen and of 2s²2p⁶ in sodium, by Slater's rules."""


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def models():
    """The same model without and with polarisation."""

    def build(form):
        basis = build_basis(NUMBERS, states=("0", "-1", "+1"), resonance="orbitals", polarization=form)
        return cast(assemble(basis, Parameters.uniform(len(NUMBERS), a=0.8, sigma=1.0, kappa=20.0, pi=0.5)))

    with jax.enable_x64(True):
        return build("none"), build("states")


def _gain(models, numbers, positions, labels, **options):
    """What polarisation adds to the energy of given states in eV."""
    energies = []
    for model in models:
        system = build_system(model, numbers, positions, **options)
        weights = weights_of_states(model, numbers, labels)
        energies.append(ensemble_energy(weights, jnp.sqrt(weights), geometry_terms(model, system)))
    return float(energies[1] - energies[0])


def test_damping_is_the_incomplete_gamma_function():
    x = np.concatenate([np.geomspace(1e-3, 0.6, 40), np.linspace(0.4, 30.0, 40)])
    np.testing.assert_allclose(damping(jnp.asarray(x)), gammainc(ORDER + 1, x), rtol=1e-11)
    single = damping(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(single, gammainc(ORDER + 1, x), rtol=2e-4)
    slope, curvature = (jax.vmap(f)(jnp.asarray(x)) for f in (jax.grad(damping), jax.grad(jax.grad(damping))))
    exact = x**ORDER * np.exp(-x) / 6.0  # of the gamma distribution
    np.testing.assert_allclose(slope, exact, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(curvature, exact * (ORDER / x - 1.0), rtol=1e-7, atol=1e-13)


def test_two_ions_polarise_each_other(models):
    _, model = models
    for r in (2.2, 3.0, 5.0):
        found = _gain(models, [9, 11], [[0, 0, 0], [0, 0, r]], ["-1", "+1"])
        expected = 0.0
        for number, label, other in ((9, "-1", 11), (11, "+1", 9)):
            row = model.numbers.index(number)
            column = model.labels[row].index(label)
            alpha, decay = (
                float(x[row, column]) for x in (model.polarizabilities.polarizability, model.polarizabilities.decay)
            )
            left = gammainc(ORDER + 1, decay * (r - 0.5 * CORE[other] * BOHR_IN_ANGSTROM)) ** 1.5
            expected -= 0.5 * COULOMB_EV_ANGSTROM * alpha * left / r**4
        assert found == pytest.approx(expected, rel=1e-4)  # neighbours of 1e-9 e/bohr³ count as none
        assert found < 0


def test_every_neighbour_confines(models):
    """What is left of a polarizability is a product over neighbours, outside their cores; far atoms confine nothing."""
    _, model = models
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.2], [0.0, 2.6, 0.0], [model.cutoff + 3.0, 0.0, 0.0]])
    numbers = [9, 11, 8, 8]
    system = build_system(model, numbers, positions)
    left = np.asarray(geometry_terms(model, system).polarizable.left)
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    outside = distances - 0.5 * BOHR_IN_ANGSTROM * np.array([CORE[z] for z in numbers])
    for atom, species in enumerate(model.species_of(numbers)):
        near = outside[atom][(distances[atom] > 0) & (distances[atom] < 5.0)]
        decay = np.asarray(model.polarizabilities.decay[species])
        factors = gammainc(ORDER + 1, decay[:, None] * near) ** 1.5
        alpha = np.asarray(model.polarizabilities.polarizability[species])
        np.testing.assert_allclose(left[atom], alpha * np.prod(factors, axis=1), rtol=1e-9)


def test_a_neutral_pair_and_a_symmetric_crystal_are_not_polarised(models):
    assert _gain(models, [9, 9], [[0, 0, 0], [0, 0, 1.5]], ["0", "0"]) == 0.0
    salt = bulk("NaF", "rocksalt", a=4.63, cubic=True)
    labels = ["+1" if z == 11 else "-1" for z in salt.numbers]
    gain = _gain(models, salt.numbers, salt.positions, labels, cell=salt.cell[:])
    assert abs(gain) < 1e-12
    salt.positions[0] += [0.2, 0.0, 0.0]
    assert _gain(models, salt.numbers, salt.positions, labels, cell=salt.cell[:]) < -1e-4


def test_a_pair_of_mixed_states_gains_in_proportion_to_its_ions(models):
    """The counter-charge makes the pair's energy straight between neutral and ionic."""
    _, model = models
    system = build_system(model, [9, 11], [[0, 0, 0], [0, 0, 2.0]])
    terms = eqx.filter_jit(geometry_terms)(model, system)

    def gain(share):
        ionic, neutral = weights_of_states(model, [9, 11], ["-1", "+1"]), weights_of_states(model, [9, 11], ["0", "0"])
        weights = share * ionic + (1.0 - share) * neutral
        return float(jnp.sum(terms.polarizable.gain(weights, terms.pairs.background(weights)[:, -3:])[0]))

    assert gain(0.3) == pytest.approx(0.3 * gain(1.0), rel=1e-4)
    assert gain(0.0) == pytest.approx(0.0, abs=1e-9)


def test_dipole_is_the_slope_of_the_energy_in_a_field(models):
    """A molecule of mixed states with polarised atoms and lone pairs: −dE/dℰ, and its own derivative."""
    _, model = models
    positions = jnp.asarray([[0.0, 0.0, 0.0], [1.9, 0.3, 0.2], [-0.6, 1.2, 0.4]])
    system = build_system(model, [9, 11, 8], positions)
    start = jnp.asarray([[0.5, 0.5, 0.0], [0.2, 0.0, 0.8], [0.6, 0.3, 0.1]])  # states 0, −1, +1

    def energy_and_dipole(field):
        moved = perturbed(system, positions, system.total_charge, field)
        energy, solved = potential_energy(model, moved, start, tolerance=1e-11)
        return energy, (dipole_moment(model, moved, solved), solved.charges @ positions)

    # each with its derivative in the field: of the energy by the envelope, of the dipole through the weights
    @jax.jit
    def along(field, axis):
        return jax.jvp(energy_and_dipole, (field,), (axis,))

    step, axis = 1e-3, jnp.asarray([0.6, -0.48, 0.64])
    (_, (dipole, of_charges)), (slope, (change, _)) = along(jnp.zeros(3), axis)
    (up, (dipole_up, _)), _ = along(step * axis, axis)
    (down, (dipole_down, _)), _ = along(-step * axis, axis)
    assert float(down - up) / (2 * step) == pytest.approx(float(dipole @ axis), abs=2e-6)
    assert -float(slope) == pytest.approx(float(dipole @ axis), abs=1e-9)
    np.testing.assert_allclose(change, (dipole_up - dipole_down) / (2 * step), rtol=1e-4, atol=1e-5)
    assert np.linalg.norm(dipole - of_charges) > 1e-2


def test_it_needs_orbitals(tmp_path):
    with pytest.raises(ValueError, match="use resonance='orbitals'"):
        build_basis(["H"], polarization="states")
    with pytest.raises(ValueError, match="polarization is 'some', allowed are 'none' and 'states'"):
        build_basis(["H"], resonance="orbitals", polarization="some")
    file = tmp_path / "fit.toml"
    file.write_text('[model]\nname = "x"\nelements = ["H"]\nresonance = "orbitals"\npolarization = "all"\n')
    with pytest.raises(ValueError, match="polarization = 'all'; allowed are 'none', 'states'"):
        read_config(file)


def test_a_state_without_polarizability_is_named():
    with pytest.raises(ValueError, match=r"no polarizability of He '0\*'.*python -m ectjax.generate.polarizability He"):
        build_basis(["He"], states={"He": ("0", "0*")}, resonance="orbitals", polarization="states")
