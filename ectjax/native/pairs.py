"""Sums over pairs by the compiled library, the compiled twin of `ectjax.pairs.terms.PairTerms`.

Both sums are linear in what enters, so that forward derivatives in weights are the sums themselves.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ectjax.ensemble import Screening
from ectjax.model import Model
from ectjax.native.library import call
from ectjax.native.tables import NativeTables
from ectjax.neighbors import PADDING_DISTANCE


class NativePairs(eqx.Module):
    """Where the pairs of a geometry lie in the packed tables: row (−1 beyond the cutoff), fraction, distance in Å; and
    `vector` from i to j in Å."""

    rows: Float[Array, "EEM W"]
    state_charge: Float[Array, "N S"]
    i: Int[Array, " P"]
    j: Int[Array, " P"]
    row: Int[Array, " P"]
    t: Float[Array, " P"]
    distance: Float[Array, " P"]
    vector: Float[Array, "P 3"]
    spacing: float = eqx.field(static=True)

    @classmethod
    def prepare(cls, tables: NativeTables, model: Model, system, species, state_charge) -> "NativePairs":
        """Locate all pairs; species (N,) without negative entries."""
        list_ = system.neighbors
        dtype = system.positions.dtype
        cell = jnp.zeros((3, 3), dtype) if system.cell is None else system.cell
        elements, intervals = model.density.shape[-2:]
        real = jax.ShapeDtypeStruct(list_.i.shape, dtype)
        vectors = jax.ShapeDtypeStruct((*list_.i.shape, 3), dtype)
        distance, vector, row, t = call(
            "places",
            (real, vectors, jax.ShapeDtypeStruct(list_.i.shape, jnp.int32), real),
            system.positions,
            cell,
            species.astype(jnp.int32),
            list_.i,
            list_.j,
            list_.shifts,
            list_.mask,
            padding=PADDING_DISTANCE,
            cutoff=float(model.cutoff),
            spacing=float(model.spacing),
            intervals=intervals,
            elements=elements,
        )
        return cls(tables.rows, state_charge, list_.i, list_.j, row, t, distance, vector, float(model.spacing))

    def background(self, weights: Float[Array, "N S"]) -> Float[Array, " N"]:
        """As `PairSums.background`."""
        return _background(self, weights)

    def around(self, weights: Float[Array, "N S"], pressure: Float[Array, " N"]) -> Float[Array, "N S"]:
        """As `PairSums.around`."""
        return _around(self, weights, pressure)

    def atomic_energies(self, weights: Float[Array, "N S"]) -> Float[Array, " N"]:
        """As `PairSums.atomic_energies`."""
        return 0.5 * jnp.sum(weights * self.around(weights, jnp.zeros_like(weights[:, 0])), axis=1)

    def energy(self, weights: Float[Array, "N S"]) -> Float[Array, ""]:
        """As `PairSums.energy`."""
        return jnp.sum(self.atomic_energies(weights))

    def around_with_forces(self, weights: Float[Array, "N S"], pressure: Float[Array, " N"]):
        """`around` with −∂E/∂r (N, 3) in eV/Å and dE/dε (3, 3) in eV, r → (1 + ε) r, of the pairs at fixed weights."""
        shapes = weights.shape, (len(weights), 3), (3, 3)
        return call(
            "around_with_forces",
            tuple(jax.ShapeDtypeStruct(shape, weights.dtype) for shape in shapes),
            *self._arguments(weights, pressure),
            self.vector,
            spacing=self.spacing,
        )

    def _arguments(self, weights, pressure):
        return weights, pressure, self.state_charge, self.i, self.j, self.row, self.t, self.distance, self.rows


@eqx.filter_custom_jvp
def _background(pairs: NativePairs, weights):
    shape = jax.ShapeDtypeStruct(weights.shape[:1], weights.dtype)
    return call("background", shape, weights, pairs.i, pairs.j, pairs.row, pairs.t, pairs.rows)


@_background.def_jvp
def _background_jvp(primals, tangents):
    pairs, weights = primals
    return _background(pairs, weights), _background(pairs, tangents[1])


@eqx.filter_custom_jvp
def _around(pairs: NativePairs, weights, pressure):
    shape = jax.ShapeDtypeStruct(weights.shape, weights.dtype)
    return call("around", shape, *pairs._arguments(weights, pressure))


@_around.def_jvp
def _around_jvp(primals, tangents):
    pairs, *rest = primals
    changes = (jnp.zeros_like(x) if dx is None else dx for x, dx in zip(rest, tangents[1:], strict=True))
    return _around(pairs, *rest), _around(pairs, *changes)


class NativeScreening(Screening):
    """A preconditioner whose sum over pairs is compiled."""

    def potential(self, kernel: Float[Array, " P"], charges: Float[Array, " N"]) -> Float[Array, " N"]:
        """As `Screening.potential`."""
        shape = jax.ShapeDtypeStruct(charges.shape, charges.dtype)
        return call("pair_sum", shape, self.i, self.j, kernel, charges)
