"""What a good set of tables has to reach, and which states of a set miss it, each with the reason."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .records import AtomicState, Element
from .symbols import SYMBOLS
from .verify import (
    COULOMB_LIMIT,
    COUNT_TOLERANCE,
    CUSP_TOLERANCE,
    FIT_ERROR_LIMIT,
    MOMENT_LIMIT,
    TAIL_TOLERANCE,
    energy_difference_ev,
    energy_tolerance,
    verify_state,
)

FIT_ERROR_LIGHT = 0.005
"""∫|ρ_fit − ρ_reference| d³r up to neon, electrons; heavier elements have `FIT_ERROR_LIMIT`."""
LIGHT = 10


NOT_PLANNED = (
    "F, Ne, Na, Cl, Ar, Br, Kr: one excited state instead of two - the next ones mix several terms in one determinant",
    "Sc-, Ti-: bound by less than 0.2 eV, of a configuration that one determinant does not describe",
    "Ca-: bound by 0.02 eV, below the accuracy of the method",
)
"""States that a complete set would have and that have no recipe, with the reason."""


_KEPT = {
    ("N", "-1"): "kept because shipped parameter sets were fitted with it; built anew it comes out at 0.0045",
}
"""States whose fit error is known and mended by 'ectjax tables build'."""


def fit_error_goal(number: int) -> float:
    """Largest allowed ∫|ρ_fit − ρ_reference| d³r of an element, electrons."""
    return FIT_ERROR_LIGHT if number <= LIGHT else FIT_ERROR_LIMIT


@dataclass(frozen=True)
class Figure:
    """One figure of one state beside its goal; `limit` is the largest allowed magnitude."""

    symbol: str
    label: str
    goal: str
    value: float
    limit: float
    reason: str

    @property
    def met(self) -> bool:
        return abs(self.value) <= self.limit


def figures(element: Element) -> Iterator[Figure]:
    """Every figure of every state of one element that has a goal."""
    light = element.number <= LIGHT
    before = {state.charge: state for state in element.states if not state.excitation}
    for state in element.states:
        check = verify_state(element, state)

        def figure(goal, value, limit, reason="", label=state.label):
            return Figure(element.symbol, label, goal, float(value), limit, reason)

        broken = "the file is wrong: build it again"
        yield figure("electron count (e)", check.count_error, COUNT_TOLERANCE, broken)
        yield figure("nuclear cusp (relative)", check.cusp_error, CUSP_TOLERANCE, broken)
        yield figure("slowest exponent (relative)", check.tail_error, TAIL_TOLERANCE, broken)
        yield figure("negative density", min(check.smallest, 0.0), 0.0, broken)
        yield from _energies(element, state, before, figure)
        if not state.fit or not state.electrons:
            continue
        many = "more shells than the number of terms resolves" if not light else "a loosely bound electron's long tail"
        many = _KEPT.get((element.symbol, state.label), many)
        goal = "fit error to neon (e)" if light else "fit error beyond neon (e)"
        yield figure(goal, state.fit.get("l1", 0.0), fit_error_goal(element.number), many)
        for key, name in (("r", "<r> (relative)"), ("r2", "<r²> (relative)"), ("inverse_r", "<1/r> (relative)")):
            yield figure(name, state.fit.get(f"{key}_error", 0.0), MOMENT_LIMIT, many)
        yield figure("nuclear attraction (relative)", state.fit.get("inverse_r_error", 0.0), COULOMB_LIMIT, many)
        yield figure("self-repulsion (relative)", state.fit.get("self_repulsion_error", 0.0), COULOMB_LIMIT, many)


def _energies(element: Element, state: AtomicState, before: dict[int, AtomicState], figure) -> Iterator[Figure]:
    """The ionisation step, affinity or excitation energy that ends in this state, where it was measured."""
    difference = energy_difference_ev(state)
    compressed = state.charge < 0 and state.excitation  # measured is only the free anion, which has its own figure
    if math.isnan(difference) or state.label == "0" or compressed:
        return
    heavy = " from potassium on" if element.number > 18 else " to argon"
    if state.excitation:
        yield figure("excitation energy (eV)", difference, energy_tolerance(state, element.number), reason(state))
    elif state.charge < 0:
        yield figure(f"affinity{heavy} (eV)", difference, energy_tolerance(state, element.number), reason(state))
    elif state.charge - 1 in before:
        step = difference - energy_difference_ev(before[state.charge - 1])
        limit = round(energy_tolerance(state, element.number) / state.charge, 6)
        yield figure(f"ionisation step{heavy} (eV)", step, limit, reason(state))


def reason(state: AtomicState) -> str:
    """Why a state's energy may miss its goal: what its method leaves out."""
    if not state.bound:
        return "not bound in isolation; the energy depends on the basis"
    if "NEVPT2" in state.method:
        return "splitting of the terms in a small active space and basis"
    left_out = [] if "X2C" in state.method else ["relativity"]
    if "X2C" in state.method and "spin-orbit" not in state.method:
        left_out.append("spin-orbit coupling")
    if ("frozen" in state.method or state.method.endswith("UHF")) and "core down to" not in state.method:
        left_out.insert(0, "core–valence correlation")
    if "diffuse shell" in state.basis:
        left_out.insert(0, "more diffuse functions")
    if triple_zeta(state):
        beyond = " beyond what MP2 says" if "basis limit by MP2" in state.method else ""
        left_out.insert(0, f"functions beyond triple zeta{beyond}")
    if any(shell in state.configuration for shell in ("3d2", "3d3", "3d4", "3d5", "3d6", "3d7", "3d8", "3d9")):
        left_out.append("further determinants")
    return "left out: " + ", ".join(left_out) + "; measured levels averaged over J or lowest J"


def triple_zeta(state: AtomicState) -> bool:
    """Whether a state's basis is below the goal of quadruple zeta."""
    return "TZ" in state.basis or "(T" in state.basis


def lacks_diffuse(state: AtomicState) -> bool:
    """Whether the diffuse shell that a state's basis names is one f function: so in a cc-pVnZ-DK without "aug-"."""
    return "diffuse shell" in state.basis and "aug-" not in state.basis


@dataclass(frozen=True)
class Tally:
    """One goal over a whole set: how many figures it has, the worst of them, and those that miss it."""

    goal: str
    limits: tuple[float, ...]
    count: int
    worst: Figure
    misses: tuple[Figure, ...]


def tally(elements: list[Element]) -> list[Tally]:
    """All goals over a set of tables, in the order in which they first appear."""
    grouped: dict[str, list[Figure]] = {}
    for element in elements:
        for figure in figures(element):
            grouped.setdefault(figure.goal, []).append(figure)
    return [
        Tally(
            goal,
            tuple(sorted({figure.limit for figure in members})),
            len(members),
            max(members, key=lambda figure: abs(figure.value)),
            tuple(figure for figure in members if not figure.met),
        )
        for goal, members in grouped.items()
    ]


def missing_states(elements: list[Element]) -> dict[str, list[str]]:
    """Element → labels that 'ectjax tables build' makes and the set does not hold, H to Kr; complete ones left out."""
    from ..generate.states import recipes  # a list of names; nothing there needs PySCF

    held = {element.symbol: element.labels for element in elements}
    missing = {s: [label for label in recipes(s) if label not in held.get(s, ())] for s in SYMBOLS[:36]}
    return {symbol: labels for symbol, labels in missing.items() if labels}
