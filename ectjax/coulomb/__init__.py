"""Long-range Coulomb sums over net charges: direct, Ewald, particle mesh Ewald and the damped shifted force, with one
interface.

An operator is prepared once for a geometry; `potential(charges)` (eV/e) is linear and symmetric, and
`energy(charges)` is half of charges · potential (eV). Differentiable to second order in everything.
"""

from ectjax.coulomb.choice import long_range_parameters
from ectjax.coulomb.direct import DirectCoulomb
from ectjax.coulomb.ewald import EwaldParameters, EwaldReciprocal, ewald_parameters, ewald_real_kernel
from ectjax.coulomb.pme import PMEReciprocal
from ectjax.coulomb.pme_parameters import PMEParameters, pme_parameters
from ectjax.coulomb.shifted import DampedShiftedForce, damped_shifted_force
from ectjax.coulomb.total import ewald_energy, ewald_stress

__all__ = [
    "DampedShiftedForce",
    "DirectCoulomb",
    "EwaldParameters",
    "EwaldReciprocal",
    "PMEParameters",
    "PMEReciprocal",
    "damped_shifted_force",
    "ewald_energy",
    "ewald_parameters",
    "ewald_real_kernel",
    "ewald_stress",
    "long_range_parameters",
    "pme_parameters",
]
