"""Ensemble weights: simplices and total charge, equilibration, implicit derivatives."""

from ectjax.ensemble._projection import charge_range as charge_range
from ectjax.ensemble._projection import project_simplices as project_simplices
from ectjax.ensemble._projection import project_weights as project_weights
from ectjax.ensemble._result import Equilibration as Equilibration
from ectjax.ensemble._screening import Screening as Screening
from ectjax.ensemble._starts import HISTORY as HISTORY
from ectjax.ensemble._starts import foreseen_weights as foreseen_weights
from ectjax.ensemble._starts import start_amplitudes as start_amplitudes
from ectjax.ensemble.equilibrate import default_tolerance as default_tolerance
from ectjax.ensemble.equilibrate import equilibrate as equilibrate
