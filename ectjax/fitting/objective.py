"""Residuals of a model against curves, charges, molecules and crystals: differentiable in every parameter."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Array

from ectjax.basis import Basis
from ectjax.compilation import QUICK, compiled
from ectjax.fitting.crystals import CrystalData, crystal_predictions
from ectjax.fitting.curves import Diatomic
from ectjax.fitting.molecules import Molecule
from ectjax.fitting.padded import PaddedCalculator, relax
from ectjax.model import Model, Parameters, assemble
from ectjax.potential import dipole_moment, potential_energy
from ectjax.system import open_system
from ectjax.units import HARTREE_IN_EV

GRID = np.linspace(0.85, 2.2, 8)
"""Points of a curve in units of R_e."""
BREATHING = (0.96, 1.0, 1.04)
"""Factors on a measured geometry: the energy is compared at 1, the slope has to vanish there."""
BOND_STIFFNESS, STIFFNESS_DECAY, LEAST_STIFFNESS = 30.0, 2.5, 1.0
"""Of `springs`: eV/Å² at the sum of covalent radii, decay with the distance in units of that sum, eV/Å² of an atom."""


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
    from separated atoms; gradients (M, A, 3) of them in eV/Å; atoms (M,), their number; softness (M, 3A, 3A) in Å/√eV,
    C^½ of the compliance C of `springs`; trained (M,), weight in training, 0 for validation; distorted (M,), whether it
    is another geometry of a molecule; relaxed (M, G, A, 3), positions that G earlier models relaxed to, or None;
    reached (M, G), 1 where they did and 0 for a place to be filled."""

    species: Array
    positions: Array
    energies: Array
    gradients: Array
    atoms: Array
    softness: Array
    trained: Array
    distorted: Array
    relaxed: Array | None = None
    reached: Array | None = None


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


def molecule_data(molecules: list[Molecule], basis: Basis, trained: np.ndarray | None = None) -> MoleculeData:
    """Padded arrays of molecules; `trained` (M,), their weights in training, are 1 if None and 0 for validation.

    Raises ValueError for a molecule with an element that the basis lacks.
    """
    from ase.data import chemical_symbols

    longest = max(len(m.numbers) for m in molecules)
    species = np.full((len(molecules), longest), -1, np.int32)
    positions = np.zeros((len(molecules), longest, 3))
    gradients = np.zeros_like(positions)
    softness = np.zeros((len(molecules), 3 * longest, 3 * longest))
    for n, m in enumerate(molecules):
        species[n, : len(m.numbers)] = _rows(basis, [chemical_symbols[z] for z in m.numbers], f"molecule {m.name}")
        positions[n, : len(m.numbers)] = m.positions
        if m.forces is not None:
            gradients[n, : len(m.numbers)] = -m.forces
        stiffness, modes = np.linalg.eigh(springs(m))
        softness[n, : stiffness.size, : stiffness.size] = modes / np.sqrt(stiffness) @ modes.T
    return MoleculeData(
        species=species,
        positions=positions,
        energies=-np.array([m.atomisation for m in molecules]),
        gradients=gradients,
        atoms=np.array([len(m.numbers) for m in molecules]),
        softness=softness,
        trained=np.ones(len(molecules)) if trained is None else np.asarray(trained, float),
        distorted=np.array([m.parent is not None for m in molecules]),
    )


def springs(molecule: Molecule) -> np.ndarray:
    """A rough Hessian (3M, 3M) in eV/Å² of a molecule at its measured geometry: springs between all pairs of atoms,
    `BOND_STIFFNESS` at the sum of covalent radii and weaker beyond, which resist bending too, and a little of every
    atom against its place. It tells forces that matter from those that do not, no more.
    """
    radii = covalent_radii[molecule.numbers]
    vectors = molecule.positions[:, None] - molecule.positions[None, :]
    distances = np.linalg.norm(vectors, axis=-1) + np.eye(len(radii))
    stiffness = BOND_STIFFNESS * np.exp(STIFFNESS_DECAY * (1.0 - distances / (radii[:, None] + radii[None, :])))
    stiffness = np.where(np.eye(len(radii), dtype=bool), 0.0, stiffness)
    blocks = -stiffness[:, :, None, None] * np.einsum("ijx,ijy->ijxy", vectors, vectors)
    blocks /= distances[:, :, None, None] ** 2
    atoms = np.arange(len(radii))
    blocks[atoms, atoms] = -blocks.sum(axis=1) + LEAST_STIFFNESS * np.eye(3)
    return blocks.transpose(0, 2, 1, 3).reshape(3 * len(radii), -1)


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
    """Energy in eV of a neutral pair at `distance` in Å, and the charge of its first atom by its dipole, μ/R, in e."""
    distance = jnp.asarray(distance, model.state_energy.dtype)
    positions = jnp.zeros((2, 3), distance.dtype).at[1, 2].set(distance)
    system = open_system(species, positions)
    energy, result = potential_energy(model, system, tolerance=tolerance, max_iterations=200)
    return energy, -dipole_moment(model, system, result)[2] / distance


