"""Long NVE runs of NaCl: energy conservation in float32, and compilations in a melt.

    python benchmarks/long_runs.py [--steps 20000] [--melt 10000] [--jax]

Float32: a crystal at 300 K (512 ions) and a melt at 1200 K (216 ions), two tolerances of the weights; slope of energy.
Melt: the programs compiled in `--melt` steps of float64 after the first hundred, with lists renewed all the time. --jax
leaves the compiled sums of `ectjax.native` out.
"""

import argparse

import jax
import numpy as np
from ase.build import bulk
from jax._src import monitoring
from molten_salt import LATTICE

from ectjax import build_system, load_model
from ectjax.dynamics.integrators import make_integrator
from ectjax.dynamics.run import Simulation
from ectjax.dynamics.session import start_momenta
from ectjax.units import FEMTOSECOND

CASES = {"crystal, 300 K": (4, 5.85, 300.0), "melt, 1200 K": (3, LATTICE, 1200.0)}
EVERY = 100
compilations: list[float] = []


def heard(name: str, seconds: float, **_) -> None:
    if name.endswith("backend_compile_duration"):
        compilations.append(seconds)


def simulation(atoms, momenta, dtype, temperature, native, ensemble="nve", **options) -> Simulation:
    model = load_model("two_center", ["Na", "Cl"], dtype=dtype)
    system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], skin=0.5, accuracy=1e-6)
    cell = tuple(map(tuple, atoms.cell.tolist()))
    settings = {"temperature": temperature, "tau": 50 * FEMTOSECOND, "cell": cell, "atoms": len(atoms)}
    integrator = make_integrator(ensemble, FEMTOSECOND, **settings)
    run = Simulation(model, system, integrator, skin=0.5, accuracy=1e-6, native=native, **options)
    run.begin(momenta, atoms.get_masses(), jax.random.PRNGKey(0))
    return run


def prepared(cells, constant, temperature, native):
    """A crystal or a melt at its temperature: 2 ps NVT in float64, a melt from 2500 K."""
    atoms = bulk("NaCl", "rocksalt", a=constant, cubic=True).repeat(cells)
    momenta, _ = start_momenta(atoms, temperature, 0)
    for heat in (2500.0, temperature) if temperature > 1000 else (temperature,):
        run = simulation(atoms, momenta, "float64", heat, native, "nvt", tolerance=1e-5)
        run.advance(2000)
        atoms.positions, momenta = np.asarray(run.moment.state.position), np.asarray(run.moment.state.momentum)
    return atoms, momenta


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--melt", type=int, default=10000)
    parser.add_argument("--jax", action="store_true")
    options = parser.parse_args()
    native = False if options.jax else None
    monitoring.register_event_duration_secs_listener(heard)
    jax.config.update("jax_enable_x64", True)
    print("float32                tolerance   ps     drift (eV/atom/ps)   spread (eV/atom)   T (K)   cold starts")
    starts = {}
    for name, (cells, constant, temperature) in CASES.items():
        starts[name] = prepared(cells, constant, temperature, native)
        atoms, momenta = starts[name]
        for tolerance in (1e-4, 1e-3):
            run = simulation(atoms, momenta, "float32", temperature, native, tolerance=tolerance)
            energies, heat = [], []
            for step in range(EVERY, options.steps + 1, EVERY):
                run.advance(step)
                seen = run.observables()
                energies.append(seen["conserved"] / len(atoms))
                heat.append(seen["temperature"])
            time = EVERY * 1e-3 * np.arange(1, len(energies) + 1)
            line = np.polyfit(time, energies, 1)
            spread = np.std(energies - np.polyval(line, time))
            print(
                f"{name:20s}   {tolerance:9.0e}   {time[-1]:4.0f}   {line[0]:18.1e}   {spread:16.1e}   "
                f"{np.mean(heat):5.0f}   {run.cold_starts:11d}",
                flush=True,
            )
    atoms, momenta = starts["melt, 1200 K"]
    run = simulation(atoms, momenta, "float64", 1200.0, native, tolerance=1e-5)
    run.advance(100)
    before, lists = len(compilations), run.rebuilds
    run.advance(100 + options.melt)
    late = compilations[before:]
    print(
        f"\nmelt, float64: {options.melt} steps, {run.rebuilds - lists} lists, {run.cold_starts} cold starts: "
        f"{len(late)} compilations ({sum(late):.1f} s)"
    )


if __name__ == "__main__":
    main()
