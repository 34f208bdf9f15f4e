"""Neighbour lists: built on the host with vesin, used inside `jit` as a padded half list of pairs.

A half list holds every pair of atoms, or of an atom and an image, once. Cells may be smaller than the
cutoff and of any shape; an atom then neighbours its own images and other atoms several times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar
from vesin import NeighborList

PADDING_DISTANCE = 100.0
"""Å; the constant distance that padded pairs report, beyond every cutoff, so forces of padding are zero."""

BYTES_PER_PAIR = 80
"""Peak host memory of one pair while a list is built: vesin's own arrays, their copies, the padded arrays."""

SMALLEST_CAPACITY = 64

MOST_BINS = 100_000
"""vesin makes no more bins than this; see `_search_radius`."""


class Neighbors(eqx.Module):
    """Half list of P pairs: pair p joins atom i[p] to the image of atom j[p] shifted by shifts[p] @ cell.

    Padded entries have `mask` False, i = j = 0 and zero shifts. In a batch all fields gain a leading axis.
    """

    i: Int[Array, "*b pairs"]
    j: Int[Array, "*b pairs"]
    shifts: Int[Array, "*b pairs 3"]
    mask: Bool[Array, "*b pairs"]

    @property
    def capacity(self) -> int:
        """Number of slots, padding included."""
        return self.i.shape[-1]

    def padded(self, slots: int) -> Neighbors:
        """The same list with at least so many slots."""
        more = max(slots - self.capacity, 0)
        return jax.tree.map(lambda x: jnp.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1)), self)


def bucket_size(count: int, growth: float = 1.25, smallest: int = SMALLEST_CAPACITY) -> int:
    """Smallest capacity of the geometric series smallest·growthᵏ (rounded up to multiples of 64) ≥ count."""
    if not growth > 1.0:
        raise ValueError(f"growth of list sizes is {growth}, must be > 1: pass growth=1.25 or so")
    size = smallest
    while size < count:
        size = 64 * math.ceil(size * growth / 64)
    return size


def neighbor_list(
    positions: Float[Array, "n 3"],
    cell: Float[Array, "3 3"] | None = None,
    pbc: bool | Sequence[bool] | None = None,
    cutoff: float = 6.0,
    *,
    capacity: int | None = None,
    growth: float = 1.25,
    memory_limit: float | None = None,
) -> Neighbors:
    """Half list of all pairs within `cutoff` (Å); runs on the host, not inside `jit`.

    Args:
        positions: (N, 3) in Å, inside or outside the cell.
        cell: (3, 3) lattice vectors as rows in Å; None for an open system.
        pbc: periodicity of the three directions; the default is periodic where a cell is given.
        cutoff: Å; may exceed the cell.
        capacity: never pad to fewer slots than this; pass the last list's `capacity` to avoid recompiling.
        growth: ratio of successive padded sizes.
        memory_limit: bytes that building may take; default: the memory free on this machine.

    Raises:
        ValueError: wrong shapes, non-finite coordinates, non-positive cutoff, a periodic cell without
            volume, or a list that would not fit in memory.
    """
    points, box, periodic = _checked_geometry(positions, cell, pbc)
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"neighbour cutoff is {cutoff} Å, must be finite and > 0: pass a distance in Å")
    reach = _search_radius(points, box, periodic, cutoff)
    _check_memory(points, box, periodic, reach, memory_limit)
    if len(points) == 0:
        i = j = np.zeros(0, np.int32)
        shifts = np.zeros((0, 3), np.int32)
    else:
        search = NeighborList(cutoff=reach, full_list=False, sorted=False)
        i, j, shifts = search.compute(points, box, periodic, "ijS", copy=False)
        if reach > cutoff:
            near = np.linalg.norm(points[j] - points[i] + shifts @ box, axis=1) < cutoff
            i, j, shifts = i[near], j[near], shifts[near]
    slots = max(bucket_size(len(i), growth), capacity or 0)
    return _padded(i, j, shifts, slots)


def all_pairs(n: int) -> Neighbors:
    """Half list i < j of n atoms without a cell, n(n−1)/2 slots (at least one): for molecules, batches."""
    i, j = np.triu_indices(n, k=1)
    return _padded(i, j, np.zeros((len(i), 3)), max(len(i), 1))


def pair_vectors(
    positions: Float[Array, "n 3"], cell: Float[Array, "3 3"] | None, neighbors: Neighbors
) -> Float[Array, "pairs 3"]:
    """Vectors r_j + shift·cell − r_i in Å. Padded pairs get the constant (PADDING_DISTANCE, 0, 0)."""
    return jnp.stack(_components(positions, cell, neighbors), axis=-1)


