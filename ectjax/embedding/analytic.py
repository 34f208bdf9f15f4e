"""Daw's functional replaced by the Baskes curve nearest to it, for any prefactors.

With x = ρ̄/ρ_end, A E_c (ρ̄/ρ0) ln(ρ̄/ρ0) = p x ln x + q x is linear in (p, q) = (A E_c ρ_end/ρ0, -p ln(ρ0/ρ_end)).
Each of Daw's components is therefore projected once, by least squares over the range of the concordance; the
projection of a combination is the combination of the projections, differentiable in the prefactors. Atomic units.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ectjax.embedding.baskes import E, baskes
from ectjax.embedding.concordance import COORDINATION, RANGE, find_minimum, range_end, range_nodes
from ectjax.embedding.daw import SphericalDensity, daw_components, density_terms, is_empty
from ectjax.embedding.table import background_knots

_LINEAR = 1.0 / 3.0  # -<x ln x, x>/<x, x> on (0, 1)


def baskes_projection(density: SphericalDensity, at_bond: float) -> tuple[np.ndarray, float]:
    """(p, q) of Daw's three components, (3, 2) Hartree, order tf, vw, xc, and ρ_end in electrons/Bohr³.

    `at_bond` is `concordance.bond_density` of the element. A state without a well is compared up to closest
    packing; one without electrons gives zeros.
    """
    if is_empty(density_terms(density)):
        return np.zeros((3, 2)), 1.0
    well = find_minimum(density)
    end = COORDINATION * at_bond if well is None else range_end(RANGE * E * well[0], at_bond)
    rho, weight = range_nodes(end)
    root = np.sqrt(weight)[:, None]
    forms = np.stack([baskes(rho, 1.0, end), rho / end], axis=1)
    found, *_ = np.linalg.lstsq(root * forms, root * daw_components(density, rho), rcond=None)
    return found.T, end


def baskes_combination(
    projections: Float[Array, "*batch 3 2"], end: Float[Array, "*batch"], a, b
) -> Float[Array, "*batch n"]:
    """The Baskes curve nearest to a TF + b vW + xc at `background_knots()`, Hartree; a, b broadcast with (*batch,).

    Where Daw's curve bends down over the range there is no A E_c >= 0; the nearest curve is then the straight
    line q x, the limit of weak embedding, so that atoms forced together never attract without bound.
    """
    a, b = jnp.asarray(a)[..., None], jnp.asarray(b)[..., None]
    p, q = jnp.moveaxis(a * projections[..., 0, :] + b * projections[..., 1, :] + projections[..., 2, :], -1, 0)
    bent = jnp.maximum(p, 0.0)
    q = q - _LINEAR * (p - bent)
    end = jnp.asarray(end)[..., None]
    knots = jnp.asarray(background_knots())
    return bent[..., None] * baskes(knots, 1.0, end) + q[..., None] * (knots / end)
