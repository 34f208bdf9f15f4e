"""The report of a parameter set: measurements with potentials of known answer, and a small page."""

import re

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from ectjax import load_parameters
from ectjax.fitting.crystals import RockSalt
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.molecules import g2_molecule
from ectjax.fitting.report.engines import comparisons
from ectjax.fitting.report.measure import measure_crystal, measure_molecule, measure_pair
from ectjax.fitting.report.references import references_of
from ectjax.fitting.report.table import Findings, rows_of
from ectjax.parameters import ParameterSet, save_parameters


class Classical:
    """Any ASE potential whose free atoms have zero energy."""

    name, relaxes, repeat = "classical", True, 1

    def __init__(self, make):
        self._make = make

    def calculator(self, atoms, unpaired):
        return self._make()

    def spins(self, lowest, highest):
        return [lowest]

    def atom(self, symbol):
        return 0.0


class WithDipole(MorsePotential):
    """Morse's potential with the dipole of charges ±0.3 e."""

    implemented_properties = [*MorsePotential.implemented_properties, "dipole"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, list(properties), list(system_changes) or ["positions"])
        self.results["dipole"] = np.array([0.3, -0.3]) @ self.atoms.positions


class WithoutDipole(EMT):
    """Effective medium theory of hydrogen and carbon as ASE has it, with the dipole of neutral atoms."""

    implemented_properties = [*EMT.implemented_properties, "dipole"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, list(properties), list(system_changes))
        self.results["dipole"] = np.zeros(3)


def test_minimum_and_charge_of_a_morse_curve():
    """R_e, D_e, curve and charge of a potential whose parameters are the reference's own."""
    pair = next(p for p in read_diatomics() if (p.a, p.b) == ("N", "O"))
    rho = pair.range_parameter * pair.r_e
    engine = Classical(lambda: WithDipole(epsilon=pair.d_e, r0=pair.r_e, rho0=rho, rcut1=40.0, rcut2=50.0))
    distances = pair.r_e * np.linspace(0.85, 2.2, 8)
    found = measure_pair(engine, pair, distances)
    assert found.r_e == pytest.approx(pair.r_e, abs=2e-3) and found.d_e == pytest.approx(pair.d_e, abs=1e-4)
    np.testing.assert_allclose(found.energies, pair.morse(distances), atol=1e-6)
    assert found.charge == pytest.approx(0.3, abs=1e-12) and abs(found.apart_energy) < 1e-9


def test_rock_salt_of_lennard_jones_pairs():
    """Nearest neighbours alone: they sit at 2^(1/6) σ, six bonds per formula unit of depth ε each, shared among two."""
    sigma, epsilon = 2.5, 0.4
    contact = 2 ** (1 / 6) * sigma
    engine = Classical(lambda: LennardJones(sigma=sigma, epsilon=epsilon, rc=1.25 * contact, smooth=False))
    found = measure_crystal(engine, RockSalt("NaCl", 5.7, 1.0))
    shift = 4 * epsilon * ((sigma / (1.25 * contact)) ** 12 - (sigma / (1.25 * contact)) ** 6)
    assert found.constant == pytest.approx(2 * contact, abs=0.01)
    assert found.energy == pytest.approx(6 * (epsilon + shift), abs=1e-3)


def test_relaxation_lowers_the_energy():
    found = measure_molecule(Classical(WithoutDipole), g2_molecule("C2H4"))
    assert found.relaxed > found.fixed and found.done and 0 < found.bonds < 0.6


def test_table_of_perfect_results_meets_every_bar():
    """Zero error where the results are the references."""
    from ectjax.fitting.report.measure import CrystalResult, MoleculeResult, PairResult

    references = references_of(load_parameters("curves"), quick=True)
    curves = np.array([p.morse(p.r_e * np.linspace(0.85, 2.2, 8)) for p in references.pairs])
    perfect = Findings(
        pairs=[
            PairResult(e, p.r_e, p.d_e, p.charge_a, 0.0, 0.0) for e, p in zip(curves, references.pairs, strict=True)
        ],
        held_out=[MoleculeResult(m.atomisation, m.atomisation, 0.0, 0.0, True) for m in references.held_out],
        dipoles=references.dipoles,
        crystals=[CrystalResult(c.constant, c.energy) for c in references.crystals],
    )
    rows = rows_of(references, curves)
    judged = [r for r in rows if np.isfinite(r.bar)]
    assert len(judged) > 8 and all(r.value(perfect) <= 1e-9 for r in judged)
    worse = perfect._replace(pairs=[p._replace(r_e=p.r_e + 0.06, apart_charge=0.4) for p in perfect.pairs])
    values = {r.quantity: r.value(worse) for r in rows}
    assert values["R_e, mean abs. error"] == pytest.approx(0.06)
    assert values["pairs not neutral or bound at 30 Å"] == len(references.pairs)


def test_a_molecule_that_was_trained_on_is_not_held_out():
    known = load_parameters("curves")
    seen = ParameterSet(known.name, known.elements, known.states, known.options, "", {"molecules": ["CO2", "C3H8"]})
    names = references_of(seen)
    assert [m.name for m in names.trained] == ["CO2"] and "CO2" not in {m.name for m in names.held_out}
    assert "C3H8" not in {m.name for m in names.larger} and "C6H6" in {m.name for m in names.larger}


def test_page_of_a_set_of_hydrogen(tmp_path, cli):
    known = load_parameters("curves")
    alone = ParameterSet(
        "h", {"H": known.elements["H"]}, {"H": known.states["H"]}, known.options, "hydrogen", {"pairs": ["H-H"]}
    )
    save_parameters(alone, tmp_path / "h.json")
    done = cli("fit", "report", tmp_path / "h.json", "--no-xtb", "--no-pbe", "--out", tmp_path / "page")
    assert done.code == 0, done.err
    text = (tmp_path / "page" / "report.md").read_text()
    pictures = re.findall(r"\]\((.*\.png)\)", text)
    assert set(pictures) == {"curves.png", "charges.png"} and all((tmp_path / "page" / p).is_file() for p in pictures)
    assert (
        "Na-Cl" in text.split("## Not covered")[1] and "| H-H | 0.741 |" in text and "curves of 1 diatomics" in done.out
    )
    assert {p.name for p in tmp_path.iterdir()} == {"h.json", "page"}
    again = cli("fit", "report", tmp_path / "h.json", "--out", tmp_path / "page")
    assert again.code == 2 and "exists already" in again.err
    assert "no parameter set" in cli("fit", "report", "nothing", "--out", tmp_path / "x").err


def test_a_method_without_its_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert comparisons() == []
    with pytest.raises(ImportError, match="tblite"):
        comparisons(xtb=True)
