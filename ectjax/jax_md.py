"""The model as a jax-md energy function, with a neighbour list that also serves small and deforming cells.

    displacement, shift = space.periodic_general(box, fractional_coordinates=True)
    neighbor_fn, energy_fn = ect_neighbor_list(displacement, box, numbers)
    neighbor = neighbor_fn.allocate(R)
    init, step = simulate.nve(energy_fn, shift, dt)
    state = init(key, R, kT, mass=masses, neighbor=neighbor)
    state = step(state, neighbor=neighbor.update(state.position))

Energies in eV, lengths in Å, time in √(amu Å²/eV) (`ectjax.units.FEMTOSECOND`). Boxes are jax-md's: a number,
three lengths, or a matrix whose columns are the lattice vectors (ASE has them as rows).

jax-md's own lists know one image of every neighbour; this one keeps as many as the cutoff reaches, follows atoms
that the space wraps to the other side of the box, and notices a box that shrinks. An energy that would come from a
list which overflowed or no longer covers the cutoff, or from weights that did not converge, is NaN, never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax_md import partition, space
from jaxtyping import Array, Bool, Float, Int, Scalar

from ectjax.coulomb import long_range_parameters
from ectjax.ensemble import Equilibration
from ectjax.load import load_model
from ectjax.model import Model
from ectjax.neighbors import Neighbors, VerletList, all_pairs, bucket_size
from ectjax.potential import System, potential_energy, solve_weights
from ectjax.system import EWALD_ACCURACY, build_system
from ectjax.tables.symbols import symbol_of

ALL_PAIRS_UP_TO = 48
"""Atoms of an open system that simply keep all pairs."""

LARGEST_SEARCH = 40_000_000
"""Pairs times images up to which `update` searches inside `jit`; beyond it asks for `allocate` on the host."""

EARLY = 0.4
"""Part of the skin still unused when `update` rebuilds, so that one more step cannot outrun the list."""

BOX_MARGIN = 1.06
"""A box may stretch or shrink by this factor along any direction before a list must be allocated anew."""


class ECTNeighborList(eqx.Module):
    """Neighbour list with jax-md's interface: `update(R, box=...)` and `did_buffer_overflow`.

    pairs: half list with image shifts that belong to `reference`, the coordinates (N, 3) at the last rebuild,
    fractional if there is a box; box (3, 3), columns, at the last rebuild; allocated_box at `allocate`.
    """

    pairs: Neighbors
    reference: Float[Array, "N 3"]
    box: Float[Array, "3 3"] | None
    allocated_box: Float[Array, "3 3"] | None
    long_range: Any
    overflow: Bool[Scalar, ""]
    skin: float = eqx.field(static=True)
    images: tuple[int, int, int] = eqx.field(static=True)
    update_fn: Callable = eqx.field(static=True)

    def update(self, position, **kwargs) -> ECTNeighborList:
        """The list for new positions (and `box=`), rebuilt where needed; usable inside `jit`."""
        return self.update_fn(position, self, **kwargs)

    @property
    def did_buffer_overflow(self) -> Bool[Scalar, ""]:
        """True when the list must be made anew with `neighbor_fn.allocate`: too many pairs for its slots, a
        box too far from the one it was made for, or a system too large to search inside `jit`."""
        return self.overflow


class ECTEnergy:
    """`energy_fn(R, neighbor=..., box=..., perturbation=..., weights=...)` → energy in eV, a scalar.

    box: current box, default the one given at the start. perturbation: number or (3, 3) matrix that maps
    displacements, as `jax_md.quantity.stress` and NPT use it. weights (N, S): a warm start; without it every call
    solves from three cold starts. Other keywords are ignored, as jax-md's spaces do.
    """

    def __init__(self, place, model: Model, species, charge: float, box, tolerance, max_iterations: int):
        self.model = model
        self._place, self._species, self._charge, self._box = place, species, charge, box
        self._options = {"tolerance": tolerance, "max_iterations": max_iterations}

    def system(self, R, neighbor: ECTNeighborList, *, box=None, perturbation=None) -> System:
        """The `System` of a geometry; positions and cell carry jax-md's derivatives with respect to R and box."""
        box = self._box if box is None else _matrix(box, R.dtype)
        _, positions = self._place(R, box, neighbor.reference)
        cell = None if box is None else box.T
        if perturbation is not None:
            scale = jnp.asarray(perturbation, R.dtype)
            scale = scale * jnp.eye(3, dtype=R.dtype) if scale.ndim == 0 else scale
            positions = jnp.matmul(positions, scale.T, precision="highest")
            cell = None if cell is None else jnp.matmul(cell, scale.T, precision="highest")
        dtype = self.model.state_energy.dtype
        return System(
            positions=positions.astype(dtype),
            species=self._species,
            total_charge=jnp.asarray(self._charge, dtype),
            neighbors=neighbor.pairs,
            cell=None if cell is None else cell.astype(dtype),
            long_range=neighbor.long_range,
        )

    def equilibrate(self, R, neighbor: ECTNeighborList, *, box=None, weights=None) -> Equilibration:
        """Weights, charges, chemical potential and convergence at a geometry; feed `.weights` to the next step."""
        system = jax.lax.stop_gradient(self.system(R, neighbor, box=box))
        return solve_weights(self.model, system, weights, **self._options)

    def __call__(self, R, neighbor: ECTNeighborList | None = None, *, box=None, perturbation=None, weights=None, **_):
        if neighbor is None:
            raise ValueError("energy_fn needs neighbor=: pass what neighbor_fn.allocate(R) or neighbor.update(R) gave")
        system = self.system(R, neighbor, box=box, perturbation=perturbation)
        energy, result = potential_energy(self.model, system, weights, **self._options)
        current = self._box if box is None else _matrix(box, R.dtype)
        _, positions = self._place(*jax.lax.stop_gradient((R, current, neighbor.reference)))
        stale = _stale(neighbor, positions, jax.lax.stop_gradient(current), self.model.cutoff, 0.0)
        good = result.converged & ~neighbor.overflow & ~stale
        return energy * jnp.where(good, 1.0, jnp.nan).astype(energy.dtype)


