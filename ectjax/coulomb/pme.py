"""Smooth particle mesh Ewald: the reciprocal sum by B-splines and FFT, N log N.

U. Essmann et al., J. Chem. Phys. 103, 8577 (1995). Same interface and same self and background terms as
`ewald`. Charges are spread with weights W (one row per atom), φ = Wᵀ-then-convolution-then-W, so that the
potential is linear, symmetric and exactly the derivative of the energy, and forces are those of this energy.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Scalar

from ectjax.coulomb.ewald import masked, self_and_background
from ectjax.coulomb.lattice import fractional_coordinates, reciprocal_cell
from ectjax.units import COULOMB_EV_ANGSTROM

SMALLEST_ORDER, LARGEST_ORDER = 4, 16
"""Spline orders p; the energy is C^(p−2) in positions, so p ≥ 4 gives continuous second derivatives."""


BLOCK, LARGEST_BLOCK = 2048, 8192
"""Atoms whose charges are spread at once on a CPU where a system has more than the second number."""


class PMEReciprocal(eqx.Module):
    """Reciprocal, self and background potential (eV/e) of a geometry on a mesh.

    The real-space part, `ewald_real_kernel` over pairs, is not included.
    """

    starts: Int[Array, "n p p 2"]
    weights: Float[Array, "3 n p"]
    influence: Float[Array, "mx my mz_half"]
    self_coefficient: Float[Scalar, ""]
    background_coefficient: Float[Scalar, ""]
    atom_mask: Bool[Array, " n"] | None
    mesh: tuple[int, int, int] = eqx.field(static=True)

    @classmethod
    def prepare(
        cls,
        positions: Float[Array, "n 3"],
        cell: Float[Array, "3 3"],
        alpha: float,
        mesh: tuple[int, int, int],
        order: int = 6,
        atom_mask: Bool[Array, " n"] | None = None,
    ) -> PMEReciprocal:
        """Positions and cell in Å, α in Å⁻¹; `mesh` points along each lattice vector and `order` are static.

        Raises:
            ValueError: order outside 4 ... 16 or fewer mesh points than the order.
        """
        mesh = _checked_mesh(mesh, order)
        cell = jnp.asarray(cell, positions.dtype)
        reciprocal, volume = reciprocal_cell(cell)
        fractional = fractional_coordinates(positions, reciprocal)
        size = jnp.asarray(mesh, positions.dtype)
        scaled = (fractional - jnp.floor(fractional)) * size
        floor = jnp.floor(scaled)
        weights = bspline_weights(scaled - floor, order)
        first = jnp.mod(floor.astype(jnp.int32) - (order - 1), jnp.asarray(mesh, jnp.int32))
        x, y = (jnp.mod(first[:, d, None] + jnp.arange(order, dtype=jnp.int32), mesh[d]) for d in range(2))
        columns = x[:, :, None] * mesh[1] + y[:, None, :]
        starts = jnp.stack([columns, jnp.broadcast_to(first[:, 2, None, None], columns.shape)], axis=-1)
        influence = influence_function(reciprocal, volume, alpha, mesh, order)
        constants = self_and_background(alpha, volume)
        return cls(starts, jnp.moveaxis(weights, 1, 0), influence, *constants, atom_mask, mesh)

    def potential(self, charges: Float[Array, " n"]) -> Float[Array, " n"]:
        """Potential at every atom in eV/e (charges in e), without the real-space part."""
        charges = masked(charges, self.atom_mask)
        spectrum = jnp.fft.rfftn(self._spread(charges))
        field = jnp.fft.irfftn(spectrum * self.influence.astype(spectrum.dtype), s=self.mesh, norm="forward")
        constant = self.self_coefficient * charges + self.background_coefficient * jnp.sum(charges)
        return masked(self._interpolate(field) + constant, self.atom_mask)

    def energy(self, charges: Float[Array, " n"]) -> Float[Scalar, ""]:
        """½ q·φ(q) in eV, summed over the modes: one spread and one FFT, cheap to differentiate."""
        charges = masked(charges, self.atom_mask)
        spectrum = jnp.fft.rfftn(self._spread(charges))
        power = (spectrum.real**2 + spectrum.imag**2) * self.influence
        # every mode of the half spectrum stands for two, but for those of k_z = 0
        modes = 2.0 * jnp.sum(power) - jnp.sum(power[:, :, 0])
        own = self.self_coefficient * jnp.sum(charges**2)
        return 0.5 * (modes + own + self.background_coefficient * jnp.sum(charges) ** 2)

    def _spread(self, charges):
        """Mesh charges. On a CPU many atoms go in blocks, whose p³ products per atom stay in the cache."""
        mx, my, mz = self.mesh
        ghosts = self.weights.shape[-1] - 1
        empty = jnp.zeros((mx * my, mz + ghosts), charges.dtype)
        if charges.shape[0] <= LARGEST_BLOCK:
            runs = _add_runs(empty, self.starts, self.weights, charges)
        else:
            runs = lax.platform_dependent(
                empty, self.starts, self.weights, charges, cpu=_add_runs_by_blocks, default=_add_runs
            )
        return runs[:, :mz].at[:, :ghosts].add(runs[:, mz:]).reshape(self.mesh)

    def _interpolate(self, field):
        """Mesh field at the atoms, the transpose of `_spread`."""
        mx, my, mz = self.mesh
        order = self.weights.shape[-1]
        columns = field.reshape(mx * my, mz)
        columns = jnp.concatenate([columns, columns[:, : order - 1]], axis=1)
        windows = lax.GatherDimensionNumbers((3,), (0,), (0, 1))
        mode = lax.GatherScatterMode.PROMISE_IN_BOUNDS
        runs = lax.gather(columns, self.starts, windows, (1, order), mode=mode)
        return jnp.sum(runs * _products(self.weights), axis=(1, 2, 3))


def _products(weights):
    """(N, p, p, p) products of the spline weights of the three directions."""
    wx, wy, wz = weights
    return wx[:, :, None, None] * wy[:, None, :, None] * wz[:, None, None, :]


def _add_runs(columns, starts, weights, charges):
    """Add to the mesh columns runs of p points along z at once; the last p − 1 may lie beyond the edge."""
    windows = lax.ScatterDimensionNumbers((3,), (0,), (0, 1))
    updates = charges[:, None, None, None] * _products(weights)
    mode = lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return lax.scatter_add(columns, starts, updates, windows, mode=mode)


def _add_runs_by_blocks(columns, starts, weights, charges):
    """The same, block after block of atoms; atoms that fill the last block carry no charge."""
    n = charges.shape[0]
    blocks = -(-n // BLOCK)

    def split(part):
        filled = jnp.pad(part, [(0, blocks * BLOCK - n)] + [(0, 0)] * (part.ndim - 1))
        return filled.reshape(blocks, BLOCK, *part.shape[1:])

    def add(columns, block):
        starts, weights, charges = block
        return _add_runs(columns, starts, jnp.moveaxis(weights, 1, 0), charges), None

    return lax.scan(add, columns, (split(starts), split(jnp.moveaxis(weights, 0, 1)), split(charges)))[0]


def bspline_weights(t: Float[Array, "*shape"], order: int) -> Float[Array, "*shape p"]:
    """Cardinal B-spline values M_p(t + p − 1), ..., M_p(t) for 0 ≤ t < 1: weights of p points, ascending."""
    t = t[..., None]
    values = jnp.ones_like(t)  # M_n(t + k) along the last axis; whole rows at once keep the graph small
    edge = [(0, 0)] * (t.ndim - 1)
    for n in range(2, order + 1):
        k = jnp.arange(n, dtype=t.dtype)
        same, previous = jnp.pad(values, [*edge, (0, 1)]), jnp.pad(values, [*edge, (1, 0)])
        values = ((t + k) * same + (n - t - k) * previous) / (n - 1)
    return values[..., ::-1]


def influence_function(reciprocal, volume, alpha, mesh, order) -> Float[Array, "mx my mz_half"]:
    """4πK/(Vk²) e^(−k²/4α²) |b|² on the half spectrum in eV/e²; zero at k = 0 and at Nyquist modes.

    A Nyquist mode stands for +m/2 and −m/2, whose k differ in a skewed cell, so it cannot be kept symmetric.
    """
    dtype = reciprocal.dtype
    n = [np.fft.fftfreq(m, 1 / m) for m in mesh[:2]] + [np.arange(mesh[2] // 2 + 1.0)]
    used = np.ones([len(axis) for axis in n], bool)
    used[0, 0, 0] = False
    for d, m in enumerate(mesh):
        if m % 2 == 0:
            used[(slice(None),) * d + (m // 2,)] = False
    nx, ny, nz = (jnp.asarray(grid, dtype) for grid in np.ix_(*n))
    turns = [nx * reciprocal[0, d] + ny * reciprocal[1, d] + nz * reciprocal[2, d] for d in range(3)]
    squared = 4.0 * math.pi**2 * (turns[0] ** 2 + turns[1] ** 2 + turns[2] ** 2)
    squared = jnp.where(used, squared, 1.0)
    moduli = [_squared_moduli(m, order) for m in mesh]
    moduli[2] = moduli[2][: mesh[2] // 2 + 1]
    bx, by, bz = (jnp.asarray(grid, dtype) for grid in np.ix_(*moduli))
    values = 4.0 * math.pi * COULOMB_EV_ANGSTROM / volume * jnp.exp(-squared / (4.0 * alpha**2)) / squared
    return jnp.where(used, values * bx * by * bz, 0.0)


def _squared_moduli(size: int, order: int) -> np.ndarray:
    """|b(n)|² of Essmann's eq. 4.4; Nyquist modes, which are not used, get 0."""
    knots = np.asarray(bspline_weights_at_integers(order))
    phases = np.exp(2j * np.pi * np.outer(np.arange(size), np.arange(order - 1)) / size)
    power = np.abs(phases @ knots) ** 2
    if size % 2 == 0:
        power[size // 2] = np.inf
    return 1.0 / power


def bspline_weights_at_integers(order: int) -> list[float]:
    """M_p(1), ..., M_p(p − 1), in double precision."""
    values = [1.0]  # M_2(1)
    for n in range(3, order + 1):
        inner = [0.0, *values, 0.0]
        values = [(k * inner[k] + (n - k) * inner[k - 1]) / (n - 1) for k in range(1, n)]
    return values


def check_order(order: int) -> int:
    """The spline order; ValueError outside SMALLEST_ORDER ... LARGEST_ORDER."""
    if not SMALLEST_ORDER <= order <= LARGEST_ORDER:
        allowed = f"{SMALLEST_ORDER} to {LARGEST_ORDER}"
        raise ValueError(f"spline order is {order}, allowed is {allowed}: 6 suits most")
    return order


def _checked_mesh(mesh, order) -> tuple[int, int, int]:
    check_order(order)
    mesh = tuple(int(m) for m in mesh)
    if len(mesh) != 3 or min(mesh) < order:
        raise ValueError(f"mesh is {mesh}, must be 3 numbers >= the spline order {order}: use pme_parameters")
    return mesh
