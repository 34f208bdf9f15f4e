"""Is a stored table what it claims to be? Count, cusp, tail and sign of every density, without JAX."""

import math
from dataclasses import dataclass

import numpy as np

from ..units import HARTREE_IN_EV
from .records import AtomicState, Element

COUNT_TOLERANCE = 1e-10
CUSP_TOLERANCE = 1e-10
TAIL_TOLERANCE = 1e-12
FIT_ERROR_LIMIT = 0.02
"""Largest allowed ∫|ρ_fit − ρ_reference| d³r, electrons."""
MOMENT_LIMIT = 5e-3
COULOMB_LIMIT = 1e-3


def evaluate(coefficients, powers, exponents, r) -> np.ndarray:
    """Σ c r^n e^{−ar} in float64."""
    r = np.asarray(r, float)
    return (r[:, None] ** powers * np.exp(-np.outer(r, exponents))) @ coefficients


def check_grid(decay: float) -> np.ndarray:
    """Dense radii for the check of the sign: to 60 bohr, and further to where e^{−decay r} = 1e-16."""
    far = max(60.0, 37.0 / decay)
    return np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 1500), np.linspace(1.0, far, 6000)[1:]])


def smallest(coefficients, powers, exponents) -> float:
    """min over the dense grid of ρ e^{+decay r}, or the leading coefficient of the tail if that is smaller.

    A positive leading coefficient makes ρ > 0 beyond the grid, where its term outweighs all others.
    """
    decay = float(np.min(exponents))
    scaled = evaluate(coefficients, powers, exponents - decay, check_grid(decay))
    slow = np.flatnonzero((exponents == decay) & (coefficients != 0))
    leading = coefficients[slow[np.argmax(powers[slow])]] if len(slow) else -1.0
    return float(min(scaled.min(), leading))


def count_error(coefficients, powers, exponents, electrons: int) -> float:
    gamma = np.array([math.factorial(int(n) + 2) for n in powers], float)
    return abs(math.fsum(4 * np.pi * coefficients * gamma / exponents ** (powers + 3)) - electrons)


def cusp_error(coefficients, powers, exponents, number: int) -> float:
    """|ρ′(0)/(−2Zρ(0)) − 1|; for a density that vanishes at the nucleus, |ρ′(0)|."""
    value = math.fsum(coefficients[powers == 0])
    slope = math.fsum(np.concatenate([coefficients[powers == 1], -(coefficients * exponents)[powers == 0]]))
    return abs(slope / (-2 * number * value) - 1) if value else abs(slope)


@dataclass(frozen=True)
class StateCheck:
    """Measured figures of one stored state and what is wrong with it (`faults` is empty when nothing is)."""

    symbol: str
    label: str
    count_error: float
    cusp_error: float
    tail_error: float
    smallest: float
    faults: tuple[str, ...]
    misses: tuple[str, ...]
    """Quality goals that are not met; not faults of the file."""


def verify_element(element: Element) -> list[StateCheck]:
    """Check every state of a loaded table."""
    return [verify_state(element, state) for state in element.states]


def verify_state(element: Element, state: AtomicState) -> StateCheck:
    """Check one state: equalities to rounding, sign on a dense grid, tail against the state's own energies."""
    terms = state.coefficients, state.powers, state.exponents
    if state.electrons == 0:
        fault = () if not np.any(state.coefficients) else ("a bare nucleus carries electrons",)
        return StateCheck(element.symbol, state.label, 0.0, 0.0, 0.0, 0.0, fault, ())
    count = count_error(*terms, state.electrons)
    cusp = cusp_error(*terms, element.number)
    active = state.exponents[state.coefficients != 0]
    tail = abs(float(active.min()) / state.decay - 1)
    low = smallest(*terms)
    faults = []
    if count > COUNT_TOLERANCE:
        faults.append(f"electron count off by {count:.1e}")
    if cusp > CUSP_TOLERANCE:
        faults.append(f"nuclear cusp off by {cusp:.1e}")
    if tail > TAIL_TOLERANCE:
        faults.append(f"slowest exponent {active.min():.6f} is not {state.decay:.6f}")
    if low < 0:
        faults.append(f"density negative ({low:.1e})")
    misses = []
    if state.fit.get("l1", 0.0) > FIT_ERROR_LIMIT:
        misses.append(f"fit error {state.fit['l1']:.4f} e")
    for name in ("inverse_r", "r", "r2"):
        if abs(state.fit.get(f"{name}_error", 0.0)) > MOMENT_LIMIT:
            misses.append(f"<{name}> off by {100 * state.fit[f'{name}_error']:.2f} %")
    for name in ("inverse_r_error", "self_repulsion_error"):
        if abs(state.fit.get(name, 0.0)) > COULOMB_LIMIT:
            misses.append(f"{name} {100 * state.fit[name]:.2f} %")
    return StateCheck(element.symbol, state.label, count, cusp, tail, low, tuple(faults), tuple(misses))


def energy_tolerance(state: AtomicState, number: int = 1) -> float:
    """Allowed |computed − experimental| in eV of a state of the element `number`.

    Charge states: 0.1 to argon, 0.25 from potassium on, per ionisation step; excitations: 0.15.
    """
    step = 0.25 if number > 18 else 0.1
    return 0.15 if state.excitation else step * max(1, abs(state.charge))


def energy_difference_ev(state: AtomicState) -> float:
    """Computed minus experimental energy in eV; nan where there is no experimental one."""
    return (state.energy_computed - state.energy_experimental) * HARTREE_IN_EV
