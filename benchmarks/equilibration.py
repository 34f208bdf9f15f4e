"""How the equilibration behaves: hysteresis along scans, and iterations against system size.

    python benchmarks/equilibration.py hysteresis
    python benchmarks/equilibration.py iterations [--atoms 64 512 1728 4096] [--molecules 22 64 216]

Hysteresis: diatomics from 0.8 to 12 Å and rock salt from 4 to 20 Å lattice constant, up and down with warm starts and
cold at every point, with resonance and without; "followed" is what warm starts without `search` would give.
Iterations: at a tolerance of 5e-4 eV, from a cold start, from the weights of the same structure one step of 1 fs at
about 1000 K earlier ("last"), and from those foreseen as in dynamics from three steps ("foreseen"). The cost of
searching for lower basins from cold stands by itself.
"""

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk, molecule
from ase.data import atomic_numbers

from ectjax import System, build_system, calculate, load_model, solve_weights
from ectjax.ensemble import foreseen_weights
from ectjax.fitting.curves import read_diatomics
from ectjax.system import open_system

TOLERANCE = 5e-4  # eV, for forces within 1e-3 eV/Å
STEP = 0.006  # Å, what an atom moves in 1 fs at about 1000 K


@eqx.filter_jit
def _solve(model, system, weights, search: bool):
    found = solve_weights(model, system, weights, search=search)
    return found.energy, found.weights


def _scan(model, systems, search):
    """Energies of a sequence of systems, each from the weights of the one before; cold where search is None."""
    energies, weights = [], None
    for system in systems:
        energy, after = _solve(model, system, weights, bool(search))
        weights = None if search is None else after
        energies.append(float(energy))
    return np.array(energies)


def _report(name, model, systems):
    """Largest differences in eV between up, down and cold scans, searched and only followed."""
    cold = _scan(model, systems, None)
    up, down = _scan(model, systems, True), _scan(model, systems[::-1], True)[::-1]
    spread = np.max([up, down, cold], axis=0) - np.min([up, down, cold], axis=0)
    followed = np.abs(_scan(model, systems, False) - _scan(model, systems[::-1], False)[::-1]).max()
    print(f"{name:12s} {spread.max():.1e} eV at point {spread.argmax():3d}   followed {followed:.1e} eV", flush=True)
    return spread.max()


def crystals(model, constants) -> list[System]:
    """The 8-atom cell of rock salt at several lattice constants, all padded to one shape."""
    plain = []
    for a in constants:
        atoms = bulk("NaCl", "rocksalt", a=a, cubic=True)
        plain.append((atoms, build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:])))
    pairs = max(s.neighbors.capacity for _, s in plain)
    waves = max(s.long_range.k_integers.shape[0] for _, s in plain)
    padded = []
    for atoms, _ in plain:
        system = build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:], capacity=pairs)
        k = system.long_range.k_integers
        k = jnp.pad(k, ((0, waves - k.shape[0]), (0, 0)))
        padded.append(eqx.tree_at(lambda s: s.long_range.k_integers, system, k))
    return padded


def hysteresis() -> None:
    chosen = [p for p in read_diatomics() if (p.a, p.b) not in {("N", "N"), ("C", "C"), ("Na", "Na")}][:15]
    worst = []
    for kind in ("resonance", "strict"):
        base = load_model("default")
        model = base if kind == "resonance" else eqx.tree_at(lambda m: m.resonance, base, 0 * base.resonance)
        print(f"{kind}: largest spread between up, down and cold")
        for pair in chosen:
            rows = model.species_of([atomic_numbers[s] for s in (pair.a, pair.b)])
            points = np.zeros((90, 2, 3))
            points[:, 1, 2] = np.linspace(0.8 * pair.r_e, 12.0, 90)
            worst.append(_report(f"{pair.a}-{pair.b}", model, [open_system(rows, x) for x in points]))
        constants = np.linspace(4.0, 20.0, 65)
        salt = load_model("default", ["Na", "Cl"])
        if kind == "strict":
            salt = eqx.tree_at(lambda m: m.resonance, salt, 0 * salt.resonance)
        worst.append(_report("NaCl crystal", salt, crystals(salt, constants)))
    print(f"largest of all: {max(worst):.1e} eV")


