"""Embedding functions as C² splines of the background density. Atomic units.

The knots are uniform in x = ln(1 + ρ̄/ρ0): dense where a dilute background rearranges the density's tail, wide
at high density. The value is exactly 0 and the slope finite at ρ̄ = 0, and beyond the last knot the curve
goes on as a C² function whose curvature turns positive: atoms forced together always repel in the end.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ectjax.embedding.daw import daw_components
from ectjax.radial.spline import locate, polynomial, spline_coefficients

SCALE = 1e-7
MAXIMUM = 10.0
KNOTS = 257


def background_knots(n: int = KNOTS, maximum: float = MAXIMUM, scale: float = SCALE) -> np.ndarray:
    """Background densities ρ̄ (n,) in electrons/Bohr³ of a table: 0 first, `maximum` last."""
    return scale * np.expm1(np.linspace(0.0, np.log1p(maximum / scale), n))


def component_values(densities, n: int = KNOTS, maximum: float = MAXIMUM, scale: float = SCALE) -> np.ndarray:
    """Daw components of several states at the knots: (len(densities), 3, n) Hartree, order tf, vw, xc.

    With 257 knots the spline is within 1e-6 of the depth of each component, at any background
    from 0 to about 1 electron/Bohr³ (tests/test_embedding_table.py).
    """
    knots = background_knots(n, maximum, scale)
    return np.stack([daw_components(d, knots).T for d in densities])


def combine(components: Float[Array, "*batch 3 n"], a, b) -> Float[Array, "*batch n"]:
    """a * tf + b * vw + xc: knot values in Hartree; prefactors a, b broadcast with (*batch,)."""
    a, b = jnp.asarray(a)[..., None], jnp.asarray(b)[..., None]
    return a * components[..., 0, :] + b * components[..., 1, :] + components[..., 2, :]


class EmbeddingTable(eqx.Module):
    """A batch of embedding functions F(ρ̄) on one grid of background densities.

    `coefficients` has shape (*batch, n-1, 4). Build with `EmbeddingTable.fit(values)`, values (*batch, n) in
    Hartree at `background_knots(n, maximum, scale)`; `fit` is linear in the values and differentiable.
    """

    coefficients: Float[Array, "*batch intervals 4"]
    scale: float = eqx.field(static=True)
    maximum: float = eqx.field(static=True)

    @classmethod
    def fit(cls, values: Float[Array, "*batch n"], maximum: float = MAXIMUM, scale: float = SCALE):
        """Splines through `values` at the knots. Raises ValueError for fewer than 5 knots or a bad range."""
        if not 0 < scale < maximum:
            raise ValueError(f"table range is scale={scale}, maximum={maximum}; it needs 0 < scale < maximum")
        return cls(spline_coefficients(values), float(scale), float(maximum))

    def __call__(self, background: Float[Array, "*shape"]) -> Float[Array, "*result"]:
        """F in Hartree for every table at every background: (*batch, *shape). Negative ρ̄ counts as 0."""
        index, t, beyond = self._locate(background)
        table = self.coefficients
        end = table[(..., *(None,) * jnp.ndim(background), -1, slice(None))]
        return self._assemble(table[..., index, :], t, end, beyond)

    def of_species(self, species: Int[Array, " N"], background: Float[Array, " N"]) -> Float[Array, "N S"]:
        """F of all states of each atom at its own background, for tables of shape (E, S, n-1, 4).

        Parameters: species (N,) row of each atom in the table, background (N,). Returns (N, S) Hartree.
        """
        index, t, beyond = self._locate(background)
        gathered = self.coefficients[species, :, index]
        return self._assemble(gathered, t[:, None], self.coefficients[species, :, -1], beyond[:, None])

    def _locate(self, background):
        # `where`, not `maximum`: the slope at exactly 0 and at the last knot must be the whole slope
        rho = jnp.asarray(background, self.coefficients.dtype)
        rho = jnp.where(rho < 0, 0.0, rho)
        above = rho > self.maximum
        inside = jnp.where(above, self.maximum, rho)
        index, t = locate(jnp.log1p(inside / self.scale), 0.0, self._spacing, self.coefficients.shape[-2])
        return index, t, jnp.where(above, rho - self.maximum, 0.0)

    @property
    def _spacing(self) -> float:
        return float(np.log1p(self.maximum / self.scale)) / self.coefficients.shape[-2]

    def _assemble(self, coefficients, t, end, beyond):
        """Spline value plus the continuation a distance `beyond` past the last knot.

        F'' runs from its value k at the last knot to |F'|/maximum > 0 within a tenth of the range.
        """
        per_x = 1.0 / self._spacing
        first = (end[..., 1] + 2 * end[..., 2] + 3 * end[..., 3]) * per_x
        second = (2 * end[..., 2] + 6 * end[..., 3]) * per_x**2
        per_rho = 1.0 / (self.scale + self.maximum)
        slope = first * per_rho
        curvature = (second - first) * per_rho**2
        final = jnp.abs(slope) / self.maximum
        length = 0.1 * self.maximum
        faded = length * (beyond + length * jnp.expm1(-beyond / length))
        more = slope * beyond + 0.5 * final * beyond**2 + (curvature - final) * faded
        return polynomial(coefficients, t) + more