def ect_neighbor_list(
    displacement_fn: Callable,
    box,
    numbers,
    model: Model | str = "default",
    *,
    charge: float = 0.0,
    dr_threshold: float = 1.0,
    capacity_multiplier: float = 1.25,
    fractional_coordinates: bool | None = None,
    tolerance: float | None = None,
    max_iterations: int = 300,
    **model_options,
) -> tuple[partition.NeighborListFns, ECTEnergy]:
    """Neighbour functions and energy function of the model for jax-md.

    Args:
        displacement_fn: of the jax-md space; used to check that box and coordinates mean the same on both sides.
        box: jax-md's box in Å, or None for `space.free()`.
        numbers: atomic numbers (N,).
        model: a loaded model, a name or a path.
        charge: total charge in e, per box if periodic.
        dr_threshold: Å added to the cutoff of the list.
        capacity_multiplier: spare room for pairs; a list that outgrows it sets `did_buffer_overflow`.
        fractional_coordinates: whether positions are fractional; found out from `displacement_fn` if None.
        tolerance, max_iterations: of the equilibration.
        model_options: `cutoff`, `pair`, `embedding`, `dtype` for `load_model`.

    Raises:
        ValueError: input that `build_system` refuses, or a box that disagrees with `displacement_fn`.
    """
    numbers = np.asarray(numbers, int).reshape(-1)
    if not isinstance(model, Model):
        model = load_model(model, [symbol_of(z) for z in sorted(set(numbers.tolist()))] or None, **model_options)
    if not dr_threshold > 0:
        raise ValueError(f"dr_threshold is {dr_threshold} Å, must be > 0")
    if not capacity_multiplier >= 1:
        raise ValueError(f"capacity_multiplier is {capacity_multiplier}, must be >= 1")
    dtype = model.state_energy.dtype
    given = None if box is None else _matrix(box, dtype)
    fractional = _meaning(displacement_fn, given, fractional_coordinates, dtype)
    species = jnp.asarray(model.species_of(numbers))
    reach = model.cutoff + dr_threshold

    def place(R, current, reference):
        """Coordinates unwrapped next to the reference, and positions in Å with jax-md's derivatives."""
        if current is None:
            return R, R
        if fractional:
            turns = jax.lax.stop_gradient(jnp.round(R - reference))
            return R - turns, space.transform(current, R - turns)
        scaled = jax.lax.stop_gradient(_fractional(R, current))
        turns = jnp.round(scaled - reference)
        return scaled - turns, R - space.raw_transform(current, turns)

    def search(R, current, images, capacity):
        """All pairs within reach, from every pair of atoms and every image that may matter."""
        n = numbers.size
        if current is None:
            vectors = R[None, :, :] - R[:, None, :]
            near = jnp.triu(jnp.sum(vectors**2, axis=-1) < reach**2, k=1)[None]
            shifts, base = jnp.zeros((1, 3), jnp.int32), jnp.zeros((n, n, 3), jnp.int32)
        else:
            difference = R[None, :, :] - R[:, None, :]
            base = -jnp.round(difference)
            shifts = jnp.asarray(_image_shifts(images))

            def near_image(shift):
                vectors = space.raw_transform(current, difference + base + shift.astype(R.dtype))
                close = jnp.sum(vectors**2, axis=-1) < reach**2
                half = (shift[0] > 0) | ((shift[0] == 0) & ((shift[1] > 0) | ((shift[1] == 0) & (shift[2] > 0))))
                return jnp.triu(close, k=1) | (close & jnp.eye(n, dtype=bool) & half)

            near = jax.vmap(near_image)(shifts)
            base = base.astype(jnp.int32)
        count = jnp.sum(near)
        image, i, j = jnp.nonzero(near, size=capacity, fill_value=0)
        mask = jnp.arange(capacity) < count
        zero = jnp.zeros((), jnp.int32)
        full = jnp.where(mask[:, None], base[i, j] + shifts[image], 0)
        i, j = (jnp.where(mask, x.astype(jnp.int32), zero) for x in (i, j))
        return Neighbors(i, j, full.astype(jnp.int32), mask), count > capacity

    def allocate(R, extra_capacity: int = 0, box=None, **_) -> ECTNeighborList:
        current = given if box is None else _matrix(box, dtype)
        R = jnp.asarray(R)
        positions = np.asarray(R if current is None else place(R, current, _reference(R, current))[1])
        cell = None if current is None else np.asarray(current, np.float64).T
        system = build_system(model, numbers, positions, cell=cell, charge=charge, skin=dr_threshold)
        images, long_range = (0, 0, 0), None
        if current is None and numbers.size <= ALL_PAIRS_UP_TO:
            pairs = all_pairs(numbers.size)
        else:
            count = int(np.asarray(system.neighbors.mask).sum())
            capacity = bucket_size(math.ceil(capacity_multiplier * count) + extra_capacity)
            pairs = system.neighbors.padded(capacity)
        if cell is not None:
            heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0) / BOX_MARGIN
            images = tuple(math.floor(reach / h + 0.5) for h in heights)
            long_range = long_range_parameters(cell * BOX_MARGIN, numbers.size, model.cutoff, EWALD_ACCURACY)
        return ECTNeighborList(
            pairs=pairs,
            reference=_reference(R, current),
            box=current,
            allocated_box=current,
            long_range=long_range,
            overflow=jnp.zeros((), bool),
            skin=float(dr_threshold),
            images=images,
            update_fn=update,
        )

    def _reference(R, current):
        return R if current is None or fractional else _fractional(R, current)

    def update(R, neighbor: ECTNeighborList, box=None, **_) -> ECTNeighborList:
        current = given if box is None else _matrix(box, dtype)
        R, current = jax.lax.stop_gradient((R, current))
        if current is None and numbers.size <= ALL_PAIRS_UP_TO:
            return neighbor
        unwrapped, positions = place(R, current, neighbor.reference)
        worn = _stale(neighbor, positions, current, model.cutoff, EARLY * dr_threshold)
        overflow = neighbor.overflow
        if current is not None:
            overflow = overflow | _outgrown(neighbor.allocated_box, current)
        images = math.prod(2 * m + 1 for m in neighbor.images)
        if images * numbers.size**2 > LARGEST_SEARCH:
            return eqx.tree_at(lambda x: x.overflow, neighbor, overflow | worn)

        def rebuilt(_):
            pairs, full = search(unwrapped, current, neighbor.images, neighbor.pairs.capacity)
            return pairs, unwrapped, current, overflow | full

        def kept(_):
            return neighbor.pairs, neighbor.reference, neighbor.box, overflow

        pairs, reference, last_box, overflow = jax.lax.cond(worn, rebuilt, kept, None)
        return eqx.tree_at(
            lambda x: (x.pairs, x.reference, x.box, x.overflow),
            neighbor,
            (pairs, reference.astype(neighbor.reference.dtype), last_box, overflow),
            is_leaf=lambda x: x is None,
        )

    def update_neighbors(R, neighbor, **kwargs):
        return update(R, neighbor, **kwargs)

    energy = ECTEnergy(place, model, species, charge, given, tolerance, max_iterations)
    return partition.NeighborListFns(allocate, update_neighbors), energy


