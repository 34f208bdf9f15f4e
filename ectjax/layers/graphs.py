"""jraph-style graphs: all structures of a batch in one long list of nodes.

Any object with the fields of `jraph.GraphsTuple` will do. `nodes` is a dict with "positions" (Σn, 3) and "numbers"
(Σn,), 0 for padding; `globals` a dict with "charge" (G,) and, if periodic, "cell" (G, 3, 3). Without a cell edges are
not read: every pair of atoms of a graph interacts. With one, edges hold every neighbour within the cutoff, in both
directions, and `edges["shifts"]` (Σe, 3) the integers of r_receiver + shift·cell − r_sender.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ectjax.layers.features import Features
from ectjax.layers.inputs import rows_of, traced
from ectjax.model import Model
from ectjax.neighbors import Neighbors
from ectjax.potential import System
from ectjax.system import open_system


def slots(counts: Int[Array, " G"], size: int, total: int) -> tuple[Int[Array, "G size"], Bool[Array, "G size"]]:
    """Index into the long list of each graph's `size` slots, and which of them are filled."""
    start = jnp.cumsum(counts) - counts
    index = start[:, None] + jnp.arange(size)
    return jnp.minimum(index, total - 1), (jnp.arange(size) < counts[:, None]) & (index < total)


def systems_of_graph(model: Model, graph: Any, max_nodes: int, max_edges: int | None = None, long_range=None):
    """(`System` with a leading axis of G graphs, node index (G, max_nodes), its mask, graphs that fitted (G,)).

    Raises ValueError for a graph larger than max_nodes (or max_edges) where counts have values, a cell without
    max_edges and long_range (batched Ewald parameters, see `stack_systems`), or missing fields.
    """
    nodes, globals_ = graph.nodes, graph.globals
    if not isinstance(nodes, dict) or not {"positions", "numbers"} <= set(nodes):
        raise ValueError("nodes of a graph must be a dict with 'positions' (Σn, 3) and 'numbers' (Σn,)")
    if not isinstance(globals_, dict) or "charge" not in globals_:
        raise ValueError("globals of a graph must be a dict with 'charge' (G,), the total charges in e")
    periodic = "cell" in globals_
    if periodic and (max_edges is None or long_range is None):
        raise ValueError("graphs with a cell need max_edges= and long_range=, see `stack_systems`")
    dtype, total = model.state_energy.dtype, nodes["numbers"].shape[0]
    rows = rows_of(model, nodes["numbers"])
    n_node = jnp.asarray(graph.n_node)
    index, mask = slots(n_node, max_nodes, total)
    species = jnp.where(mask, rows[index], -1)
    owner = jnp.repeat(jnp.arange(n_node.shape[0]), n_node, total_repeat_length=total)
    held = jnp.zeros(n_node.shape[0], int).at[owner].add(rows != -1)
    fitted = held == jnp.sum(species != -1, axis=1)
    positions = jnp.where(mask[..., None], jnp.asarray(nodes["positions"], dtype)[index], 0.0)
    charge = jnp.asarray(globals_["charge"], dtype)
    if not periodic:
        system = jax.vmap(open_system)(species, positions, charge)
    else:
        neighbors, kept = _half_lists(graph, index[:, 0], max_edges)
        fitted = fitted & kept
        system = System(positions, species, charge, neighbors, jnp.asarray(globals_["cell"], dtype), long_range)
    if not traced(fitted) and not bool(jnp.all(fitted)):
        raise ValueError(
            f"graph {int(np.argmin(np.asarray(fitted)))} has more atoms or edges than fit into max_nodes={max_nodes}, "
            f"max_edges={max_edges}; raise them"
        )
    return system, index, mask, fitted


def _half_lists(graph, first: Int[Array, " G"], max_edges: int) -> tuple[Neighbors, Bool[Array, " G"]]:
    """Each pair once, from edges in both directions; and whether all edges of a graph fitted."""
    total, n_edge = graph.senders.shape[0], jnp.asarray(graph.n_edge)
    index, mask = slots(n_edge, max_edges, total)
    i, j = (jnp.asarray(x)[index] - first[:, None] for x in (graph.senders, graph.receivers))
    shifts = jnp.asarray(graph.edges["shifts"])[index]
    x, y, z = shifts[..., 0], shifts[..., 1], shifts[..., 2]
    upward = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    once = mask & ((i < j) | ((i == j) & upward))
    i, j = (jnp.where(once, k, 0).astype(jnp.int32) for k in (i, j))
    return Neighbors(i, j, jnp.where(once[..., None], shifts, 0), once), n_edge <= max_edges


def ragged(found: Features, index: Int[Array, "G size"], mask: Bool[Array, "G size"], total: int) -> Features:
    """Features with the per-atom arrays back in the order of the graph's nodes (Σn, …); padding nodes get zeros."""
    target = jnp.where(mask, index, total).ravel()

    def flat(values: Float[Array, "G size ..."] | None):
        if values is None:
            return None
        rest = values.shape[2:]
        return jnp.zeros((total, *rest), values.dtype).at[target].set(values.reshape(-1, *rest), mode="drop")

    return Features(
        energy=found.energy,
        charges=flat(found.charges),
        weights=flat(found.weights),
        atomic_energies=flat(found.atomic_energies),
        background=flat(found.background),
        shells=flat(found.shells),
        chemical_potential=found.chemical_potential,
        converged=found.converged,
    )
