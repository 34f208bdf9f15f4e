"""From the arrays other models hold (structures, padded batches) to `System`s; traceable where there is no cell.

Atoms are given by atomic number, 0 for padding. An element the model lacks is a ValueError, or, where the numbers are
traced and nothing can be raised, an energy of NaN.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ectjax.coulomb.ewald import EwaldParameters
from ectjax.model import Model
from ectjax.neighbors import Neighbors
from ectjax.potential import System
from ectjax.system import build_system, open_system

UNKNOWN = -2
"""Row of an element that the model lacks; padding is −1."""


def traced(*arrays) -> bool:
    """Whether any of the arrays has no value yet."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arrays))


def rows_of(model: Model, numbers: Int[Array, "..."]) -> Int[Array, "..."]:
    """Rows of the model of atomic numbers; −1 for padding (0 or less), UNKNOWN for elements it lacks.

    Raises ValueError for an unknown element where the numbers are not traced.
    """
    if not traced(numbers):
        values = np.asarray(numbers)
        model.species_of(values[values > 0])
    lookup = np.full(128, UNKNOWN, np.int32)
    lookup[list(model.numbers)] = np.arange(len(model.numbers))
    numbers = jnp.asarray(numbers)
    return jnp.where(numbers > 0, jnp.asarray(lookup)[jnp.clip(numbers, 0, 127)], -1)


def system_of(
    model: Model,
    positions: Float[Array, "N 3"],
    numbers: Int[Array, " N"],
    charge: Float[Array, ""] | float = 0.0,
    cell: Float[Array, "3 3"] | None = None,
    neighbors: Neighbors | None = None,
    long_range=None,
) -> System:
    """One structure: atomic numbers, positions and cell in Å, total charge in e.

    With a cell, neighbours and Ewald parameters are host-side work: they are made here where all arrays have values,
    else they must be given (`build_system` makes them). Raises ValueError for shapes that do not fit, unknown elements,
    and a traced cell without them.
    """
    shape = np.shape(numbers)
    if len(shape) != 1 or np.shape(positions) != (*shape, 3):
        raise ValueError(
            f"positions have shape {np.shape(positions)} and numbers {shape}; one structure takes (N, 3) and (N,): "
            "use `batch` for (B, N, 3) and (B, N)"
        )
    dtype = model.state_energy.dtype
    positions, charge = jnp.asarray(positions, dtype), jnp.asarray(charge, dtype)
    if cell is None:
        return open_system(rows_of(model, numbers), positions, charge)
    if neighbors is None or long_range is None:
        if traced(positions, numbers, cell, charge):
            raise ValueError(
                "a cell inside jit, grad or vmap needs neighbors= and long_range=: take both from "
                "`build_system(model, numbers, positions, cell=cell)`, made outside"
            )
        made = build_system(model, numbers, positions, cell=cell, charge=float(charge), long_range=long_range)
        return made if neighbors is None else eqx.tree_at(lambda s: s.neighbors, made, neighbors)
    positions, charge = jnp.array(positions), jnp.array(charge)  # copies, as in `open_system`
    return System(positions, rows_of(model, numbers), charge, neighbors, jnp.asarray(cell, dtype), long_range)


def batch_of(model: Model, positions: Float[Array, "B N 3"], numbers: Int[Array, "B N"], charge=0.0) -> System:
    """A padded batch of open structures as one `System` with a leading axis; charge (B,) or one number."""
    shape = np.shape(numbers)
    if len(shape) != 2 or np.shape(positions) != (*shape, 3):
        raise ValueError(
            f"positions have shape {np.shape(positions)} and numbers {shape}; a batch takes (B, N, 3) and (B, N), "
            "with number 0 for padding"
        )
    dtype = model.state_energy.dtype
    charge = jnp.broadcast_to(jnp.asarray(charge, dtype), shape[:1])
    return jax.vmap(open_system)(rows_of(model, numbers), jnp.asarray(positions, dtype), charge)


def stack_systems(systems: list[System]) -> System:
    """Structures of different size as one `System` with a leading axis, padded to the largest; all with a cell or none.

    Raises ValueError for an empty list, mixed periodicity, Ewald parameters of different splitting, or PME.
    """
    if not systems:
        raise ValueError("stack_systems got no structures; give at least one")
    if len({s.cell is None for s in systems}) > 1:
        raise ValueError("stack_systems got structures with and without a cell; batch them apart")
    long_range: list[Any] = [s.long_range for s in systems]
    periodic = systems[0].cell is not None
    if periodic and not all(isinstance(x, EwaldParameters) for x in long_range):
        raise ValueError("structures of a batch take Ewald sums; give build_system long_range=ewald_parameters(…)")
    if periodic and len({(x.alpha, x.cutoff) for x in long_range}) > 1:
        raise ValueError("Ewald parameters of a batch need one cutoff and one accuracy; make them alike")
    atoms = max(s.species.shape[0] for s in systems)
    pairs = max(s.neighbors.capacity for s in systems)
    waves = max(x.k_integers.shape[0] for x in long_range) if periodic else 0
    limits = None
    if periodic and all(x.limits is not None for x in long_range):
        limits = tuple(max(column) for column in zip(*(x.limits for x in long_range), strict=True))

    def pad(array, size, value=0):
        return jnp.pad(array, [(0, size - array.shape[0])] + [(0, 0)] * (array.ndim - 1), constant_values=value)

    def padded(s: System) -> System:
        ewald: Any = s.long_range
        if periodic:
            ewald = EwaldParameters(ewald.alpha, ewald.cutoff, pad(ewald.k_integers, waves), limits)
        return System(
            pad(s.positions, atoms),
            pad(s.species, atoms, -1),
            s.total_charge,
            jax.tree.map(lambda x: pad(x, pairs), s.neighbors),
            s.cell,
            ewald,
        )

    return jax.tree.map(lambda *x: jnp.stack(x), *map(padded, systems))