def curve_predictions(model: Model, data: CurveData):
    """Energies (C, P) in eV and charges at R_e (C,) in e."""
    points = jnp.concatenate([data.distances, data.equilibrium[:, None]], axis=1)  # one program for both
    over_points = jax.vmap(lambda s, r: pair_energy(model, s, r), (None, 0))
    energies, charges = jax.vmap(over_points)(data.species, points)
    return energies[:, :-1], charges[:, -1]


def molecule_predictions(model: Model, data: MoleculeData):
    """Energies (M, 3 + G) in eV of the neutral molecules, all distances scaled by the factors of `BREATHING`, and at
    the relaxed geometries."""
    geometries = jnp.stack([scale * jnp.asarray(data.positions) for scale in BREATHING], axis=1)
    if data.relaxed is not None:
        geometries = jnp.concatenate([geometries, jnp.asarray(data.relaxed)], axis=1)
    over_geometries = jax.vmap(lambda positions, species: _molecule_energy(model, positions, species), (0, None))
    return jax.vmap(over_geometries)(geometries, data.species)


def molecule_gradients(model: Model, data: MoleculeData):
    """Derivatives (M, A, 3) in eV/Å of the energies of the neutral molecules at the measured geometries."""
    slopes = jax.vmap(jax.grad(_molecule_energy, argnums=1), (None, 0, 0))
    return slopes(model, jnp.asarray(data.positions), data.species)


def _molecule_energy(model: Model, positions, species):
    return potential_energy(model, open_system(species, positions), tolerance=1e-7, max_iterations=200)[0]


def room_for_relaxed(data: MoleculeData, count: int) -> MoleculeData:
    """The same molecules with `count` places for relaxed geometries, which hold the measured one until filled."""
    empty = np.repeat(np.asarray(data.positions)[:, None], count, axis=1)
    return data._replace(relaxed=empty, reached=np.zeros(empty.shape[:2]))


def relaxed_molecules(model: Model, data: MoleculeData, place: int = 0, unfinished: bool = False) -> MoleculeData:
    """The same molecules with the geometries that the model relaxes them to in the given place; the measured geometry
    where it finds no minimum, unless geometries of unfinished relaxations are wanted as well.

    The energy of a minimum depends on the parameters as if the geometry stood still, so a fit that uses these
    geometries fits relaxed energies. Geometries of earlier models keep a fit from going back to their minima.
    """
    relaxed, reached = np.array(data.relaxed), np.array(data.reached)
    for row, (species, positions) in enumerate(zip(data.species, data.positions, strict=True)):
        if np.any(data.gradients[row]):
            continue  # no minimum: its place holds the geometry itself
        real = np.asarray(species) >= 0
        numbers = np.asarray(model.numbers)[np.asarray(species)[real]]
        atoms = Atoms(numbers, np.asarray(positions)[real], calculator=PaddedCalculator(model))
        known = relax(atoms) or (unfinished and np.isfinite(atoms.positions).all())
        relaxed[row, place, real] = atoms.positions if known else positions[real]
        reached[row, place] = known
    return data._replace(relaxed=relaxed, reached=reached)


class Weights(NamedTuple):
    """Relative weights of the squared errors and widths of the priors.

    charge: of 1 e against 1 D_e. molecule, crystal: of 1 eV per atom against 1 D_e. breathing: of a slope of 1 eV per
    atom and unit of scale against 1 eV per atom. force: of errors of the forces (0 at a minimum) that would free ½ eV
    per atom in `springs` against 1 eV per atom. measured: of the energy at the measured geometry against that at the
    relaxed one, where there is one. deeper: instead, of 1 eV per atom by which any relaxed geometry is bound more
    strongly than the molecule is against 1 eV per atom at the measured geometry. prior: strength of the pull towards
    the start; widths: how far a, b, sigma, kappa, m, anion, pi and tau may move at unit cost, in their units.
    """

    charge: float = 1.0
    molecule: float = 1.0
    crystal: float = 1.0
    breathing: float = 0.01
    force: float = 0.0
    measured: float = 0.3
    deeper: float | None = None
    prior: float = 0.0
    widths: tuple[float, ...] = (1.0, 1.0, 1.0, 50.0, 1.0, 1.0, 0.5, 0.5)