def disordered_salt(atoms: int, rng):
    """A cube of rock salt with every atom displaced by 0.3 Å rms in each direction."""
    cells = round((atoms / 8) ** (1 / 3))
    crystal = bulk("NaCl", "rocksalt", a=5.8, cubic=True).repeat(cells)
    return crystal.numbers, crystal.positions + rng.normal(scale=0.3, size=(len(crystal), 3)), crystal.cell[:]


def water_cluster(molecules: int, rng):
    """Molecules of random orientation on a grid of 3.1 Å."""
    side = int(np.ceil(molecules ** (1 / 3) - 1e-9))
    numbers, points = [], []
    for n in range(molecules):
        water = molecule("H2O")
        axis = rng.normal(size=3)
        water.rotate(360 * rng.random(), axis)
        points.append(water.positions + 3.1 * np.array([n % side, n // side % side, n // side**2]))
        numbers.append(water.numbers)
    return np.concatenate(numbers), np.concatenate(points), None


def iterations(sizes, molecules, count: int) -> None:
    """Medians over `count` structures of each size."""
    salt, water = load_model("two_center", ["Na", "Cl"]), load_model("default", ["H", "O"])
    print(f"tolerance {TOLERANCE:g} eV; medians of {count} structures, largest force error of all")
    print("system  atoms  start     Newton steps  gradients and products  the search's  force error, eV/Å")
    jobs = [("salt", salt, disordered_salt, n) for n in sizes] + [("water", water, water_cluster, n) for n in molecules]
    for name, model, make, size in jobs:
        seen: dict[str, list] = {"last": [], "foreseen": [], "cold": []}
        for seed in range(count):
            rng = np.random.default_rng((size, seed))
            numbers, positions, cell = make(size, rng)
            step = rng.normal(size=positions.shape)
            step *= STEP / np.sqrt(np.mean(np.sum(step**2, axis=1)))
            system = build_system(model, numbers, positions, cell=cell, skin=0.5)
            cold = calculate(model, system, tolerance=jnp.asarray(TOLERANCE))
            passed, weights = [], cold.equilibration.weights
            for k in (1, 2, 3):
                before = eqx.tree_at(lambda s: s.positions, system, system.positions - k * jnp.asarray(step))
                found = calculate(model, before, weights, tolerance=jnp.asarray(TOLERANCE)).equilibration
                passed.append(found.amplitudes)
                weights = found.weights
            last = calculate(model, system, passed[0] ** 2, tolerance=jnp.asarray(TOLERANCE))
            foreseen = calculate(model, system, foreseen_weights(*passed), tolerance=jnp.asarray(TOLERANCE))
            for start, out in (("last", last), ("foreseen", foreseen), ("cold", cold)):
                exact = calculate(model, system, out.equilibration.weights, tolerance=jnp.asarray(1e-8))
                e, error = out.equilibration, float(jnp.abs(out.forces - exact.forces).max())
                seen[start].append((int(e.iterations), int(e.evaluations), int(e.search_evaluations), error))
        for start, rows in seen.items():
            steps, products, search, _ = np.median(np.array(rows), axis=0)
            error = max(row[3] for row in rows)
            row = f"{steps:10.0f}  {products:22.0f}  {search:12.0f}  {error:12.1e}"
            print(f"{name:6s} {len(numbers):6d}  {start:8s} {row}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("hysteresis", "iterations"))
    parser.add_argument("--atoms", type=int, nargs="*", default=[64, 512, 1728, 4096])
    parser.add_argument("--molecules", type=int, nargs="*", default=[22, 64, 216])
    parser.add_argument("--structures", type=int, default=5)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.part == "hysteresis":
        hysteresis()
    else:
        iterations(options.atoms, options.molecules, options.structures)


if __name__ == "__main__":
    main()
