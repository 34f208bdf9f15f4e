"""The shipped set `default`: what its model card says of its numbers, of rigid ions and of water."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ectjax import build_system, calculate, load_model, load_parameters
from ectjax.fitting.crystals import read_crystals
from ectjax.fitting.molecules import g2_molecule
from ectjax.fitting.padded import PaddedCalculator, relax

pytestmark = pytest.mark.usefixtures("x64")


def test_at_most_six_numbers_are_fitted():
    chosen = load_parameters("default")
    assert chosen.options["resonance"] == "orbitals" and chosen.options["polarization"] == "breathing"
    assert {(x["b"], x["m"]) for x in chosen.elements.values()} == {(0.0, 0.0)}
    assert set(chosen.elements) == {"H", "Li", "C", "N", "O", "F", "Na", "Si", "P", "S", "Cl", "K"}


@pytest.mark.parametrize("formula", ["LiF", "NaCl"])
def test_rigid_ions_make_rock_salt(formula):
    """Without resonance, Coulomb and the repulsion of full ions give the measured crystal (CRC, JANAF)."""
    salt = next(c for c in read_crystals() if c.formula == formula)
    chosen = load_parameters("default")
    rigid = replace(chosen, elements={s: x | {"kappa": 0.0} for s, x in chosen.elements.items()})
    model = load_model(rigid, list(salt.symbols), polarization="none")
    scales, energies = np.array([0.97, 1.0, 1.03]), []
    for scale in scales:
        cell = bulk(formula, "rocksalt", a=salt.constant * scale)
        found = calculate(model, build_system(model, cell.numbers, cell.positions, cell=cell.cell[:]))
        assert np.abs(found.equilibration.charges) == pytest.approx(1.0)
        energies.append(float(found.energy))
    curve = np.polynomial.Polynomial.fit(scales, energies, 2)
    best = float(curve.deriv().roots()[0])
    assert best == pytest.approx(1.0, abs=0.035) and -curve(best) == pytest.approx(salt.energy, rel=0.05)


@pytest.fixture(scope="module")
def water():
    """Relaxed by the model."""
    m = g2_molecule("H2O")
    with jax.enable_x64(True):
        atoms = Atoms(m.numbers, m.positions, calculator=PaddedCalculator(load_model("default", ["H", "O"])))
        assert relax(atoms)
        atoms.get_dipole_moment()
    return atoms


@pytest.mark.slow
def test_water_is_bent_and_has_a_dipole(water):
    """Measured: 104.5° and 1.85 D. The card says how far off both are; without orbitals water is straight."""
    assert 100 < water.get_angle(1, 0, 2) < 120
    oxygen, hydrogen = water.positions[0], water.positions[1:].mean(0)
    towards = (hydrogen - oxygen) / np.linalg.norm(hydrogen - oxygen)
    assert water.get_dipole_moment() @ towards > 1.0 * 0.20819434  # hydrogen is the positive end


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="1.30 D, too small by 0.55 D where 0.4 D are allowed (docs/models/default.md)")
def test_the_dipole_of_water_is_within_its_bar(water):
    assert np.linalg.norm(water.get_dipole_moment()) / 0.20819434 == pytest.approx(1.855, abs=0.4)
