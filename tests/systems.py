"""Random structures of mixed elements for tests, padded to one shape so that one compilation serves all; and how far
their forces and stress are from differences of the energy."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ectjax import build_system, calculate, load_model
from ectjax.calculate import strained
from ectjax.coulomb import EwaldParameters, ewald_parameters
from ectjax.potential import System
from ectjax.system import open_system

ATOMS = 6
TIGHT = 1e-9  # eV, solver residual where differences of energies are taken
SHORTEST = {1: 0.35, 3: 0.9, 6: 0.7, 7: 0.7, 8: 0.65, 9: 0.65, 11: 1.1, 17: 0.95}


def model(elements=None, **options):
    """The shipped default model."""
    return load_model("curves", elements, **options)


def random_cluster(rng, numbers_allowed, atoms=None):
    """Atomic numbers and positions (Å) of 2 to ATOMS atoms, no two closer than the sum of rough radii."""
    count = int(rng.integers(2, ATOMS + 1)) if atoms is None else atoms
    numbers = rng.choice(numbers_allowed, count)
    points = [np.zeros(3)]
    size = rng.uniform(1.5, 4.0)
    while len(points) < count:
        trial = rng.uniform(-size, size, 3)
        n = len(points)
        near = [np.linalg.norm(trial - p) / (SHORTEST[numbers[n]] + SHORTEST[numbers[k]]) for k, p in enumerate(points)]
        if min(near) > 0.9:
            points.append(trial)
        else:
            size *= 1.02
    return numbers, np.array(points)


def padded_cluster(model, numbers, positions, charge=0.0) -> System:
    """An open system of ATOMS slots, species −1 where there is no atom."""
    species = np.full(ATOMS, -1, np.int32)
    species[: len(numbers)] = model.species_of(numbers)
    points = np.zeros((ATOMS, 3))
    points[: len(numbers)] = positions
    return open_system(species, jnp.asarray(points, model.state_energy.dtype), charge)


def random_crystal(model, rng, numbers_allowed, charge=0.0, waves=960, pairs=2048) -> System:
    """Four atoms in a skewed cell of about 80 Å³, smaller than the cutoff."""
    cell = 4.3 * np.eye(3) + rng.uniform(-0.7, 0.7, (3, 3))
    numbers = rng.choice(numbers_allowed, 4)
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    points = (sites + rng.uniform(-0.07, 0.07, (4, 3))) @ cell
    long_range = ewald_parameters(cell, model.cutoff, 1e-8)
    extra = waves - long_range.k_integers.shape[0]
    padded = jnp.pad(long_range.k_integers, ((0, extra), (0, 0)))
    # one program for all cells: the bounds on integers are part of its shape
    assert max(long_range.limits) <= 14
    long_range = EwaldParameters(long_range.alpha, long_range.cutoff, padded, (14, 14, 14))
    return build_system(model, numbers, points, cell=cell, charge=charge, capacity=pairs, long_range=long_range)


def _central_difference(model, system, result, direction, step):
    """−dE/dx along a direction, re-equilibrated from the solution at either side."""
    energies = []
    for sign in (1.0, -1.0):
        moved = eqx.tree_at(lambda s: s.positions, system, system.positions + sign * step * direction)
        found = calculate(model, moved, result.equilibration.weights, tolerance=TIGHT)
        assert bool(found.equilibration.converged)
        energies.append(float(found.energy))
    return -(energies[0] - energies[1]) / (2 * step)


def force_error(model, system, rng, atoms, directions=4):
    """Largest difference in eV/Å between forces and central differences along random unit vectors; no force on
    padding."""
    cold = calculate(model, system, tolerance=TIGHT)
    assert bool(cold.equilibration.converged), float(cold.equilibration.residual)
    result = calculate(model, system, cold.equilibration.weights, tolerance=TIGHT)
    np.testing.assert_array_equal(result.forces[atoms:], 0.0)
    worst = 0.0
    for _ in range(directions):
        direction = np.zeros(system.positions.shape)
        direction[:atoms] = rng.normal(size=(atoms, 3))
        direction /= np.linalg.norm(direction)
        numeric = _central_difference(model, system, result, direction, 1e-4)
        finer = _central_difference(model, system, result, direction, 5e-5)
        numeric = (4 * finer - numeric) / 3  # Richardson: the truncation error of one difference is larger
        worst = max(worst, abs(numeric - float(np.sum(result.forces * direction))))
    return worst


def stress_error(model, system, components, step=1e-5):
    """Largest difference in eV/Å³ between these components of the stress and central differences in the strain."""
    found = calculate(model, system, tolerance=TIGHT)
    volume, worst = abs(np.linalg.det(np.asarray(system.cell))), 0.0
    for a, b in components:
        strain = np.zeros((3, 3))
        strain[a, b] = strain[b, a] = step
        up, down = (
            float(calculate(model, strained(system, s * strain), found.equilibration.weights, tolerance=TIGHT).energy)
            for s in (1, -1)
        )
        slope = (up - down) / (2 * step * volume) / (1 if a == b else 2)
        worst = max(worst, abs(float(found.stress[a, b]) - slope))
    return worst


def weights_of_states(model, numbers, labels):
    """Weights (N, S) of atoms that are in one state each."""
    weights = np.zeros((len(numbers), model.state_mask.shape[1]))
    for row, species, label in zip(weights, model.species_of(numbers), labels, strict=True):
        row[model.labels[species].index(label)] = 1.0
    return jnp.asarray(weights)
