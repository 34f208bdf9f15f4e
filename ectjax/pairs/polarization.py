"""Polarisation: what an atom in each of its states gains in the field of the charges around it. eV, Å, e.

    E = −½ k Σ_iα ω_iα α_iα s_iα |F_iα|²,    p_i = Σ_α ω_iα α_iα s_iα F_iα,    k = e²/4πε₀,

α being the polarizability of the isolated state. As in `ectjax.pairs.fluctuations` the charge that an atom gains in one
of its states is missing among its neighbours, in the measure p_ij in which they exchange electrons, so that the field
is that of the mean charges and of this counter-charge,

    F_iα = F_i − (q_α − q_i) Σ_j p_ij f_ij,    F_i = Σ_j q_j f_ij,    f_ij = −S(R_ij) u_ij/R_ij²

(u_ij the direction from i to j, S a switch to zero at the cutoff): in a diatomic molecule a neutral state feels no
field and an ion that of the other ion. Every neighbour inside the state's own density confines it, and all of them
leave of its polarizability

    s_iα = Π_j D(b_α (R_ij − d_j))^{c S(R_ij)},    D(x) = 1 − e^{−x} Σ_{k=0..3} x^k/k!,

D the damping of Tang and Toennies (J. Chem. Phys. 80, 3726, 1984) with the decay b = 2√(2I) of the state's density and
c = 3/2; a wide neutral atom among the ions of a salt has next to nothing left. A closed core keeps electrons out, so
that distances count from half its radius, d_j = ½ n/ζ (n/ζ: where its outermost shell is densest, Slater's rules), 0
for hydrogen: potassium confines a chloride ion more than lithium at the same distance. D^c/R⁴ is finite however close a
neighbour comes. Where the surroundings are symmetric, as in rock salt, F vanishes: that tells a salt's molecule from
its crystal. Induced moments belong to the dipole; they do not act on each other. No number of this is fitted.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ectjax.pairs.fluctuations import neighbour_mean
from ectjax.units import COULOMB_EV_ANGSTROM

ORDER = 3
"""Highest power in D."""
CONFINEMENT = 1.5
"""Power of D in what a neighbour leaves of a polarizability."""
CORE_SHARE = 0.5
"""Of the radius of a neighbour's core, from where distances count in D."""
TERMS = 10
"""Of the series of D where x is small."""
SMALLEST = 1e-12
"""Of D: atoms nearer than a core or 1e-3/b, and padding, which has b = 0."""


class Polarizabilities(eqx.Module):
    """Of the S states of E elements or N atoms: polarizability in Å³ and decay b in 1/Å, 0 for padding; radius in Å of
    the elements' cores."""

    polarizability: Float[Array, "E S"]
    decay: Float[Array, "E S"]
    core: Float[Array, " E"]

    def at(self, species: Int[Array, " N"]) -> "Polarizabilities":
        """Those of atoms."""
        return jax.tree.map(lambda x: x[species], self)


class Polarizable(eqx.Module):
    """What polarisation knows of a geometry: charges of the states in e and what is left of their polarizabilities in
    Å³, (N, S); the field of a charge −1 that the neighbours of an atom share (N, 3), and a uniform external field (3,),
    None for none, e/Å²."""

    charge: Float[Array, "N S"]
    left: Float[Array, "N S"]
    counter: Float[Array, "N 3"]
    external: Float[Array, "3"] | None

    def moments(self, weights: Float[Array, "N S"], field: Float[Array, "N 3"]) -> Float[Array, "N 3"]:
        """Induced dipole moments in e Å in the field of the mean charges, e/Å²."""
        return jnp.einsum("ns,nsx->nx", weights * self.left, self._felt(weights, field))

    def gain(self, weights: Float[Array, "N S"], field: Float[Array, "N 3"]):
        """Energies in eV (N,), and their slopes in the weights (N, S) and in the field (N, 3)."""
        felt = self._felt(weights, field)
        own = -0.5 * COULOMB_EV_ANGSTROM * self.left * jnp.sum(felt**2, axis=2)
        push = -COULOMB_EV_ANGSTROM * jnp.einsum("ns,nsx->nx", weights * self.left, felt)
        slopes = own - self.charge * jnp.sum(push * self.counter, axis=1, keepdims=True)
        return jnp.sum(weights * own, axis=1), slopes, push

    def _felt(self, weights, field) -> Float[Array, "N S 3"]:
        """F of the states and the external field."""
        mean = jnp.sum(weights * self.charge, axis=1, keepdims=True)
        if self.external is not None:
            field = field + self.external
        return field[:, None] + (self.charge - mean)[:, :, None] * self.counter[:, None]


def damping(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """D(x) for x ≥ 0, with small relative errors near 0 as well."""
    few, small = range(ORDER + 1), jnp.minimum(x, 1.0)
    direct = 1.0 - jnp.exp(-x) * sum(x**n / float(math.factorial(n)) for n in few)
    series = sum(small**n / float(math.factorial(n)) for n in range(ORDER + 1, ORDER + 1 + TERMS))
    return jnp.where(x < 0.5, jnp.exp(-small) * series, direct)


def unit_fields(
    vectors: Float[Array, "P 3"], distances: Float[Array, " P"], switch: Float[Array, " P"]
) -> Float[Array, "3 P"]:
    """f_ij in e/Å²: the field of a unit charge of j at i; that of i at j is its negative."""
    return -vectors.T * switch / distances**3


def surroundings(
    atoms: Polarizabilities,
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    distances: Float[Array, " P"],
    switch: Float[Array, " P"],
    fields: Float[Array, "3 P"],
    exchange: Float[Array, " P"],
) -> tuple[Float[Array, "N S"], Float[Array, "N 3"]]:
    """α s in Å³ (N, S) and −Σ_j p_ij f_ij in e/Å² (N, 3); `exchange` (P,) as in `fluctuations.neighbour_mean`."""
    confined = jnp.zeros_like(atoms.decay)
    for of, by in zip(pairs, pairs[::-1], strict=True):
        outside = jnp.maximum(distances - CORE_SHARE * atoms.core[by], 0.0)
        leaves = jnp.maximum(damping(atoms.decay[of] * outside[:, None]), SMALLEST)
        confined = confined.at[of].add(CONFINEMENT * switch[:, None] * jnp.log(leaves))
    counter = neighbour_mean(pairs, exchange, -fields.T, fields.T, len(atoms.decay))
    return atoms.polarizability * jnp.exp(confined), counter
