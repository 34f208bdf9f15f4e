"""ectjax: a differentiable, reactive, charge-transferring interatomic potential (ECT-EAM) in JAX.

    model = ectjax.load_model("default", elements=["Na", "Cl"])
    system = ectjax.build_system(model, numbers=[11, 17], positions=[[0, 0, 0], [0, 0, 2.4]])
    results = ectjax.calculate(model, system)      # energy, forces, charges, …; eV, Å, e

Importing changes no JAX setting; call jax.config.update("jax_enable_x64", True) for float64.
"""

from ectjax.calculate import Results as Results
from ectjax.calculate import calculate as calculate
from ectjax.diagnose import explain as explain
from ectjax.ensemble import Equilibration as Equilibration
from ectjax.load import load_model as load_model
from ectjax.model import Model as Model
from ectjax.model import Parameters as Parameters
from ectjax.parameters import load_parameters as load_parameters
from ectjax.potential import System as System
from ectjax.potential import geometry_terms as geometry_terms
from ectjax.potential import potential_energy as potential_energy
from ectjax.potential import solve_weights as solve_weights
from ectjax.system import build_system as build_system

__version__ = "0.1.0"
