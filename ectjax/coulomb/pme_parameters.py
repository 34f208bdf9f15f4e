"""Choice of splitting, mesh and spline order of PME from one accuracy (host side)."""

from __future__ import annotations

import math

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float

from ectjax.coulomb.ewald import ewald_real_kernel, ewald_screened_charge
from ectjax.coulomb.lattice import (
    REFERENCE_DENSITY,
    bisect_decreasing,
    check_accuracy,
    check_cell,
    check_cutoff,
    splitting_parameter,
)
from ectjax.coulomb.pme import PMEReciprocal, check_order

ORDERS = (4, 5, 6, 7, 8, 10, 12)

LARGEST_MESH = 2**27
"""Mesh points that are still accepted (1 GiB in float64)."""

POINT_COST, FFT_COST = 1.6, 0.34
"""ns per atom and spline point, and per mesh point and log₂(points), of one potential on a CPU core."""

CACHED, BEYOND = 2**18, 3.0
"""Mesh points that a core's cache holds, and how many times as long a point of a larger mesh takes."""


class PMEParameters(eqx.Module):
    """Splitting α (Å⁻¹), real-space cutoff (Å), mesh points along the lattice vectors and spline order."""

    alpha: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    mesh: tuple[int, int, int] = eqx.field(static=True)
    order: int = eqx.field(static=True)

    def screened_charge(self, r: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
        """r times the kernel of the real-space part, in eV Å/e²."""
        return ewald_screened_charge(r, self.alpha)

    def kernel(self, r: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
        """What a pair at r > 0 (Å) within the cutoff adds to q_i q_j, in eV/e²."""
        return ewald_real_kernel(r, self.alpha)

    def prepare(
        self,
        positions: Float[Array, "n 3"],
        cell: Float[Array, "3 3"],
        atom_mask: Bool[Array, " n"] | None = None,
    ) -> PMEReciprocal:
        """The reciprocal operator of a geometry."""
        return PMEReciprocal.prepare(positions, cell, self.alpha, self.mesh, self.order, atom_mask)


def pme_parameters(
    cell: Float[Array, "3 3"],
    cutoff: float,
    accuracy: float = 1e-6,
    *,
    order: int | None = None,
    atoms: int | None = None,
) -> PMEParameters:
    """Choose α, mesh and (unless given) the cheapest spline order for a real-space cutoff and a number of atoms (unless
    given, that of a dense liquid).

    `accuracy` means what it means in `ewald_parameters`: the root mean square error of field and potential
    of random ±1 e charges at 0.1 Å⁻³, relative to a unit charge 1 Å away.

    Raises:
        ValueError: cell without volume, cutoff not positive, accuracy outside 1e-15 ... 1e-1, order outside
            4 ... 16, or a mesh of more than 2²⁷ points.
    """
    box, cutoff = check_cell(cell), check_cutoff(cutoff)
    share = 0.5 * check_accuracy(accuracy)
    alpha = splitting_parameter(cutoff, share)
    orders = ORDERS if order is None else (check_order(order),)
    candidates = [(p, _mesh(box, alpha, p, share)) for p in orders]
    count = REFERENCE_DENSITY * abs(np.linalg.det(box)) if atoms is None else atoms

    def cost(candidate):
        p, mesh = candidate
        points = math.prod(mesh)
        slower = 1.0 if points <= CACHED else BEYOND
        return POINT_COST * count * p**3 + slower * FFT_COST * points * math.log2(points)

    order, mesh = min(candidates, key=cost)
    if math.prod(mesh) > LARGEST_MESH:
        raise ValueError(
            f"PME would need a mesh of {mesh} points, {LARGEST_MESH} in all are allowed: "
            "make a cell that is mostly vacuum smaller, raise the cutoff or accept a larger accuracy value"
        )
    return PMEParameters(alpha, cutoff, mesh, order)


def _mesh(box, alpha, order, share) -> tuple[int, int, int]:
    """FFT-friendly mesh whose three directions each cause at most 1/√3 of the allowed error."""
    lengths = np.linalg.norm(box, axis=1)
    skew = lengths * np.linalg.norm(np.linalg.inv(box), axis=0)  # |a||b|, 1 in an orthorhombic cell
    sizes = []
    for d in range(3):

        def error(inverse_spacing, skew=skew[d]):
            return interpolation_error(1.0 / inverse_spacing, alpha, order, skew)

        finest = bisect_decreasing(error, share / math.sqrt(3.0), 0.1, 100.0)
        sizes.append(friendly_size(max(order, lengths[d] * finest)))
    return tuple(sizes)


def interpolation_error(spacing: float, alpha: float, order: int, skew: float = 1.0) -> float:
    """Rms error (e/Å² of field or e/Å of potential, the larger) from a mesh spacing (Å) in one direction.

    For random ±1 e charges at REFERENCE_DENSITY. A mode with u = k·a/(2πm) turns per mesh step is represented
    by itself and its images u + l with weights c_l = (u/(u + l))^p relative to it (Essmann 1995, appendix C),
    on the atom that makes the field and on the one that feels it.
    """
    k = np.linspace(0.0, 12.0 * alpha, 241)[1:, None]
    nodes, mu_weights = np.polynomial.legendre.leggauss(24)
    mu, mu_weights = 0.5 * (nodes + 1.0), 0.5 * mu_weights
    u = k * spacing * mu / (2.0 * math.pi)
    inside = u < 0.5
    safe = np.where(inside, u, 0.25)
    images = np.array([-3, -2, -1, 1, 2, 3])[:, None, None]
    c = np.abs(safe / (safe + images)) ** order
    step = 2.0 * math.pi * skew / spacing * np.abs(images)
    amplitude = 4.0 * np.sum(c, axis=0) ** 2
    field = np.where(inside, amplitude + np.sum(c**2 * (2.0 + (step / k) ** 2), axis=0), 2.0)
    potential = np.where(inside, amplitude + 2.0 * np.sum(c**2, axis=0), 2.0) / k**2
    density = 8.0 * REFERENCE_DENSITY * (k[1] - k[0]) * np.exp(-(k**2) / (2.0 * alpha**2))
    return float(np.sqrt(max(np.sum(density * (part @ mu_weights)[:, None]) for part in (field, potential))))


def friendly_size(least: float) -> int:
    """Smallest integer ≥ least without prime factors beyond 7."""
    size = max(1, math.ceil(least - 1e-9))
    while True:
        rest = size
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
