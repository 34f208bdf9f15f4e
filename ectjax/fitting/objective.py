"""Residuals of a model against curves, charges, molecules and crystals: differentiable in every parameter."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from jaxtyping import Array

from ectjax.fitting.crystals import CrystalData, crystal_predictions
from ectjax.fitting.curves import Diatomic
from ectjax.fitting.molecules import Molecule
from ectjax.fitting.padded import PaddedCalculator, relax
from ectjax.model import Basis, Model, Parameters, assemble
from ectjax.potential import potential_energy
from ectjax.system import open_system
from ectjax.units import HARTREE_IN_EV

GRID = np.linspace(0.85, 2.2, 8)
"""Points of a curve in units of R_e."""
BREATHING = (0.96, 1.0, 1.04)
"""Factors on a measured geometry: the energy is compared at 1, the slope has to vanish there."""


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
    from separated atoms; atoms (M,), their number; trained (M,), 1 for training and 0 for validation; relaxed
    (M, A, 3), positions relaxed by an earlier model, or None: the energy is then compared there as well."""

    species: Array
    positions: Array
    energies: Array
    atoms: Array
    trained: Array
    relaxed: Array | None = None


class Data(NamedTuple):
    """All training data; molecules and crystals may be None."""

    curves: CurveData
    molecules: MoleculeData | None = None
    crystals: CrystalData | None = None


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


