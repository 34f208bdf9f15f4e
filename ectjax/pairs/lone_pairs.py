"""Dipole moments of lone pairs: what bonds leave of an s orbital lies on the other side of the atom.

With the projector P on the bonding orbitals the density matrix of a valence shell is 2 − P, so that an atom with
polarisation has the moment (towards its neighbours; `ectjax.pairs.orbitals` for M, k_c and the channels)

    p_i = 2 ⟨s|z|p⟩ P_sp f B,    P = √M/√(Tr M²/Tr M),    ⟨s|z|p⟩ = ⟨r⟩/√3 of the valence shell,

with B = Σ_αβ A_αβ √(ω_α ω_β)/√2 (A: states that differ by one electron), 1 where an electron pair is shared and 0 for
an atom or ion in one state, and f = 1 − ((k_c − 1)/(v − 1))² for elements of v ≤ 4 valence electrons, whose lone pair
is lost to further bonds, else 1. In P_sp bonds have the share `LONE_PAIR_SHARE` of the s orbital, or from the third
period on, where s and p orbitals differ in size and mix less (W. Kutzelnigg, Angew. Chem. Int. Ed. 23, 272, 1984),
`HEAVY_LONE_PAIR_SHARE`. The moment meets external fields only: what it gains from its own neighbours is left to the
resonance. No number of this is fitted.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ectjax.pairs.orbitals import CROSSOVER, Orbitals, adjugate, channel_pairs, in_use, nodes

SMALL_MOMENTS = 0.1
"""Of moments of unit trace: below it lone pairs point nowhere."""


def lone_pair_moments(moments: Float[Array, "N C K"], orbitals: Orbitals) -> Float[Array, "N C 3"]:
    """Dipole moments p_i/B in e Å of lone pairs (N, C, 3), towards the neighbours."""
    s = orbitals.share[:, None]
    trace, _, used = in_use(moments, orbitals)
    unit = (1.0 / (trace + CROSSOVER**2))[..., None]
    density, vector, block = unit[..., 0] * moments[..., 0], unit * moments[..., 1:4], unit * moments[..., 4:]
    corner, edge = s * density, jnp.sqrt(s * (1 - s))[..., None] * vector
    # |M| of the whole matrix
    around = jnp.sum(block[..., :3] ** 2, axis=-1) + 2.0 * jnp.sum(block[..., 3:] ** 2 + edge**2, axis=-1)
    size = jnp.sqrt(corner**2 + around + SMALL_MOMENTS**2)
    whole = 1.0 - (orbitals.without_pair[:, None] * (used - 1.0)) ** 2
    return (orbitals.lone[:, None] * whole / size)[..., None] * _edge_of_root(corner, edge, block)


def whole_bonds(charge: Float[Array, "N S"], mask: Bool[Array, "N S"]) -> Float[Array, "N C S S"]:
    """B of the states of atoms (N, C, S, S): c·B c over both channels is how far an atom's bonds are whole, 1 where an
    electron pair is shared (a quarter of either ion), 0 for an atom in one state, be it neutral or an ion."""
    real = mask[:, :, None] & mask[:, None, :]
    step = jnp.abs(charge[:, :, None] - charge[:, None, :])
    near = real & (step > 0.5) & (step < 1.5)
    return jnp.where(near[:, None] & channel_pairs(charge), 0.5**0.5, 0.0).astype(charge.dtype)


def _edge_of_root(
    corner: Float[Array, "*N"], edge: Float[Array, "*N 3"], block: Float[Array, "*N 6"]
) -> Float[Array, "*N 3"]:
    """√M between the s and the p orbitals (*N, 3), as in `trace_of_roots`: M(M + z)⁻¹ = 1 − z(M + z)⁻¹ by blocks."""
    total, off = jnp.zeros_like(edge), block[..., 3:]
    for z, part in zip(*(x.tolist() for x in nodes()), strict=True):
        on, beside, determinant = adjugate(block[..., :3] + z, off)
        yz, xz, xy = (beside[..., n] for n in range(3))
        x, y, w = (edge[..., n] for n in range(3))
        mixed = jnp.stack([xy * y + xz * w, xy * x + yz * w, xz * x + yz * y], axis=-1)
        solved = (on * edge + mixed) / determinant[..., None]
        left = corner + z - jnp.sum(edge * solved, axis=-1)
        total = total + z * solved / (part * left[..., None])
    return total
