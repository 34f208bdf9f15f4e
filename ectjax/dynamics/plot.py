"""Pictures of a run and of a scan."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ectjax.dynamics.records import write_atomically

COLORS = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6c4f9c", "#00798c", "#8d5b4c", "#555555")


def _figure(rows: int, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True)
    for axis in np.atleast_1d(axes):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure, file: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(file, buffer.getvalue())


def plot_run(log: dict[str, np.ndarray], symbols: list[str], atoms: int, title: str, file: Path) -> None:
    """Energies, temperature and charges against time."""
    figure, (energies, temperature, charges) = _figure(3, 7.5)
    time = log["time_fs"] / 1000.0
    start = log["potential_eV"][0]
    kinds = (("potential", "potential_eV", start), ("kinetic", "kinetic_eV", 0.0), ("total", "total_eV", start))
    for color, (name, key, zero) in zip(COLORS, kinds, strict=False):
        energies.plot(time, (log[key] - zero) / atoms * 1000.0, color=color, label=name, lw=1.2)
    conserved = log["conserved_eV"]
    if np.isfinite(conserved).all() and not np.allclose(conserved, log["total_eV"]):
        shifted = (conserved - conserved[0] + log["kinetic_eV"][0]) / atoms * 1000.0
        energies.plot(time, shifted, color="0.3", ls="--", lw=1.0, label="conserved")
    energies.set_ylabel("energy, meV/atom\n(potential from its start)")
    energies.legend(ncols=4, frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    figure.suptitle(title, fontsize=11)
    temperature.plot(time, log["temperature_K"], color=COLORS[1], lw=1.2)
    temperature.set_ylabel("temperature, K")
    for color, symbol in zip(COLORS, symbols, strict=False):
        charges.fill_between(time, log[f"q_{symbol}_min"], log[f"q_{symbol}_max"], color=color, alpha=0.25, lw=0)
        charges.plot(time, log[f"q_{symbol}"], color=color, lw=1.2, label=f"{symbol}: mean, range")
    charges.axhline(0.0, color="0.6", lw=0.8)
    charges.set_ylabel("charge, e")
    charges.set_xlabel("time, ps")
    charges.legend(frameon=False, fontsize=9, loc="center right")
    _save(figure, file)


def plot_scan(distance, energy, charges, names: tuple[str, str], file: Path) -> None:
    """Energy and charges of a pair against distance."""
    figure, (above, below) = _figure(2, 6.0)
    a, b = names
    above.plot(distance, energy, color=COLORS[0], lw=1.5)
    above.axhline(0.0, color="0.6", lw=0.8)
    above.set_ylabel("energy, eV (neutral atoms: 0)")
    low = float(np.min(energy))
    depth = max(float(energy[-1]) - low, -low, 0.5)
    high = min(float(np.max(energy)), low + 2.0 * depth)  # a steep wall would flatten the well
    above.set_ylim(low - 0.07 * (high - low), high + 0.07 * (high - low))
    above.set_title(f"{a}–{b}")
    for color, name, q in zip(COLORS, _distinct(names), np.transpose(charges), strict=False):
        below.plot(distance, q, color=color, lw=1.5, label=name)
    below.axhline(0.0, color="0.6", lw=0.8)
    below.set_ylabel("charge, e")
    below.set_xlabel("distance, Å")
    below.legend(frameon=False)
    _save(figure, file)


def _distinct(names):
    return names if names[0] != names[1] else tuple(f"{name} {k}" for k, name in enumerate(names, 1))
