"""The physics layer with a small network against the same network alone: learning curves and extrapolation.

    python benchmarks/hybrid/run.py [--seeds 3] [--sizes 180 540 1620] [--out OUT] [--figure FIGURE]

Needs the stored frames (`make_frames.py`) and some forty minutes of one core. Both networks see the same frames in the
same batches for the same number of steps, and both know that isolated neutral atoms have energy 0. For the hybrid, 36
physical parameters and the radial functions that correct them by what is near (`hooks.py`) are first fitted to forces
of its training frames and then frozen. The network reads charges, weights, background densities and energies of the
atoms, and learns what is left of energies and forces.
Writes OUT.json (every number, seeds apart), OUT.txt (the table) and FIGURE; runs in OUT.json are not repeated.
"""

import argparse
import json
import os
import time
from pathlib import Path

import jax
import numpy as np
from calibrate import STEPS as CALIBRATION_STEPS
from calibrate import calibrate
from data import FRAMES, Frames, load, split
from hooks import Hooked
from model import CUTOFF, hybrid_network, plain_network
from physics import evaluate, nothing
from report import figure, table
from train import BATCH, RATE, STEPS, apply, train

import ectjax
from ectjax.layers import ECTLayer

SYMBOLS = ["H", "C", "N", "O", "Na", "Cl"]
TRAINABLE = ("a", "b", "sigma", "kappa", "m", "anion")
KINDS = ("plain", "hybrid")


def errors(frames: Frames, energy, forces) -> dict[str, float]:
    """Mean absolute errors: forces in eV/Å per component, their root mean square, energies in meV per atom, and the
    total force on the fragment that was moved away (far frames)."""
    real = frames.numbers > 0
    wrong = (forces - frames.forces)[real]
    found = {
        "forces": float(np.abs(wrong).mean()),
        "forces_rms": float(np.sqrt((wrong**2).mean())),
        "energy": float(1000 * np.mean(np.abs(energy - frames.energy) / real.sum(1))),
    }
    if frames.group[0] == "far":
        last = moved_fragment(frames)
        total = np.sum(np.where(last[..., None], forces - frames.forces, 0.0), axis=1)
        found["fragment"] = float(np.abs(total).mean())
    return found


def moved_fragment(frames: Frames) -> np.ndarray:
    """Which atoms (F, N) are the last fragment, the one far from the others."""
    atoms = (frames.numbers > 0).sum(1)
    size = np.array([3 if name.endswith("H2O") else 1 for name in frames.name])
    place = np.arange(frames.numbers.shape[1])
    return (place >= (atoms - size)[:, None]) & (place < atoms[:, None])


def calibrated(frames: Frames, seed: int) -> Hooked:
    """The layer of shipped parameters, fitted with its hooks to some frames."""
    layer = Hooked(ECTLayer("molecules", SYMBOLS, trainable=TRAINABLE, radii=None, rounds=0))
    return calibrate(layer, frames, seed)


def one_run(frames: Frames, kind: str, size: int, seed: int) -> dict:
    """Errors on every test set of one model trained on `size` frames, and what it took."""
    order, tests = split(frames, seed)
    rows, every = order[:size], np.unique(np.concatenate(list(tests.values())))
    training, testing, found = frames.take(rows), frames.take(every), {}
    begin = time.time()
    if kind == "hybrid":
        layer = calibrated(training, seed)
        network = hybrid_network(jax.random.key(seed))
        physics, outside = evaluate(layer, training), evaluate(layer, testing)
        found["parameters"] = {f: np.asarray(getattr(layer.layer.parameters, f)).round(4).tolist() for f in TRAINABLE}
        found["converged"] = float(np.mean([*physics.converged, *outside.converged]))
    else:
        network, physics, outside = plain_network(jax.random.key(seed)), nothing(training), nothing(testing)
    energy, forces = apply(train(network, training, physics, seed), testing, outside)
    found["seconds"] = round(time.time() - begin, 1)
    for name, chosen in tests.items():
        place, subset = np.searchsorted(every, chosen), frames.take(chosen)
        width = subset.positions.shape[1]
        found[name] = errors(subset, energy[place], forces[place, :width])
        if kind == "hybrid":
            found[name]["physics"] = errors(subset, outside.energy[place], outside.forces[place, :width])["forces"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, default=FRAMES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[180, 540, 1620])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "hybrid")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[2] / "docs" / "images" / "hybrid.png")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    frames, path = load(options.frames), options.out.with_suffix(".json")
    content = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    content["made_by"] = "python benchmarks/hybrid/run.py"
    content["settings"] = {
        "steps": STEPS,
        "batch": BATCH,
        "cutoff": CUTOFF,
        "calibration_steps": CALIBRATION_STEPS,
        "rate": RATE,
    }
    content["versions"] = {"ectjax": ectjax.__version__, "jax": jax.__version__}
    content["date"] = time.strftime("%Y-%m-%d")
    for seed in range(options.seeds):
        for size in options.sizes:
            for kind in KINDS:
                key = f"{kind} {size} {seed}"
                if key in content["runs"]:
                    continue
                found = content["runs"][key] = one_run(frames, kind, size, seed)
                part = path.with_suffix(".part")
                part.write_text(json.dumps(content, indent=1) + "\n")
                os.replace(part, path)
                shown = {g: round(v["forces"], 3) for g, v in found.items() if isinstance(v, dict) and "forces" in v}
                print(f"{key:18s}{found['seconds']:7.0f} s", shown, flush=True)
    text = table(content, frames)
    options.out.with_suffix(".txt").write_text(text + "\n")
    figure(content, options.figure)
    print(text)


if __name__ == "__main__":
    main()
