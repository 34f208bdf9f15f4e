"""How the equilibration behaves: hysteresis along scans, and iterations against system size.

    python benchmarks/equilibration.py hysteresis
    python benchmarks/equilibration.py iterations [--atoms 64 512 …] [--molecules 22 64 …] [--displacement 0.15]
    python benchmarks/equilibration.py plot [--atoms 64 512]     # docs/images/convergence.png

Hysteresis: diatomics from 0.8 to 12 Å and rock salt from 4 to 20 Å lattice constant, up and down with warm starts and
cold at every point, with resonance and without; "followed" is what warm starts without `search` would give.
Iterations: gradients, of which every step takes one, to a force error of 1e-3 eV/Å: from a cold start, from the weights
of the same structure one step of 1 fs at about 1000 K earlier ("last"), and from those foreseen as in dynamics from
five steps ("foreseen"). What searching for lower basins costs from cold stands by itself.
Plot: the residual against gradients spent on disordered salt, with the Coulomb screening and without.
"""

import argparse
import itertools
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk, molecule
from ase.data import atomic_numbers

from ectjax import System, build_system, calculate, load_model, solve_weights
from ectjax.ensemble import HISTORY, foreseen_weights, start_amplitudes
from ectjax.ensemble._descent import minimise
from ectjax.ensemble._problem import Problem
from ectjax.fitting.curves import read_diatomics
from ectjax.potential import energy_and_slopes, geometry_terms
from ectjax.system import open_system

FORCE_ERROR = 1e-3  # eV/Å
TOLERANCE = 5e-4  # eV, for forces within FORCE_ERROR
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
        base = load_model("curves")
        model = base if kind == "resonance" else eqx.tree_at(lambda m: m.resonance, base, 0 * base.resonance)
        print(f"{kind}: largest spread between up, down and cold")
        for pair in chosen:
            rows = model.species_of([atomic_numbers[s] for s in (pair.a, pair.b)])
            points = np.zeros((90, 2, 3))
            points[:, 1, 2] = np.linspace(0.8 * pair.r_e, 12.0, 90)
            worst.append(_report(f"{pair.a}-{pair.b}", model, [open_system(rows, x) for x in points]))
        constants = np.linspace(4.0, 20.0, 65)
        salt = load_model("curves", ["Na", "Cl"])
        if kind == "strict":
            salt = eqx.tree_at(lambda m: m.resonance, salt, 0 * salt.resonance)
        worst.append(_report("NaCl crystal", salt, crystals(salt, constants)))
    print(f"largest of all: {max(worst):.1e} eV")


def disordered_salt(atoms: int, rng, displacement: float = 0.15):
    """A cube of rock salt, every atom displaced by so many Å rms in each direction; 0.15 is a crystal near melting."""
    cells = round((atoms / 8) ** (1 / 3))
    crystal = bulk("NaCl", "rocksalt", a=5.8, cubic=True).repeat(cells)
    return crystal.numbers, crystal.positions + rng.normal(scale=displacement, size=(len(crystal), 3)), crystal.cell[:]


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


@eqx.filter_jit
def _descend(terms, charge, start, screening, limit, tolerance=1e-9):
    problem = Problem(energy_and_slopes, terms, terms.state_charge, terms.state_mask, charge, screening)
    return minimise(problem, start, tolerance=tolerance, max_iterations=limit)


def spent(model, system, terms, start, exact) -> list[int]:
    """Gradients on the way down from amplitudes `start` until the root mean square error of all force components is
    below FORCE_ERROR, until the largest error is, and until the residual is below TOLERANCE."""
    tolerance, counts = jnp.asarray(TOLERANCE), [0, 0, 0]
    for steps in itertools.count():
        found = _descend(terms, system.total_charge, start, terms.screening, jnp.asarray(steps), tolerance)
        given = calculate(model, system, found.amplitudes**2, tolerance=tolerance, max_iterations=jnp.asarray(0))
        error = np.asarray(given.forces - exact)
        reached = (
            np.sqrt(np.mean(error**2)) <= FORCE_ERROR,
            np.abs(error).max() <= FORCE_ERROR,
            found.residual <= TOLERANCE,
        )
        counts = [c or int(found.evaluations) * bool(r) for c, r in zip(counts, reached, strict=True)]
        if all(counts) or int(found.iterations) < steps:
            return counts


