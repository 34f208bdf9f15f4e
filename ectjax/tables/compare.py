"""Do two builds of a table agree? Energies to a meV, densities to the tolerance of their fits."""

import math
from dataclasses import dataclass

import numpy as np

from ..units import HARTREE_IN_EV
from .goals import fit_error_goal
from .records import AtomicState, Element
from .verify import evaluate

ENERGY_TOLERANCE_EV = 1e-3
"""Between two builds: iterations converge to about 1e-7 eV, other versions of PySCF and LAPACK to somewhat less."""
DECAY_TOLERANCE = 1e-4
"""Relative; a decay follows from energies."""


@dataclass(frozen=True)
class Difference:
    """One state in two builds."""

    symbol: str
    label: str
    energy: float
    """Computed energies, second less first, eV."""
    decay: float
    """Slowest exponent, relative."""
    density: float
    """∫|ρ₂ − ρ₁| d³r, electrons."""
    limit: float
    """Largest allowed `density`: the fit's own tolerance."""

    @property
    def agree(self) -> bool:
        within = abs(self.energy) <= ENERGY_TOLERANCE_EV and abs(self.decay) <= DECAY_TOLERANCE
        return within and self.density <= self.limit


def compare_elements(first: Element, second: Element) -> list[Difference]:
    """Every state that both tables of one element hold; ValueError for two elements or nothing in common."""
    if first.symbol != second.symbol:
        raise ValueError(f"got tables of {first.symbol} and of {second.symbol}; compare tables of one element")
    common = [label for label in first.labels if label in second.labels]
    if not common:
        raise ValueError(f"the two tables of {first.symbol} have no state in common; build the same states")
    limit = fit_error_goal(first.number)
    return [_difference(first.symbol, first.state(x), second.state(x), limit) for x in common]


def _difference(symbol: str, a: AtomicState, b: AtomicState, limit: float) -> Difference:
    energy = (b.energy_computed - a.energy_computed) * HARTREE_IN_EV
    decay = b.decay / a.decay - 1 if a.decay else b.decay
    slowest = min((x.decay for x in (a, b) if x.decay), default=math.inf)
    r = np.geomspace(1e-5, max(30.0, 45.0 / slowest), 4000)
    volume = 4 * np.pi * r**3 * np.log(r[1] / r[0])
    fits = [evaluate(x.coefficients, x.powers, x.exponents, r) for x in (a, b)]
    return Difference(symbol, a.label, energy, decay, float(np.sum(volume * np.abs(fits[1] - fits[0]))), limit)
