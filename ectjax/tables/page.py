"""docs/tables.md, generated from the table files."""

import math
import os
from pathlib import Path

from ..units import HARTREE_IN_EV
from .records import AtomicState, Element
from .store import SCHEMA, SCHEMA_VERSION, available_elements, load_element
from .verify import energy_difference_ev, energy_tolerance, verify_state

_HEAD = f"""# Atomic tables

This page is written by `ectjax tables page` from the files in `basis_tables/`; do not edit it by hand.

Energies are relative to the neutral ground state. "Fit error" is ∫|ρ_fit − ρ_reference| d³r in electrons. The count,
the nuclear cusp and the slowest exponent of every density are exact; its sign is checked on about 7500 radii out to
60 bohr or further. `ectjax tables verify` repeats the check, `ectjax tables show EL` prints one element, `ectjax
tables plot EL` draws it, `ectjax tables build EL` makes it again.

## How the numbers are made

* Energies: UCCSD(T) in the named basis, the correlation energy extrapolated from this basis and the next smaller
  one where the method says CBS(T,Q) or CBS(D,T). Core orbitals are frozen where the method says so.
* Densities: UCCSD one-particle density matrix (lambda equations solved), averaged over angles in closed form: only
  pairs of shells with the same angular momentum enter, averaged over m.
* Low-spin terms of p², p³, p⁴ (¹D, ²D): coupled cluster of the ground term plus the difference of two state-averaged
  valence CASSCF calculations (densities), with NEVPT2 (energies).
* Measured energies: ionisation energies and electron affinities from mendeleev (NIST and the affinities listed
  there), excitation energies from NIST levels averaged over J. They are in `ectjax/generate/experiment.csv`.
* Fit: Slater terms c r^n e^(−ar), at most 16. The slowest exponent is 2√(2I), I the state's own ionisation energy,
  measured where known; promoted states whose spin forbids the cation's ground state ionise to an excited cation.
  Coefficients: convex least squares with count and cusp as equalities, ρ ≥ 0 on a grid, and a tail that falls
  monotonically. Beyond ρ = 1e-6, where Gaussian basis functions give out, the fit follows the asymptotic form
  r^(2β) e^(−ar), β = 2(q+1)/a − 1.

## File format (schema {SCHEMA_VERSION})

One HDF5 file per element, `basis_tables/Na.h5`; atomic units throughout.

| where | what |
|---|---|
| root attributes | `schema` = "{SCHEMA}", `schema_version` = {SCHEMA_VERSION}, `units`, `symbol`, `number`, `labels` (JSON list), `provenance` (JSON: package versions), `checksum` (sha256 of the content) |
| `states/<label>` attributes | `charge`, `excitation`, `electrons`, `term`, `configuration`, `energy_computed`, `energy_experimental` (nan if none), `energy_source`, `bound`, `decay`, `decay_source`, `method`, `basis`, `fit` (JSON: errors) |
| `states/<label>/coefficients`, `powers`, `exponents` | the density ρ = Σ c r^n e^(−ar) |
| `states/<label>/reference_radii`, `reference_density` | the density that was fitted |

To add an element of your own, fill an `ectjax.tables.Element`, call `ectjax.tables.write_table(element, "X.h5")`,
and pass the file or its folder as `path` to `load_element`.
"""  # noqa: E501


def write_page(out: str | os.PathLike, path: str | os.PathLike | None = None) -> Path:
    """Write the page for all tables in `path` (default: the shipped ones)."""
    elements = [load_element(symbol, path) for symbol in available_elements(path)]
    if not elements:
        raise ValueError("no tables to describe; make some with 'ectjax tables build H'")
    parts = [_HEAD, _summary(elements), *(_section(element) for element in elements)]
    out = Path(out)
    temporary = out.with_name(f".{out.name}.part")
    temporary.write_text("\n".join(parts))
    os.replace(temporary, out)
    return out


def reason(state: AtomicState) -> str:
    """Why a state's energy may miss its goal: what its method leaves out."""
    if not state.bound:
        return "not bound in isolation; the energy depends on the basis"
    if "NEVPT2" in state.method:
        return "minimal active space for the splitting of the terms"
    left_out = ["relativity"]
    if "frozen" in state.method:
        left_out.insert(0, "core–valence correlation")
    if "diffuse shell" in state.basis:
        left_out.insert(0, "more diffuse functions")
    if "TZ" in state.basis or "(T" in state.basis:
        left_out.insert(0, "functions beyond triple zeta")
    return "left out: " + ", ".join(left_out) + "; measured levels averaged over J or lowest J"


def _summary(elements: list[Element]) -> str:
    lines, misses, states = [], [], 0
    for element in elements:
        for state in element.states:
            states += 1
            check = verify_state(element, state)
            misses += [f"* {element.symbol} {state.label}: {text}" for text in (*check.faults, *check.misses)]
            difference = energy_difference_ev(state)
            if abs(difference) > energy_tolerance(state):
                misses.append(f"* {element.symbol} {state.label}: energy off by {difference:+.3f} eV ({reason(state)})")
            goal = 0.005 if element.number <= 10 else 0.02
            if goal < state.fit.get("l1", 0.0) <= 0.02:
                misses.append(
                    f"* {element.symbol} {state.label}: fit error {state.fit['l1']:.4f} e above the goal of {goal} e "
                    "(the long tail of a loosely bound electron and 16 terms)"
                )
    lines.append(f"## What misses its goal\n\n{states} states of {len(elements)} elements.\n")
    small = [e.symbol for e in elements if "TZ" in e.state("0").basis or "(T" in e.state("0").basis]
    if small:
        misses.append(f"* {', '.join(small)}: triple-zeta basis where the goal is quadruple (computing time)")
    lines += misses or ["Nothing."]
    return "\n".join(lines) + "\n"


def _section(element: Element) -> str:
    lines = [
        f"## {element.symbol}\n",
        "| state | term | configuration | E (eV) | measured (eV) | difference | decay | fit error (e) "
        "| <1/r> | <r> | <r²> | worst of their errors (%) | repulsion error (%) |",
        "|" + "---|" * 13,
    ]
    for state in element.states:
        fit = state.fit
        worst = max(abs(fit.get(f"{k}_error", 0.0)) for k in ("inverse_r", "r", "r2"))
        measured, difference = state.energy_experimental * HARTREE_IN_EV, energy_difference_ev(state)
        lines.append(
            f"| {state.label}{'' if state.bound else ' (unbound)'} | {state.term} | {state.configuration} "
            f"| {state.energy_computed * HARTREE_IN_EV:.3f} | {'' if math.isnan(measured) else f'{measured:.3f}'} "
            f"| {'' if math.isnan(difference) else f'{difference:+.3f}'} | {state.decay:.4f} "
            f"| {fit.get('l1', 0.0):.5f} | {fit.get('inverse_r', 0.0):.4f} | {fit.get('r', 0.0):.4f} "
            f"| {fit.get('r2', 0.0):.4f} | {100 * worst:.4f} | {100 * abs(fit.get('self_repulsion_error', 0.0)):.4f} |"
        )
    lines.append("\nMoments are ∫ρ rᵏ d³r in atomic units.\n")
    lines += [
        f"* {s.label}: {s.method}{', ' + s.basis if s.basis else ''}; decay from {s.decay_source}"
        for s in element.states
    ]
    versions = ", ".join(f"{k} {v}" for k, v in element.provenance.items())
    return "\n".join(lines) + f"\n\nMade with {versions}.\n"
