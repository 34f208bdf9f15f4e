"""Who carries the counter-charge: what an atom in a state of two charges asks of its neighbours. eV, e.

As in `ectjax.pairs.fluctuations`, while atom i is in its state α its neighbours have on the average the charges

    x_j = q_j − (q_α − q_i) p_ij.

They can have no more than their own states allow, [low_j, high_j]. In a diatomic molecule Si²⁺H that would be H²⁻,
which the mean energy of fluctuations takes for bound by the attraction of two electrons; four fluorine atoms carry half
an electron each. So that

    E = U Σ_iα ω_iα Σ_j (x_j − high_j)₊ + (low_j − x_j)₊,    U = 1 hartree,    over states of two charges or more.

Models whose states have at most one charge have no such term.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ectjax.pairs.fluctuations import FLOOR
from ectjax.pairs.sums import over_neighbours
from ectjax.units import HARTREE_IN_EV

WIDTH = 0.05
"""e; over twice this the excess begins."""


class Carriers(eqx.Module):
    """What carriers know of a geometry: pairs, the share p of j among the neighbours of i and of i among those of j
    (P,); lowest and highest charges of the states of atoms in e (N,), and which have two charges or more (N, S)."""

    pairs: tuple[Int[Array, " P"], Int[Array, " P"]]
    shares: tuple[Float[Array, " P"], Float[Array, " P"]]
    low: Float[Array, " N"]
    high: Float[Array, " N"]
    double: Float[Array, "N S"]

    @classmethod
    def prepare(
        cls,
        pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
        exchange: Float[Array, " P"],
        charge: Float[Array, "N S"],
        mask: Bool[Array, "N S"],
    ) -> "Carriers":
        """`exchange` (P,) as in `fluctuations.neighbour_mean`, zero for padding; charges of the states (N, S)."""
        i, j = pairs
        total = over_neighbours(pairs, exchange, exchange, len(charge)) + FLOOR
        return cls(
            pairs=pairs,
            shares=(exchange / total[i], exchange / total[j]),
            low=jnp.min(jnp.where(mask, charge, 0.0), axis=1),
            high=jnp.max(jnp.where(mask, charge, 0.0), axis=1),
            double=jnp.where(mask & (jnp.abs(charge) > 1.5), 1.0, 0.0).astype(charge.dtype),
        )

    def excess(self, weights: Float[Array, "N S"], charge: Float[Array, "N S"]) -> Float[Array, " N"]:
        """Energies in eV of atoms (N,) whose neighbours cannot carry what their states ask of them."""
        mean = jnp.sum(weights * charge, axis=1)
        found = jnp.zeros_like(mean)
        for of, by, share in zip(self.pairs, self.pairs[::-1], self.shares, strict=True):
            asked = mean[by][:, None] - (charge[of] - mean[of][:, None]) * share[:, None]
            above, below = asked - self.high[by][:, None], self.low[by][:, None] - asked
            cost = jnp.sum(weights[of] * self.double[of] * (_beyond(above) + _beyond(below)), axis=1)
            found = found.at[of].add(HARTREE_IN_EV * cost)
        return found


def _beyond(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0 for x ≤ 0 and x − `WIDTH` for x ≥ 2 `WIDTH`, with two continuous derivatives."""
    t = jnp.clip(x / WIDTH - 1.0, -1.0, 1.0)
    return jnp.where(x > 2.0 * WIDTH, x - WIDTH, WIDTH * (((6.0 - t**2) * t + 8.0) * t + 3.0) / 16.0)
