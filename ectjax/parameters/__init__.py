"""Parameter sets: readable JSON files with their provenance, and the models made from them."""

from ectjax.parameters.store import ParameterSet as ParameterSet
from ectjax.parameters.store import available_parameters as available_parameters
from ectjax.parameters.store import load_parameters as load_parameters
from ectjax.parameters.store import save_parameters as save_parameters
