"""Cost of the long-range sums: Ewald beside PME on rock salt of growing size, in one run.

    python benchmarks/coulomb.py [--atoms 64 512 5832] [--cutoff 9] [--accuracy 1e-4] [--float32]

`prepare` is paid once per geometry, `potential` once per iteration of the weights, `forces` (energy with
derivatives in positions and cell) once per step; a step is prepare + 20 potentials + forces. Times are the
best of several runs in ms, without compilation; pin to one core with `taskset -c 0` for comparable figures.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from ectjax.coulomb import ewald_parameters, pme_parameters
from ectjax.coulomb.ewald import expected_wave_vectors

ITERATIONS = 20
LATTICE_CONSTANT = 5.64  # Å
LARGEST_EWALD = 3_000_000  # atoms times wave vectors


def rock_salt(cells: int, dtype):
    """8·cells³ thermally displaced atoms with charges ±1 e."""
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = np.concatenate([sites, sites + np.array([0.5, 0, 0])])
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = (corners + sites).reshape(-1, 3) * LATTICE_CONSTANT
    positions = positions + np.random.default_rng(0).normal(scale=0.1, size=positions.shape)
    charges = np.tile(np.repeat([1.0, -1.0], 4), cells**3)
    return (jnp.asarray(part, dtype) for part in (positions, charges, np.eye(3) * cells * LATTICE_CONSTANT))


def best_ms(function, *arguments, repeats=5):
    """Compile, then the shortest of several runs."""
    compiled = jax.jit(function).lower(*arguments).compile()
    result = jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times), result


def measure(parameters, positions, charges, cell):
    """Times (ms) of prepare, potential, forces and a whole step, and the energy (eV)."""

    def energy(x, box):
        return parameters.prepare(x, box).energy(charges)

    prepare, operator = best_ms(lambda x, box: parameters.prepare(x, box), positions, cell)
    potential, _ = best_ms(lambda operator, q: operator.potential(q), operator, charges)
    forces, (value, _) = best_ms(jax.value_and_grad(energy, argnums=(0, 1)), positions, cell)
    return (prepare, potential, forces, prepare + ITERATIONS * potential + forces), float(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[64, 216, 512, 1728, 5832, 32768])
    parser.add_argument("--cutoff", type=float, default=9.0, help="real-space cutoff in Å")
    parser.add_argument("--accuracy", type=float, default=1e-4)
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    dtype = jnp.float32 if options.float32 else jnp.float64
    print(f"{jax.devices()[0].device_kind}, {dtype.__name__}, cutoff {options.cutoff} Å, accuracy {options.accuracy}")
    columns = "".join(f"{name:>10}" for name in ("prepare", "potential", "forces", "step"))
    print(f"{'atoms':>7} {'sum':>6} {'size':>16}{columns} {'µs/atom':>8}")
    for atoms in options.atoms:
        positions, charges, cell = rock_salt(max(1, round((atoms / 8) ** (1 / 3))), dtype)
        atoms, steps = len(positions), {}
        candidates = {"PME": pme_parameters(cell, options.cutoff, options.accuracy)}
        if atoms * expected_wave_vectors(cell, options.cutoff, options.accuracy) <= LARGEST_EWALD:
            candidates["Ewald"] = ewald_parameters(cell, options.cutoff, options.accuracy)
        for name, parameters in candidates.items():
            times, _ = measure(parameters, positions, charges, cell)
            steps[name] = times[-1]
            if name == "PME":
                size = "x".join(map(str, parameters.mesh)) + f" p{parameters.order}"
            else:
                size = f"{len(parameters.k_integers)} k"
            figures = " ".join(f"{value:9.3f}" for value in times)
            print(f"{atoms:7d} {name:>6} {size:>16} {figures} {1e3 * times[-1] / atoms:8.2f}", flush=True)
        if len(steps) == 2:
            print(f"{'':7} Ewald / PME = {steps['Ewald'] / steps['PME']:.2f}", flush=True)


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