def pair_distances(
    positions: Float[Array, "n 3"], cell: Float[Array, "3 3"] | None, neighbors: Neighbors
) -> Float[Array, " pairs"]:
    """Distances in Å; padded pairs get PADDING_DISTANCE with zero derivatives of every order."""
    return jnp.sqrt(sum(x**2 for x in _components(positions, cell, neighbors)))


def _components(positions, cell, neighbors):
    """x, y and z of all pair vectors, each (P,): a compiler vectorises over the pairs."""
    shifted: list | Array = [0.0] * 3
    if cell is not None:
        # one product: its derivative in the cell is one too, and not nine sums. A GPU must not take TF32 for it
        shifts = neighbors.shifts.astype(positions.dtype)
        shifted = jnp.matmul(cell.T, shifts.T, precision="highest")
    components = []
    for d in range(3):
        along = positions[:, d]
        vector = along[neighbors.j] - along[neighbors.i] + shifted[d]
        components.append(jnp.where(neighbors.mask, vector, PADDING_DISTANCE if d == 0 else 0.0))
    return components


@eqx.filter_custom_jvp
def computed_once(function, some: Bool[Scalar, ""], *arguments: PyTree):
    """function(*arguments), a pass over pairs, or zeros where there is not `some` pair to compute.

    The branch is what matters: XLA keeps its results. Without it every reader of a pair term computes the term again
    or, worse, shares intermediate results with the others, which take several times the memory of the term.
    """
    empty = jax.eval_shape(lambda: function(*arguments))
    arrays, rest = eqx.partition(arguments, eqx.is_array)

    def zeros(_):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), empty)

    return jax.lax.cond(some, lambda x: function(*eqx.combine(x, rest)), zeros, arrays)


@computed_once.def_jvp
def _computed_once_jvp(primals, tangents):
    function, _, *arguments = primals
    _, change = eqx.filter_jvp(lambda *x: function(*x), tuple(arguments), tuple(tangents[2:]))
    return computed_once(*primals), change


class VerletList(eqx.Module):
    """A list built with cutoff + skin that stays complete for `cutoff` until `needs_rebuild` says otherwise.

    An affine deformation of the cell takes atoms along; what counts is how far atoms moved against it.
    With F = cell₀⁻¹·cell, u_i = r_i − r_i⁰F (less its mean) a pair that was left out is now at least
    σ_min(F)(cutoff + skin) − 2 max|u| apart, and the list is complete while that exceeds the cutoff.
    """

    neighbors: Neighbors
    positions: Float[Array, "n 3"]
    cell: Float[Array, "3 3"] | None
    cutoff: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)

    @classmethod
    def build(
        cls,
        positions: Float[Array, "n 3"],
        cell: Float[Array, "3 3"] | None = None,
        pbc: bool | Sequence[bool] | None = None,
        cutoff: float = 6.0,
        skin: float = 1.0,
        **options,
    ) -> VerletList:
        """Host-side build; `options` go to `neighbor_list`. Raises ValueError as it does, or if skin < 0."""
        if not (math.isfinite(skin) and skin >= 0):
            raise ValueError(f"neighbour skin is {skin} Å, must be finite and >= 0: pass a distance in Å")
        neighbors = neighbor_list(positions, cell, pbc, cutoff + skin, **options)
        positions = jnp.asarray(positions)
        cell = None if cell is None else jnp.asarray(cell, positions.dtype)
        return cls(neighbors, positions, cell, float(cutoff), float(skin))

    def needs_rebuild(
        self, positions: Float[Array, "n 3"], cell: Float[Array, "3 3"] | None = None
    ) -> Bool[Scalar, ""]:
        """True when a pair within the cutoff may be missing; usable inside `jit`. NaN counts as True.

        Positions that were wrapped back into the cell count as moved: the shifts no longer fit them.
        """
        reference, smallest = self.positions, jnp.ones((), positions.dtype)
        if self.cell is not None and cell is not None:
            deformation = jnp.linalg.solve(self.cell, cell)
            reference = sum(reference[:, d, None] * deformation[d] for d in range(3))
            metric = jnp.sum(deformation[:, :, None] * deformation[:, None, :], axis=0)
            smallest = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(metric)[0], 0.0))
        moved = positions - reference
        moved = moved - jnp.mean(moved, axis=0)
        farthest = jnp.sqrt(jnp.max(jnp.sum(moved**2, axis=-1)))
        complete = smallest * (self.cutoff + self.skin) - 2.0 * farthest >= self.cutoff
        return ~complete


