"""What a table says about one element: its states, their energies and densities (atomic units)."""

import math
from dataclasses import dataclass, field

import numpy as np

from ..radial.slater import SlaterExpansion


@dataclass(frozen=True, eq=False)
class AtomicState:
    """One state α = (charge, excitation) of an isolated atom.

    Energies are in Hartree relative to the neutral ground state; densities in electrons/bohr³.
    """

    label: str
    """"-1", "0", "+1", "+2" for ground states; "0*", "0**", … for excited neutral states; "-1*" for an anion as its
    neighbours leave it."""
    charge: int
    excitation: int
    """0 for the lowest state of its charge, then 1, 2, …"""
    electrons: int
    term: str
    configuration: str
    energy_computed: float
    energy_experimental: float
    """Same zero as `energy_computed`; nan where no measured value was at hand."""
    energy_source: str
    """Where `energy_experimental` was taken from."""
    bound: bool
    """False for a state that does not last by itself: one that would lose an electron, or a compressed anion; its
    density is a model of it in a crystal."""
    decay: float
    """Slowest exponent of the density, 2√(2I), 1/bohr; 0 for a bare nucleus."""
    decay_source: str
    method: str
    basis: str
    coefficients: np.ndarray
    powers: np.ndarray
    exponents: np.ndarray
    fit: dict[str, float] = field(default_factory=dict)
    """Errors of the Slater fit against the reference density; keys are explained in docs/tables.md."""
    concordance: dict[str, float | str] = field(default_factory=dict)
    """Agreement of the two embedding forms (docs/embedding.md): status, a, b, strength, rho0, range, rms, depth."""
    reference_radii: np.ndarray = field(default_factory=lambda: np.zeros(0))
    reference_density: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """The density that was fitted, on `reference_radii` (bohr)."""

    @property
    def density(self) -> SlaterExpansion:
        """ρ(r) in closed form, in JAX's current default precision."""
        return SlaterExpansion(self.coefficients, self.powers, self.exponents)

    @property
    def energy(self) -> float:
        """The experimental energy where there is one, else the computed one (Hartree)."""
        return self.energy_computed if math.isnan(self.energy_experimental) else self.energy_experimental


@dataclass(frozen=True, eq=False)
class Element:
    """One chemical element: its symbol, nuclear charge and the states that a table holds."""

    symbol: str
    number: int
    states: tuple[AtomicState, ...]
    provenance: dict[str, str] = field(default_factory=dict)
    """Versions of the programs that made the table."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(state.label for state in self.states)

    def state(self, label: str | int) -> AtomicState:
        """The state of this label ("-1", "0", "+1", "0*", …; integers are charges). ValueError if it is missing."""
        wanted = label_of(label) if isinstance(label, int) else str(label).strip()
        for state in self.states:
            if state.label == wanted:
                return state
        raise ValueError(
            f"{self.symbol} has no state {label!r}; its table holds {', '.join(self.labels)}: pick one of these "
            f"or add it with 'ectjax tables build {self.symbol} --states {wanted}'"
        )


def label_of(charge: int, excitation: int = 0) -> str:
    """ "0", "+1", "-1" with one "*" per excitation."""
    return (f"{charge:+d}" if charge else "0") + "*" * excitation


def parse_label(label: str) -> tuple[int, int]:
    """(charge, excitation) of a label; ValueError when it is not one."""
    text = label.strip()
    bare = text.rstrip("*")
    try:
        charge = int(bare)
    except ValueError:
        charge = None
    if charge is None or label_of(charge) != bare:
        raise ValueError(f"state label {label!r} is not of the form -1, 0, +1, +2, 0* or 0**")
    return charge, len(text) - len(bare)
