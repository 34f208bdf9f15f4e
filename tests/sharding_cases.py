"""Systems that are computed on one and on many devices, and the program that does the latter in a process of its own.

python sharding_cases.py CASE OUT.npz [ADDRESS PROCESSES INDEX]
"""

import json
import re
import sys
from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk, molecule

from ectjax import System, build_system, calculate, load_model
from ectjax.coulomb import ewald_parameters, pme_parameters
from ectjax.system import open_system

TOLERANCE = 1e-9  # eV, residual of the weights
STEP = 0.005  # Å² per eV


def salt() -> tuple:
    """36 displaced ions of rock salt in a skewed cell with one electron too few, their charges on a mesh. Neither atoms
    nor slots of the pair list can be dealt out evenly to eight devices."""
    model = load_model("curves", ["Na", "Cl"])
    atoms = bulk("NaCl", "rocksalt", a=5.64) * (3, 3, 2)
    atoms.rattle(0.05, seed=1)
    mesh = pme_parameters(atoms.cell[:], model.cutoff, 1e-5)
    system = build_system(
        model, atoms.numbers, atoms.positions, cell=atoms.cell[:], charge=1.0, long_range=mesh, capacity=2005
    )
    return model, system


def waters() -> tuple:
    """Twelve waters around a sodium ion, without a cell, and four slots for atoms that are not there."""
    model = load_model("curves", ["H", "O", "Na"])
    water = molecule("H2O")
    grid = [np.array([3.2 * i, 3.1 * j, 0.3 * i]) for i in range(4) for j in range(3)]
    points = np.concatenate([*(water.positions + shift for shift in grid), [[1.5, 1.6, 3.0]], np.zeros((4, 3))])
    species = model.species_of(np.r_[np.tile(water.numbers, 12), 11])
    return model, open_system(np.r_[species, np.full(4, -1)], points, 1.0)


def cell(small_mesh: bool = False) -> tuple:
    """Eight ions with an electron too many and a potential at every atom, by an Ewald sum or with a mesh."""
    model = load_model("curves", ["Na", "Cl"])
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.1, seed=2)
    box = atoms.cell[:]
    parameters = (pme_parameters if small_mesh else ewald_parameters)(box, model.cutoff, 1e-5)
    system = build_system(model, atoms.numbers, atoms.positions, cell=box, charge=-1.0, long_range=parameters)
    potential = jnp.linspace(-0.3, 0.3, 8)
    return model, eqx.tree_at(lambda s: s.external_potential, system, potential, is_leaf=lambda x: x is None)


def meshed_cell() -> tuple:
    """The same with a mesh."""
    return cell(small_mesh=True)


CASES = {"salt": salt, "waters": waters, "cell": cell, "meshed_cell": meshed_cell}
STEPS = {"salt": 2, "waters": 2, "cell": 3, "meshed_cell": 0}


def options_of(case: str) -> dict:
    """Options of `calculate`; small cells are spared the search, and one of them all starts but one."""
    options = {"tolerance": TOLERANCE, "rounds": 0 if "cell" in case else 4}
    return options | ({"weights": jnp.full((8, 3), 1 / 3)} if case == "meshed_cell" else {})


def numbers_of(case: str, model, system: System) -> dict[str, np.ndarray]:
    """What is compared: the first geometry's results and the forces after `STEPS` downhill; and the number of programs
    that were compiled after the first of these."""
    options = options_of(case)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    first = results = calculate(model, system, **options)
    for step in range(STEPS[case]):
        moved = eqx.tree_at(lambda s: s.positions, system, system.positions + STEP * results.forces)
        if step == 1:
            compiled.clear()
        results = calculate(model, moved, **options)
    return {
        "energy": np.asarray(first.energy),
        "forces": np.asarray(first.forces),
        "stress": np.asarray(first.stress),
        "weights": np.asarray(first.equilibration.weights),
        "charges": np.asarray(first.equilibration.charges),
        "chemical_potential": np.asarray(first.equilibration.chemical_potential),
        "converged": np.asarray(first.equilibration.converged),
        "later_forces": np.asarray(results.forces),
        "compiled_later": np.asarray(len(compiled)),
    }


def program_of(case: str, model, system: System, devices: int) -> dict:
    """Sizes in the compiled program of one device: arrays along all pairs and along its share of them, sums over
    devices, elements of the largest array that is gathered from all."""
    text = calculate.lower(model, system, **options_of(case)).compile().compiled.as_text()
    slots = system.neighbors.capacity

    def along(length: int) -> int:
        return len(re.findall(rf"\w\d+\[(?:\d+,)*{length}(?:,\d+)*\]", text))

    moved = re.findall(r"= (.*?) (?:all-gather|all-to-all|collective-permute)(?:-start)?\(", text)
    shapes = [shape for result in moved for shape in re.findall(r"\w\d+\[([\d,]*)\]", result)]
    return {
        "slots": slots,
        "whole": along(slots),
        "shared": along(slots // devices),
        "sums": len(re.findall(r" all-reduce(?:-start)?\(", text)),
        "largest_gathered": max((prod(map(int, shape.split(","))) for shape in shapes if shape), default=0),
    }


def main(case: str, out: str, address: str | None = None, processes: int = 1, index: int = 0) -> None:
    """Compute one case on all devices, of all processes if there are several, and store it."""
    jax.config.update("jax_enable_x64", True)
    if address is not None:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(address, processes, index, initialization_timeout=60)
    from ectjax.sharding import shard_system

    model, system = CASES[case]()
    system = shard_system(system)
    found = numbers_of(case, model, system)
    if address is None:
        found["program"] = np.asarray(json.dumps(program_of(case, model, system, jax.device_count())))
    found["parts"] = np.asarray([part.data.shape[0] for part in system.neighbors.i.addressable_shards])
    found["devices"] = np.asarray([jax.device_count(), jax.local_device_count(), jax.process_count()])
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:4], *(int(x) for x in sys.argv[4:]))
