"""The embedded atom method as the one-state limit: E = Σ_i F_i(ρ̄_i) + Σ_{pairs} φ(R), ρ̄_i = Σ_j ρ_ji(R_ij).

Potentials come from setfl (.eam.alloy) and Finnis-Sinclair (.eam.fs) files (`ectjax.setfl`), alloys included.
`eam_energy` is one pure, differentiable function; `eam_calculate` adds forces and stress;
`EAM.to_model` gives a one-state `Model` that the ASE and jax-md adapters take. Units eV, Å; densities in
the unit of the file.
M. S. Daw and M. I. Baskes, Phys. Rev. B 29, 6443 (1984).
M. W. Finnis and J. E. Sinclair, Phil. Mag. A 50, 45 (1984).
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.interpolate import CubicSpline as C2Spline

from ectjax.embedding.table import EmbeddingTable
from ectjax.neighbors import Neighbors, pair_distances
from ectjax.pairs.sums import over_neighbours
from ectjax.radial.spline import locate, polynomial
from ectjax.setfl import Setfl, read_setfl

INTERPOLATIONS = ("c2", "lammps")


class EAM(eqx.Module):
    """Splines of an embedded atom potential of E elements.

    density (E, E, Nr-1, 4), [source, target]; embedding (E, Nρ-1, 4) in eV; scaled_pair (E, E, Nr-1, 4),
    R φ(R) in eV Å: polynomial coefficients in the fraction of each interval, on uniform grids from 0.
    """

    symbols: tuple[str, ...] = eqx.field(static=True)
    numbers: tuple[int, ...] = eqx.field(static=True)
    masses: tuple[float, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    dr: float = eqx.field(static=True)
    drho: float = eqx.field(static=True)
    density: Float[Array, "E E R 4"]
    embedding: Float[Array, "E D 4"]
    scaled_pair: Float[Array, "E E R 4"]

    @classmethod
    def read(cls, path: str | Path, *, interpolation: str = "c2", finnis_sinclair: bool | None = None) -> "EAM":
        """A potential from a file, in JAX's current default precision.

        interpolation: "c2" for splines with continuous second derivatives (phonons, Hessians), "lammps" for
        the five-point Hermite scheme of LAMMPS, which reproduces its numbers to rounding. The two agree as
        far as the file's grid resolves the functions. Raises ValueError as `read_setfl` does.
        """
        return cls.from_setfl(read_setfl(path, finnis_sinclair), interpolation=interpolation)

    @classmethod
    def from_setfl(cls, table: Setfl, *, interpolation: str = "c2") -> "EAM":
        """A potential from a table in memory; see `read`."""
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation is {interpolation!r}, allowed are {', '.join(INTERPOLATIONS)}")
        slopes = _c2_slopes if interpolation == "c2" else _five_point_slopes

        def spline(values):
            return jnp.asarray(_hermite(values, slopes(values)), jnp.result_type(float))

        return cls(
            symbols=table.symbols,
            numbers=table.numbers,
            masses=table.masses,
            cutoff=table.cutoff,
            dr=table.dr,
            drho=table.drho,
            density=spline(table.density),
            embedding=spline(table.embedding),
            scaled_pair=spline(table.scaled_pair),
        )

    def species_of(self, elements) -> np.ndarray:
        """Rows (N,) int32 of atomic numbers or symbols (N,). Raises ValueError for a missing element."""
        names = self.symbols if len(elements) and isinstance(elements[0], str) else self.numbers
        lookup = {name: row for row, name in enumerate(names)}
        unknown = sorted({str(e) for e in elements if e not in lookup})
        if unknown:
            raise ValueError(f"the potential has no element {', '.join(unknown)}; it covers {', '.join(self.symbols)}")
        return np.array([lookup[e] for e in elements], np.int32)

    def to_model(self):
        """The same potential as a `Model` with one neutral state per element: charges are 0, weights 1.

        Beyond the file's last density the model's own C² repulsive continuation replaces the straight line.
        """
        from ectjax.model import Model

        count = len(self.symbols)
        knots = self.drho * np.arange(self.embedding.shape[1] + 1)
        scale = 1e6 * float(knots[-1])  # so large that the table's logarithmic grid is uniform
        x = np.linspace(0.0, np.log1p(knots[-1] / scale), knots.size)
        rho = np.minimum(scale * np.expm1(x), knots[-1])
        values = np.stack([_evaluate(np.asarray(e, np.float64), rho / self.drho) for e in self.embedding])
        zeros = jnp.zeros((count, 1), self.density.dtype)
        return Model(
            numbers=self.numbers,
            labels=(("0",),) * count,
            cutoff=self.cutoff,
            spacing=self.dr,
            state_charge=zeros,
            state_energy=zeros,
            state_mask=jnp.ones((count, 1), bool),
            resonance=zeros[:, None, :, None],
            embedding=EmbeddingTable(
                jnp.asarray(_hermite(values, _c2_slopes(values))[:, None], self.density.dtype),
                scale,
                float(knots[-1]),
            ),
            density=self.density.transpose(3, 1, 0, 2)[None],
            interaction=self.scaled_pair.transpose(3, 0, 1, 2)[None, None],
        )


class EAMResults(eqx.Module):
    """energy in eV, background (N,) in the file's unit, forces (N, 3) in eV/Å, stress (3, 3) in eV/Å³."""

    energy: Float[Array, ""]
    background: Float[Array, " N"]
    forces: Float[Array, "N 3"]
    stress: Float[Array, "3 3"]


