"""What GFN2-xTB says about the frames, in the place of the layer: a yardstick for the physics. Needs tblite.

C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019). Molecules are spin restricted, also
along bonds that are pulled; energies count from its own neutral atoms. The network is told nothing.
"""

from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.data import chemical_symbols
from data import Frames
from physics import Physics, nothing

from ectjax.fitting.report.engines import XTBEngine

TEMPERATURES = (300.0, 3000.0)
"""K, of the electrons: the second where the first does not converge."""


def evaluate_xtb(frames: Frames) -> Physics:
    """All frames; those that converge at no temperature are marked and say nothing."""
    found, engine = nothing(frames), XTBEngine()  # it remembers its atoms
    for row, (numbers, positions) in enumerate(zip(frames.numbers, frames.positions, strict=True)):
        real = numbers > 0
        try:
            energy, forces = _single_point(numbers[real], positions[real], float(frames.charge[row]))
        except CalculationFailed:
            found.converged[row] = False
            continue
        found.energy[row] = energy - sum(engine.atom(chemical_symbols[z]) for z in numbers[real])
        found.forces[row, real] = forces
    return found


def _single_point(numbers, positions, charge: float):
    """Energy in eV and forces in eV/Å. Raises CalculationFailed."""
    from tblite.ase import TBLite

    atoms = Atoms(numbers, positions)
    for temperature in TEMPERATURES:
        atoms.calc = TBLite(
            method="GFN2-xTB", charge=charge, electronic_temperature=temperature, max_iterations=500, verbosity=0
        )
        try:
            return atoms.get_potential_energy(), atoms.get_forces()
        except CalculationFailed as failure:
            last = failure
    raise last
