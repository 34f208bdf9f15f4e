"""Coulomb sum over all pairs of an open system (molecules and clusters)."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Scalar

from ectjax.units import COULOMB_EV_ANGSTROM

DENSE_LIMIT = 4096
"""Atoms up to which 1/r is stored as a matrix (128 MiB in float64); beyond, blocks of rows are recomputed."""

ROWS_PER_BLOCK = 256


class DirectCoulomb(eqx.Module):
    """φ_i = K Σ_{j≠i} q_j / r_ij with K = 14.3996 eV Å, prepared once for a geometry.

    Linear and symmetric in the charges. Padded atoms (`atom_mask` False) carry no charge and feel nothing;
    they may coincide.
    """

    positions: Float[Array, "n 3"]
    atom_mask: Bool[Array, " n"]
    matrix: Float[Array, "n n"] | None

    @classmethod
    def prepare(cls, positions: Float[Array, "n 3"], atom_mask: Bool[Array, " n"] | None = None) -> DirectCoulomb:
        """Positions in Å, any float dtype; the result follows it."""
        n = positions.shape[0]
        mask = jnp.ones(n, bool) if atom_mask is None else jnp.asarray(atom_mask, bool)
        matrix = None
        if n <= DENSE_LIMIT:
            matrix = _kernel_rows(positions, mask, jnp.arange(n), positions)
        return cls(positions, mask, matrix)

    def potential(self, charges: Float[Array, " n"]) -> Float[Array, " n"]:
        """Potential at every atom in eV/e of the charges (e) of all others."""
        if self.matrix is not None:
            return jnp.matmul(self.matrix, charges, precision="highest")
        return self._potential_by_blocks(charges)

    def energy(self, charges: Float[Array, " n"]) -> Float[Scalar, ""]:
        """½ Σ_i q_i φ_i in eV."""
        return 0.5 * jnp.sum(charges * self.potential(charges))

    def _potential_by_blocks(self, charges):
        n = self.positions.shape[0]
        blocks = -(-n // ROWS_PER_BLOCK)
        rows = jnp.minimum(jnp.arange(blocks * ROWS_PER_BLOCK), n - 1).reshape(blocks, ROWS_PER_BLOCK)

        @jax.checkpoint
        def block(index):
            kernel = _kernel_rows(self.positions[index], self.atom_mask, index, self.positions)
            return jnp.matmul(kernel, charges, precision="highest")

        return jax.lax.map(block, rows).reshape(-1)[:n]


def _kernel_rows(row_positions, mask, index, positions):
    """K/r_ij for the rows `index` (eV/e²); zero on the diagonal and for padding, with zero derivatives."""
    differences = row_positions[:, None, :] - positions[None, :, :]
    other = index[:, None] != jnp.arange(positions.shape[0])[None, :]
    counts = mask[index][:, None] & mask[None, :] & other
    squared = jnp.where(counts, jnp.sum(differences**2, axis=-1), 1.0)
    return jnp.where(counts, COULOMB_EV_ANGSTROM / jnp.sqrt(squared), 0.0)
