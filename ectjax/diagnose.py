"""Why a solve failed: the first thing that is wrong with a geometry or a model, in one line. Host side."""

import jax
import numpy as np

from ectjax.model import Model
from ectjax.neighbors import pair_distances
from ectjax.potential import System, geometry_terms


def explain(model: Model, system: System) -> str:
    """One line: atoms with NaN or infinite positions, the first pair with a non-finite interaction and its distance,
    or the closest pair when everything is finite."""
    positions = np.asarray(system.positions)
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if bad.size:
        return f"atom {bad[0]} is at {positions[bad[0]].tolist()}, which is not finite"
    terms = jax.jit(geometry_terms)(model, system)
    mask = np.asarray(system.neighbors.mask)
    distances = np.where(mask, np.asarray(pair_distances(system.positions, system.cell, system.neighbors)), np.inf)
    i, j = np.asarray(system.neighbors.i), np.asarray(system.neighbors.j)
    parts = (terms.pairs.interaction, terms.pairs.density_at_i, terms.pairs.density_at_j)
    finite = np.logical_and.reduce([np.isfinite(np.asarray(x)).reshape(-1, len(mask)).all(axis=0) for x in parts])
    broken = np.flatnonzero(mask & ~finite)
    if broken.size:
        p = broken[np.argmin(distances[broken])]
        return f"the interaction of atoms {i[p]} and {j[p]}, {distances[p]:.4f} Å apart, is not finite"
    own = np.isfinite(np.asarray(terms.state_energy)).all(axis=1)
    own &= np.isfinite(np.asarray(terms.resonance)).all((1, 2, 3))
    own &= np.isfinite(np.asarray(terms.embedding.coefficients))[np.asarray(terms.species)].all((1, 2, 3))
    if not own.all():
        return f"the model of atom {np.flatnonzero(~own)[0]} holds numbers that are not finite"
    if not mask.any():
        return "all interactions are finite and no two atoms are near each other"
    p = int(np.argmin(distances))
    return f"all interactions are finite; the closest atoms are {i[p]} and {j[p]}, {distances[p]:.4f} Å apart"
