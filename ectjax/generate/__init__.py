"""Builds atomic tables offline with PySCF (extra `generate`); the rest of the package never imports this."""

from .build import build_element as build_element
from .outcome import Outcome as Outcome
from .states import recipes as recipes
