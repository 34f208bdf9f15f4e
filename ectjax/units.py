"""Units: atomic units inside tables, radial functions and embedding; eV, Å, e, amu, fs everywhere else.

Constants are CODATA 2018.
"""

BOHR_IN_ANGSTROM = 0.529177210903
HARTREE_IN_EV = 27.211386245988
COULOMB_EV_ANGSTROM = HARTREE_IN_EV * BOHR_IN_ANGSTROM
"""e²/(4πε₀) in eV Å: the energy of two unit charges one ångström apart."""

BOLTZMANN_EV_PER_K = 8.617333262145179e-05
AMU_IN_ELECTRON_MASS = 1822.888486209

FEMTOSECOND = 0.09822694750253276
"""One femtosecond in the time unit √(amu Å²/eV) that belongs to eV, Å and amu."""

DEBYE_IN_E_ANGSTROM = 0.20819433270926
EV_PER_ANGSTROM3_IN_GPA = 160.2176634
