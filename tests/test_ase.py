"""The ASE calculator: its numbers against differences, ASE's drivers on top of it, and what it must not forget."""

import jax
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE
from ase.phonons import Phonons

from ectjax.ase import ECTCalculator

DELTA = 1e-4
MODEL = "curves"  # compiles fast, and its dipole is that of the charges


def crystal(scale=1.0, rattle=0.0):
    atoms = bulk("NaCl", "rocksalt", a=5.64 * scale, cubic=True)
    atoms.rattle(rattle, seed=3)
    atoms.calc = ECTCalculator(MODEL, cutoff=6.0)
    return atoms


def pair(a="Na", b="Cl", distance=2.5, **options):
    return Atoms([a, b], [[0, 0, 0], [0, 0, distance]], calculator=ECTCalculator(**{"model": MODEL} | options))


@pytest.fixture(scope="module")
def salt():
    return crystal(rattle=0.08)


def numerical_forces(atoms, entries):
    found = []
    start = atoms.positions.copy()
    for atom, axis in entries:
        energies = []
        for sign in (1, -1):
            atoms.positions = start
            atoms.positions[atom, axis] += sign * DELTA
            energies.append(atoms.get_potential_energy())
        found.append(-(energies[0] - energies[1]) / (2 * DELTA))
    atoms.positions = start
    return np.array(found)


def test_results_are_complete_and_no_global_setting_changes():
    before = jax.config.jax_enable_x64
    atoms = pair()
    energy = atoms.get_potential_energy()
    results = atoms.calc.results
    assert jax.config.jax_enable_x64 == before
    assert energy == atoms.get_potential_energy(force_consistent=True)
    assert results["weights"].shape == (2, len(atoms.calc.states[0]))
    assert np.allclose(results["weights"].sum(axis=1), 1.0)
    assert results["converged"] and results["residual"] < 1e-6 and results["iterations"] > 0
    charges = atoms.get_charges()
    assert abs(charges.sum()) < 1e-9 and charges[0] > 0.3
    assert np.allclose(atoms.get_dipole_moment(), charges @ atoms.positions)
    assert "stress" not in results and results["forces"].dtype == np.float64


def test_forces_are_minus_the_slope_of_the_energy(salt):
    entries = [(0, 0), (3, 1), (7, 2)]
    forces = salt.get_forces()
    assert abs(forces.sum(axis=0)).max() < 1e-8
    assert np.abs(numerical_forces(salt, entries) - [forces[e] for e in entries]).max() < 1e-6


def test_stress_is_the_slope_under_strain(salt):
    stress = salt.get_stress(voigt=False)
    cell = salt.cell[:].copy()
    for i, j in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * DELTA
            salt.set_cell(cell @ strain, scale_atoms=True)
            energies.append(salt.get_potential_energy())
        salt.set_cell(cell, scale_atoms=True)
        slope = (energies[0] - energies[1]) / (2 * DELTA) / salt.get_volume()
        assert abs(slope - stress[i, j]) < 1e-7
    with pytest.raises(Exception, match="dipole"):
        salt.get_dipole_moment()


def test_a_kept_list_gives_what_a_fresh_calculator_gives(salt):
    atoms = salt.copy()
    atoms.calc = ECTCalculator(MODEL, cutoff=6.0)
    generator = np.random.default_rng(0)
    for _ in range(4):
        atoms.positions += generator.normal(scale=0.05, size=atoms.positions.shape)
        atoms.set_cell(atoms.cell[:] * (1 + 0.004 * generator.normal()), scale_atoms=True)
        fresh = atoms.copy()
        fresh.calc = ECTCalculator(MODEL, cutoff=6.0, skin=0.0, warm_start=0.0)
        assert abs(atoms.get_potential_energy() - fresh.get_potential_energy()) < 2e-6


def test_molecular_dynamics_conserves_energy(salt):
    atoms = crystal()
    momenta = np.random.default_rng(1).normal(size=(8, 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    start = atoms.get_total_energy()
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    totals = [start]
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()))
    dynamics.run(40)
    assert np.ptp(totals) / len(atoms) < 2e-4
    assert atoms.get_kinetic_energy() > 0


