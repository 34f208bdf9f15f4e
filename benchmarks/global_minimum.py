"""Does a cold equilibration find the global minimum? Random systems against an exhaustive multi-start reference.

    python benchmarks/global_minimum.py [--systems 300] [--starts 400] [--seed 0] [--out FILE]

Systems: 2 to 6 atoms of all elements with tables; bonded, stretched, ionic and charged ones in equal parts, each
with the strict model (kappa = 0) and with resonance. Elements outside the shipped set get middling parameters.
Reference: the lowest of `--starts` descents, half from random weights, half from random integer states, and of the
solver's own. A system counts as missed when the solver's energy lies more than 1e-6 eV above the reference.
"""

import argparse
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, covalent_radii

from ectjax import Model, Parameters, System, load_parameters, solve_weights
from ectjax.basis import build_basis
from ectjax.ensemble import charge_range, equilibrate
from ectjax.model import assemble
from ectjax.parameters.store import ABSENT, FIELDS
from ectjax.potential import ensemble_energy, geometry_terms
from ectjax.system import open_system
from ectjax.tables import available_elements

ATOMS = 6
KINDS = ("bonded", "stretched", "ionic", "charged")
METALS, NONMETALS = ("Li", "Na", "Be", "Mg", "Al", "K", "Ca"), ("F", "Cl", "O", "H", "S", "Br")
MIDDLING = ABSENT | {"a": 0.6, "b": 0.1, "sigma": 0.8, "kappa": 25.0, "m": 1.0}
THRESHOLD = 1e-6  # eV


def build_models() -> dict[str, Model]:
    """The resonance model of every element with a table, and the same with kappa = 0."""
    symbols = available_elements()
    known = load_parameters("curves").elements
    numbers = {k: jnp.array([known.get(s, MIDDLING)[k] for s in symbols]) for k in FIELDS}
    basis = build_basis(symbols)
    build = eqx.filter_jit(assemble)  # the tables are arguments: XLA would spend minutes folding constants
    return {
        "resonance": build(basis, Parameters(**numbers)),
        "strict": build(basis, Parameters(**numbers | {"kappa": 0 * numbers["kappa"]})),
    }


def random_system(model: Model, kind: str, rng) -> tuple[System, str]:
    """A padded cluster grown atom by atom next to an earlier one, and its formula with charge."""
    covered = [atomic_numbers[s] for s in available_elements()]
    if kind == "ionic":
        metals, others = ([z for z in covered if z in map(atomic_numbers.get, names)] for names in (METALS, NONMETALS))
        count = int(rng.integers(1, 4))
        numbers = np.concatenate([rng.choice(metals, count), rng.choice(others, count)])
    else:
        numbers = rng.choice(covered, int(rng.integers(2, ATOMS + 1)))
    low, high = {"bonded": (0.85, 1.25), "stretched": (1.3, 3.0), "ionic": (0.9, 1.8), "charged": (0.9, 2.2)}[kind]
    points = [np.zeros(3)]
    while len(points) < len(numbers):
        n, k = len(points), int(rng.integers(len(points)))
        direction = rng.normal(size=3)
        bond = rng.uniform(low, high) * (covalent_radii[numbers[n]] + covalent_radii[numbers[k]])
        trial = points[k] + bond * direction / np.linalg.norm(direction)
        gaps = [
            np.linalg.norm(trial - p) / (covalent_radii[numbers[n]] + covalent_radii[numbers[m]])
            for m, p in enumerate(points)
        ]
        if min(gaps) > 0.8 * low:
            points.append(trial)
    species = np.full(ATOMS, -1, np.int32)
    species[: len(numbers)] = model.species_of(numbers)
    charge = 0.0
    if kind == "charged":
        rows = species[: len(numbers)]
        least, most = (float(x) for x in charge_range(model.state_charge[rows], model.state_mask[rows]))
        charge = float(np.clip(rng.choice([-2, -1, 1, 2, 0.5, -0.5]), least, most))
    place = np.zeros((ATOMS, 3))
    place[: len(numbers)] = points
    symbols = " ".join(available_elements()[row] for row in species[: len(numbers)])
    return open_system(species, place, charge), f"{kind}: {symbols}, charge {charge:+g}"


def random_starts(model: Model, system: System, count: int, rng) -> jax.Array:
    """Amplitudes (count, N, S): random weights, sparse and dense, and random integer states with a trace of all."""
    n, s = ATOMS, model.state_charge.shape[1]
    dense = rng.dirichlet(np.full(s, 0.4), size=(count - count // 2, n))
    integer = np.eye(s)[rng.integers(s, size=(count // 2, n))]
    return jnp.sqrt(jnp.asarray(np.concatenate([dense, 0.98 * integer + 0.02 / s])))


@eqx.filter_jit
def ours(model: Model, system: System):
    """The solver as users call it: energy, residual, evaluations."""
    found = solve_weights(model, system)
    return found.energy, found.residual, found.evaluations + found.search_evaluations


@eqx.filter_jit
def reference(model: Model, system: System, starts):
    """Energies (K,) of the ends of all descents; infinite where one did not converge."""
    terms = geometry_terms(model, system)

    def descend(start):
        found = equilibrate(
            ensemble_energy,
            terms,
            start[None],
            charges=terms.state_charge,
            mask=terms.state_mask,
            total_charge=system.total_charge,
        )
        return jnp.where(found.residual < 1e-5, found.energy, jnp.inf)

    return jax.lax.map(descend, starts, batch_size=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", type=int, default=300)
    parser.add_argument("--starts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the report here as well")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    began, models, lines = time.time(), build_models(), []

    def say(text):
        print(text, flush=True)
        lines.append(text)

    say(f"{options.systems} systems, {options.starts} reference starts, elements {' '.join(available_elements())}")
    total = missed = 0
    for name, model in models.items():
        rng = np.random.default_rng(options.seed)
        failures, residuals, cost, share = [], [], [], []
        counts = dict.fromkeys(KINDS, 0)
        for n in range(options.systems):
            kind = KINDS[n % len(KINDS)]
            system, title = random_system(model, kind, rng)
            energy, residual, evaluations = (float(x) for x in ours(model, system))
            ends = np.asarray(reference(model, system, random_starts(model, system, options.starts, rng)))
            best = min(energy, float(ends.min()))
            residuals.append(residual)
            cost.append(evaluations)
            share.append(np.mean(ends < best + THRESHOLD))
            if not energy <= best + THRESHOLD:
                counts[kind] += 1
                found_by = f"{100 * share[-1]:.1f} % of starts find it"
                failures.append(f"  {n} {title}: {energy - best:.2e} eV above, {found_by}")
        total, missed = total + options.systems, missed + len(failures)
        say(
            f"{name}: {len(failures)} missed ({', '.join(f'{k} {v}' for k, v in counts.items())}); a random start "
            f"finds the minimum in {100 * np.mean(share):.0f} % of cases; gradients per cold solve: "
            f"median {np.median(cost):.0f}, 95 % {np.quantile(cost, 0.95):.0f}; residual above 1e-7 eV in "
            f"{np.sum(np.array(residuals) > 1e-7)} cases, largest {max(residuals):.1e} eV"
        )
        for line in failures:
            say(line)
    share_found = 100 * (1 - missed / total)
    say(f"found the global minimum in {share_found:.2f} % of {total} cases ({time.time() - began:.0f} s)")
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