def molecule_data(molecules: list[Molecule], basis: Basis, validation: np.ndarray | None = None) -> MoleculeData:
    """Padded arrays of molecules; those where `validation` (M,) is true are not trained on.

    Raises ValueError for a molecule with an element that the basis lacks.
    """
    from ase.data import chemical_symbols

    longest = max(len(m.numbers) for m in molecules)
    species = np.full((len(molecules), longest), -1, np.int32)
    positions = np.zeros((len(molecules), longest, 3))
    for n, m in enumerate(molecules):
        species[n, : len(m.numbers)] = _rows(basis, [chemical_symbols[z] for z in m.numbers], f"molecule {m.name}")
        positions[n, : len(m.numbers)] = m.positions
    return MoleculeData(
        species=species,
        positions=positions,
        energies=-np.array([m.atomisation for m in molecules]),
        atoms=np.array([len(m.numbers) for m in molecules]),
        trained=np.ones(len(molecules)) if validation is None else 1.0 - np.asarray(validation, float),
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


def molecule_predictions(model: Model, data: MoleculeData):
    """Energies (M, 3 or 4) in eV of the neutral molecules, all distances scaled by the factors of `BREATHING`, and at
    the relaxed geometry if there is one."""

    def energy(species, positions):
        return potential_energy(model, open_system(species, positions), tolerance=1e-7, max_iterations=200)[0]

    geometries = [scale * jnp.asarray(data.positions) for scale in BREATHING]
    geometries += [] if data.relaxed is None else [jnp.asarray(data.relaxed)]
    return jax.vmap(jax.vmap(energy, (None, 0)))(data.species, jnp.stack(geometries, axis=1))


def relaxed_molecules(model: Model, data: MoleculeData) -> MoleculeData:
    """The same molecules with geometries relaxed by the model; the measured geometry where it finds no minimum.

    The energy of a minimum depends on the parameters as if the geometry stood still, so a fit that uses these
    geometries fits relaxed energies.
    """
    found = np.array(data.positions)
    for row, (species, positions) in enumerate(zip(data.species, data.positions, strict=True)):
        real = np.asarray(species) >= 0
        numbers = np.asarray(model.numbers)[np.asarray(species)[real]]
        atoms = Atoms(numbers, np.asarray(positions)[real], calculator=PaddedCalculator(model))
        if relax(atoms):
            found[row, real] = atoms.positions
    return data._replace(relaxed=found)


class Weights(NamedTuple):
    """Relative weights of the squared errors and widths of the priors.

    charge: of 1 e against 1 D_e. molecule, crystal: of 1 eV per atom against 1 D_e. breathing: of a slope of 1 eV per
    atom and unit of scale against 1 eV per atom. measured: of the energy at the measured geometry against that at the
    relaxed one, where there is one. prior: strength of the pull towards the start; widths: how
    far a, b, sigma, kappa, m and anion may move at unit cost, in their units.
    """

    charge: float = 1.0
    molecule: float = 1.0
    crystal: float = 1.0
    breathing: float = 0.01
    measured: float = 0.3
    prior: float = 0.0
    widths: tuple[float, ...] = (1.0, 1.0, 1.0, 50.0, 1.0, 1.0)


def residuals(parameters: Parameters, basis: Basis, data: Data, weights: Weights, start: Parameters):
    """Residual blocks whose squares sum to the objective: curves (C·P,), charges (C,), molecules (2·M or 3·M,),
    crystals (2·K,), priors; and the errors of the molecules' energies in eV per atom (M,), relaxed where they are."""
    model, curves = assemble(basis, parameters), data.curves
    energies, charges = curve_predictions(model, curves)
    curve = ((energies - curves.energies) / curves.depths[:, None]) / np.sqrt(curves.energies.size)
    charge = np.sqrt(weights.charge / curves.charges.size) * (charges - curves.charges)
    molecule = crystal = error = jnp.zeros(0)
    if data.molecules is not None:
        m = data.molecules
        found = molecule_predictions(model, m)
        error, slope = _errors_per_atom(found, m.energies, m.atoms)
        parts = [error, np.sqrt(weights.breathing) * slope]
        if m.relaxed is not None:
            fixed, error = error, (found[:, 3] - m.energies) / m.atoms
            parts = [error, np.sqrt(weights.measured) * fixed, parts[1]]
        molecule = jnp.sqrt(weights.molecule * m.trained / m.trained.sum()) * jnp.stack(parts)
    if data.crystals is not None:
        found = crystal_predictions(model, data.crystals, BREATHING)
        both = jnp.stack(_errors_per_atom(found, data.crystals.energies, 2.0 * np.ones(len(found))))
        crystal = np.sqrt(weights.crystal / len(found)) * both * np.sqrt([[1.0], [weights.breathing]])
    prior = [
        np.sqrt(weights.prior / x.size) * (x - y) / width
        for x, y, width in zip(jax.tree.leaves(parameters), jax.tree.leaves(start), weights.widths, strict=True)
    ]
    return (curve.ravel(), charge, molecule.ravel(), crystal.ravel(), prior), error


def _errors_per_atom(energies, reference, atoms):
    """Errors (M,) in eV per atom at the measured geometry, and slopes (M,) in eV per atom and unit of scale, of
    energies (M, 3 or more) in eV, the first at the scales `BREATHING`."""
    low, middle, high = energies[:, :3].T / atoms
    return middle - reference / atoms, (high - low) / (BREATHING[2] - BREATHING[0])


def summary(model: Model, data: Data) -> dict[str, float | np.ndarray]:
    """Root mean square errors: curves in units of D_e (all points), charges in e; mean absolute errors in eV per atom
    of the molecules trained on (relaxed where they are), of those for validation (nan without any) and of crystals; and
    all of them one by one."""
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
        m = data.molecules
        energies = np.asarray(eqx.filter_jit(molecule_predictions)(model, m))
        error = (energies[:, 1 if m.relaxed is None else 3] - m.energies) / m.atoms
        trained = np.asarray(m.trained) > 0
        found |= {"molecules": float(np.mean(np.abs(error[trained]))), "by_molecule": error}
        found["validation"] = float(np.mean(np.abs(error[~trained]))) if not trained.all() else np.nan
    if data.crystals is not None:
        energies = eqx.filter_jit(crystal_predictions)(model, data.crystals, BREATHING)
        error, _ = _errors_per_atom(energies, data.crystals.energies, 2.0 * np.ones(len(energies)))
        found |= {"crystals": float(np.mean(np.abs(error))), "by_crystal": np.asarray(error)}
    return found