def test_equation_of_state_has_its_minimum_near_rock_salt():
    volumes, energies = [], []
    for scale in np.linspace(0.96, 1.05, 6):
        atoms = crystal(scale)
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies).fit()
    assert 5.0 < volume ** (1 / 3) < 6.3
    assert modulus > 0


@pytest.mark.parametrize("optimizer", [BFGS, FIRE])
def test_optimisers_find_the_bond(optimizer):
    atoms = pair(distance=2.8)
    assert optimizer(atoms, logfile=None).run(fmax=0.005, steps=200)
    assert 1.8 < atoms.get_distance(0, 1) < 3.0


def test_phonons_by_finite_displacement(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    phonons = Phonons(atoms, ECTCalculator(MODEL, cutoff=6.0), supercell=(2, 2, 2), delta=0.02)
    phonons.run()
    phonons.read(acoustic=True)
    frequencies = np.real(phonons.band_structure([[0, 0, 0]])[0])
    assert np.abs(frequencies[:3]).max() < 1e-3  # acoustic modes at Γ
    assert frequencies[5] > 0.01


def test_changed_species_and_charge_are_noticed():
    atoms = pair()
    salt = atoms.get_potential_energy()
    atoms.symbols[0] = "H"
    atoms.positions[1, 2] = 1.3
    acid = atoms.get_potential_energy()
    assert acid != salt and abs(atoms.get_charges()).max() < 1.0
    atoms.calc.set(charge=1.0)
    assert atoms.get_potential_energy() > acid + 5.0
    assert abs(atoms.get_charges().sum() - 1.0) < 1e-9


def test_a_stated_total_charge_is_never_ignored():
    atoms = pair()
    atoms.get_potential_energy()
    atoms.info["charge"] = 1
    with pytest.raises(ValueError, match=r"info\['charge'\] is 1"):
        atoms.get_potential_energy()
    atoms.info.clear()
    atoms.set_initial_charges([1.0, 0.0])
    with pytest.raises(ValueError, match="initial charges"):
        atoms.get_potential_energy()
    atoms.calc.set(charge=1.0)
    atoms.info["charge"] = 1
    assert abs(atoms.get_potential_energy()) > 0


def test_periodicity_switched_off_gives_a_molecule():
    atoms = pair()
    atoms.set_cell(np.eye(3) * 12.0)
    open_energy = atoms.get_potential_energy()
    atoms.pbc = True
    periodic = atoms.get_potential_energy()
    assert periodic != open_energy and "stress" in atoms.calc.results
    atoms.pbc = False
    assert abs(atoms.get_potential_energy() - open_energy) < 1e-9


def test_bad_input_is_a_value_error():
    for change, told in (
        (lambda a: a.set_positions(np.full((2, 3), np.nan)), "finite"),
        (lambda a: a.set_positions(np.zeros((2, 3))), "apart"),
        (lambda a: a.symbols.__setitem__(0, "Xe"), "Xe"),
        (lambda a: a.set_pbc(True), "volume"),
        (lambda a: (a.set_cell(np.eye(3) * 9), a.set_pbc([True, True, False])), "periodic directions"),
        (lambda a: a.calc.set(charge=9.0), "reach"),
    ):
        atoms = pair()
        change(atoms)
        with pytest.raises(ValueError, match=told):
            atoms.get_potential_energy()
    with pytest.raises(ValueError, match="no atoms"):
        Atoms(calculator=ECTCalculator()).get_potential_energy()
    with pytest.raises(ValueError, match="dtype"):
        ECTCalculator(dtype="float16")


def test_no_convergence_is_an_error_that_says_what_to_do():
    atoms = pair(max_iterations=1, distance=2.2)
    with pytest.raises(Exception, match="max_iterations"):
        atoms.get_potential_energy()


def test_float32_runs():
    low, high = pair(dtype="float32"), pair()
    assert abs(low.get_potential_energy() - high.get_potential_energy()) < 1e-3


def test_parameters_that_mean_nothing_are_refused():
    for options in ({"max_iteration": 10}, {"tolerance": -1.0}, {"tolerance": np.nan}, {"max_iterations": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            ECTCalculator(**options)
    with pytest.raises(ValueError, match="no parameter spin"):
        ECTCalculator().set(spin=1)
