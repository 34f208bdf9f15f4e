"""Constant pressure: rock salt at 300 K and its melt at 1200 K, 216 ions, NPT, with the parameter set two_center.

    python benchmarks/constant_pressure.py FOLDER [--steps 20000]

At each temperature two runs at neighbouring pressures. Reported are the mean of the instantaneous pressure beside the
one asked for, temperature, volume and drift of the conserved quantity; then a test of the ensemble itself. Volumes at
pressures P₁ and P₂ must obey p₁(V)/p₂(V) ∝ exp((P₂ − P₁)V/kT) (M. R. Shirts, J. Chem. Theory Comput. 9, 909 (2013));
the slope is fitted by maximum likelihood and printed in units of (P₂ − P₁)/kT, so that 1 is right. Errors are from
blocks. FOLDER keeps all runs; the command goes on where it was interrupted.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write
from molten_salt import LATTICE, run
from scipy.optimize import brentq
from scipy.special import expit

from ectjax.dynamics.records import LOG, read_log
from ectjax.dynamics.session import drift_per_ps
from ectjax.units import BOLTZMANN_EV_PER_K, EV_PER_ANGSTROM3_IN_GPA

CASES = {300: (0.0, 0.3), 1200: (0.0, 0.15)}  # K: GPa
BLOCKS = 10
SETTLING = 0.2  # part of every run that is left out
OPTIONS = ("--tolerance", 1e-6, "--barostat-tau", 300)


def blocks_of(series: np.ndarray) -> np.ndarray:
    """Series without its settling, in blocks (BLOCKS, n)."""
    kept = series[round(SETTLING * len(series)) :]
    return kept[: len(kept) // BLOCKS * BLOCKS].reshape(BLOCKS, -1)


def mean_and_error(series: np.ndarray) -> tuple[float, float]:
    means = blocks_of(series).mean(axis=1)
    return means.mean(), means.std(ddof=1) / np.sqrt(BLOCKS)


def likeliest_slope(first: np.ndarray, second: np.ndarray) -> float:
    """b of ln p₁/p₂ = a + bV by logistic regression on the volumes of both runs, as many from each."""
    middle = np.median(np.concatenate([first, second]))
    scale = np.std(np.concatenate([first, second]))
    x = (np.concatenate([first, second]) - middle) / scale
    is_first = np.concatenate([np.ones(len(first)), np.zeros(len(second))])

    def best_offset(b):
        return brentq(lambda a: np.sum(is_first - expit(a + b * x)), -200, 200)

    def gradient(b):
        return np.sum((is_first - expit(best_offset(b) + b * x)) * x)

    return brentq(gradient, -50, 50) / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=20000)
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "solid.extxyz", bulk("NaCl", "rocksalt", a=5.85, cubic=True).repeat(3))
    write(folder / "crystal.extxyz", bulk("NaCl", "rocksalt", a=LATTICE, cubic=True).repeat(3))
    fast = ("--tolerance", 1e-5)
    hot = run(folder / "crystal.extxyz", folder / "hot", 3000, "nvt", 2500, *fast)
    starts = {300: folder / "solid.extxyz", 1200: run(hot, folder / "melt", 3000, "nvt", 1200, *fast)}
    print("  T (K)   P (GPa)   <P> (GPa)          <T> (K)   volume (Å³)       conserved (eV/atom/ps)   cold starts")
    volumes = {}
    for temperature, pressures in CASES.items():
        for pressure in pressures:
            out = folder / f"npt-{temperature}-{pressure}"
            run(starts[temperature], out, options.steps, "npt", temperature, "--pressure", pressure, *OPTIONS)
            log = read_log(out / LOG)
            (p, dp), (v, dv) = mean_and_error(log["pressure_GPa"]), mean_and_error(log["volume_A3"])
            volumes[temperature, pressure] = blocks_of(log["volume_A3"])
            mean_temperature, _ = mean_and_error(log["temperature_K"])
            print(
                f"{temperature:7d}   {pressure:7.2f}   {p:7.3f} ± {dp:.3f}   {mean_temperature:8.1f}"
                f"   {v:8.1f} ± {dv:5.1f}   {drift_per_ps(log, 216):12.1e}   {int(log['cold_starts'][-1]):17d}",
                flush=True,
            )
    print("\n  T (K)   ΔP (GPa)   slope of ln p₁/p₂ in units of ΔP/kT")
    rng = np.random.default_rng(0)
    for temperature, (low, high) in CASES.items():
        first, second = volumes[temperature, low], volumes[temperature, high]
        unit = (high - low) / EV_PER_ANGSTROM3_IN_GPA / (BOLTZMANN_EV_PER_K * temperature)
        drawn = [
            likeliest_slope(*(x[rng.integers(0, BLOCKS, BLOCKS)].ravel() for x in (first, second))) for _ in range(100)
        ]
        found = likeliest_slope(first.ravel(), second.ravel())
        print(f"{temperature:7d}   {high - low:8.2f}   {found / unit:6.2f} ± {np.std(drawn) / unit:.2f}", flush=True)


if __name__ == "__main__":
    main()
