"""The ASE calculator: relax a water molecule, look at charges and weights."""

from ase.build import molecule
from ase.optimize import BFGS

from ectjax.ase import ECTCalculator

atoms = molecule("H2O")
atoms.calc = ECTCalculator(charge=0.0)
BFGS(atoms, logfile=None).run(fmax=0.01)
print(f"energy {atoms.get_potential_energy():.4f} eV, charges {atoms.get_charges().round(3)} e")
print(f"dipole {atoms.get_dipole_moment().round(3)} e Å; weights of the oxygen states {atoms.calc.states[0]}:")
print(atoms.calc.results["weights"][0].round(3))
