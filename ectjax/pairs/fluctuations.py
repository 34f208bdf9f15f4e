"""Charges that fluctuate together: what an electron that moves between two atoms gains from the hole it leaves.

With independent weights an electron that has left atom i is anywhere, and the attraction to it cancels. In truth it is
on a neighbour: charges of an atom and its surroundings add up to a constant, so that Σ_j cov(q_i, q_j) = −var(q_i).
This sum rule, shared among the neighbours in the measure p_ij in which they exchange electrons, gives

    E = −½ Σ_i J_i var_i,    var_i = Σ_α ω_iα q_α² − q_i²,    J_i = Σ_j p_ij J_ij,    Σ_j p_ij = 1,

J_ij(R) being the Coulomb interaction of two unit transfers, the second difference of φ in both charges: 1/R where atoms
do not overlap, finite at R = 0. A pair with a share δ of its ion pair then costs δ (I − A − J) instead of
δ (I − A) − δ² J: it is straight between the neutral and the ionic pair, as two configurations that mix must be, and one
electron does not repel itself (H₂⁺ comes apart into any two halves at the energy of H + H⁺). Atoms in one state do
not fluctuate, so that neutral atoms and full ions stay as they were.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ectjax.pairs.sums import over_neighbours

FLOOR = 1e-9
"""e/bohr³; where the densities of all neighbours are far below it, no partner is near and J_i vanishes."""


def unit_transfer(labels) -> Float[np.ndarray, "E S"]:
    """Coefficients d of the states of E elements: Σ d = 0, Σ d q = 1; from −1 to +1 where the element has both."""
    found = np.zeros((len(labels), max(map(len, labels))))
    for row, states in zip(found, labels, strict=True):
        ends = [x for x in ("-1", "0", "+1") if x in states]
        if len(ends) > 1:
            span = float(int(ends[-1]) - int(ends[0]))
            row[states.index(ends[-1])], row[states.index(ends[0])] = 1.0 / span, -1.0 / span
    return found


def neighbour_mean(
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    exchange: Float[Array, " P"],
    at_i: Float[Array, "P *K"],
    at_j: Float[Array, "P *K"],
    atoms: int,
) -> Float[Array, "N *K"]:
    """Σ_j p_ij x_ij (N, …) of values that every pair has for i and for j (P, …); `exchange` (P,) is the density of the
    two atoms that bonds, of each at the other, in e/bohr³, zero for padding."""
    weight = exchange.reshape(-1, *(1,) * (at_i.ndim - 1))
    whole = over_neighbours(pairs, weight, weight, atoms) + FLOOR
    return over_neighbours(pairs, weight * at_i, weight * at_j, atoms) / whole


def mean_attraction(
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    exchange: Float[Array, " P"],
    interaction: Float[Array, " P"],
    atoms: int,
) -> Float[Array, " N"]:
    """J_i in eV/e² (N,) of J_ij (P,), which is zero for padding; `exchange` as in `neighbour_mean`."""
    return neighbour_mean(pairs, exchange, interaction, interaction, atoms)


def relief(
    weights: Float[Array, "N S"], charge: Float[Array, "N S"], attraction: Float[Array, " N"]
) -> tuple[Float[Array, " N"], Float[Array, "N S"]]:
    """−½ J_i var_i of every atom in eV (N,), and its derivative in the weights (N, S)."""
    mean = jnp.sum(weights * charge, axis=1)
    variance = jnp.sum(weights * charge**2, axis=1) - mean**2
    slopes = charge**2 - 2.0 * mean[:, None] * charge
    return -0.5 * attraction * variance, -0.5 * attraction[:, None] * slopes