def _matrix(box, dtype) -> Float[Array, "3 3"]:
    """jax-md's box as a matrix with lattice vectors as columns."""
    box = jnp.asarray(box, dtype)
    if box.ndim == 0:
        return box * jnp.eye(3, dtype=dtype)
    if box.shape == (3,):
        return jnp.diag(box)
    if box.shape == (3, 3):
        return box
    raise ValueError(f"box has shape {box.shape}; jax-md's boxes in three dimensions are (), (3,) or (3, 3)")


def _fractional(R, box):
    return jnp.linalg.solve(box, R.T).T


def _meaning(displacement_fn, box, fractional: bool | None, dtype) -> bool:
    """Whether positions are fractional; ValueError when neither reading agrees with `displacement_fn`."""
    if box is None:
        if fractional:
            raise ValueError("fractional coordinates need a box: pass the box or fractional_coordinates=False")
        return False
    small = jnp.asarray([0.011, -0.017, 0.013], dtype)
    origin = jnp.asarray([0.31, 0.23, 0.37], dtype)
    real = space.raw_transform(box, small)
    as_fractional = np.asarray(displacement_fn(origin + small, origin))
    middle = space.raw_transform(box, origin)
    as_real = np.asarray(displacement_fn(middle + real, middle))
    size = float(jnp.linalg.norm(real))
    readings = {True: as_fractional, False: as_real}
    agree = {k: bool(np.abs(v - np.asarray(real)).max() < 1e-3 * size) for k, v in readings.items()}
    if fractional is None:
        fractional = agree[True] and not agree[False]
    if not agree[fractional]:
        raise ValueError(
            f"displacement_fn does not fit box {np.asarray(box).tolist()} with "
            f"{'fractional' if fractional else 'real'} coordinates: build both from the same box (lattice vectors as "
            "columns; box=None for space.free()) and state fractional_coordinates as for the space"
        )
    return fractional


