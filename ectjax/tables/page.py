"""docs/tables.md, generated from the table files."""

import math
import os
from pathlib import Path

from ectjax.files import replacing

from ..units import HARTREE_IN_EV
from .goals import NOT_PLANNED, lacks_diffuse, missing_states, tally, triple_zeta
from .records import Element
from .store import SCHEMA, SCHEMA_VERSION, available_elements, load_element
from .verify import energy_difference_ev

_HEAD = f"""# Atomic tables

This page is written by `ectjax tables page` from the files in `basis_tables/`; do not edit it by hand.

Energies are relative to the neutral ground state. "Fit error" is ∫|ρ_fit − ρ_reference| d³r in electrons. The count,
the nuclear cusp and the slowest exponent of every density are exact; its sign is checked on about 7500 radii out to
60 bohr or further. `ectjax tables verify` repeats the check, `ectjax tables goals` prints every goal with what misses
it, `ectjax tables show EL` prints one element, `ectjax tables plot EL` draws it.

`ectjax tables build all --force --jobs 4` makes the whole set again (extra `generate`; hours); `ectjax tables build
EL` one element. A state that fails is reported, leaves no trace in the files and does not stop the others; run the
command again without `--force` to go on where it stopped. `ectjax tables compare FOLDER` puts another build beside the
shipped files, state by state; 207 of the states built a second time are in
`benchmarks/results/tables_rebuild.txt`: equal energies to 1.4e-4 eV, decays to 7e-5, densities to 0.0092 e, and none
farther apart than half of what their fits may miss.

## How the numbers are made

* Energies: UCCSD(T) in the named basis, the correlation energy extrapolated from this basis and the next smaller
  one where the method says CBS(T,Q) or CBS(D,T). "(T) of" a smaller basis: the triples, which change by meV from
  there on, come from it. Core orbitals are frozen where the method says so. From potassium on the Hamiltonian is
  scalar relativistic (X2C).
* "Basis limit by MP2": SCF in the larger of the two bases, MP2 extrapolated from both, and what coupled cluster adds
  to MP2 in the basis of the density. "Core down to": the correlation energy that the method named there gains, in the
  basis named there, when only so many orbitals are frozen; "+ core of cc-pwCVTZ-PP" are the tight functions that this
  basis has beyond cc-pVTZ-PP. "Lowest level by spin-orbit coupling": first order, with ζ = (α²/2) ⟨(1/r) dV/dr⟩ of the
  open p orbital in the field of the nucleus and the other electrons; measured ionisation energies join lowest levels.
  All three change energies only.
* Outer electrons of Rydberg states and of anions of the 3d row: further diffuse shells as the basis is named; "s, p, d
  of" an "aug-" basis are the diffuse functions that it has beyond the one before.
* Densities: UCCSD one-particle density matrix (lambda equations solved), averaged over angles in closed form: only
  pairs of shells with the same angular momentum enter, averaged over m.
* Open d shells: every high-spin ground term of d^n is one determinant of real orbitals with pure L (d2: z2 x2-y2;
  d3: xy xz yz; d7, d8: their complements), which coupled cluster starts from; the density is averaged over angles.
* Low-spin terms of p², p³, p⁴ (¹D, ²D): coupled cluster of the ground term plus the difference of two state-averaged
  valence CASSCF calculations (densities), with NEVPT2 (energies, means over all components).
* Measured energies: ionisation energies and electron affinities from mendeleev (NIST and the affinities listed
  there), excitation energies from NIST levels averaged over J. They are in `ectjax/generate/experiment.csv`. A state
  without a measured energy there shows none and the model uses the computed one.
* Unbound states (N-, O2-, S2-): what the diffuse basis functions hold; a stand-in for the ion in a crystal, where its
  neighbours bind it. Their slowest exponent is that of a state bound by 0.2 eV.
* Compressed anions (H-*, F-*, Cl-*, label "-1*"): the ion by CCSD in a cage of six sodium ions (Stuttgart's effective
  cores, without functions of their own) and the point charges of rock salt around them, at 1.193 times the distance in
  the sodium molecule; hydride in the potential of one sodium ion, at the distance in the molecule itself, averaged over
  directions. The energy is that of the free ion with the expectation value of its Hamiltonian in this state, above its
  lowest one. Their tail is that of the free ion. Models with `polarization = "breathing"` use them.
* Fit: Slater terms c r^n e^(−ar), at most 16 (23 in the 3d row and where 16 miss the goal). The slowest exponent is 2√(2I), I the state's own
  ionisation energy,
  measured where known; promoted states whose spin forbids the cation's ground state ionise to an excited cation,
  whose level is computed.
  Coefficients: convex least squares with count and cusp as equalities, ρ ≥ 0 on a grid, and a tail that falls
  monotonically. Beyond ρ = 1e-6, where Gaussian basis functions give out, the fit follows the asymptotic form
  r^(2β) e^(−ar), β = 2(q+1)/a − 1.

## File format (schema {SCHEMA_VERSION})

One HDF5 file per element, `basis_tables/Na.h5`; atomic units throughout.

| where | what |
|---|---|
| root attributes | `schema` = "{SCHEMA}", `schema_version` = {SCHEMA_VERSION}, `units`, `symbol`, `number`, `labels` (JSON list), `provenance` (JSON: package versions), `checksum` (sha256 of the content) |
| `states/<label>` attributes | `charge`, `excitation`, `electrons`, `term`, `configuration`, `energy_computed`, `energy_experimental` (nan if none), `energy_source`, `bound`, `decay`, `decay_source`, `method`, `basis`, `fit` (JSON: errors), `concordance` (JSON, optional: agreement of the embedding forms, see embedding.md) |
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
    with replacing(out) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    return out


def _summary(elements: list[Element]) -> str:
    states = sum(len(element.states) for element in elements)
    lines = [f"## Goals and what misses them\n\n{states} states of {len(elements)} elements.\n"]
    lines += ["| goal | allowed | figures | worst | where | misses |", "|" + "---|" * 6]
    misses = []
    for row in tally(elements):
        allowed = " or ".join(f"{limit:g}" for limit in row.limits)
        where = f"{row.worst.symbol} {row.worst.label}"
        lines.append(
            f"| {row.goal} | {allowed} | {row.count} | {row.worst.value:.2g} | {where} | {len(row.misses) or ''} |"
        )
        misses += [
            f"* {m.symbol} {m.label}: {m.goal} {m.value:+.3g}, allowed {m.limit:g} - {m.reason}" for m in row.misses
        ]
    small = [e.symbol for e in elements if triple_zeta(e.state("0"))]
    if small:
        misses.append(f"* {', '.join(small)}: triple-zeta basis where the goal is quadruple (computing time)")
    bare = [f"{e.symbol} {s.label}" for e in elements for s in e.states if lacks_diffuse(s)]
    if bare:
        misses.append(
            f"* {', '.join(bare)}: no diffuse s, p, d functions - the diffuse shell of their basis is one f function; "
            "built anew (`ectjax tables build EL --force`) they have them"
        )
    missing = missing_states(elements)
    if missing:
        named = "; ".join(f"{symbol} {', '.join(labels)}" for symbol, labels in missing.items())
        misses.append(f"* not built yet (computing time; `ectjax tables build EL` makes them): {named}")
    misses += [f"* {one}" for one in NOT_PLANNED]
    lines += ["\nThe same from the command line: `ectjax tables goals`. What misses:\n", *(misses or ["Nothing."])]
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
