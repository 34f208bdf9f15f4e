"""Atomic tables: states, energies and spherical densities of isolated atoms, one HDF5 file per element."""

from .records import AtomicState as AtomicState
from .records import Element as Element
from .records import label_of as label_of
from .records import parse_label as parse_label
from .store import available_elements as available_elements
from .store import load_element as load_element
from .store import read_table as read_table
from .store import table_directory as table_directory
from .store import write_table as write_table
from .symbols import NUMBERS as NUMBERS
from .symbols import SYMBOLS as SYMBOLS
from .symbols import symbol_of as symbol_of
