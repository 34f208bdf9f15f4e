"""The table and the figure of the hybrid benchmark."""

import numpy as np
from data import Frames

LABELS = {
    "test": "same kinds",
    "far": "fragments far apart",
    "bond": "bonds pulled further",
    "large": "larger clusters",
    "charge": "unseen charges",
}
COLOURS = {"plain": "tab:gray", "hybrid": "tab:red", "physics": "tab:blue"}


def sizes_of(content: dict) -> list[int]:
    return sorted({int(key.split()[1]) for key in content["runs"]})


def mean(content: dict, kind: str, size: int, group: str, what: str) -> tuple[float, float]:
    """Mean over seeds, and their standard deviation."""
    values = [r[group][what] for k, r in content["runs"].items() if k.startswith(f"{kind} {size} ")]
    return float(np.mean(values)), float(np.std(values))


def table(content: dict, frames: Frames) -> str:
    """Errors by model, training size and test set; then the two comparisons that matter."""
    seeds = len({key.split()[2] for key in content["runs"]})
    used, versions = content["settings"], content["versions"]
    lines = [
        f"{content['made_by']}, {content['date']}, ectjax {versions['ectjax']}, JAX {versions['jax']}; {seeds} seeds, "
        f"{used['steps']} steps",
        "mean absolute errors, forces in eV/Å per component, energies in meV per atom; mean over seeds (± deviation)",
        "fragment: total force on the fragment moved away, eV/Å. physics: the layer alone, fitted to at most "
        f"{used['calibration']} frames",
        "",
        f"{'model':9s}{'frames':>7s}"
        + "".join(f"{label:>22s}" for label in LABELS.values())
        + f"{'far: fragment':>18s}",
    ]
    for kind in ("plain", "physics", "hybrid"):
        for size in sizes_of(content):
            row = f"{kind:9s}{size:7d}"
            for group in LABELS:
                force, spread = mean(content, kind, size, group, "forces")
                row += f"{force:9.3f} ±{spread:.3f}{mean(content, kind, size, group, 'energy')[0]:6.0f}"
            lines.append(row + "{:12.3f} ±{:.3f}".format(*mean(content, kind, size, "far", "fragment")))
    reference = " ".join(f"{label} {np.abs(_forces(frames, group)).mean():.2f}" for group, label in LABELS.items())
    return "\n".join([*lines, "", f"mean absolute reference force: {reference}", *comparisons(content)])


def _forces(frames: Frames, group: str):
    rows = frames.group == ("pool" if group == "test" else group)
    return frames.forces[rows][frames.numbers[rows] > 0]


def comparisons(content: dict) -> list[str]:
    """How many frames the hybrid needs for the network's best force error, and the errors beyond the training range."""
    sizes = sizes_of(content)
    best = min((mean(content, "plain", s, "test", "forces")[0], s) for s in sizes)
    curve = [mean(content, "hybrid", s, "test", "forces")[0] for s in sizes]
    needed = frames_needed(sizes, curve, best[0])
    lines = [
        f"best force error of the network alone: {best[0]:.3f} eV/Å with {best[1]} frames; the hybrid reaches it with "
        + (f"about {needed:.0f} frames, {needed / best[1]:.2f} of them" if needed else "more frames than were tried")
    ]
    for what, group in (
        ("forces", "far"),
        ("fragment", "far"),
        ("energy", "far"),
        ("forces", "large"),
        ("forces", "charge"),
    ):
        plain, ours = (mean(content, kind, sizes[-1], group, what)[0] for kind in ("plain", "hybrid"))
        lines.append(
            f"{LABELS[group]}, {what}, {sizes[-1]} frames: hybrid {ours:.3f}, network {plain:.3f}: {ours / plain:.2f}"
        )
    return lines


def frames_needed(sizes, curve, goal: float) -> float | None:
    """Where a learning curve, straight between points in log–log, first meets the goal; None if it does not."""
    for k, value in enumerate(curve):
        if value <= goal:
            if k == 0:
                return float(sizes[0])
            x, y = np.log(sizes[k - 1 : k + 1]), np.log(curve[k - 1 : k + 1])
            return float(np.exp(x[0] + (np.log(goal) - y[0]) * (x[1] - x[0]) / (y[1] - y[0])))
    return None


def figure(content: dict, path) -> None:
    """Learning curves for the test set and every extrapolation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [(g, "forces", label) for g, label in LABELS.items()]
    panels.insert(2, ("far", "fragment", "fragments far apart: force between them"))
    drawing, axes = plt.subplots(2, 3, figsize=(11, 6.4), sharex=True)
    sizes = sizes_of(content)
    for axis, (group, what, label) in zip(axes.ravel(), panels, strict=True):
        for kind, colour in COLOURS.items():
            values = np.array([mean(content, kind, s, group, what) for s in sizes])
            name = {"plain": "network", "hybrid": "physics + network", "physics": "physics"}[kind]
            axis.errorbar(sizes, values[:, 0], values[:, 1], color=colour, marker="o", capsize=3, label=name)
        axis.set(xscale="log", yscale="log", title=label)
        axis.set_xticks(sizes, [str(s) for s in sizes])
        axis.minorticks_off()
    for axis in axes[1]:
        axis.set_xlabel("training frames")
    for axis in axes[:, 0]:
        axis.set_ylabel("force error (eV/Å)")
    axes[0, 0].legend()
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)
    plt.close(drawing)
