"""Ensemble weights from a molecular density, to set beside those that minimise the energy.

The weights of the atoms-in-molecules ensemble (Atlas, J. Phys. Chem. A 125, 3760 (2021), arXiv:2101.04786) can be
found from either side: from the energy (`ectjax.solve_weights`), or from the density of a quantum-chemical
calculation as the superposition of spherical atomic states that is nearest to it,

    minimise ∫ w(r) |ρ(r) − Σ_iα ω_iα ρ_iα(r − R_i)|² d³r,  ω ≥ 0, Σ_α ω_iα = 1, Σ_iα q_α ω_iα = Q.

This is a small convex quadratic programme: non-negative least squares finds the states in use, one linear system their
weights, and the projection `ectjax.ensemble.project_weights` measures how far the result is from optimal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from ectjax.analysis.molecular_density import MolecularDensity, checked_charge
from ectjax.ensemble import charge_range, project_weights
from ectjax.radial.slater import SlaterExpansion
from ectjax.tables import AtomicState, load_element, symbol_of
from ectjax.units import BOHR_IN_ANGSTROM

CHUNK = 8192  # points evaluated at a time
PENALTY = 1e3  # weight of the equalities while the states in use are found; they are exact afterwards
EMPTY = 1e-9


@dataclass(frozen=True, eq=False)
class DensityWeights:
    """Weights (N, S) of the states `labels[i]` of every atom, padded with zeros, and what they say.

    charges: Σ_α q_α ω_iα (N,) in e, they sum to the total charge. error: [∫w|Δρ|²]^½ in e/Å^(3/2), with w of the fit.
    missing: ∫|Δρ| d³r in e, unweighted. superposition: fitted density (G,) at the points in e/Å³.
    electrons: ∫ of the fitted density in closed form, e. residual: of the optimality conditions, in units of
    weights; converged: whether it is below 1e-8.
    """

    labels: tuple[tuple[str, ...], ...]
    weights: np.ndarray
    charges: np.ndarray
    error: float
    missing: float
    superposition: np.ndarray
    electrons: float
    residual: float

    @property
    def converged(self) -> bool:
        return self.residual < 1e-8


def fit_weights(
    density: MolecularDensity,
    charge: float = 0.0,
    *,
    states: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    weight: np.ndarray | None = None,
) -> DensityWeights:
    """The weights whose superposition of tabulated atomic states is nearest to a molecular density.

    Charges are well determined; how a charge is shared among states of nearly equal density (the terms of one
    configuration, or a cation with an anion against two neutrals) is not, and follows small features of the density.

    Args:
        density: see `density_from_pyscf` and `density_from_cube`.
        charge: total charge in e.
        states: labels for all elements, or by symbol; all states of the tables if None.
        weight: w at the points (G,), not negative; 1 if None. 0 near nuclei, say, takes the cores out.

    Raises:
        ValueError: an element or state without a table, a charge out of reach, a density that does not hold the
            electrons it should, or a weight that does not fit the points.
    """
    charge = checked_charge(density, charge)
    w = np.ones_like(density.density) if weight is None else np.asarray(weight, float)
    if w.shape != density.density.shape or not np.isfinite(w).all() or w.min() < 0 or not w.any():
        raise ValueError(
            f"weight has shape {w.shape}; give {density.density.size} finite numbers >= 0, one per point, not all 0"
        )
    chosen = _states_of(density.numbers, states)
    table, charges, mask = _stacked(chosen)
    low, high = (float(x) for x in charge_range(charges, mask))
    if not low <= charge <= high:
        raise ValueError(
            f"total charge is {charge:g} e; the chosen states reach {low:g} to {high:g} e: give more states"
        )
    with jax.enable_x64(True):
        basis = _on_points(table, density)  # (N, S, G)
        flat = basis.reshape(-1, basis.shape[-1])
        weighted = flat * (w * density.volumes)
        gram, target = weighted @ flat.T, weighted @ density.density
        weights, residual = _solve(gram, target, charges, mask, charge)
    fitted = np.einsum("nsg,ns->g", basis, weights)
    difference = density.density - fitted
    electrons = np.where(mask, density.numbers[:, None] - charges, 0.0)
    return DensityWeights(
        labels=tuple(tuple(s.label for s in row) for row in chosen),
        weights=weights,
        charges=np.sum(weights * charges, axis=1),
        error=float(np.sqrt((w * density.volumes) @ difference**2)),
        missing=float(density.volumes @ np.abs(difference)),
        superposition=fitted,
        electrons=float(np.sum(weights * electrons)),
        residual=residual,
    )


def superpose(density: MolecularDensity, labels: Sequence[Sequence[str]], weights) -> np.ndarray:
    """Σ_iα ω_iα ρ_iα at the points of a density (G,), e/Å³, for weights (N, S) of any states, constrained or not."""
    rows = [
        [load_element(symbol_of(int(z))).state(x) for x in row] for z, row in zip(density.numbers, labels, strict=True)
    ]
    with jax.enable_x64(True):
        return np.einsum("nsg,ns->g", _on_points(_stacked(rows)[0], density), np.asarray(weights, float))


def hirshfeld_charges(density: MolecularDensity) -> np.ndarray:
    """Stockholder charges (N,) in e, neutral tabulated atoms as reference; they sum to `density.charge`.

    Hirshfeld, Theor. Chim. Acta 44, 129 (1977).
    """
    with jax.enable_x64(True):
        atoms = _on_points(_stacked(_states_of(density.numbers, ["0"]))[0], density)[:, 0]
    share = atoms / np.maximum(atoms.sum(axis=0), 1e-300)
    return density.numbers - share @ (density.volumes * density.density)


def _states_of(numbers, states) -> list[list[AtomicState]]:
    rows = []
    for z in numbers.tolist():
        element = load_element(symbol_of(z))
        labels = states.get(element.symbol) if isinstance(states, Mapping) else states
        rows.append([element.state(x) for x in (element.labels if labels is None else labels)])
        if not rows[-1]:
            raise ValueError(f"no states are given for {element.symbol}; its table holds {', '.join(element.labels)}")
    return rows


def _stacked(rows: list[list[AtomicState]]):
    """Padded arrays: Slater terms (N, S, K) × 3, charges (N, S), mask (N, S)."""
    width = max(len(row) for row in rows)
    terms = max(len(s.coefficients) for row in rows for s in row)
    shape = (len(rows), width, terms)
    c, n, a = np.zeros(shape), np.zeros(shape, int), np.ones(shape)
    charges, mask = np.zeros(shape[:2]), np.zeros(shape[:2], bool)
    for i, row in enumerate(rows):
        for k, state in enumerate(row):
            m = len(state.coefficients)
            c[i, k, :m], n[i, k, :m], a[i, k, :m] = state.coefficients, state.powers, state.exponents
            charges[i, k], mask[i, k] = state.charge, True
    return (c, n, a), charges, mask


@jax.jit
def _densities(c, n, a, r):
    return jax.vmap(lambda *x: SlaterExpansion(*x).density(r))(c, n, a)


def _on_points(table, density: MolecularDensity) -> np.ndarray:
    """Densities of all states of all atoms at the points, (N, S, G) in e/Å³. Call with float64 switched on."""
    count = len(density.points)
    padded = np.pad(density.points, ((0, -count % CHUNK), (0, 0)))
    out = np.empty((*table[0].shape[:2], len(padded)))
    for atom, place in enumerate(density.positions):
        r = np.linalg.norm(padded - place, axis=1) / BOHR_IN_ANGSTROM
        for start in range(0, len(r), CHUNK):
            part = slice(start, start + CHUNK)
            out[atom, :, part] = _densities(*(x[atom] for x in table), r[part])
    return out[..., :count] / BOHR_IN_ANGSTROM**3


_project = jax.jit(project_weights)


def _solve(gram, target, charges, mask, total):
    """Weights (N, S) and residual of the quadratic programme, gram (NS, NS), target (NS,)."""
    own = np.flatnonzero(mask)
    scale = np.trace(gram[np.ix_(own, own)])
    rows = np.kron(np.eye(len(mask)), np.ones(mask.shape[1]))
    equalities = np.vstack([rows, charges.reshape(1, -1)])[:, own]
    values = np.append(np.ones(len(mask)), total)
    eigenvalues, vectors = np.linalg.eigh(gram[np.ix_(own, own)] / scale)
    root = np.sqrt(np.maximum(eigenvalues, 1e-14))
    matrix = np.vstack([root[:, None] * vectors.T, PENALTY * equalities])
    found, _ = nnls(matrix, np.append(vectors.T @ target[own] / scale / root, PENALTY * values))
    used = np.flatnonzero(found > EMPTY)
    e = equalities[:, used]
    block = gram[np.ix_(own[used], own[used])] / scale
    system = np.block([[block, e.T], [e, np.zeros((len(e), len(e)))]])
    exact = np.linalg.lstsq(system, np.append(target[own[used]] / scale, values), rcond=1e-14)[0][: len(used)]

    def candidate(indices, numbers):
        out = np.zeros(mask.size)
        out[indices] = numbers
        weights = _project(jnp.asarray(out.reshape(mask.shape)), charges, mask, total)
        slope = (gram @ np.asarray(weights).reshape(-1) - target).reshape(mask.shape) / scale
        back = _project(weights - slope, charges, mask, total)
        return float(jnp.abs(weights - back).max()), np.array(weights)

    residual, weights = min(candidate(own[used], exact), candidate(own, found), key=lambda x: x[0])
    return weights, residual
