"""The physics layer with a small network against the same network alone: learning curves and extrapolation.

    python benchmarks/hybrid/run.py [--seeds 3] [--sizes 168 504 1512] [--kinds plain hybrid xtb] [--out OUT]
        [--figure FIGURE]

Needs the stored frames (`make_frames.py`), tblite, and about an hour of one core. Both networks see the same frames in
the same batches for the same number of steps, and both know that isolated neutral atoms have energy 0. The physics is
the layer with the shipped set `default` as it is: nothing of it is fitted to these frames. The network reads charges,
weights, background densities and energies of the atoms, and learns what is left of energies and forces. As a yardstick
the same network learns what GFN2-xTB leaves ("xtb").
Writes OUT.json (every number, seeds apart), and once all kinds are there OUT.txt (the table) and FIGURE; runs in
OUT.json are not repeated.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from data import FRAMES, Frames, load, split
from model import CUTOFF, hybrid_network, plain_network
from physics import Physics, evaluate, nothing
from report import figure, table
from scipy.cluster.hierarchy import fcluster, linkage
from train import BATCH, RATE, STEPS, apply, train
from xtb import evaluate_xtb

import ectjax
from ectjax.files import replacing
from ectjax.layers import ECTLayer
from ectjax.parameters import load_parameters
from ectjax.parameters.store import checksum

SYMBOLS = ["H", "C", "N", "O", "Na", "Cl"]
PARAMETERS = "default"
KINDS = ("plain", "hybrid", "xtb")
PHYSICS = {"hybrid": "physics", "xtb": "xtb"}
"""What the results call what a kind of model builds on."""


def errors(frames: Frames, energy, forces) -> dict[str, float]:
    """Mean absolute errors: forces in eV/Å per component, their root mean square, energies in meV per atom, and the
    total force on the part that was moved away (far frames and pulled bonds)."""
    real = frames.numbers > 0
    wrong = (forces - frames.forces)[real]
    found = {
        "forces": float(np.abs(wrong).mean()),
        "forces_rms": float(np.sqrt((wrong**2).mean())),
        "energy": float(1000 * np.mean(np.abs(energy - frames.energy) / real.sum(1))),
    }
    if frames.group[0] in MOVED:
        moved = MOVED[frames.group[0]](frames)
        total = np.sum(np.where(moved[..., None], forces - frames.forces, 0.0), axis=1)
        found["fragment"] = float(np.abs(total).mean())
    return found


def moved_fragment(frames: Frames) -> np.ndarray:
    """Which atoms (F, N) are the last fragment, the one far from the others."""
    atoms = (frames.numbers > 0).sum(1)
    size = np.array([3 if name.endswith("H2O") else 1 for name in frames.name])
    place = np.arange(frames.numbers.shape[1])
    return (place >= (atoms - size)[:, None]) & (place < atoms[:, None])


def side_of_bond(frames: Frames) -> np.ndarray:
    """Which atoms (F, N) are on one side of the pulled bond, the widest gap of a molecule."""
    found = np.zeros(frames.numbers.shape, bool)
    for row, (numbers, positions) in enumerate(zip(frames.numbers, frames.positions, strict=True)):
        atoms = np.flatnonzero(numbers)
        found[row, atoms] = fcluster(linkage(positions[atoms], "single"), 2, "maxclust") == 1
    return found


MOVED = {"far": moved_fragment, "bond": side_of_bond}


def one_run(frames: Frames, physics: Physics | None, size: int, seed: int) -> dict:
    """Errors on every test set of one model trained on `size` frames, and what it took; physics of all frames, None for
    the network alone."""
    order, tests = split(frames, seed)
    rows, every = order[:size], np.unique(np.concatenate(list(tests.values())))
    training, testing, found = frames.take(rows), frames.take(every), {}
    begin = time.time()
    if physics is None:
        inside, outside = nothing(training), nothing(testing)
    else:
        inside, outside = (physics.take(r, f.numbers.shape[1]) for r, f in ((rows, training), (every, testing)))
    key, unit = jax.random.key(seed), errors(training, inside.energy, inside.forces)["forces_rms"]
    network = plain_network(key, unit) if physics is None else hybrid_network(key, inside.inputs.shape[-1], unit)
    energy, forces = apply(train(network, training, inside, seed), testing, outside)
    found["seconds"] = round(time.time() - begin, 1)
    for name, chosen in tests.items():
        place, subset = np.searchsorted(every, chosen), frames.take(chosen)
        width = subset.positions.shape[1]
        found[name] = errors(subset, energy[place], forces[place, :width])
        if physics is not None:
            found[name]["physics"] = errors(subset, outside.energy[place], outside.forces[place, :width])["forces"]
    return found


def _layer() -> ECTLayer:
    return ECTLayer(PARAMETERS, SYMBOLS, radii=None, rounds=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, default=FRAMES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[168, 504, 1512])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="to be run where OUT.json lacks them")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "hybrid")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[2] / "docs" / "images" / "hybrid.png")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    frames, path = load(options.frames), options.out.with_suffix(".json")
    content = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    physics_is = f"{PARAMETERS}, checksum {checksum(load_parameters(PARAMETERS).content())[:8]}"
    settings = {"steps": STEPS, "batch": BATCH, "cutoff": CUTOFF, "physics": physics_is, "rate": RATE}
    if content.setdefault("settings", settings) != settings:
        parser.error(f"{path} holds runs of {content['settings']}, not of {settings}: remove it or give another --out")
    content["made_by"] = "python benchmarks/hybrid/run.py"
    content["versions"] = {"ectjax": ectjax.__version__, "jax": jax.__version__}
    content["date"] = time.strftime("%Y-%m-%d")
    runs = {f"{k} {n} {s}": (k, n, s) for s in range(options.seeds) for n in options.sizes for k in options.kinds}
    missing = {key: run for key, run in runs.items() if key not in content["runs"]}
    physics: dict[str, Physics | None] = {"plain": None}
    for kind in PHYSICS.keys() & {kind for kind, *_ in missing.values()}:
        begin = time.time()
        physics[kind] = evaluate_xtb(frames) if kind == "xtb" else evaluate(_layer(), frames)
        content[PHYSICS[kind]] = {
            "converged": float(physics[kind].converged.mean()),
            "seconds": round(time.time() - begin),
        }
        print(f"{PHYSICS[kind]} of all frames:", content[PHYSICS[kind]], flush=True)
    for key, (kind, size, seed) in missing.items():
        found = content["runs"][key] = one_run(frames, physics[kind], size, seed)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")
        shown = {g: round(v["forces"], 3) for g, v in found.items() if isinstance(v, dict) and "forces" in v}
        print(f"{key:18s}{found['seconds']:7.0f} s", shown, flush=True)
    if lacking := [kind for kind in KINDS if not any(key.startswith(kind) for key in content["runs"])]:
        print(f"no table yet: {path} has no runs of {', '.join(lacking)}")
        return
    text = table(content, frames)
    options.out.with_suffix(".txt").write_text(text + "\n")
    figure(content, options.figure)
    print(text)


if __name__ == "__main__":
    main()
