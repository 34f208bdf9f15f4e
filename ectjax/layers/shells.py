"""The sphericalised density of an atom's surroundings: a descriptor that knows the charges.

D_i(r) = Σ_{j≠i} Σ_β ω_jβ ⟨ρ_jβ⟩(r, R_ij), with ⟨ρ⟩(r, R) the mean of a neighbour's density over a sphere of radius r
around atom i, in closed form (`SlaterExpansion.shell_average`). Spherical density functional theory reads an atom's
environment from such densities: A. K. Theophilou, J. Chem. Phys. 149, 074104 (2018); Á. Nagy, J. Chem. Phys. 149,
204112 (2018). Tabulated once in R as C² splines, faded out from 0.75 of the model's cutoff to the cutoff.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ectjax.model import Model
from ectjax.neighbors import pair_distances
from ectjax.pairs.sums import over_neighbours
from ectjax.potential import System
from ectjax.radial.spline import locate, polynomial, spline_coefficients
from ectjax.radial.switching import cutoff_switch
from ectjax.tables import load_element
from ectjax.units import BOHR_IN_ANGSTROM

RADII = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Radii of the spheres in Å."""
KNOT_SPACING = 0.01
"""Å; the cusp of a core 1s shell that passes a sphere is resolved to a per cent of its height."""


class ShellTable(eqx.Module):
    """⟨ρ⟩ in e/bohr³ of E elements, S states at R radii as splines of the distance: coefficients (E, M-1, S, R, 4)."""

    radii: tuple[float, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    coefficients: Float[Array, "E M S R 4"]

    @classmethod
    def build(cls, model: Model, radii=RADII, tables=None) -> "ShellTable":
        """Tables of a model's states in its floating type. Host side, float64.

        radii: Å, positive. tables: as in `ectjax.tables.load_element`. Raises ValueError for radii that are not
        positive and finite, and for a model whose states are not those of tables (an EAM file).
        """
        radii = tuple(float(r) for r in radii)
        if not radii or not all(np.isfinite(r) and r > 0 for r in radii):
            raise ValueError(f"radii of the spheres are {radii} Å; give at least one, all positive")
        distances = np.linspace(0.0, model.cutoff, round(model.cutoff / KNOT_SPACING) + 1)
        states = [load_element(z, tables).state(label) for z, row in _elements(model) for label in row]
        place = [(e, s) for e, row in enumerate(model.labels) for s in range(len(row))]
        longest = max(state.coefficients.size for state in states)
        with jax.enable_x64(True):
            stack = jax.tree.map(lambda *x: np.stack(x), *(state.density.padded(longest) for state in states))
            sphere, centre = (np.asarray(x) / BOHR_IN_ANGSTROM for x in (radii, distances))
            values = np.asarray(_averages(stack, sphere[:, None], centre[None, :]))
            values = values * np.asarray(cutoff_switch(distances, model.cutoff))
            table = np.zeros((*model.state_charge.shape, len(radii), distances.size))
            for value, (e, s) in zip(values, place, strict=True):
                table[e, s] = value
            coefficients = np.asarray(spline_coefficients(table).transpose(0, 3, 1, 2, 4))
        return cls(radii, model.cutoff, jnp.asarray(coefficients.astype(model.state_energy.dtype)))

    def __call__(self, source: Int[Array, " P"], distance: Float[Array, " P"]) -> Float[Array, "P S R"]:
        """Averages of all states of the atoms `source` (rows) over spheres `distance` Å away; 0 beyond the cutoff."""
        intervals = self.coefficients.shape[1]
        index, t = locate(distance, 0.0, self.cutoff / intervals, intervals)
        values = polynomial(self.coefficients[source, index], t[:, None, None])
        return jnp.where((distance < self.cutoff)[:, None, None], values, 0.0)


@jax.jit
def _averages(stack, sphere, centre):
    return jax.vmap(lambda density: density.shell_average(sphere, centre))(stack)


def _elements(model: Model):
    return zip(model.numbers, model.labels, strict=True)


def shell_densities(table: ShellTable, system: System, weights: Float[Array, "N S"]) -> Float[Array, "N R"]:
    """D_i(r) (N, R) in e/bohr³: the density of all other atoms, with these weights, on spheres about each atom."""
    species = jnp.where(system.atom_mask, system.species, 0)
    distances = pair_distances(system.positions, system.cell, system.neighbors)
    i, j = system.neighbors.i, system.neighbors.j
    at_i = jnp.einsum("psr,ps->pr", table(species[j], distances), weights[j], precision="highest")
    at_j = jnp.einsum("psr,ps->pr", table(species[i], distances), weights[i], precision="highest")
    return over_neighbours((i, j), at_i, at_j, len(weights))
