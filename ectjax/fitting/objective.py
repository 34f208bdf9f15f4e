"""Residuals of a model against diatomic curves and charges: differentiable in every parameter."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ectjax.fitting.curves import Diatomic
from ectjax.model import Basis, Model, Parameters, assemble
from ectjax.neighbors import all_pairs
from ectjax.potential import System, potential_energy

GRID = np.linspace(0.85, 2.2, 8)
"""Points of a curve in units of R_e."""


class CurveData(NamedTuple):
    """C curves of P points: species (C, 2), distances (C, P) in Å, energies (C, P) and depths (C,) in eV,
    charge of the first atom at R_e (C,) in e, R_e (C,)."""

    species: Array
    distances: Array
    energies: Array
    depths: Array
    charges: Array
    equilibrium: Array


def curve_data(diatomics: list[Diatomic], basis: Basis, grid=GRID) -> CurveData:
    """Reference arrays of the pairs. Raises ValueError for a pair with an element that the basis lacks."""
    from ase.data import atomic_numbers

    rows = {z: n for n, z in enumerate(basis.numbers)}
    for pair in diatomics:
        for symbol in (pair.a, pair.b):
            if atomic_numbers[symbol] not in rows:
                raise ValueError(
                    f"pair {pair.a}-{pair.b} needs {symbol}, which the fit does not cover: add it or drop the pair"
                )
    distances = np.array([pair.r_e * grid for pair in diatomics])
    return CurveData(
        species=np.array([[rows[atomic_numbers[s]] for s in (p.a, p.b)] for p in diatomics], np.int32),
        distances=distances,
        energies=np.array([p.morse(r) for p, r in zip(diatomics, distances, strict=True)]),
        depths=np.array([p.d_e for p in diatomics]),
        charges=np.array([p.charge_a for p in diatomics]),
        equilibrium=np.array([p.r_e for p in diatomics]),
    )


def pair_energy(model: Model, species: Array, distance: Array, tolerance: float = 1e-7):
    """Energy in eV and charge of the first atom of a neutral pair at `distance` in Å."""
    positions = jnp.zeros((2, 3), distance.dtype).at[1, 2].set(distance)
    system = System(positions, species, jnp.zeros((), distance.dtype), all_pairs(2))
    energy, result = potential_energy(model, system, tolerance=tolerance, max_iterations=60)
    return energy, result.charges[0]


def curve_predictions(model: Model, data: CurveData):
    """Energies (C, P) in eV and charges at R_e (C,) in e."""
    over_points = jax.vmap(lambda s, r: pair_energy(model, s, r)[0], (None, 0))
    energies = jax.vmap(over_points)(data.species, data.distances)
    charges = jax.vmap(lambda s, r: pair_energy(model, s, r)[1])(data.species, data.equilibrium)
    return energies, charges


class Weights(NamedTuple):
    """Relative weights of the squared errors and widths of the priors.

    charge: of 1 e against 1 D_e. prior: strength of the pull towards the start, in units of the energy term.
    """

    charge: float = 1.0
    prior: float = 0.0


def residuals(parameters: Parameters, basis: Basis, data: CurveData, weights: Weights, start: Parameters):
    """Residual blocks whose squares sum to the objective: curves (C·P,), charges (C,), priors."""
    model = assemble(basis, parameters)
    energies, charges = curve_predictions(model, data)
    curve = ((energies - data.energies) / data.depths[:, None]) / np.sqrt(data.energies.size)
    charge = np.sqrt(weights.charge / data.charges.size) * (charges - data.charges)
    prior = [
        np.sqrt(weights.prior / scale.size) * (x - y) / scale
        for x, y, scale in zip(jax.tree.leaves(parameters), jax.tree.leaves(start), _prior_widths(start), strict=True)
    ]
    return curve.ravel(), charge, prior


def _prior_widths(start: Parameters) -> list[Array]:
    """How far each kind of parameter may move at unit cost: 1 for prefactors, 1 bohr, 50 eV (e/bohr³)^-½."""
    widths = Parameters(a=1.0, b=1.0, sigma=1.0, kappa=50.0, m=1.0)
    return [jnp.full_like(x, w) for x, w in zip(jax.tree.leaves(start), jax.tree.leaves(widths), strict=True)]


def summary(model: Model, data: CurveData) -> dict[str, float | np.ndarray]:
    """Root mean square errors: curves in units of D_e (all points), charges in e, and both by pair."""
    energies, charges = eqx.filter_jit(curve_predictions)(model, data)
    relative = (np.asarray(energies) - data.energies) / data.depths[:, None]
    difference = np.asarray(charges) - data.charges
    return {
        "curves": float(np.sqrt(np.mean(relative**2))),
        "charges": float(np.sqrt(np.mean(difference**2))),
        "curve_by_pair": np.sqrt(np.mean(relative**2, axis=1)),
        "charge_by_pair": np.asarray(charges),
    }
