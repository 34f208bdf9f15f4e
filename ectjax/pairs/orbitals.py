"""Bonding orbitals in the resonance: who can exchange electrons with whom, and in how many directions.

The plain resonance g = √ρ̄ knows how much density surrounds an atom, not from where nor of what kind: a fifth neighbour
helps like the first one, a closed shell like an open one. Here neighbour j couples to atom i by the valence density of
the neutral atom j, h_ij, in the window of i (cores are left out, `ectjax.pairs.valence`):

    t_ij = h_ij(R_ij) O_ij c_j ℓ_ij ℓ_ji,    c_j = √(v_j/n_j),    O_ij = 1/(1 + x⁴),    x = ½ (r_i/r_j − r_j/r_i),

with v_j of the n_j valence electrons unpaired, and O the likeness of the valence shells, of rms radii r: a wide
orbital and a narrow one exchange little (O is 1 in models without polarisation, which leave the binding of salts to the
resonance). Hydrogen and the alkali metals have one bond to give, their valence electron's: with t_jk = h_jk O_jk c_k
the density of atom k at such an atom j and x = Σ_k t_jk/t_ji, i gets the share ℓ_ij = [2/(1 + x⁴)]^¼, 1 where it is
the only neighbour and 1/x among many. For other atoms ℓ = 1.

Two channels: where i gains an electron (its neutral state and its anions mix) j has to lose one, and what i gives back
only a j that is no anion can take: the share 1 − Σ(anions) of j is open. Where i mixes with its cations, only the
neutral share of j is open: an electron that comes back from an anion is counted once, in the anion's own channel. So in
rock salt a chloride ion exchanges electrons with sodium, not with other chloride ions.

Neighbour j meets the bonding orbitals of i in the vector b = (√s, √(1 − s) u), u the direction towards it and s the
share of the s orbital: ¼ where four orbitals bond, 1/20 beside lone pairs, which take the s orbital (1/100 from the
third period on), and 1 in s shells.
The second moments of the surroundings over these orbitals (Ducastelle & Cyrot-Lackmann, J. Phys. Chem. Solids 31, 1295,
1970) are, in each channel,

    M_i = Σ_j t_ij open_j [b bᵀ + π_i π_j (0 ⊕ (1 − u uᵀ))],    π the overlap of orbitals side by side.

k = (Tr √M)²/Tr M counts the orbitals in use: 1 for one neighbour, 2 for two at a right angle that meet p orbitals, 1.9
for two opposite each other that meet sp³ orbitals, 4 for a tetrahedron of these. An atom can use about as many as it or
the ion of the channel has unpaired electrons (three in oxygen's cationic channel: carbon monoxide), k_c. The bond
energy Tr √M where k_c of k equal moments count is √(Tr M (k_c/k) k_c); here

    g = √(Tr M (k_c/k) k_c^τ),

with τ above 1 where only one electron of an atom moves at a time in its ensemble of states. Where it has states of two
charges, m bonds that each move one electron make a ladder: from n to n + 1 moved electrons

    g_n = g √((n + 1)(m − n)/m),

with m the smaller of k_c and of 4/3 for each of (Σ_j t_ij)²/Σ_j t_ij² neighbours (rounded where both are alike): two
electrons between the same two atoms are less independent than their orbitals are. An atom with a single bond, which
takes or gives one electron, does not become an ion of two charges.

s, the powers in ℓ, in k_c and in O_ij and the root in c_j are common to all elements; π and τ are numbers of each.
Densities in e/bohr³.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ectjax.pairs.sums import over_neighbours
from ectjax.pairs.valence import bonds, valence
from ectjax.tables import parse_label
from ectjax.units import BOHR_IN_ANGSTROM

SP3_SHARE, LONE_PAIR_SHARE, HEAVY_LONE_PAIR_SHARE = 0.25, 0.05, 0.01
"""Of the s orbital in a bond: of carbon and its group; beside lone pairs, in the second period and in later ones."""
SATURATION = 1.4
"""τ of an element that has none of its own."""
CAP_BELOW, CAP_SHARPNESS = 0.4, 4
BONDS_LEFT_SOFTENING = 0.2
BONDS_OF_NEIGHBOUR, NEIGHBOUR_SHARPNESS = 4 / 3, 8
SMALLEST = 1e-3
"""Far below it two numbers of further bonds, of which none is found to be the smaller, are taken for 0."""
UNLIMITED = 1e6
"""Bonds of an atom that does not divide itself: so many that ℓ is 1."""
SCREENING_FLOOR = 1e-9  # e/bohr³
CROSSOVER = 1e-7
"""e/bohr³; far below it k is taken for 1, so that g has finite slopes where no neighbour is."""
NODES = 4
"""Of the quadrature in `trace_of_roots`."""
TENSOR = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
MOMENTS = 1 + 3 + len(TENSOR)
"""Of a channel: Σ t, the vector Σ t u, and the components `TENSOR` of the block of M that belongs to p orbitals."""
CHANNELS = (-1, 1)
"""Charges of the ions that a neutral atom exchanges weight with."""


def likeness(radius: Float[Array, " E"]) -> Float[Array, "E E"]:
    """O of all pairs of elements, from the rms radii of their valence shells."""
    ratio = radius[:, None] / radius[None, :]
    return 1.0 / (1.0 + (0.5 * (ratio - 1.0 / ratio)) ** 4)


def channel_pairs(charge: Float[Array, "N S"]) -> Bool[Array, "N C S S"]:
    """Pairs of states that belong to a channel: one of them is an ion of its sign."""
    ions = jnp.stack([charge * sign > 0 for sign in CHANNELS], axis=1)
    return ions[..., :, None] | ions[..., None, :]


def electron_pairs(charge: Float[Array, "N S"], electrons: int) -> Bool[Array, "N EC S S"]:
    """`channel_pairs` by the electron that moves: those of the first in all channels, then of the second, and so on."""
    size = jnp.abs(charge)
    moved = jnp.maximum(size[..., :, None], size[..., None, :])[..., None, :, :]
    return jnp.concatenate([channel_pairs(charge) & (moved == n + 1) for n in range(electrons)], axis=-3)


class Orbitals(eqx.Module):
    """Of E elements or N atoms: share s of the s orbital, side overlap π, how much bonds add up τ, source c = √(v/n),
    how many bonds the atom divides itself into; of its lone pairs 2 ⟨s|z|p⟩ in e Å, times their √(s(1 − s)) over that
    of `share`, and 1/(v − 1) where further bonds take them, else 0; about how many orbitals more than one can be in
    use, in each channel; and which of its S states are open to the `CHANNELS` of a neighbour, 1 or 0."""

    share: Float[Array, " E"]
    pi: Float[Array, " E"]
    tau: Float[Array, " E"]
    source: Float[Array, " E"]
    bonds: Float[Array, " E"]
    lone: Float[Array, " E"]
    without_pair: Float[Array, " E"]
    most: Float[Array, "E C"]
    open: Float[Array, "E C S"]

    @classmethod
    def of(cls, numbers, labels, mean_radius, pi: Float[Array, " E"], tau: Float[Array, " E"]) -> "Orbitals":
        """Those of elements by atomic number, labels of their states and mean radius of the valence shell in bohr, with
        their π and τ."""
        electrons, unpaired, has_p = np.array([valence(z) for z in numbers]).T
        most = np.array([[max(valence(z)[1], bonds(z, q), 1) for q in CHANNELS] for z in numbers])
        beside = np.where(np.array(numbers) > 10, HEAVY_LONE_PAIR_SHARE, LONE_PAIR_SHARE)
        share = np.where(has_p, np.where(unpaired == 4, SP3_SHARE, beside), 1.0)
        mixed = np.sqrt(beside * (1.0 - beside) / np.where(has_p, share * (1.0 - share), 1.0))
        between = mean_radius * (BOHR_IN_ANGSTROM / 3.0**0.5)  # ⟨s|z|p⟩ of equal radial functions
        charge = np.zeros((len(labels), max(map(len, labels))))
        for row, states in zip(charge, labels, strict=True):
            row[: len(states)] = [parse_label(x)[0] for x in states]
        return cls(
            share=jnp.asarray(share),
            pi=jnp.where(has_p > 0, pi, 0.0),
            tau=tau,
            source=jnp.asarray(np.sqrt(unpaired / electrons)),
            bonds=jnp.asarray([1.0 if n == 1 else UNLIMITED for n in electrons]),
            lone=jnp.where(has_p > 0, 2.0 * between * mixed, 0.0),
            without_pair=jnp.asarray(np.where(electrons < 5, 1.0 / np.maximum(electrons - 1, 1), 0.0)),
            most=jnp.asarray(most - CAP_BELOW),
            open=jnp.asarray(np.stack([charge >= 0, charge == 0], axis=1).astype(float)),
        )

    def at(self, species: Int[Array, " N"]) -> "Orbitals":
        """Those of atoms."""
        return jax.tree.map(lambda x: x[species], self)


def shared(
    orbitals: Orbitals,
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    species: Int[Array, " N"],
    bonding: tuple[Float[Array, " P"], Float[Array, " P"]],
    mask: Bool[Array, " P"],
) -> Float[Array, " P"]:
    """How much of their bonds two atoms have left for each other (P,): ℓ_ij ℓ_ji of the module's docstring from the
    densities h O c of j at i and of i at j (P,); `mask` is False for padding."""
    i, j = pairs
    bonds = orbitals.bonds[species]
    floor = jnp.where(mask, SCREENING_FLOOR, 0.0)
    at_i, at_j = (x + floor for x in bonding)
    total = over_neighbours(pairs, at_i, at_j, species.shape[0])

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
    couplings: tuple[Float[Array, " P"], Float[Array, " P"]],
) -> tuple[Float[Array, "K P"], Float[Array, "K P"]]:
    """What atom j adds to the `MOMENTS` of i, and i to those of j, where it is open; `couplings` t at i and at j."""
    share_i, share_j = orbitals.share[species_i], orbitals.share[species_j]
    u = vectors.T / distances
    products = jnp.stack([u[a] * u[b] for a, b in TENSOR])
    unit = jnp.asarray([1.0 if a == b else 0.0 for a, b in TENSOR], u.dtype)[:, None]
    side = orbitals.pi[species_i] * orbitals.pi[species_j] * (unit - products)
    one = jnp.ones_like(distances)[None]

    def at(share, towards, coupling):
        return coupling * jnp.concatenate([one, towards, (1.0 - share) * products + side])

    return at(share_i, u, couplings[0]), at(share_j, -u, couplings[1])


def further_bonds(
    pairs: tuple[Int[Array, " P"], Int[Array, " P"]],
    couplings: tuple[Float[Array, " P"], Float[Array, " P"]],
    atoms: int,
) -> Float[Array, " N"]:
    """Bonds besides one that the neighbours of atoms allow (N,): `BONDS_OF_NEIGHBOUR` (Σ t)²/Σ t² − 1, and 0 where an
    atom has no neighbour. `couplings` t at i and at j (P,), zero for padding."""
    whole = over_neighbours(pairs, *couplings, atoms) ** 2
    same = over_neighbours(pairs, *(t**2 for t in couplings), atoms)
    return (BONDS_OF_NEIGHBOUR * whole - same) / (same + CROSSOVER**2)


def resonance_argument(
    moments: Float[Array, "N C K"], orbitals: Orbitals, further: Float[Array, " N"] | None = None, electrons: int = 1
) -> Float[Array, "N EC"]:
    """g² in e/bohr³ of moments (N, C, K), of the first electron that moves in every channel (N, C), then of the second,
    and so on: for the first Σ t where all bonds lie in one direction or meet s orbitals only. `further` is
    `further_bonds`, for more electrons than one."""
    trace, used, capped = in_use(moments, orbitals)
    first = trace / used * capped ** (1 + orbitals.tau[:, None])
    if electrons == 1:
        return first
    assert further is not None
    m = 1.0 + _smaller(capped - 1.0, further[:, None])
    later = [first * (n + 1) * _bonds_left(m, n) / m for n in range(1, electrons)]
    return jnp.concatenate([first, *later], axis=1)


def _smaller(x, y):
    """Of two positive numbers, rounded where they are alike: 0 where either is."""
    p = NEIGHBOUR_SHARPNESS
    return x * y / (x**p + y**p + SMALLEST**p) ** (1.0 / p)


def _bonds_left(movable: Float[Array, "N C"], moved: int) -> Float[Array, "N C"]:
    """m − n, and smoothly 0 where an atom has fewer bonds (never fewer than one)."""
    left = movable - moved
    return left if moved < 2 else 0.5 * (left + jnp.sqrt(left**2 + BONDS_LEFT_SOFTENING**2))


def adjugate(diagonal: Float[Array, "*N 3"], off: Float[Array, "*N 3"]):
    """Adjugate of symmetric matrices with yz, xz and xy off the diagonal, in the same order, and their determinants."""
    after, before = (jnp.roll(diagonal, shift, axis=-1) for shift in (-1, 1))
    beside = jnp.roll(off, -1, axis=-1) * jnp.roll(off, 1, axis=-1) - diagonal * off
    determinant = jnp.prod(diagonal, axis=-1) + 2.0 * jnp.prod(off, axis=-1) - jnp.sum(diagonal * off**2, axis=-1)
    return after * before - off**2, beside, determinant


def nodes():
    """Nodes z and inverse weights of √λ = Σ λ/(λ + z)/w."""
    angles = (np.arange(NODES) + 0.5) * np.pi / (2 * NODES)
    return np.tan(angles) ** 2, NODES * np.cos(angles) ** 2


def in_use(moments: Float[Array, "N C K"], orbitals: Orbitals):
    """Tr M, k and k_c of moments, each (N, C)."""
    s, most = orbitals.share[:, None], orbitals.most
    density, vector, block = moments[..., 0], moments[..., 1:4], moments[..., 4:]
    trace = s * density + jnp.sum(block[..., :3], axis=-1)
    unit = 1.0 / (trace + CROSSOVER**2)
    mixed = jnp.sqrt(s * (1 - s)) * unit
    roots = trace_of_roots(s * density * unit, mixed[..., None] * vector, unit[..., None] * block)
    used = ((trace * roots) ** 2 + CROSSOVER**2) / (trace**2 + CROSSOVER**2)
    more = used - 1.0
    capped = 1.0 + more / (1.0 + (more / most) ** CAP_SHARPNESS) ** (1 / CAP_SHARPNESS)
    return trace, used, capped


def trace_of_roots(
    corner: Float[Array, "*N"], edge: Float[Array, "*N 3"], block: Float[Array, "*N 6"]
) -> Float[Array, "*N"]:
    """Tr √M of positive matrices [[corner, edgeᵀ], [edge, block]] of eigenvalues λ from 0 to 1, `block` by `TENSOR`.

    In truth Σ √λ tanh(2n artanh √λ) with n = `NODES`: finite slopes where an eigenvalue is 0, and 1 where it is 1. That
    is what the midpoint rule makes of √λ = (2/π) ∫ λ/(λ cos²θ + sin²θ) dθ, and it needs only the coefficients of the
    characteristic polynomial: Tr M(M + z)⁻¹ = (e₁z³ + 2e₂z² + 3e₃z + 4e₄)/(z⁴ + e₁z³ + e₂z² + e₃z + e₄).
    """
    d, o, v = block[..., :3], block[..., 3:], edge
    on, crossed, determinant = adjugate(d, o)
    products = jnp.roll(v, -1, axis=-1) * jnp.roll(v, 1, axis=-1)

    def form(diagonal, rest):
        return jnp.sum(diagonal * v**2 + 2.0 * rest * products, axis=-1)

    trace, minors, length = jnp.sum(d, axis=-1), jnp.sum(on, axis=-1), jnp.sum(v**2, axis=-1)
    e1, e2 = corner + trace, corner * trace + minors - length
    e3 = corner * minors + determinant - trace * length + form(d, o)
    e4 = corner * determinant - form(on, crossed)
    z, parts = (jnp.asarray(x, e1.dtype) for x in nodes())
    e1, e2, e3, e4 = (x[..., None] for x in (e1, e2, e3, e4))
    above = ((e1 * z + 2.0 * e2) * z + 3.0 * e3) * z + 4.0 * e4
    return jnp.sum(above / ((((z + e1) * z + e2) * z + e3) * z + e4) / parts, axis=-1)
