"""Sums over the neighbours of every atom, of what the pairs of a half list hold for both of their atoms."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def over_neighbours(
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    at_i: Float[Array, "P *K"],
    at_j: Float[Array, "P *K"],
    atoms: int,
) -> Float[Array, "N *K"]:
    """Σ over the pairs (i, j) of an atom (N, …): of `at_i` (P, …) where it is i, of `at_j` where it is j. Padding holds
    zeros."""
    i, j = pairs
    return jnp.zeros((atoms, *at_i.shape[1:]), at_i.dtype).at[i].add(at_i).at[j].add(at_j)


def states_over_neighbours(
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    at_i: Float[Array, "S P"],
    at_j: Float[Array, "S P"],
    atoms: int,
) -> Float[Array, "N S"]:
    """`over_neighbours` of each of S states, one after the other: rows of states would be scattered one by one."""
    return jnp.stack([over_neighbours(pairs, x, y, atoms) for x, y in zip(at_i, at_j, strict=True)], axis=1)