def eam_energy(
    eam: EAM,
    positions: Float[Array, "N 3"],
    species: Int[Array, " N"],
    neighbors: Neighbors,
    cell: Float[Array, "3 3"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, " N"]]:
    """Energy in eV and background densities (N,).

    positions in Å; species (N,) rows of the potential (`EAM.species_of`; -1 is padding); neighbors, a half
    list that covers `eam.cutoff`, built on the host by `ectjax.neighbors.neighbor_list`; cell, rows in Å.
    """
    i, j = neighbors.i, neighbors.j
    distance = pair_distances(positions, cell, neighbors)
    inside = distance < eam.cutoff
    safe = jnp.where(inside, distance, 0.5 * eam.cutoff)
    index, t = locate(safe, 0.0, eam.dr, eam.density.shape[2])
    t = jnp.where(t > 1, 1.0, t)  # a cutoff between the last two knots: the table ends with a constant
    kind_i, kind_j = species[i], species[j]

    def pick(coefficients):
        return jnp.where(inside, polynomial(coefficients, t), 0.0)

    at_i, at_j = (pick(eam.density[of, at, index]) for of, at in ((kind_j, kind_i), (kind_i, kind_j)))
    background = over_neighbours((i, j), at_i, at_j, len(positions))
    pair = jnp.sum(pick(eam.scaled_pair[kind_i, kind_j, index]) / safe)
    embedded = jnp.where(species >= 0, _embed(eam, species, background), 0.0)
    return jnp.sum(embedded) + pair, background


def _embed(eam: EAM, species, background):
    """F(ρ̄) per atom; the tangent at the end of the table goes on beyond it."""
    intervals = eam.embedding.shape[1]
    end = eam.drho * intervals
    above = background > end
    index, t = locate(jnp.where(above, end, background), 0.0, eam.drho, intervals)
    last = eam.embedding[species, -1]
    slope = (last[:, 1] + 2 * last[:, 2] + 3 * last[:, 3]) / eam.drho
    return polynomial(eam.embedding[species, index], t) + slope * jnp.where(above, background - end, 0.0)


@eqx.filter_jit
def eam_calculate(
    eam: EAM,
    positions: Float[Array, "N 3"],
    species: Int[Array, " N"],
    neighbors: Neighbors,
    cell: Float[Array, "3 3"] | None = None,
) -> EAMResults:
    """Energy, background densities, forces and, with a cell, stress (else zeros). As `eam_energy`."""

    def energy(where, strain):
        deformation = jnp.eye(3, dtype=where.dtype) + strain
        moved = jnp.matmul(where, deformation, precision="highest")
        box = None if cell is None else jnp.matmul(cell, deformation, precision="highest")
        return eam_energy(eam, moved, species, neighbors, box)

    zero = jnp.zeros((3, 3), positions.dtype)
    (value, background), (slope, virial) = jax.value_and_grad(energy, argnums=(0, 1), has_aux=True)(positions, zero)
    stress = zero if cell is None else 0.5 * (virial + virial.T) / jnp.abs(jnp.linalg.det(cell))
    return EAMResults(value, background, -slope, stress)


def _c2_slopes(values: np.ndarray) -> np.ndarray:
    """Slopes per interval of the C² spline (not-a-knot ends)."""
    grid = np.arange(values.shape[-1], dtype=float)
    return C2Spline(grid, values, axis=-1)(grid, 1)


def _five_point_slopes(values: np.ndarray) -> np.ndarray:
    """Slopes per interval from five-point central differences, lower order at the ends, as in LAMMPS."""
    v = values
    slopes = np.empty_like(v)
    slopes[..., 2:-2] = (v[..., :-4] - v[..., 4:] + 8.0 * (v[..., 3:-1] - v[..., 1:-3])) / 12.0
    slopes[..., 1], slopes[..., -2] = 0.5 * (v[..., 2] - v[..., 0]), 0.5 * (v[..., -1] - v[..., -3])
    slopes[..., 0], slopes[..., -1] = v[..., 1] - v[..., 0], v[..., -1] - v[..., -2]
    return slopes


def _hermite(values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Cubic coefficients (..., n-1, 4), lowest power first, from knot values and slopes per interval."""
    step, first, last = np.diff(values), slopes[..., :-1], slopes[..., 1:]
    return np.stack([values[..., :-1], first, 3 * step - 2 * first - last, first + last - 2 * step], axis=-1)


def _evaluate(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A spline (n-1, 4) at grid coordinates x (M,)."""
    index = np.clip(np.floor(x), 0, coefficients.shape[0] - 1).astype(int)
    t, c = x - index, coefficients[index]
    return ((c[:, 3] * t + c[:, 2]) * t + c[:, 1]) * t + c[:, 0]
