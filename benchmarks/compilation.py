"""What optimisation by XLA costs and gains: time to compile and to run, in full, lightly and quickly compiled.

    python benchmarks/compilation.py [--model default]      # two minutes

A cold solve with forces and dipole or stress, of a water molecule and of 64 ions of NaCl, in float64 by JAX's own code.
Ratios within this run are what counts. Writes benchmarks/results/compilation.txt.
"""

import argparse
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from ase.build import bulk, molecule

import ectjax
from ectjax.calculate import calculate
from ectjax.compilation import LIGHT, QUICK, compiler_options

RESULTS = Path(__file__).parent / "results/compilation.txt"
KINDS = {"full": (), "light": LIGHT, "quick": QUICK}
RUNS = 15


def measured(model, system, wanted) -> tuple[float, float]:
    """Seconds to compile, once traced and lowered, and median of seconds to run."""
    function = eqx.filter_jit(lambda m, s: calculate(m, s), compiler_options=compiler_options(wanted))
    lowered = function.lower(model, system)
    begin = time.perf_counter()
    compiled = lowered.compile()
    compilation = time.perf_counter() - begin
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        jax.block_until_ready(compiled(model, system).energy)
        times.append(time.perf_counter() - begin)
    return compilation, float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    ions = bulk("NaCl", "rocksalt", 5.6, cubic=True) * (2, 2, 2)
    ions.rattle(0.05, seed=1)
    lines = [
        f"python benchmarks/compilation.py, {time.strftime('%Y-%m-%d')}, jax {jax.__version__}",
        f"cold solve with forces, set {options.model}, float64; ratios to the full optimisation",
        f"{'system':12s}{'optimised':>10s}{'compile, s':>12s}{'ratio':>8s}{'run, ms':>10s}{'ratio':>8s}",
    ]
    for name, atoms in (("water", molecule("H2O")), ("64 ions", ions)):
        model = ectjax.load_model(options.model, sorted(set(atoms.get_chemical_symbols())))
        system = ectjax.build_system(
            model, atoms.numbers, atoms.positions, cell=atoms.cell[:] if atoms.pbc.any() else None, pbc=atoms.pbc
        )
        found = {kind: measured(model, system, wanted) for kind, wanted in KINDS.items()}
        for kind, (compilation, run) in found.items():
            ratios = compilation / found["full"][0], run / found["full"][1]
            lines.append(f"{name:12s}{kind:>10s}{compilation:12.1f}{ratios[0]:8.2f}{1e3 * run:10.2f}{ratios[1]:8.2f}")
    text = "\n".join(lines)
    RESULTS.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
