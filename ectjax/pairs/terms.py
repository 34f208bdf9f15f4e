"""The pair functions of one geometry, and the sums over pairs that ensemble weights enter. Pairs are the last axis:
passes over them are then vector code, on a CPU and on a GPU."""

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ectjax.pairs.compression import Pushes
from ectjax.pairs.sums import over_neighbours, states_over_neighbours


class PairSums(Protocol):
    """What an energy asks of the pairs of a geometry.

    With bonding orbitals (`ectjax.pairs.orbitals`) the background has further columns: behind ρ̄, K moments for each of
    C channels; where anions give way (`ectjax.pairs.compression`) then the push on them, 1; with polarisation
    (`ectjax.pairs.polarization`) then the field of the charges, 3.
    """

    def background(self, weights: Float[Array, "N S"]) -> Float[Array, " N *K"]:
        """ρ̄_i in e/bohr³ (N,), the density of all other atoms in each atom's window; with orbitals (N, 1 + C K)."""

    def energy(self, weights: Float[Array, "N S"]) -> Float[Array, ""]:
        """Σ_pairs ω_i φ_ij ω_j in eV."""

    def atomic_energies(self, weights: Float[Array, "N S"]) -> Float[Array, " N"]:
        """The same shared among atoms (N,), half of every pair to each."""

    def around(self, weights: Float[Array, "N S"], pressure: Float[Array, " N *K"]) -> Float[Array, "N S"]:
        """Σ_j [φ_ij ω_j + p_j h_j] of every state of atom i in eV (N, S), h_j its density at j and p the derivative of
        the energy in the background, of its shape: with orbitals p_j h_j is the sum over what the state adds to all
        columns."""


class BondShapes(eqx.Module):
    """What atom j adds to the moments of i, and i to those of j, (K, P), in as far as it is in states that are open to
    a channel (N, C, S), 1 or 0."""

    at_i: Float[Array, "K P"]
    at_j: Float[Array, "K P"]
    open: Float[Array, "N C S"]

    def moments(self, i, j, weights: Float[Array, "N S"]) -> Float[Array, "N CK"]:
        """Moments of all atoms, channel by channel."""

        def channel(ready):
            return over_neighbours((i, j), (self.at_i * ready[j]).T, (self.at_j * ready[i]).T, len(weights))

        return jnp.concatenate([channel(x) for x in jnp.einsum("ncs,ns->cn", self.open, weights)], axis=1)

    def around(self, i, j, pressure: Float[Array, "N CK"]) -> Float[Array, "N S"]:
        """What every state of an atom adds to the moments of the others, times the energy's derivatives in these."""

        def channel(p):
            to_i, to_j = jnp.sum(p[j].T * self.at_j, axis=0), jnp.sum(p[i].T * self.at_i, axis=0)
            return over_neighbours((i, j), to_i, to_j, len(p))

        parts = [channel(p) for p in jnp.split(pressure, self.open.shape[1], axis=1)]
        return jnp.einsum("cn,ncs->ns", jnp.stack(parts), self.open)


class UnitFields(eqx.Module):
    """Fields (3, P) of unit charges of j at i in e/Å², and the charges in e of the states of the atoms (N, S)."""

    at_i: Float[Array, "3 P"]
    charge: Float[Array, "N S"]

    def fields(self, i, j, weights: Float[Array, "N S"]) -> Float[Array, "N 3"]:
        """Fields of the mean charges at all atoms."""
        charges = jnp.sum(weights * self.charge, axis=1)
        return over_neighbours((i, j), (self.at_i * charges[j]).T, -(self.at_i * charges[i]).T, len(weights))

    def around(self, i, j, pressure: Float[Array, "N 3"]) -> Float[Array, "N S"]:
        """What every state of an atom adds to the fields at the others, times the energy's derivatives in these."""
        to_i, to_j = -jnp.sum(pressure[j].T * self.at_i, axis=0), jnp.sum(pressure[i].T * self.at_i, axis=0)
        return self.charge * over_neighbours((i, j), to_i, to_j, len(pressure))[:, None]


class PairTerms(eqx.Module):
    """Of the pairs (i, j) of a half list: h at i from the states of j and h at j from those of i, (S, P) in e/bohr³,
    and the interactions (S of i, S of j, P) in eV; with bonding orbitals what belongs to these."""

    i: Int[Array, " P"]
    j: Int[Array, " P"]
    density_at_i: Float[Array, "S P"]
    density_at_j: Float[Array, "S P"]
    interaction: Float[Array, "S S P"]
    shapes: BondShapes | None = None
    fields: UnitFields | None = None
    pushes: Pushes | None = None

    def background(self, weights):
        """As `PairSums.background`."""
        w = weights.T
        from_j = jnp.sum(self.density_at_i * w[:, self.j], axis=0)
        from_i = jnp.sum(self.density_at_j * w[:, self.i], axis=0)
        density = over_neighbours((self.i, self.j), from_j, from_i, len(weights))
        if self.shapes is None:
            return density
        columns = [density[:, None], self.shapes.moments(self.i, self.j, weights)]
        if self.pushes is not None:
            columns.append(self.pushes.pushes(self.i, self.j, weights))
        if self.fields is not None:
            columns.append(self.fields.fields(self.i, self.j, weights))
        return jnp.concatenate(columns, axis=1)

    def energy(self, weights):
        """As `PairSums.energy`."""
        return jnp.sum(self._state_energies(weights))

    def atomic_energies(self, weights):
        """As `PairSums.atomic_energies`."""
        pair = 0.5 * jnp.sum(self._state_energies(weights), axis=(0, 1))
        return over_neighbours((self.i, self.j), pair, pair, len(weights))

    def around(self, weights, pressure):
        """As `PairSums.around`."""
        w, i, j = weights.T, self.i, self.j
        density_pressure = pressure if self.shapes is None else pressure[:, 0]
        pressure_i, pressure_j = density_pressure[i], density_pressure[j]
        at_i = jnp.sum(self.interaction * w[None, :, j], axis=1) + pressure_j * self.density_at_j
        at_j = jnp.sum(self.interaction * w[:, None, i], axis=0) + pressure_i * self.density_at_i
        own = states_over_neighbours((i, j), at_i, at_j, len(weights))
        if self.shapes is None:
            return own
        beyond = 1 + len(self.shapes.at_i) * self.shapes.open.shape[1]
        own = own + self.shapes.around(i, j, pressure[:, 1:beyond])
        if self.pushes is not None:
            own, beyond = own + self.pushes.around(i, j, pressure[:, beyond : beyond + 1]), beyond + 1
        return own if self.fields is None else own + self.fields.around(i, j, pressure[:, beyond:])

    def _state_energies(self, weights) -> Float[Array, "S S P"]:
        w = weights.T
        return w[:, None, self.i] * self.interaction * w[None, :, self.j]