def _padded(i, j, shifts, slots: int) -> Neighbors:
    count = len(i)
    atoms, images = np.zeros((2, slots), np.int32), np.zeros((slots, 3), np.int32)
    atoms[0, :count], atoms[1, :count], images[:count] = i, j, shifts
    return Neighbors(*(jnp.asarray(part) for part in (*atoms, images, np.arange(slots) < count)))


def _checked_geometry(positions, cell, pbc):
    points = np.ascontiguousarray(positions, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"positions have shape {points.shape}, must be (N, 3): pass one row per atom, in Å")
    if not np.isfinite(points).all():
        atom = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ValueError(f"position of atom {atom} is {points[atom]}, must be finite: check the structure")
    periodic = np.full(3, cell is not None) if pbc is None else np.broadcast_to(np.asarray(pbc, bool), 3)
    if cell is None:
        if periodic.any():
            raise ValueError(f"pbc is {periodic.tolist()} but there is no cell: pass cell or pbc=False")
        return points, np.eye(3), np.zeros(3, bool)
    box = np.array(cell, np.float64)
    if box.shape != (3, 3) or not np.isfinite(box).all():
        raise ValueError(f"cell is {box.tolist()}, must be (3, 3) and finite: lattice vectors as rows, in Å")
    box = _completed_cell(points, box, periodic)
    lengths = np.linalg.norm(box, axis=1)
    if not abs(np.linalg.det(box)) > 1e-9 * np.prod(lengths):
        raise ValueError(f"cell {box.tolist()} has no volume: pass three independent lattice vectors, in Å")
    return points, box, np.array(periodic)


def _completed_cell(points, box, periodic):
    """Directions without periodicity get unit vectors normal to the periodic ones; their length is unused."""
    if periodic.all():
        return box
    basis = np.linalg.svd(box[periodic].reshape(-1, 3))[2][int(periodic.sum()) :]
    box = box.copy()
    box[~periodic] = basis
    return box


def _spans(points, box, periodic) -> np.ndarray:
    """Height of the cell in periodic directions, extent of the atoms in the others, in Å."""
    inverse = np.linalg.inv(box)
    return np.where(periodic, 1.0, np.ptp(points @ inverse, axis=0)) / np.linalg.norm(inverse, axis=0)


def _search_radius(points, box, periodic, cutoff) -> float:
    """The cutoff or, where the system is so flat or long that vesin 0.6 would divide by a number of bins that it had
    rounded to zero (which ends the process), the least radius in 10 % steps at which it does not."""
    radius, spans = float(cutoff), _spans(points, box, periodic) if len(points) else np.zeros(3)
    while True:
        fewest, most = np.maximum(np.floor(spans / radius), 1.0), np.prod(np.floor(spans / radius) + 3.0)
        if most <= MOST_BINS or fewest.min() * (MOST_BINS / most) ** (1 / 3) >= 2.0:
            return radius
        radius *= 1.1


def _check_memory(points, box, periodic, cutoff, limit) -> None:
    """Estimate the list from local densities in bins as wide as the cutoff, before anything is allocated."""
    n = len(points)
    fractional = points @ np.linalg.inv(box)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)
    low = fractional.min(axis=0, initial=np.inf) if n else np.zeros(3)
    extent = np.where(periodic, 1.0, np.ptp(fractional, axis=0) + cutoff / heights if n else 1.0)
    scaled = (fractional - low) / extent
    bins = np.clip(np.floor(extent * heights / cutoff), 1, 2**20).astype(np.int64)
    index = np.minimum(np.floor((scaled - np.floor(scaled)) * bins), bins - 1).astype(np.int64)
    _, counts = np.unique(np.ravel_multi_index(index.T, bins), return_counts=True)
    bin_volume = abs(np.linalg.det(box)) * np.prod(extent / bins)
    pairs = 0.5 * float(np.sum(counts.astype(float) ** 2)) * (4 / 3 * math.pi * cutoff**3) / bin_volume
    if not periodic.any():
        pairs = min(pairs, 0.5 * n * (n - 1))
    available = _available_memory() if limit is None else limit
    if pairs * BYTES_PER_PAIR > available or pairs > 2**31 - 1:
        raise ValueError(
            f"neighbour list of {n} atoms within {cutoff} Å would hold about {pairs:.3g} pairs and take "
            f"{pairs * BYTES_PER_PAIR / 2**30:.3g} GiB, {available / 2**30:.3g} GiB (and 2.1e9 pairs) are "
            "allowed: shorten the cutoff, check the cell and the units (Å), or use fewer atoms"
        )


def _available_memory() -> float:
    """Bytes free on this machine, infinite where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable"):
                return 1024.0 * int(line.split()[1])
    return math.inf
