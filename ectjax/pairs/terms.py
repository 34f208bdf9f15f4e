"""The pair functions of one geometry, and the sums over pairs that ensemble weights enter. Pairs are the last axis:
passes over them are then vector code, on a CPU and on a GPU."""

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class PairSums(Protocol):
    """What an energy asks of the pairs of a geometry.

    With bonding orbitals (`ectjax.pairs.orbitals`) the background has K columns instead of one number, ρ̄ first.
    """

    def background(self, weights: Float[Array, "N S"]) -> Float[Array, " N *K"]:
        """ρ̄_i in e/bohr³ (N,), the density of all other atoms in each atom's window; or its moments (N, K)."""

    def energy(self, weights: Float[Array, "N S"]) -> Float[Array, ""]:
        """Σ_pairs ω_i φ_ij ω_j in eV."""

    def atomic_energies(self, weights: Float[Array, "N S"]) -> Float[Array, " N"]:
        """The same shared among atoms (N,), half of every pair to each."""

    def around(self, weights: Float[Array, "N S"], pressure: Float[Array, " N *K"]) -> Float[Array, "N S"]:
        """Σ_j [φ_ij ω_j + p_j h_j] of every state of atom i in eV (N, S), h_j its density at j and p the derivative of
        the energy in the background, (N,) or (N, K): then p_j h_j is the sum over what h_j adds to all columns."""


class PairTerms(eqx.Module):
    """Of the pairs (i, j) of a half list: h at i from the states of j and h at j from those of i, (S, P) in e/bohr³,
    and the interactions (S of i, S of j, P) in eV. With bonding orbitals `shapes`, (K, P) at i and at j: what a density
    adds to the columns of the background, per density."""

    i: Int[Array, " P"]
    j: Int[Array, " P"]
    density_at_i: Float[Array, "S P"]
    density_at_j: Float[Array, "S P"]
    interaction: Float[Array, "S S P"]
    shapes: tuple[Float[Array, "K P"], Float[Array, "K P"]] | None = None

    def background(self, weights):
        """As `PairSums.background`."""
        w = weights.T
        from_j = jnp.sum(self.density_at_i * w[:, self.j], axis=0)
        from_i = jnp.sum(self.density_at_j * w[:, self.i], axis=0)
        if self.shapes is None:
            zero = jnp.zeros(weights.shape[0], weights.dtype)
            return zero.at[self.i].add(from_j).at[self.j].add(from_i)
        at_i, at_j = self.shapes
        zero = jnp.zeros((weights.shape[0], len(at_i)), weights.dtype)
        return zero.at[self.i].add((at_i * from_j).T).at[self.j].add((at_j * from_i).T)

    def energy(self, weights):
        """As `PairSums.energy`."""
        return jnp.sum(self._state_energies(weights))

    def atomic_energies(self, weights):
        """As `PairSums.atomic_energies`."""
        pair = 0.5 * jnp.sum(self._state_energies(weights), axis=(0, 1))
        zero = jnp.zeros(weights.shape[0], weights.dtype)
        return zero.at[self.i].add(pair).at[self.j].add(pair)

    def around(self, weights, pressure):
        """As `PairSums.around`."""
        w, i, j = weights.T, self.i, self.j
        pressure_i, pressure_j = pressure[i], pressure[j]
        if self.shapes is not None:
            at_i, at_j = self.shapes
            pressure_i, pressure_j = jnp.sum(pressure_i.T * at_i, axis=0), jnp.sum(pressure_j.T * at_j, axis=0)
        at_i = jnp.sum(self.interaction * w[None, :, j], axis=1) + pressure_j * self.density_at_j
        at_j = jnp.sum(self.interaction * w[:, None, i], axis=0) + pressure_i * self.density_at_i
        zero = jnp.zeros(
            weights.shape[0], weights.dtype
        )  # one state after the other: rows of states would be scattered one by one
        return jnp.stack([zero.at[i].add(x).at[j].add(y) for x, y in zip(at_i, at_j, strict=True)], axis=1)

    def _state_energies(self, weights) -> Float[Array, "S S P"]:
        w = weights.T
        return w[:, None, self.i] * self.interaction * w[None, :, self.j]