def iterations(sizes, molecules, count: int, displacement: float) -> None:
    """Medians over `count` structures of each size."""
    salt, water = load_model("two_center", ["Na", "Cl"]), load_model("curves", ["H", "O"])
    print(
        f"gradients to a force error of {FORCE_ERROR:g} eV/Å and to a residual of {TOLERANCE:g} eV; medians of {count}"
    )
    print("system  atoms  start     rms error  largest error  residual  the search's")
    disordered = partial(disordered_salt, displacement=displacement)
    jobs = [("salt", salt, disordered, n) for n in sizes] + [("water", water, water_cluster, n) for n in molecules]
    for name, model, make, size in jobs:
        seen: dict[str, list] = {"last": [], "foreseen": [], "cold": []}
        for seed in range(count):
            rng = np.random.default_rng((size, seed))
            numbers, positions, cell = make(size, rng)
            step = rng.normal(size=positions.shape)
            step *= STEP / np.sqrt(np.mean(np.sum(step**2, axis=1)))
            system = build_system(model, numbers, positions, cell=cell, skin=0.5)
            terms = geometry_terms(model, system)
            cold = calculate(model, system, tolerance=jnp.asarray(TOLERANCE)).equilibration
            passed, weights = [], cold.weights
            for k in range(1, HISTORY + 1):
                before = eqx.tree_at(lambda s: s.positions, system, system.positions - k * jnp.asarray(step))
                found = calculate(model, before, weights, tolerance=jnp.asarray(TOLERANCE)).equilibration
                passed.append(found)
                weights = found.weights
            exact = calculate(model, system, cold.weights, tolerance=jnp.asarray(1e-8))
            starts = {
                "last": passed[0].amplitudes,
                "foreseen": jnp.sqrt(foreseen_weights(jnp.stack([found.corrected for found in passed]))),
                "cold": start_amplitudes(terms.state_energy, terms.state_charge, terms.state_mask)[0],
            }
            for start, amplitudes in starts.items():
                search = int(cold.search_evaluations) if start == "cold" else 0
                seen[start].append((*spent(model, system, terms, amplitudes, exact.forces), search))
        for start, rows in seen.items():
            a, b, c, search = np.median(np.array(rows), axis=0)
            print(f"{name:6s} {len(numbers):6d}  {start:8s} {a:10.0f} {b:14.0f} {c:9.0f} {search:13.0f}", flush=True)


def plot(sizes) -> None:
    import matplotlib.pyplot as plt

    model = load_model("two_center", ["Na", "Cl"])
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
    for size, colour in zip(sizes, plt.rcParams["axes.prop_cycle"].by_key()["color"], strict=False):
        rng = np.random.default_rng((size, 0))
        numbers, positions, cell = disordered_salt(size, rng)
        step = rng.normal(size=positions.shape) * STEP
        system = build_system(model, numbers, positions, cell=cell, skin=0.5)
        before = eqx.tree_at(lambda s: s.positions, system, system.positions - jnp.asarray(step))
        terms = geometry_terms(model, system)
        last = calculate(model, before).equilibration.amplitudes
        cold = start_amplitudes(terms.state_energy, terms.state_charge, terms.state_mask)[0]
        for axis, start in ((axes[0], last), (axes[1], cold)):
            for screening, style in ((terms.screening, "o-"), (None, "s:")):
                spent, residuals = [], []
                for limit in range(40):
                    found = _descend(terms, system.total_charge, start, screening, jnp.asarray(limit))
                    spent.append(int(found.evaluations))
                    residuals.append(float(found.residual))
                    if residuals[-1] < 1e-9:
                        break
                label = f"{len(numbers)} ions, {'not ' if screening is None else ''}screened"
                axis.semilogy(spent, residuals, style, color=colour, ms=4, lw=1.2, label=label)
    axes[0].set(title="from the step before", xlabel="gradients", ylabel="residual (eV)")
    axes[1].set(title="cold, ionic start", xlabel="gradients")
    axes[0].legend(frameon=False, fontsize=8)
    file = Path(__file__).parent.parent / "docs" / "images" / "convergence.png"
    figure.savefig(file, dpi=150)
    print(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("hysteresis", "iterations", "plot"))
    parser.add_argument("--atoms", type=int, nargs="*", default=[64, 512, 1728, 4096])
    parser.add_argument("--molecules", type=int, nargs="*", default=[22, 64, 216])
    parser.add_argument("--structures", type=int, default=5)
    parser.add_argument("--displacement", type=float, default=0.15, help="of the salt's ions in each direction, Å")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.part == "hysteresis":
        hysteresis()
    elif options.part == "plot":
        plot(options.atoms[:2])
    else:
        iterations(options.atoms, options.molecules, options.structures, options.displacement)


if __name__ == "__main__":
    main()
