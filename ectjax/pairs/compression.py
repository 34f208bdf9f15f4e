"""Ions that give way: what an anion gains by shrinking among its neighbours. eV, e.

An anion that is surrounded on all sides is smaller than a free one. Its density is taken from the line

    ρ(x) = (1 − x) ρ₋ + x ρ₌,    0 ≤ x ≤ 1,

between the free ion (state "-1" of the tables) and the same ion among neighbours ("-1*", `ectjax.generate.caged`),
whose density costs the free ion Δ. The free density has the lowest energy, so the cost begins with the square: x² Δ.
Neighbours push with what their states (weights ω) gain by a smaller ion,

    P_i = Σ_jβ ω_jβ [φ₋β(R_ij) − φ₌β(R_ij)],

and at the x where both balance the anion (weight ω₋ in its atom's ensemble) has won

    E_i = ω_i₋ h(P_i),    h = min_x (x² Δ − x P) = −P²/(4Δ) for 0 ≤ P ≤ 2Δ.

A push counts with its square: six neighbours win 36 times what a single one does, which is why it belongs to crystals
rather than molecules.

Two anions shrink together. Their energy is bilinear in x_i and x_j; with x_i + x_j − 1 in place of x_i x_j, exact as
soon as one of them is compressed, each sees the other as it is among neighbours. In P_i the state β of another such
anion is its "-1*", and the pair itself has

    φ₋₋ → φ₋₌ + φ₌₋ − φ₌₌.

Without that (x_i x_j → 0) a small ion between large ones is pulled apart by them, and lithium hydride collapses: free
hydride ions overlap by so much there that a sum over pairs is too deep.

With u = P/(2Δ) both ends are rounded over a width w, so that second derivatives are continuous:

    h = −2Δ [R(u) − R(u − 1)],    R = u³/(6w) for 0 ≤ u ≤ w, u²/2 − w u/2 + w²/6 beyond, 0 below.

No number of this is fitted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ectjax.pairs.sums import over_neighbours, states_over_neighbours
from ectjax.tables import AtomicState, Element

FREE, COMPRESSED = "-1", "-1*"
WIDTH = 0.05
"""Over which both ends of the line are rounded, in x."""


class Shrinking(NamedTuple):
    """What the anions of E elements lose in pairs by being compressed: R (φ₋ − φ₌) in Hartree bohr (E, E, S, M), the
    same of T, W and X in Hartree (E, E, S, 3, M); which of their S states they are, 1 or 0; Δ in Hartree (E,), 1 where
    there is none; and φ₋₌ + φ₌₋ − φ₌₌ − φ₋₋ of two anions, as R φ (E, E, M) and as T, W and X (E, E, 3, M)."""

    penetration: Float[np.ndarray, "E E S M"]
    two_center: Float[np.ndarray, "E E S 3 M"] | None
    anion: Float[np.ndarray, "E S"]
    cost: Float[np.ndarray, " E"]
    penetration_of_anions: Float[np.ndarray, "E E M"]
    two_center_of_anions: Float[np.ndarray, "E E 3 M"] | None


def compressed_ion(record: Element, chosen: Sequence[AtomicState]) -> AtomicState | None:
    """The compressed anion of an element, None where its anion is not among the chosen states or its table has none."""
    if COMPRESSED not in record.labels or all(state.label != FREE for state in chosen):
        return None
    return record.state(COMPRESSED)


def shrinking_of(
    chosen: Sequence[Sequence[AtomicState]], compressed: Sequence[AtomicState | None], penetration, two_center
) -> Shrinking:
    """`Shrinking` of E elements, from tables in which the compressed ion stands behind the S states: R φ (E, E, S + 1,
    S + 1, M), and of T, W and X (E, E, S + 1, S + 1, 3, M) or None."""
    most = penetration.shape[2] - 1
    anion, cost = np.zeros((len(chosen), most)), np.ones(len(chosen))
    free = {}
    for e, (states, ion) in enumerate(zip(chosen, compressed, strict=True)):
        if ion is not None:
            free[e] = [state.label for state in states].index(FREE)
            anion[e, free[e]], cost[e] = 1.0, ion.energy_computed - states[free[e]].energy_computed

    def lost(table):
        """Of any neighbour, and of a pair of anions beyond what a pair of free ones has."""
        if table is None:
            return None, None
        by_push, of_anions = np.zeros_like(table[:, :, 0, :most]), np.zeros_like(table[:, :, 0, 0])
        for e, i in free.items():
            by_push[e] = table[e, :, i, :most] - table[e, :, most, :most]
            for f, j in free.items():
                by_push[e, f, j] = table[e, f, i, most] - table[e, f, most, most]
                of_anions[e, f] = by_push[e, f, j] + table[e, f, most, j] - table[e, f, i, j]
        return by_push, of_anions

    (by_penetration, of_penetration), (by_two_center, of_two_center) = map(lost, (penetration, two_center))
    return Shrinking(by_penetration, by_two_center, anion, cost, of_penetration, of_two_center)


class Compression(eqx.Module):
    """Of E elements with S states: splines of the push on the anion of the first element by the states of the second in
    eV; which state the anion is (1 or 0), and Δ in eV (1 where there is none)."""

    push: Float[Array, "S 4 E E M"]
    anion: Float[Array, "E S"]
    cost: Float[Array, " E"]


class Pushes(eqx.Module):
    """Of the pairs of a geometry: what states of j do to the anion of i and those of i to that of j, (S, P) in eV."""

    at_i: Float[Array, "S P"]
    at_j: Float[Array, "S P"]

    def pushes(self, i, j, weights: Float[Array, "N S"]) -> Float[Array, "N 1"]:
        """P of all atoms."""
        w = weights.T
        from_j, from_i = jnp.sum(self.at_i * w[:, j], axis=0), jnp.sum(self.at_j * w[:, i], axis=0)
        return over_neighbours((i, j), from_j, from_i, len(weights))[:, None]

    def around(self, i, j, pressure: Float[Array, "N 1"]) -> Float[Array, "N S"]:
        """What every state of an atom adds to the pushes on the others, times the energy's derivatives in these."""
        p = pressure[:, 0]
        return states_over_neighbours((i, j), p[j] * self.at_j, p[i] * self.at_i, len(p))


class Compressible(eqx.Module):
    """Of N atoms with S states: which state the anion is (1 or 0), and Δ in eV."""

    anion: Float[Array, "N S"]
    cost: Float[Array, " N"]

    def gain(self, weights: Float[Array, "N S"], push: Float[Array, " N"]):
        """ω₋ h(P) in eV (N,), and its slopes in the weights (N, S) and in P (N,)."""
        u = push / (2.0 * self.cost)
        h = -2.0 * self.cost * (_integral(u) - _integral(u - 1.0))
        there = jnp.sum(weights * self.anion, axis=1)
        return there * h, self.anion * h[:, None], -there * self.shrunk(push)

    def shrunk(self, push: Float[Array, " N"]) -> Float[Array, " N"]:
        """x of every atom's anion."""
        u = push / (2.0 * self.cost)
        return _ramp(u) - _ramp(u - 1.0)


def _ramp(u):
    """R′."""
    inside = jnp.clip(u, 0.0, WIDTH)
    return inside**2 / (2.0 * WIDTH) + jnp.maximum(u - WIDTH, 0.0)


def _integral(u):
    """R."""
    inside, beyond = jnp.clip(u, 0.0, WIDTH), jnp.maximum(u - WIDTH, 0.0)
    return inside**3 / (6.0 * WIDTH) + 0.5 * beyond**2 + 0.5 * WIDTH * beyond
