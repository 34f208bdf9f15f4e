"""The shipped set `default`: what its model card says of its numbers, of rigid ions and of water."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ectjax import build_system, calculate, load_model, load_parameters
from ectjax.fitting.crystals import read_crystals
from ectjax.fitting.molecules import g2_molecule
from ectjax.fitting.padded import PaddedCalculator, relax
from ectjax.units import DEBYE_IN_E_ANGSTROM

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


@pytest.mark.slow
def test_water_is_bent_and_has_its_dipole():
    """Relaxed by the model; measured: 104.5° and 1.855 D. Without orbitals water is straight, and without O²⁻ its
    dipole is too small by 0.55 D."""
    m = g2_molecule("H2O")
    atoms = Atoms(m.numbers, m.positions, calculator=PaddedCalculator(load_model("default", ["H", "O"])))
    assert relax(atoms) and 100 < atoms.get_angle(1, 0, 2) < 112
    dipole, (oxygen, *hydrogens) = atoms.get_dipole_moment() / DEBYE_IN_E_ANGSTROM, atoms.positions
    towards = np.mean(hydrogens, axis=0) - oxygen
    assert dipole @ towards / np.linalg.norm(towards) == pytest.approx(1.855, abs=0.4)  # hydrogen is the positive end
