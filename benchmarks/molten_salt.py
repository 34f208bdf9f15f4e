"""Energy conservation of molten NaCl: 216 ions at 1200 K, 1 fs, float64, with the parameter set two_center.

    python benchmarks/molten_salt.py FOLDER [--steps 20000] [--short 2000]

Rock salt at the density of the model's melt is molten at 2500 K, cooled to 1200 K (both NVT), and followed in NVE:
`--steps` at the default tolerance of the weights, `--short` at others. FOLDER keeps all runs of `ectjax md`; the
command can be repeated after an interruption and goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import read, write

from ectjax.cli import main as ectjax
from ectjax.dynamics.records import LOG, TRAJECTORY, read_log
from ectjax.dynamics.session import drift_per_ps

LATTICE = 6.6  # Å, 72 Å³ per ion pair: the melt's at 1200 K times the cube of the model's excess in lattice constant
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6)


def run(start: Path, out: Path, steps: int, ensemble: str, temperature: float, *options) -> Path:
    """One run of `ectjax md`, gone on with where it was broken off; returns its last frame."""
    last = out / "last.extxyz"
    if last.exists():
        return last
    words = ["md", start, "--ensemble", ensemble, "--steps", steps, "--temperature", temperature, "--dt", 1]
    words += ["--model", "two_center", "--out", out, *options]
    if (out / "run.json").exists():
        words.append("--restart")
    if code := ectjax([str(word) for word in words]):
        raise SystemExit(code)
    write(last, read(out / TRAJECTORY, -1))
    return last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--short", type=int, default=2000)
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    crystal = folder / "crystal.extxyz"
    write(crystal, bulk("NaCl", "rocksalt", a=LATTICE, cubic=True).repeat(3))
    fast = ("--tolerance", 1e-5)
    hot = run(crystal, folder / "hot", 3000, "nvt", 2500, *fast)
    melt = run(hot, folder / "melt", 3000, "nvt", 1200, *fast)
    jobs = [("curves", options.steps, ())]
    jobs += [(f"{t:.0e}", options.short, ("--tolerance", t)) for t in TOLERANCES]
    print("tolerance   time   drift        spread       temperature   iterations  searches that found")
    print("  (eV)      (ps)   (eV/atom/ps) (eV/atom)       (K)         per step    a lower basin")
    for name, steps, extra in jobs:
        out = folder / f"nve-{name}"
        run(melt, out, steps, "nve", 1200, *extra)
        log = read_log(out / LOG)
        conserved = log["conserved_eV"] / 216
        fit = np.polyval(np.polyfit(log["time_fs"], conserved, 1), log["time_fs"])
        print(
            f"{name:>8s}  {log['time_fs'][-1] / 1000:5.1f}   {drift_per_ps(log, 216):9.1e}    "
            f"{np.std(conserved - fit):9.1e}   {log['temperature_K'].mean():8.0f}     "
            f"{log['iterations_per_step'][1:].mean():8.2f}    {int(log['basin_changes'][-1]):5d}",
            flush=True,
        )


if __name__ == "__main__":
    main()
