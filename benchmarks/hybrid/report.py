"""The table and the figure of the hybrid benchmark."""

import numpy as np
from data import Frames, split

LABELS = {
    "test": "test, all",
    "molecules": "test, molecules",
    "water": "test, with water",
    "salts": "test, salts",
    "far": "fragments apart",
    "bond": "bonds pulled",
    "large": "larger clusters",
    "charge": "unseen charges",
}
STYLES = {
    "plain": ("tab:gray", "network"),
    "hybrid": ("tab:red", "physics + network"),
    "xtb": ("tab:blue", "GFN2-xTB + network"),
}
ALONE = {"hybrid": "physics alone", "xtb": "GFN2-xTB alone"}


def sizes_of(content: dict) -> list[int]:
    """Training sizes of which there are runs."""
    return sorted({int(key.split()[1]) for key in content["runs"]})


def mean(content: dict, kind: str, size: int, group: str, what: str) -> tuple[float, float]:
    """Mean over seeds, and their standard deviation."""
    values = [r[group][what] for k, r in content["runs"].items() if k.startswith(f"{kind} {size} ")]
    return float(np.mean(values)), float(np.std(values))


def table(content: dict, frames: Frames) -> str:
    """Errors by model, training size and test set (forces of the physics alone too); then what decides."""
    seeds, used = len({key.split()[2] for key in content["runs"]}), content["settings"]
    versions = ", ".join(f"{k} {v}" for k, v in content["versions"].items())
    steps = f"{used['steps']} steps of {used['batch']} frames"
    lines = [f"{content['made_by']}, {content['date']}, {versions}; {seeds} seeds, {steps}"]
    for what, unit in (("forces", "eV/Å per component"), ("energy", "meV per atom")):
        lines += ["", f"{what}: mean absolute error in {unit}, mean over seeds ± standard deviation"]
        lines += [f"{'model':8s}{'frames':>7s}" + "".join(f"{label:>18s}" for label in LABELS.values())]
        digits = 3 if what == "forces" else 0
        for kind in STYLES:
            for size in sizes_of(content):
                cells = (mean(content, kind, size, group, what) for group in LABELS)
                row = "".join(f"{f'{value:.{digits}f} ± {spread:.{digits}f}':>18s}" for value, spread in cells)
                lines.append(f"{kind:8s}{size:7d}{row}")
        if what == "forces":
            for kind, name in ALONE.items():
                cells = (mean(content, kind, sizes_of(content)[0], group, "physics")[0] for group in LABELS)
                lines.append(f"{name:15s}" + "".join(f"{value:18.3f}" for value in cells))
    sets = split(frames, 0)[1]
    size = "".join(f"{_size(frames, sets[group]):18.3f}" for group in LABELS)
    return "\n".join([*lines, "", f"{'mean force':15s}{size}", "", *comparisons(content)])


def _size(frames: Frames, rows) -> float:
    """Mean absolute reference force."""
    return float(np.abs(frames.forces[rows][frames.numbers[rows] > 0]).mean())


def comparisons(content: dict) -> list[str]:
    """How many frames the hybrid needs for the network's best force error; errors outside the training range."""
    sizes, lines = sizes_of(content), []
    for group in ("test", "molecules", "water", "salts"):
        best, frames, _ = frames_for_best(content, group)
        needed = (frames_for_best(content, group, kind)[2] for kind in ALONE)
        reached = [f"{n:.0f} frames, {n / frames:.2f} of them" if n else "more than were tried" for n in needed]
        lines.append(
            f"{LABELS[group]}: the network's best, {best:.3f} eV/Å with {frames}, takes the hybrid {reached[0]}; "
            f"beside GFN2-xTB {reached[1]}"
        )
    for group, what in OUTSIDE:
        plain, ours, xtb = (mean(content, kind, sizes[-1], group, what)[0] for kind in STYLES)
        name = f"{LABELS[group]}, {BETWEEN[group] if what == 'fragment' else what}"
        lines.append(
            f"{name}, {sizes[-1]} frames: hybrid {ours:.3f}, network {plain:.3f}, ratio {ours / plain:.2f}; "
            f"beside GFN2-xTB {xtb:.3f}, ratio {xtb / plain:.2f}"
        )
    return lines


BETWEEN = {"far": "force between fragments", "bond": "force across the bond"}
OUTSIDE = (
    ("far", "fragment"),
    ("far", "forces"),
    ("far", "energy"),
    ("bond", "fragment"),
    ("bond", "forces"),
    ("bond", "energy"),
    ("large", "forces"),
    ("charge", "forces"),
)


def frames_for_best(content: dict, group: str, kind: str = "hybrid") -> tuple[float, int, float | None]:
    """(the network's best mean force error, its frames, frames with which `kind` reaches that)."""
    sizes = sizes_of(content)
    best, frames = min((mean(content, "plain", s, group, "forces")[0], s) for s in sizes)
    curve = [mean(content, kind, s, group, "forces")[0] for s in sizes]
    return best, frames, frames_needed(sizes, curve, best)


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
    """Learning curves for the test set and everything outside the training range."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = [
        ("test", "forces"),
        ("molecules", "forces"),
        ("salts", "forces"),
        ("large", "forces"),
        ("far", "fragment"),
        ("bond", "fragment"),
        ("bond", "forces"),
        ("charge", "forces"),
    ]
    drawing, axes = plt.subplots(2, 4, figsize=(13, 6))
    sizes = sizes_of(content)
    for axis, (group, what) in zip(axes.ravel(), panels, strict=True):
        for kind, (colour, name) in STYLES.items():
            values = np.array([mean(content, kind, s, group, what) for s in sizes])
            axis.errorbar(sizes, values[:, 0], values[:, 1], color=colour, marker="o", capsize=3, label=name)
        axis.set(xscale="log", title=f"{LABELS[group]},\n{BETWEEN[group]}" if what == "fragment" else LABELS[group])
        axis.set_ylim(0)
        axis.set_xticks(sizes, [str(s) for s in sizes])
        axis.set_xticks([], minor=True)
    for axis in axes[1]:
        axis.set_xlabel("training frames")
    for axis in axes[:, 0]:
        axis.set_ylabel("force error (eV/Å)")
    axes[0, 0].legend()
    drawing.tight_layout()
    drawing.savefig(path, dpi=100)
    plt.close(drawing)
