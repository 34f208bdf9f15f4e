"""Pictures of a report: curves, parity of atomisation energies, charges and dipoles, rock salt."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ectjax.fitting.crystals import RockSalt
from ectjax.fitting.curves import Diatomic
from ectjax.fitting.report.measure import CrystalResult, MoleculeResult, PairResult

COLORS = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49")
MARKERS = "osD^"


def _figure(rows: int, columns: int, size: tuple[float, float]):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_curves(
    pairs: Sequence[Diatomic],
    distances: np.ndarray,
    references: np.ndarray,
    found: Mapping[str, Sequence[PairResult]],
    file: Path,
) -> None:
    """Energies in eV against distances (C, P) in Å, the reference as black dots."""
    columns = min(len(pairs), 6)
    rows = -(-len(pairs) // columns)
    figure, axes = _figure(rows, columns, (2.4 * columns, 1.9 * rows))
    for n, (axis, pair) in enumerate(zip(axes, pairs, strict=False)):
        axis.plot(distances[n], references[n], "ko", ms=3.5, label="reference")
        for color, (name, results) in zip(COLORS, found.items(), strict=False):
            axis.plot(distances[n], results[n].energies, color=color, lw=1.3, label=name)
        axis.set_ylim(-1.35 * pair.d_e, max(0.4 * pair.d_e, references[n].max() + 0.1 * pair.d_e))
        axis.set_title(f"{pair.a}–{pair.b}", fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in axes[len(pairs) :]:
        axis.set_axis_off()
    figure.supxlabel("distance, Å")
    figure.supylabel("energy, eV")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=4, loc="outside upper center", frameon=False)
    figure.savefig(file, dpi=110)


def plot_parity(
    groups: Mapping[str, tuple[np.ndarray, np.ndarray]],
    found: Mapping[str, Mapping[str, Sequence[MoleculeResult]]],
    file: Path,
) -> None:
    """Atomisation energies in eV per atom, measured against computed; one panel per method.

    groups: by name, measured energies (M,) and numbers of atoms (M,); found: by method and group.
    """
    figure, axes = _figure(1, len(found), (4.0 * len(found), 4.0))
    for axis, (name, results) in zip(axes, found.items(), strict=True):
        for color, marker, (group, (energies, atoms)) in zip(COLORS, MARKERS, groups.items(), strict=False):
            if group not in results:
                continue
            computed = np.array([x.relaxed if np.isfinite(x.relaxed) else x.fixed for x in results[group]])
            axis.plot(energies / atoms, computed / atoms, marker, color=color, ms=4, alpha=0.8, label=group)
        low, high = axis.get_xlim()
        axis.plot([low, high], [low, high], color="0.4", lw=0.8)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("measured, eV per atom")
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("computed, eV per atom")
    figure.savefig(file, dpi=130)


def plot_charges(
    pairs: Sequence[Diatomic],
    found: Mapping[str, Sequence[PairResult]],
    dipoles: Mapping[str, float],
    moments: Mapping[str, Mapping[str, float]],
    file: Path,
) -> None:
    """Charges dipole / R_e of diatomics in e, and dipole moments in D, computed against measured."""
    figure, (left, right) = _figure(1, 2, (9.0, 4.2))
    measured = np.array([p.charge_a for p in pairs])
    for color, marker, (name, results) in zip(COLORS, MARKERS, found.items(), strict=False):
        left.plot(measured, [r.charge for r in results], marker, color=color, ms=4, label=name)
    for color, marker, (name, values) in zip(COLORS, MARKERS, moments.items(), strict=False):
        right.plot([dipoles[k] for k in values], list(values.values()), marker, color=color, ms=4, label=name)
    for axis, what in ((left, "dipole / R$_e$, e"), (right, "dipole moment, D")):
        low, high = axis.get_xlim()
        axis.plot([low, high], [low, high], color="0.4", lw=0.8)
        axis.set_xlabel(f"measured {what}")
        axis.set_ylabel(f"computed {what}")
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=130)


def plot_crystals(crystals: Sequence[RockSalt], found: Mapping[str, Sequence[CrystalResult]], file: Path) -> None:
    """Deviations of lattice constants and atomisation energies of rock salt, in percent."""
    figure, (left, right) = _figure(1, 2, (9.0, 3.4))
    place, width = np.arange(len(crystals)), 0.8 / max(len(found), 1)
    for k, (color, (name, results)) in enumerate(zip(COLORS, found.items(), strict=False)):
        constants = [100 * (r.constant / c.constant - 1) for r, c in zip(results, crystals, strict=True)]
        energies = [100 * (r.energy / c.energy - 1) for r, c in zip(results, crystals, strict=True)]
        left.bar(place + k * width, constants, width, color=color, label=name)
        right.bar(place + k * width, energies, width, color=color, label=name)
    for axis, what in ((left, "lattice constant"), (right, "atomisation energy")):
        axis.axhline(0.0, color="0.4", lw=0.8)
        axis.set_xticks(place + 0.4 - width / 2, [c.formula for c in crystals])
        axis.set_ylabel(f"{what}, deviation in %")
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=130)
