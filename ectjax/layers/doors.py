"""What every layer can be called with, whichever library its parameters live in: one structure, a batch, a graph."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ectjax.layers.corrections import Corrections
from ectjax.layers.features import Features, Tables, features
from ectjax.layers.graphs import ragged, systems_of_graph
from ectjax.layers.inputs import UNKNOWN, batch_of, system_of
from ectjax.neighbors import Neighbors
from ectjax.potential import System


class Doors:
    """Methods shared by the layers; a subclass says what its `tables()` and default solver `options()` are."""

    def tables(self) -> Tables:
        raise NotImplementedError

    def options(self) -> dict:
        raise NotImplementedError

    def __call__(
        self,
        positions: Float[Array, "N 3"],
        numbers: Int[Array, " N"],
        charge: Float[Array, ""] | float = 0.0,
        cell: Float[Array, "3 3"] | None = None,
        *,
        neighbors: Neighbors | None = None,
        long_range=None,
        corrections: Corrections | None = None,
        weights: Float[Array, "N S"] | None = None,
    ) -> Features:
        """Features of one structure: positions and cell in Å, atomic numbers (0 pads), total charge in e.

        corrections: a network's changes to the physics. weights: a warm start. Raises ValueError as `system_of`.
        """
        tables = self.tables()
        system = system_of(tables.model, positions, numbers, charge, cell, neighbors, long_range)
        return _checked(tables, system, corrections, weights, self.options())

    def batch(
        self,
        positions: Float[Array, "B N 3"],
        numbers: Int[Array, "B N"],
        charge: Float[Array, " B"] | float = 0.0,
        *,
        corrections: Corrections | None = None,
        weights: Float[Array, "B N S"] | None = None,
    ) -> Features:
        """Features of a padded batch of open structures; every array has a leading axis."""
        tables = self.tables()
        return self._many(tables, batch_of(tables.model, positions, numbers, charge), corrections, weights)

    def systems(self, systems: System, corrections: Corrections | None = None, weights=None) -> Features:
        """Features of structures stacked by `stack_systems`, periodic ones too."""
        return self._many(self.tables(), systems, corrections, weights)

    def graph(
        self,
        graph,
        *,
        max_nodes: int,
        max_edges: int | None = None,
        long_range=None,
        corrections: Corrections | None = None,
        weights: Float[Array, "T S"] | None = None,
    ) -> Features:
        """Features of a jraph-style graph (see `ectjax.layers.graphs`): arrays per atom in the order of its nodes.

        max_nodes, max_edges: slots of the largest graph, fixed so that one program serves all. corrections, weights:
        per node. Raises ValueError as `systems_of_graph`; under `jit` a graph too large has energy NaN.
        """
        tables = self.tables()
        system, index, mask, fitted = systems_of_graph(tables.model, graph, max_nodes, max_edges, long_range)
        corrections, weights = jax.tree.map(lambda x: x[index], (corrections, weights))
        found = self._many(tables, system, corrections, weights)
        found = eqx.tree_at(lambda f: f.energy, found, jnp.where(fitted, found.energy, jnp.nan))
        return ragged(found, index, mask, graph.nodes["numbers"].shape[0])

    def _many(self, tables: Tables, systems: System, corrections, weights) -> Features:
        def one(system, corrections, weights):
            return _checked(tables, system, corrections, weights, self.options())

        return jax.vmap(one)(systems, corrections, weights)


def _checked(tables: Tables, system: System, corrections, weights, options) -> Features:
    """Features with the energy NaN where an element is unknown, which only traced numbers can bring here."""
    found = features(tables, system, corrections, weights, **options)
    known = jnp.all(system.species != UNKNOWN)
    return eqx.tree_at(lambda f: f.energy, found, jnp.where(known, found.energy, jnp.nan))
