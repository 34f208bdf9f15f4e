"""Residuals of a model against curves, charges and molecules: differentiable in every parameter."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ectjax.fitting.curves import Diatomic
from ectjax.fitting.molecules import Molecule
from ectjax.model import Basis, Model, Parameters, assemble
from ectjax.potential import potential_energy
from ectjax.system import open_system
from ectjax.units import HARTREE_IN_EV

GRID = np.linspace(0.85, 2.2, 8)
"""Points of a curve in units of R_e."""
BREATHING = (0.96, 1.0, 1.04)
"""Factors on a molecule's measured geometry: the energy is compared at 1, the slope has to vanish there."""


class CurveData(NamedTuple):
    """C curves of P points: species (C, 2), distances (C, P) in Å, energies (C, P) and depths (C,) in eV,
    charge of the first atom at R_e (C,) in e, R_e (C,)."""

    species: Array
    distances: Array
    energies: Array
    depths: Array
    charges: Array
    equilibrium: Array


class MoleculeData(NamedTuple):
    """M molecules padded to A atoms: species (M, A), −1 for padding; positions (M, A, 3) in Å; energies (M,) in eV
    from separated atoms; atoms (M,), their number."""

    species: Array
    positions: Array
    energies: Array
    atoms: Array


class Data(NamedTuple):
    """All training data; molecules may be None."""

    curves: CurveData
    molecules: MoleculeData | None = None


def curve_data(diatomics: list[Diatomic], basis: Basis, grid=GRID) -> CurveData:
    """Reference arrays of the pairs. Raises ValueError for a pair with an element that the basis lacks."""
    species = np.array([_rows(basis, (p.a, p.b), f"pair {p.a}-{p.b}") for p in diatomics], np.int32)
    distances = np.array([pair.r_e * grid for pair in diatomics])
    energies = [
        pair.reference(r, _ion_pair_energy(basis, *rows))
        for pair, r, rows in zip(diatomics, distances, species, strict=True)
    ]
    return CurveData(
        species=species,
        distances=distances,
        energies=np.array(energies),
        depths=np.array([p.d_e for p in diatomics]),
        charges=np.array([p.charge_a for p in diatomics]),
        equilibrium=np.array([p.r_e for p in diatomics]),
    )


def molecule_data(molecules: list[Molecule], basis: Basis) -> MoleculeData:
    """Padded arrays of molecules. Raises ValueError for a molecule with an element that the basis lacks."""
    from ase.data import chemical_symbols

    longest = max(len(m.numbers) for m in molecules)
    species = np.full((len(molecules), longest), -1, np.int32)
    positions = np.zeros((len(molecules), longest, 3))
    for n, m in enumerate(molecules):
        species[n, : len(m.numbers)] = _rows(basis, [chemical_symbols[z] for z in m.numbers], f"molecule {m.name}")
        positions[n, : len(m.numbers)] = m.positions
    return MoleculeData(
        species, positions, -np.array([m.atomisation for m in molecules]), np.array([len(m.numbers) for m in molecules])
    )


def _rows(basis: Basis, symbols, what: str) -> list[int]:
    from ase.data import atomic_numbers

    rows = {z: n for n, z in enumerate(basis.numbers)}
    for symbol in symbols:
        if atomic_numbers[symbol] not in rows:
            raise ValueError(f"{what} needs {symbol}, which the fit does not cover: add it or drop the entry")
    return [rows[atomic_numbers[symbol]] for symbol in symbols]


def _ion_pair_energy(basis: Basis, first: int, second: int) -> float:
    """I − A in eV of the cheaper of the two ion pairs far apart; infinite where a state is missing."""

    def energy(row, label):
        labels = basis.labels[row]
        return float(basis.state_energy[row, labels.index(label)]) if label in labels else np.inf

    pairs = (energy(first, "+1") + energy(second, "-1"), energy(first, "-1") + energy(second, "+1"))
    return HARTREE_IN_EV * min(pairs)


def pair_energy(model: Model, species: Array, distance: Array, tolerance: float = 1e-7):
    """Energy in eV and charge of the first atom of a neutral pair at `distance` in Å."""
    distance = jnp.asarray(distance, model.state_energy.dtype)
    positions = jnp.zeros((2, 3), distance.dtype).at[1, 2].set(distance)
    energy, result = potential_energy(model, open_system(species, positions), tolerance=tolerance, max_iterations=200)
    return energy, result.charges[0]


