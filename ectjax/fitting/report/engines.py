"""What a report measures: the model, GFN2-xTB, PBE. Each gives ASE calculators; eV, Å, e."""

import importlib.util
from functools import cache
from typing import Protocol

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, ground_state_magnetic_moments
from ase.units import Hartree

from ectjax.ase import ECTCalculator
from ectjax.fitting.padded import PaddedCalculator
from ectjax.model import Model
from ectjax.units import DEBYE_IN_E_ANGSTROM


class Engine(Protocol):
    """A method. `relaxes`: whether it is asked for relaxed geometries and crystals, or for the measured ones only;
    `repeat`: of the cubic cell of rock salt, for methods without wave vectors."""

    name: str
    relaxes: bool
    repeat: int

    def calculator(self, atoms: Atoms, unpaired: int) -> Calculator:
        """For these atoms with so many unpaired electrons."""

    def spins(self, lowest: int, highest: int) -> list[int]:
        """Numbers of unpaired electrons to choose the lowest energy from."""

    def atom(self, symbol: str) -> float:
        """Energy of the free atom in eV."""


class ModelEngine:
    """The model. It has no spin: the number of unpaired electrons is not used."""

    relaxes, repeat = True, 1

    def __init__(self, name: str, model: Model):
        self.name, self._model = name, model

    def calculator(self, atoms: Atoms, unpaired: int) -> Calculator:
        if atoms.pbc.any():
            return ECTCalculator(self._model, warm_start=0.0)
        return PaddedCalculator(self._model)

    def spins(self, lowest: int, highest: int) -> list[int]:
        return [lowest]

    def atom(self, symbol: str) -> float:
        return 0.0


class XTBEngine:
    """GFN2-xTB by tblite, spin polarised; of several numbers of unpaired electrons the lowest energy counts.

    C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
    """

    name, relaxes, repeat = "GFN2-xTB", True, 2

    def calculator(self, atoms: Atoms, unpaired: int) -> Calculator:
        from tblite.ase import TBLite

        polarised = {"spin_polarization": 1.0} if unpaired else {}
        return TBLite(method="GFN2-xTB", multiplicity=unpaired + 1, verbosity=0, **polarised)

    def spins(self, lowest: int, highest: int) -> list[int]:
        return list(range(lowest, highest + 1, 2))

    def atom(self, symbol: str) -> float:
        return _free_atom(self, symbol)


class PBEEngine:
    """PBE in the basis def2-TZVP by PySCF, unrestricted, at the measured geometries only."""

    name, relaxes, repeat = "PBE", False, 1

    def calculator(self, atoms: Atoms, unpaired: int) -> Calculator:
        return PBECalculator(unpaired)

    def spins(self, lowest: int, highest: int) -> list[int]:
        return [lowest]

    def atom(self, symbol: str) -> float:
        return _free_atom(self, symbol)


class PBECalculator(Calculator):
    """Energy and dipole of a molecule with PBE/def2-TZVP."""

    implemented_properties = ["energy", "dipole"]  # noqa: RUF012

    def __init__(self, unpaired: int):
        super().__init__()
        self._unpaired = unpaired

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        from pyscf import dft, gto

        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None
        geometry = list(zip(self.atoms.get_chemical_symbols(), self.atoms.positions.tolist(), strict=True))
        molecule = gto.M(atom=geometry, basis="def2-tzvp", spin=self._unpaired, verbose=0)
        field = dft.UKS(molecule, xc="pbe").density_fit()
        field.kernel()
        if not field.converged:  # fractional steps are slow but safe
            field = field.newton()
            field.kernel()
        dipole = field.dip_moment(unit="Debye", verbose=0) * DEBYE_IN_E_ANGSTROM
        self.results = {"energy": field.e_tot * Hartree, "dipole": dipole}


@cache
def _free_atom(engine: Engine, symbol: str) -> float:
    atoms = Atoms(symbol)
    unpaired = round(ground_state_magnetic_moments[atomic_numbers[symbol]])
    atoms.calc = engine.calculator(atoms, unpaired)
    return float(atoms.get_potential_energy())


def comparisons(xtb: bool | None = None, pbe: bool | None = None) -> list[Engine]:
    """The methods to compare with: those asked for, and by default (None) those that are installed.

    Raises ImportError for one that was asked for and is not installed.
    """
    chosen: list[Engine] = []
    for asked, package, option, engine in (
        (xtb, "tblite", "--xtb", XTBEngine),
        (pbe, "pyscf", "--pbe", PBEEngine),
    ):
        installed = importlib.util.find_spec(package) is not None
        if asked and not installed:
            raise ImportError(f"{option} needs the package {package}; install it or leave {option} out")
        if asked is not False and installed:
            chosen.append(engine())
    return chosen
