"""From arrays a user holds to a `System`: every check of the input is here. Host side."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ectjax.coulomb import long_range_parameters
from ectjax.ensemble import charge_range
from ectjax.model import Model
from ectjax.neighbors import Neighbors, all_pairs, neighbor_list
from ectjax.potential import System

CLOSEST = 0.1  # Å; nuclei nearer than this are a mistake in the structure
EWALD_ACCURACY = 1e-7
ALL_PAIRS_LIMIT = 24


def open_system(species, positions, total_charge=0.0) -> System:
    """Atoms without a cell and with all pairs, unchecked and traceable: for batches by `jax.vmap`.

    species (N,), rows of the model, −1 for padding; positions (N, 3) in Å; total_charge in e.
    """
    # copies: NumPy arrays that reach an equilibration unchanged, by `vmap` of `grad` inside `jit`, are refused by JAX
    positions, species = jnp.array(positions), jnp.asarray(species)
    pairs = all_pairs(species.shape[0])
    real = pairs.mask & (species[pairs.i] >= 0) & (species[pairs.j] >= 0)
    pairs = eqx.tree_at(lambda p: p.mask, pairs, real)
    return System(positions, species, jnp.array(total_charge, positions.dtype), pairs)


def build_system(
    model: Model,
    numbers,
    positions,
    *,
    cell=None,
    pbc=None,
    charge: float = 0.0,
    skin: float = 0.0,
    capacity: int | None = None,
    long_range=None,
    accuracy: float = EWALD_ACCURACY,
) -> System:
    """A checked `System` in the model's floating type, with its neighbour list and Ewald parameters.

    Args:
        numbers: atomic numbers (N,).
        positions: (N, 3) in Å.
        cell: lattice vectors as rows (3, 3) in Å; used where `pbc` is true.
        pbc: one bool or three; periodic in all directions or in none.
        charge: total charge in e, per cell if periodic.
        skin: Å added to the list's cutoff so that it can be kept while atoms move.
        capacity: least number of pair slots, to avoid recompilation.
        long_range: Ewald or PME parameters to keep using; made for the cell if None.
        accuracy: of the Ewald or PME sum, see `ectjax.coulomb.long_range_parameters`.

    Raises:
        ValueError: no atoms, wrong shapes, NaN or infinite numbers, an element the model lacks, two atoms on one
            spot, a charge out of reach, a cell without volume, or periodicity in some directions only.
    """
    species = model.species_of(numbers)
    positions = np.array(positions, dtype=np.float64)
    if species.size == 0:
        raise ValueError("the structure has no atoms; give at least one")
    if positions.shape != (species.size, 3):
        raise ValueError(f"positions have shape {positions.shape}, {species.size} atoms need ({species.size}, 3)")
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise ValueError(f"position of atom {atom} is {positions[atom].tolist()}; all coordinates must be finite")
    if not (np.isfinite(skin) and skin >= 0):
        raise ValueError(f"skin is {skin} Å, must be >= 0: a list shorter than the cutoff lacks pairs")
    cell = _checked_cell(cell, pbc)
    check_charge(model, species, charge)
    if cell is None and species.size <= ALL_PAIRS_LIMIT:
        neighbors = all_pairs(species.size)
    else:
        neighbors = neighbor_list(positions, cell, cell is not None, model.cutoff + skin, capacity=capacity)
    _check_overlap(positions, cell, neighbors)
    dtype = model.state_energy.dtype
    if cell is not None and long_range is None:
        long_range = long_range_parameters(cell, species.size, model.cutoff, accuracy)
    return System(
        positions=jnp.asarray(positions, dtype),
        species=jnp.asarray(species),
        total_charge=jnp.asarray(charge, dtype),
        neighbors=neighbors,
        cell=None if cell is None else jnp.asarray(cell, dtype),
        long_range=long_range if cell is not None else None,
    )


def check_charge(model: Model, species, charge: float) -> None:
    """Raises ValueError when the states of the atoms cannot carry the total charge."""
    low, high = (float(x) for x in charge_range(model.state_charge[species], model.state_mask[species]))
    if not np.isfinite(charge) or not low <= charge <= high:
        raise ValueError(
            f"total charge is {charge:g} e; the states of these {len(species)} atoms reach {low:g} to {high:g} e: "
            "choose a charge in that range or a model with more states"
        )


def _checked_cell(cell, pbc):
    """Cell (3, 3) of a periodic system, None for an open one."""
    periodic = np.broadcast_to(np.asarray(cell is not None if pbc is None else pbc, bool), 3)
    if not periodic.any():
        return None
    if not periodic.all():
        raise ValueError(
            f"periodic directions are {periodic.tolist()}; supported are all three or none: "
            "add vacuum and make the cell fully periodic, or switch periodicity off"
        )
    cell = np.array(cell, dtype=np.float64) if cell is not None else np.zeros((3, 3))
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        raise ValueError(f"cell has shape {cell.shape} and entries {cell.tolist()}; give three finite vectors in Å")
    volume = abs(np.linalg.det(cell))
    if volume < 1e-6 * max(np.prod(np.linalg.norm(cell, axis=1)), 1e-300) or volume == 0:
        raise ValueError(
            f"cell {cell.tolist()} has no volume; give three independent vectors or switch periodicity off"
        )
    return cell


def _check_overlap(positions, cell, neighbors: Neighbors) -> None:
    mask = np.asarray(neighbors.mask)
    i, j = np.asarray(neighbors.i)[mask], np.asarray(neighbors.j)[mask]
    vectors = positions[j] - positions[i]
    if cell is not None:
        vectors = vectors + np.asarray(neighbors.shifts)[mask] @ cell
    distances = np.linalg.norm(vectors, axis=1)
    if distances.size and distances.min() < CLOSEST:
        p = int(np.argmin(distances))
        raise ValueError(
            f"atoms {i[p]} and {j[p]} are {distances[p]:.4f} Å apart; nuclei nearer than {CLOSEST} Å are not "
            "allowed: remove the duplicate or check the units (Å)"
        )
