"""What follows from the equilibrated energy: response to charge, field and displacement."""

from ectjax.analysis.infrared import Infrared as Infrared
from ectjax.analysis.infrared import infrared as infrared
from ectjax.analysis.response import Response as Response
from ectjax.analysis.response import respond as respond
