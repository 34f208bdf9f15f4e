"""Molecules of different sizes through few compiled programs: an ASE calculator that pads. eV, Å, e."""

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from ectjax.calculate import calculate_lightly
from ectjax.model import Model
from ectjax.system import open_system

PADDED_SIZES = (2, 4, 7, 14, 30)
"""Molecules are padded to the next of these numbers of atoms."""
FMAX, STEPS, MAXSTEP = 0.02, 300, 0.05


class PaddedCalculator(Calculator):
    """Energy, forces, charges and dipole of neutral molecules, cold-started and padded; float64."""

    implemented_properties = ["energy", "forces", "charges", "dipole"]  # noqa: RUF012

    def __init__(self, model: Model):
        super().__init__()
        self._model = model

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        """ASE's entry point: fills `results`."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None
        count = len(self.atoms)
        size = next((x for x in PADDED_SIZES if x >= count), count)
        species = np.full(size, -1, np.int32)
        positions = np.zeros((size, 3))
        species[:count] = self._model.species_of(self.atoms.numbers)
        positions[:count] = self.atoms.positions
        with jax.enable_x64(True):
            found = calculate_lightly(self._model, open_system(jnp.asarray(species), jnp.asarray(positions)))
        self.results = {
            "energy": float(found.energy),
            "forces": np.array(found.forces)[:count],
            "charges": np.array(found.equilibration.charges)[:count],
            "dipole": np.array(found.dipole),
        }


def relax(atoms: Atoms) -> bool:
    """Move atoms with a calculator to the nearest minimum; whether every force is below `FMAX` eV/Å.

    Steps are short (`MAXSTEP` Å): longer ones leap over barriers into other molecules.
    """
    return bool(BFGS(atoms, logfile=None, maxstep=MAXSTEP).run(fmax=FMAX, steps=STEPS))
