"""What follows from the equilibrated energy (responses), and weights found from a density instead."""

from ectjax.analysis.density_weights import DensityWeights as DensityWeights
from ectjax.analysis.density_weights import fit_weights as fit_weights
from ectjax.analysis.density_weights import hirshfeld_charges as hirshfeld_charges
from ectjax.analysis.density_weights import superpose as superpose
from ectjax.analysis.elastic import Elasticity as Elasticity
from ectjax.analysis.elastic import EquationOfState as EquationOfState
from ectjax.analysis.elastic import elastic_constants as elastic_constants
from ectjax.analysis.elastic import equation_of_state as equation_of_state
from ectjax.analysis.infrared import Infrared as Infrared
from ectjax.analysis.infrared import infrared as infrared
from ectjax.analysis.molecular_density import MolecularDensity as MolecularDensity
from ectjax.analysis.molecular_density import density_from_cube as density_from_cube
from ectjax.analysis.molecular_density import density_from_pyscf as density_from_pyscf
from ectjax.analysis.response import Response as Response
from ectjax.analysis.response import respond as respond
