"""The quantities that decide whether a parameter set is good, one row each. eV, Å, e, D."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ectjax.fitting.molecules import Molecule
from ectjax.fitting.report.measure import CrystalResult, MoleculeResult, PairResult
from ectjax.fitting.report.references import References

NEUTRAL = 1e-3
"""eV and e: a pair 30 Å apart within this counts as two free, neutral atoms."""
CHOSEN_DIPOLES = "H2O, NH3, HF, HCl, LiH, LiF, NaCl"


class Findings(NamedTuple):
    """Results of one method, each in the order of the references; nothing where the method was not asked."""

    pairs: Sequence[PairResult] = ()
    held_out_pairs: Sequence[PairResult] = ()
    trained: Sequence[MoleculeResult] = ()
    held_out: Sequence[MoleculeResult] = ()
    larger: Sequence[MoleculeResult] = ()
    dipoles: Mapping[str, float] = {}
    crystals: Sequence[CrystalResult] = ()


class Row(NamedTuple):
    """A quantity: its unit, the bar and the goal (largest value allowed), and how it follows from findings (nan where
    they do not tell)."""

    part: str
    quantity: str
    unit: str
    bar: float
    goal: float
    value: Callable[[Findings], float]


def rows_of(references: References, distances_energies: np.ndarray) -> list[Row]:
    """The rows; `distances_energies` are the reference energies (C, P) in eV of the trained curves."""
    pairs = references.pairs
    depths = np.array([p.d_e for p in pairs])

    def over_pairs(function):
        return lambda f: function(f.pairs) if len(f.pairs) == len(pairs) > 0 else np.nan

    def curve_rms(results):
        relative = [(r.energies - e) / d for r, e, d in zip(results, distances_energies, depths, strict=True)]
        return 100.0 * np.sqrt(np.nanmean(np.square(relative)))

    def mean_difference(attribute):
        return over_pairs(
            lambda results: _mean(
                getattr(r, attribute) - getattr(p, attribute) for r, p in zip(results, pairs, strict=True)
            )
        )

    def charge_rms(results):
        return np.sqrt(np.nanmean([(r.charge - p.charge_a) ** 2 for r, p in zip(results, pairs, strict=True)]))

    def not_neutral(results):
        apart = [(abs(r.apart_energy), r.apart_charge) for r in results]
        return np.nan if np.isnan(apart).any() else float(sum(max(x) > NEUTRAL for x in apart))

    none = np.nan
    training, apart = "training", "held out"
    rows = [
        Row(training, f"curves of {len(pairs)} diatomics, rms", "% of D_e", 10.0, 5.0, over_pairs(curve_rms)),
        Row(training, "R_e, mean abs. error", "Å", 0.05, 0.03, mean_difference("r_e")),
        Row(training, "D_e, mean abs. error", "eV", 0.4, 0.25, mean_difference("d_e")),
        Row(training, "charges dipole/R_e, rms", "e", 0.10, 0.06, over_pairs(charge_rms)),
        Row(training, "pairs not neutral or bound at 30 Å", "", 0.0, 0.0, over_pairs(not_neutral)),
    ]
    rows += _molecule_rows(training, "trained", references.trained, none, none)
    rows += _molecule_rows(apart, "held_out", references.held_out, 0.18, 0.10)
    rows += _molecule_rows(apart, "larger", references.larger, 0.18, 0.10)
    rows.append(Row(apart, f"dipoles of {CHOSEN_DIPOLES}, largest error", "D", 0.4, none, _dipole_error(references)))
    for n, crystal in enumerate(references.crystals):

        def constant(f, n=n, crystal=crystal):
            return 100 * abs(f.crystals[n].constant / crystal.constant - 1) if f.crystals else none

        def energy(f, n=n, crystal=crystal):
            return 100 * abs(f.crystals[n].energy / crystal.energy - 1) if f.crystals else none

        part, salt = (
            training if crystal.formula in references.trained_crystals else apart,
            f"rock salt {crystal.formula}",
        )
        rows.append(Row(part, f"{salt}: lattice constant, error", "%", 2.0, none, constant))
        rows.append(Row(part, f"{salt}: atomisation energy, error", "%", 6.0, none, energy))
    return rows


def _molecule_rows(part: str, group: str, molecules: Sequence[Molecule], bar: float, goal: float) -> list[Row]:
    if not molecules:
        return []
    label = {"trained": "training molecules", "held_out": "test molecules", "larger": "larger molecules"}[group]
    atoms = np.array([len(m.numbers) for m in molecules])
    measured = np.array([m.atomisation for m in molecules])

    def errors(findings, attribute):
        results = getattr(findings, group)
        if len(results) != len(molecules):
            return np.array([np.nan])
        return (np.array([getattr(r, attribute) for r in results]) - measured) / atoms

    def known(findings):
        return [r.bonds for r in getattr(findings, group)]

    count = f"{len(molecules)} {label}"
    return [
        Row(part, f"{count}, relaxed: mean abs. error", "eV/atom", bar, goal, lambda f: _mean(errors(f, "relaxed"))),
        Row(part, f"{count}, relaxed: mean error", "eV/atom", np.nan, np.nan, lambda f: _bias(errors(f, "relaxed"))),
        Row(part, f"{count}, measured geometry: mean abs. error", "eV/atom", np.nan, np.nan,
            lambda f: _mean(errors(f, "fixed"))),
        Row(part, f"{count}: bond lengths, mean abs. error", "Å", 0.05 if part == "held out" else np.nan, np.nan,
            lambda f: _mean(known(f))),
    ]  # fmt: skip


def _dipole_error(references: References):
    def largest(findings):
        values = [abs(findings.dipoles[k] - v) for k, v in references.dipoles.items() if k in findings.dipoles]
        return max(values) if values else np.nan

    return largest


def _mean(values) -> float:
    """Mean magnitude of what is known."""
    values = np.abs(np.array(list(values), float))
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan


def _bias(values) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
