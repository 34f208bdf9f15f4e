"""A system over several devices: every device holds its share of the pairs and of the long-range sum.

What grows is divided: pair lists, whatever is computed of a pair, and the atoms' rows of the Coulomb operator (splines
of a mesh, phases of an Ewald sum, rows of 1/R). What an atom has only a few numbers of stays whole on every device:
positions, weights, charges. A pass over pairs then ends in one sum over the devices, a long-range sum in one sum of the
mesh charges and one exchange of potentials; all else of a solve, its scalar products foremost, needs no communication.
The functions that compute are the same as on one device: XLA divides the program along the arrays given here.
"""

from __future__ import annotations

from collections.abc import Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree, Scalar

from ectjax.coulomb import DirectCoulomb
from ectjax.potential import System

AXIS = "devices"
"""Name of the one axis of the mesh."""


def shard_system(system: System, devices: Mesh | Iterable[jax.Device] | None = None) -> System:
    """The same system, spread over devices: `calculate` and all else then run on all of them, with the same numbers.

    Runs on the host. Pairs are padded to a multiple of the number of devices, equally many on each; results have the
    shapes they have on one device, and each device holds all of them. Atoms may move inside `jit` for as long as the
    neighbour list lasts (replace `positions`); after a new list call it again. With several processes each of them
    builds the same system and calls this with the same devices.

    Args:
        system: from `build_system`, one geometry. One that was spread before may be spread anew.
        devices: devices of all processes or a mesh of them, whose axes do not matter; all there are if None.

    Raises:
        ValueError: no devices or one twice, something else than devices, a batch of systems, traced arrays, or arrays
            that lie on other processes' devices.
    """
    mesh = device_mesh(devices)
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(system)):
        raise ValueError(
            "shard_system was given traced arrays, inside jit, grad or vmap; it places arrays on devices: "
            "call it before, and replace positions of the system it returns"
        )
    pairs = system.neighbors
    if pairs.i.ndim != 1 or system.positions.ndim != 2:
        raise ValueError(
            f"positions have shape {system.positions.shape} and pairs {pairs.i.shape}; one system, (N, 3) and (P,), "
            "can be spread over devices: divide a batch along its first axis with jax.device_put instead"
        )
    whole, shared = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    if pairs.capacity % mesh.size:
        pairs = jax.tree.map(_on_host, pairs).padded(mesh.size * -(-pairs.capacity // mesh.size))
    parameters = system.long_range
    if isinstance(parameters, ShardedLongRange):
        parameters = parameters.parameters
    parts = eqx.tree_at(lambda s: (s.neighbors, s.long_range), system, (None, None), is_leaf=lambda x: x is None)
    return eqx.tree_at(
        lambda s: (s.neighbors, s.long_range),
        _placed(parts, whole),
        (_placed(pairs, shared), ShardedLongRange(_placed(parameters, whole), whole)),
        is_leaf=lambda x: x is None,
    )


def device_mesh(devices: Mesh | Iterable[jax.Device] | None = None) -> Mesh:
    """The devices in one row: what `shard_system` uses.

    Raises:
        ValueError: no devices, one twice, or something else than devices.
    """
    given = jax.devices() if devices is None else devices
    if isinstance(given, Mesh):
        given = given.devices.ravel()
    row = list(given) if isinstance(given, Iterable) else None
    if not row or not all(isinstance(device, jax.Device) for device in row):
        raise ValueError(
            f"devices are {devices!r}; allowed are a mesh or a list of one or more JAX devices: "
            f"pass a part of jax.devices(), which has {len(jax.devices())}, or nothing for all"
        )
    if len(set(row)) < len(row):
        raise ValueError(f"devices are {row}, some of them twice; give each device once")
    return Mesh(np.array(row), (AXIS,), axis_types=(AxisType.Auto,))


class ShardedLongRange(eqx.Module):
    """Long-range parameters whose operator gives each device its share of the atoms' rows; N need not be divisible.

    Without parameters it is the direct sum of an open system, whose cutoff of zero leaves no real-space part.
    """

    parameters: eqx.Module | None
    whole: NamedSharding = eqx.field(static=True)

    @property
    def alpha(self) -> float:
        """Splitting in Å⁻¹."""
        return getattr(self.parameters, "alpha", 1.0)

    @property
    def cutoff(self) -> float:
        """Of the real-space part in Å."""
        return getattr(self.parameters, "cutoff", 0.0)

    def kernel(self, r: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
        """What a pair at r > 0 (Å) within the cutoff adds to q_i q_j, in eV/e²."""
        return jnp.zeros_like(r) if self.parameters is None else self.parameters.kernel(r)  # type: ignore[attr-defined]

    def prepare(
        self,
        positions: Float[Array, "n 3"],
        cell: Float[Array, "3 3"] | None,
        atom_mask: Bool[Array, " n"] | None = None,
    ) -> ShardedOperator:
        """The operator of a geometry, positions and cell in Å."""
        atoms = positions.shape[0]
        mask = jnp.ones(atoms, bool) if atom_mask is None else atom_mask
        points, mask = _divided(positions, self.whole), _divided(mask, self.whole)
        if self.parameters is not None:
            operator = self.parameters.prepare(points, cell, mask)  # type: ignore[attr-defined]
        else:
            operator = DirectCoulomb.prepare(points, mask)
            if operator.matrix is not None:  # said here, it holds for whatever its derivatives make as well
                rows = jax.lax.with_sharding_constraint(operator.matrix, _rows(self.whole))
                operator = eqx.tree_at(lambda o: o.matrix, operator, rows)
        return ShardedOperator(operator, atoms, self.whole)


class ShardedOperator(eqx.Module):
    """A long-range operator of N atoms, padded; takes and gives arrays that are whole on every device."""

    operator: eqx.Module
    atoms: int = eqx.field(static=True)
    whole: NamedSharding = eqx.field(static=True)

    def potential(self, charges: Float[Array, " n"]) -> Float[Array, " n"]:
        """Potential at every atom in eV/e of charges in e."""
        potential = self.operator.potential(_padded(charges, self.whole))  # type: ignore[attr-defined]
        shared = jax.lax.with_sharding_constraint(potential, _rows(self.whole))
        gathered = jax.lax.with_sharding_constraint(shared, self.whole)
        return jax.lax.with_sharding_constraint(gathered[: self.atoms], self.whole)

    def energy(self, charges: Float[Array, " n"]) -> Float[Scalar, ""]:
        """½ Σ_i q_i φ_i in eV."""
        return self.operator.energy(_padded(charges, self.whole))  # type: ignore[attr-defined]


def _padded(x: Array, whole: NamedSharding) -> Array:
    """x, whole on every device, with zeros up to a multiple of the number of devices.

    That x is whole must be said: XLA would divide everything that x was made of as well, and then each scalar product
    of a solve would be a sum over devices.
    """
    padding = [(0, -x.shape[0] % whole.mesh.size)] + [(0, 0)] * (x.ndim - 1)
    padded = jnp.pad(jax.lax.with_sharding_constraint(x, whole), padding)
    return jax.lax.with_sharding_constraint(padded, whole)


def _rows(whole: NamedSharding) -> NamedSharding:
    """Division along the first axis."""
    return NamedSharding(whole.mesh, PartitionSpec(AXIS))


def _divided(x: Array, whole: NamedSharding) -> Array:
    """x padded and divided along its first axis."""
    return jax.lax.with_sharding_constraint(_padded(x, whole), _rows(whole))


def _placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """All arrays of a tree on the devices of `sharding`; of a global array every process makes its own part."""

    def place(x):
        if isinstance(x, jax.Array) and x.sharding == sharding:
            return x
        host = _on_host(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(place, tree)


def _on_host(x) -> np.ndarray:
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        raise ValueError(
            f"an array of shape {x.shape} lies in part on devices of other processes ({x.sharding}); "
            "build the system anew in every process before it is spread over other devices"
        )
    return np.asarray(x)