def residuals(parameters: Parameters, basis: Basis, data: Data, weights: Weights, start: Parameters):
    """Residual blocks whose squares sum to the objective: curves (C·P,), charges (C,), molecules (energies, slopes,
    forces), crystals (2·K,), priors; and the errors of the molecules' energies in eV per atom (M,), relaxed where they
    are."""
    model, curves = assemble(basis, parameters), data.curves
    energies, charges = curve_predictions(model, curves)
    curve = ((energies - curves.energies) / curves.depths[:, None]) / np.sqrt(curves.energies.size)
    charge = jnp.sqrt(weights.charge / curves.charges.size) * (charges - curves.charges)
    molecule = crystal = error = jnp.zeros(0)
    if data.molecules is not None:
        m = data.molecules
        found = molecule_predictions(model, m)
        fixed, slope = _errors_per_atom(found, m.energies, m.atoms)
        slope = slope - jnp.sum(m.gradients * m.positions, axis=(1, 2)) / m.atoms
        parts, error = [fixed[None]], fixed
        if m.relaxed is not None and m.reached is not None:
            relaxed = ((found[:, 3:] - m.energies[:, None]) / m.atoms[:, None]).T
            if weights.deeper is None:
                parts, error = [relaxed[-1:], jnp.sqrt(weights.measured) * fixed[None]], relaxed[-1]
            else:
                reached = m.reached.T > 0
                parts.append(jnp.sqrt(weights.deeper) * jnp.where(reached, jnp.minimum(relaxed, 0.0), 0.0))
                error = jnp.minimum(fixed, jnp.min(jnp.where(reached, relaxed, jnp.inf), axis=0))
        parts.append(jnp.sqrt(weights.breathing) * slope[None])
        if weights.force > 0:
            gradients = (molecule_gradients(model, m) - m.gradients).reshape(len(m.atoms), -1)
            moves = jnp.einsum("mxy,my->xm", m.softness, gradients) / jnp.sqrt(m.atoms)
            parts.append(jnp.sqrt(weights.force) * moves)
        molecule = jnp.sqrt(weights.molecule * m.trained / m.trained.sum()) * jnp.concatenate(parts)
    if data.crystals is not None:
        found = crystal_predictions(model, data.crystals, BREATHING)
        both = jnp.stack(_errors_per_atom(found, data.crystals.energies, 2.0 * np.ones(len(found))))
        crystal = jnp.sqrt(weights.crystal / len(found)) * both * jnp.sqrt(jnp.asarray([[1.0], [weights.breathing]]))
    prior = [
        jnp.sqrt(weights.prior / x.size) * (x - y) / width
        for x, y, width in zip(jax.tree.leaves(parameters), jax.tree.leaves(start), weights.widths, strict=True)
    ]
    return (curve.ravel(), charge, molecule.ravel(), crystal.ravel(), prior), error


def _errors_per_atom(energies, reference, atoms):
    """Errors (M,) in eV per atom at the measured geometry, and slopes (M,) in eV per atom and unit of scale, of
    energies (M, 3 or more) in eV, the first at the scales `BREATHING`."""
    low, middle, high = energies[:, :3].T / atoms
    return middle - reference / atoms, (high - low) / (BREATHING[2] - BREATHING[0])


_curves_once, _molecules_once, _crystals_once = map(
    compiled(QUICK), (curve_predictions, molecule_predictions, crystal_predictions)
)


def summary(model: Model, data: Data) -> dict[str, float | np.ndarray]:
    """Root mean square errors: curves in units of D_e (all points), charges in e; mean absolute errors in eV per atom
    of the molecules trained on (relaxed where they are), of those for validation, of distorted geometries trained on
    (nan without any) and of crystals; and all of them one by one."""
    energies, charges = _curves_once(model, data.curves)
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
        energies = np.asarray(_molecules_once(model, m))
        error = (energies[:, 1 if m.relaxed is None else 3] - m.energies) / m.atoms
        trained, distorted = np.asarray(m.trained) > 0, np.asarray(m.distorted)

        def mean(which):
            return float(np.mean(np.abs(error[which]))) if which.any() else np.nan

        found |= {"molecules": mean(trained & ~distorted), "by_molecule": error}
        found |= {"validation": mean(~trained & ~distorted), "distorted": mean(trained & distorted)}
    if data.crystals is not None:
        energies = _crystals_once(model, data.crystals, BREATHING)
        error, _ = _errors_per_atom(energies, data.crystals.energies, 2.0 * np.ones(len(energies)))
        found |= {"crystals": float(np.mean(np.abs(error))), "by_crystal": np.asarray(error)}
    return found