def curve_predictions(model: Model, data: CurveData):
    """Energies (C, P) in eV and charges at R_e (C,) in e."""
    over_points = jax.vmap(lambda s, r: pair_energy(model, s, r)[0], (None, 0))
    energies = jax.vmap(over_points)(data.species, data.distances)
    charges = jax.vmap(lambda s, r: pair_energy(model, s, r)[1])(data.species, data.equilibrium)
    return energies, charges


def molecule_predictions(model: Model, data: MoleculeData, scales=BREATHING):
    """Energies (M, len(scales)) in eV of the neutral molecules, all distances scaled by each factor."""

    def energy(species, positions, scale):
        return potential_energy(model, open_system(species, scale * positions), tolerance=1e-7, max_iterations=200)[0]

    over_scales = jax.vmap(energy, (None, None, 0))
    return jax.vmap(over_scales, (0, 0, None))(data.species, data.positions, jnp.asarray(scales))


class Weights(NamedTuple):
    """Relative weights of the squared errors and widths of the priors.

    charge: of 1 e against 1 D_e. molecule: of 1 eV per atom against 1 D_e. breathing: of a slope of 1 eV per atom
    and unit of scale against 1 eV per atom. prior: strength of the pull towards the start.
    """

    charge: float = 1.0
    molecule: float = 1.0
    breathing: float = 0.01
    prior: float = 0.0


def residuals(parameters: Parameters, basis: Basis, data: Data, weights: Weights, start: Parameters):
    """Residual blocks whose squares sum to the objective: curves (C·P,), charges (C,), molecules (M, 2), priors."""
    model, curves = assemble(basis, parameters), data.curves
    energies, charges = curve_predictions(model, curves)
    curve = ((energies - curves.energies) / curves.depths[:, None]) / np.sqrt(curves.energies.size)
    charge = np.sqrt(weights.charge / curves.charges.size) * (charges - curves.charges)
    molecule = jnp.zeros(0)
    if data.molecules is not None:
        low, middle, high = molecule_predictions(model, data.molecules).T / data.molecules.atoms
        error = middle - data.molecules.energies / data.molecules.atoms
        slope = np.sqrt(weights.breathing) * (high - low) / (BREATHING[2] - BREATHING[0])
        molecule = np.sqrt(weights.molecule / error.size) * jnp.stack([error, slope])
    prior = [
        np.sqrt(weights.prior / scale.size) * (x - y) / scale
        for x, y, scale in zip(jax.tree.leaves(parameters), jax.tree.leaves(start), _prior_widths(start), strict=True)
    ]
    return curve.ravel(), charge, molecule.ravel(), prior


def _prior_widths(start: Parameters) -> list[Array]:
    """How far each kind of parameter may move at unit cost: 1 for prefactors, 1 bohr, 50 eV (e/bohr³)^-½."""
    widths = Parameters(a=1.0, b=1.0, sigma=1.0, kappa=50.0, m=1.0)
    return [jnp.full_like(x, w) for x, w in zip(jax.tree.leaves(start), jax.tree.leaves(widths), strict=True)]


def summary(model: Model, data: Data) -> dict[str, float | np.ndarray]:
    """Root mean square errors: curves in units of D_e (all points), charges in e; mean absolute error of the
    molecules in eV per atom; and all of them one by one."""
    energies, charges = eqx.filter_jit(curve_predictions)(model, data.curves)
    relative = (np.asarray(energies) - data.curves.energies) / data.curves.depths[:, None]
    difference = np.asarray(charges) - data.curves.charges
    found = {
        "curves": float(np.sqrt(np.mean(relative**2))),
        "charges": float(np.sqrt(np.mean(difference**2))),
        "curve_by_pair": np.sqrt(np.mean(relative**2, axis=1)),
        "charge_by_pair": np.asarray(charges),
    }
    if data.molecules is not None:
        energies = eqx.filter_jit(molecule_predictions)(model, data.molecules)
        error = (np.asarray(energies)[:, 1] - data.molecules.energies) / data.molecules.atoms
        found |= {"molecules": float(np.mean(np.abs(error))), "by_molecule": error}
    return found
