"""Builds atomic tables offline with PySCF (extra `generate`); the rest of the package never imports this."""

from .build import Outcome as Outcome
from .build import build_element as build_element
from .states import recipes as recipes
