"""Compiled sums over pairs and mesh points for dynamics on CPUs: optional, about three times as fast as XLA's code.

`python -m ectjax.native` compiles `sums.cc` once with the machine's C++ compiler into the user's cache folder; from
then on `ectjax md` and `Simulation` use it (switch off: environment variable ECTJAX_NATIVE=0). The pure JAX path
stays the reference and the only one that can be differentiated: here forces and stress are written out.
"""

from ectjax.native.library import available as available
from ectjax.native.library import build as build
from ectjax.native.library import can_be_built as can_be_built
from ectjax.native.library import usable as usable
from ectjax.native.tables import NativeTables as NativeTables
from ectjax.native.tables import native_tables as native_tables
from ectjax.native.tables import obstacle_of as obstacle_of
