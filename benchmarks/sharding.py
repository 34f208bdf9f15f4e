"""Time and memory of one geometry of rock salt, spread over 1, 2, 4 and 8 virtual devices of one CPU.

    python benchmarks/sharding.py [--cells 6] [--devices 1 2 4 8] [--accuracy 1e-5]

Virtual devices share the cores of this machine, so that more of them make nothing faster here: what can be read off
is the memory of each device, the sums over devices in the program, and, by processor time, what division costs in all.
A step is one warm `calculate` with forces and stress; times are the best of several, without compilation. Each number
of devices runs in a process of its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time


def measure(cells: int, accuracy: float) -> dict:
    """All devices of this process share one system of 8·cells³ atoms."""
    import jax
    from ase.build import bulk

    from ectjax import build_system, calculate, load_model
    from ectjax.sharding import shard_system

    jax.config.update("jax_enable_x64", True)
    model = load_model("curves", ["Na", "Cl"])
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (cells, cells, cells)
    atoms.rattle(0.05, seed=1)
    system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], accuracy=accuracy)
    system = shard_system(system)
    start = calculate(model, system, tolerance=1e-3, rounds=0).equilibration.weights
    program = calculate.lower(model, system, start, tolerance=2e-3).compile().compiled
    results = jax.block_until_ready(calculate(model, system, start, tolerance=2e-3))
    wall, busy = [], []
    for _ in range(5):
        begun = time.perf_counter(), time.process_time()
        jax.block_until_ready(calculate(model, system, start, tolerance=2e-3))
        wall.append(time.perf_counter() - begun[0])
        busy.append(time.process_time() - begun[1])
    memory, text = program.memory_analysis(), program.as_text()
    return {
        "devices": jax.device_count(),
        "atoms": len(atoms),
        "pairs": system.neighbors.capacity // jax.device_count(),
        "arguments": memory.argument_size_in_bytes / 2**20,
        "work": memory.temp_size_in_bytes / 2**20,
        "sums": len(re.findall(r" all-reduce(?:-start)?\(", text)),
        "gathers": len(re.findall(r" all-gather(?:-start)?\(", text)),
        "wall": min(wall),
        "busy": min(busy),
        "energy": float(results.energy),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=6, help="cubic cells of 8 ions along each direction")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--accuracy", type=float, default=1e-5, help="of the long-range sum in e/Å²")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.cells, options.accuracy)))
        return
    print(f"virtual devices of one CPU; they share its {len(os.sched_getaffinity(0))} core(s)")
    print(
        "devices  atoms  pairs/device  MiB/device: arrays   work  sums  gathers  wall s  processor s        energy eV"
    )
    for count in options.devices:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        again = [
            sys.executable,
            __file__,
            "--measure",
            "--cells",
            str(options.cells),
            "--accuracy",
            str(options.accuracy),
        ]
        run = subprocess.run(
            again, env=os.environ | {"XLA_FLAGS": flags}, check=True, stdout=subprocess.PIPE, text=True
        )
        row = json.loads(run.stdout.splitlines()[-1])
        print(
            f"{row['devices']:7d} {row['atoms']:6d} {row['pairs']:13d} {row['arguments']:19.2f} {row['work']:6.1f} "
            f"{row['sums']:5d} {row['gathers']:8d} {row['wall']:7.3f} {row['busy']:12.3f} {row['energy']:16.9f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