def _image_shifts(images: tuple[int, int, int]) -> Int[np.ndarray, "K 3"]:
    axes = [np.arange(-m, m + 1) for m in images]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int32)


def _stale(neighbor: ECTNeighborList, positions, box, cutoff: float, spare: float):
    """True when a pair within cutoff + spare Å may be missing from the list."""
    pairs = neighbor.pairs
    n = positions.shape[0]
    if box is None and pairs.capacity == max(n * (n - 1) // 2, 1) and n <= ALL_PAIRS_UP_TO:
        return jnp.zeros((), bool)
    reference = neighbor.reference
    cell = None
    if box is not None and neighbor.box is not None:
        reference, cell = space.raw_transform(neighbor.box, reference), neighbor.box.T
    verlet = VerletList(pairs, reference, cell, cutoff + spare, neighbor.skin - spare)
    return verlet.needs_rebuild(positions, None if box is None else box.T)


def _outgrown(first, current):
    """Whether the box left the range of deformations that images and wave vectors were chosen for."""
    deformation = jnp.linalg.solve(first.T, current.T)
    squared = jnp.linalg.eigvalsh(jnp.matmul(deformation, deformation.T, precision="highest"))
    return ~((squared[0] >= BOX_MARGIN**-2) & (squared[-1] <= BOX_MARGIN**2))
