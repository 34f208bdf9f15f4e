"""Bonding orbitals in the resonance: how many of an atom's directions its neighbours share.

The plain resonance g = √ρ̄ knows how much density surrounds an atom, not from where: a fifth neighbour helps like the
first one, and a bent molecule is bound like a straight one. With orbitals, neighbour j meets the bonding orbitals of
atom i in the vector b = (√s, √(1 − s) u), u the direction towards it and s the share of the s orbital: ¼ where four
orbitals bond, ⅙ beside lone pairs, which take the s orbital, and 1 in s shells. The second moments of the surroundings
over these orbitals (Ducastelle & Cyrot-Lackmann, J. Phys. Chem. Solids 31, 1295, 1970) are

    M_i = Σ_jβ ω_jβ h_iβ(R_ij) c_j ℓ_ij ℓ_ji [b bᵀ + π_i π_j (0 ⊕ (1 − u uᵀ))],    c_j = √(v_j/n_j),

with v_j of the n_j valence electrons unpaired, and π the overlap of orbitals side by side. Hydrogen has one bond to
give: with t_jk = h_j0(R_jk) c_k the density of the neutral atom k at hydrogen atom j and x = Σ_k t_jk/t_ji, i gets the
share ℓ_ij = [2/(1 + x⁴)]^¼, 1 where it is the only neighbour and 1/x among many. For other atoms ℓ = 1: a share of v_j
bonds in the same form was tried and fitted worse.

k = (Tr M)²/Tr M² counts the orbitals in use: 1 for one neighbour, 2 for two at a right angle that meet p orbitals, 4
for a tetrahedron of sp³ orbitals. An atom with v unpaired electrons can use about v of them, k_c. The bond energy Tr √M
where k_c of k equal moments count is √(Tr M (k_c/k) k_c); here

    g = √(Tr M (k_c/k) k_c^τ) with τ < 1: orbitals on one atom are not independent.

The numbers τ and s, the powers in ℓ and in k_c and the root in c_j are common to all elements. Densities in e/bohr³.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

SP3_SHARE, LONE_PAIR_SHARE = 0.25, 1.0 / 6.0
SATURATION = 0.8
CAP_BELOW, CAP_SHARPNESS = 0.4, 4
NOBLE_GASES = (0, 2, 10, 18, 36)
TRANSITION_ROW = range(21, 31)
UNLIMITED = 1e6
"""Bonds of an atom that does not divide itself: so many that ℓ is 1."""
SCREENING_FLOOR = 1e-9  # e/bohr³
CROSSOVER = 1e-7
"""e/bohr³; far below it k is taken for 1, so that g has finite slopes where no neighbour is."""
TENSOR = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
MOMENTS = 2 + 3 + len(TENSOR)
"""ρ̄, Σ h c, the vector Σ h c u, and the components `TENSOR` of the block of M that belongs to p orbitals."""


class Orbitals(eqx.Module):
    """Of E elements or N atoms: share s of the s orbital, side overlap π, source c = √(v/n), about how many orbitals
    more than one can be in use, and how many bonds the atom divides itself into."""

    share: Float[Array, " E"]
    pi: Float[Array, " E"]
    source: Float[Array, " E"]
    most: Float[Array, " E"]
    bonds: Float[Array, " E"]

    @classmethod
    def of(cls, numbers, pi: Float[Array, " E"]) -> "Orbitals":
        """Those of elements by atomic number, with their side overlaps."""
        shells = np.array([valence(z) for z in numbers])
        electrons, unpaired, has_p = shells.T
        return cls(
            share=jnp.asarray(np.where(has_p, np.where(unpaired == 4, SP3_SHARE, LONE_PAIR_SHARE), 1.0)),
            pi=jnp.where(has_p > 0, pi, 0.0),
            source=jnp.asarray(np.sqrt(unpaired / electrons)),
            most=jnp.asarray(np.maximum(unpaired, 1.0) - CAP_BELOW),
            bonds=jnp.asarray([1.0 if z == 1 else UNLIMITED for z in numbers]),
        )

    def at(self, species: Int[Array, " N"]) -> "Orbitals":
        """Those of atoms."""
        return Orbitals(*(x[species] for x in (self.share, self.pi, self.source, self.most, self.bonds)))


def valence(number: int) -> tuple[int, int, bool]:
    """Valence electrons, unpaired ones in bonds (8 − n from nitrogen's group on), and whether p orbitals bond."""
    electrons = number - max(z for z in NOBLE_GASES if z < number)
    if number <= 2 or electrons <= 2 or number in TRANSITION_ROW:
        electrons = min(electrons, 2)
        return electrons, 0 if number == 2 else electrons, False
    electrons -= 10 if number > TRANSITION_ROW[-1] else 0
    return electrons, min(electrons, 8 - electrons), True


def shared(
    orbitals: Orbitals,
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    species: Int[Array, " N"],
    at_i: Float[Array, " P"],
    at_j: Float[Array, " P"],
    mask: Bool[Array, " P"],
) -> Float[Array, " P"]:
    """How much of their bonds two atoms have left for each other (P,): ℓ_ij ℓ_ji of the module's docstring from the
    densities of the neutral atom j at i and i at j (P,); `mask` is False for padding."""
    i, j = pairs
    source, bonds = orbitals.source[species], orbitals.bonds[species]
    floor = jnp.where(mask, SCREENING_FLOOR, 0.0)
    at_i, at_j = at_i * source[j] + floor, at_j * source[i] + floor
    total = jnp.zeros(species.shape[0], at_i.dtype).at[i].add(at_i).at[j].add(at_j)

    def left(of, own):
        p = CAP_SHARPNESS
        crowding = total[of] / (bonds[of] * jnp.where(mask, own, 1.0))
        return ((1.0 + bonds[of] ** -p) / (1.0 + crowding**p)) ** (1.0 / p)

    return left(j, at_j) * left(i, at_i)


def bond_shapes(
    orbitals: Orbitals,
    species_i: Int[Array, " P"],
    species_j: Int[Array, " P"],
    vectors: Float[Array, "P 3"],
    distances: Float[Array, " P"],
    left: Float[Array, " P"],
) -> tuple[Float[Array, "K P"], Float[Array, "K P"]]:
    """What a density h of atom j at atom i adds to the `MOMENTS` of i, and of i at j to those of j, per h; `left` as
    from `shared`."""
    i, j = orbitals.at(species_i), orbitals.at(species_j)
    u = vectors.T / distances
    products = jnp.stack([u[a] * u[b] for a, b in TENSOR])
    unit = jnp.asarray([1.0 if a == b else 0.0 for a, b in TENSOR], u.dtype)[:, None]
    side = i.pi * j.pi * (unit - products)
    one = jnp.ones_like(distances)[None]

    def at(receiver: Orbitals, sender: Orbitals, towards):
        tensor = (1.0 - receiver.share) * products + side
        return jnp.concatenate([one, left * sender.source * jnp.concatenate([one, towards, tensor])])

    return at(i, j, u), at(j, i, -u)


def resonance_argument(moments: Float[Array, "N K"], orbitals: Orbitals) -> Float[Array, " N"]:
    """g² in e/bohr³ (N,) of moments (N, K): Σ h c where all bonds lie in one direction or meet s orbitals only."""
    s = orbitals.share
    density, vector, diagonal, rest = moments[:, 1], moments[:, 2:5], moments[:, 5:8], moments[:, 8:]
    trace = s * density + jnp.sum(diagonal, axis=1)
    square = (s * density) ** 2 + 2 * s * (1 - s) * jnp.sum(vector**2, axis=1)
    square = square + jnp.sum(diagonal**2, axis=1) + 2 * jnp.sum(rest**2, axis=1)
    used = (trace**2 + CROSSOVER**2) / (square + CROSSOVER**2)
    more = used - 1.0
    capped = 1.0 + more / (1.0 + (more / orbitals.most) ** CAP_SHARPNESS) ** (1 / CAP_SHARPNESS)
    return trace / used * capped ** (1 + SATURATION)
