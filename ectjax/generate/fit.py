"""Fit of a reference density by Slater terms with hard equalities and non-negativity.

The coefficients solve a small convex quadratic programme: least squares in the radial distribution, the electron
count, the nuclear cusp exactly, ρ ≥ 0 on a grid. The exponents, apart from the slowest one, which physics fixes,
are polished around that solve. SciPy only.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space
from scipy.optimize import least_squares, nnls

from ..tables.verify import check_grid, count_error, cusp_error, evaluate, smallest
from .pyscf_atom import RADII, VOLUME_WEIGHTS
from .target import Target, norms

_ABOVE = 1.02  # all other exponents exceed the slowest by this factor
_EMPHASES = 6
"""Rounds that turn least squares towards the least absolute error, for states that miss their goal."""
_RIDGE = 3e-6  # per electron of a term, keeps huge cancelling coefficients away


@dataclass(frozen=True)
class Fit:
    """Slater terms of one state."""

    coefficients: np.ndarray
    powers: np.ndarray
    exponents: np.ndarray

    @property
    def terms(self):
        return self.coefficients, self.powers, self.exponents


def _equalities(powers, exponents, number, electrons):
    """Matrix and right-hand side of count and cusp for coefficients in electrons per term."""
    count = np.ones(len(powers))
    slope = np.where(powers == 1, 1.0, 0.0) + np.where(powers == 0, 2 * number - exponents, 0.0)
    return np.stack([count, slope / norms(powers, exponents) / number**4]), np.array([float(electrons), 0.0])


def _solve(powers, exponents, number, electrons, target):
    """Electrons per term and weighted residuals; raises ValueError if no non-negative solution exists."""
    equal, right = _equalities(powers, exponents, number, electrons)
    particular = np.linalg.lstsq(equal, right, rcond=None)[0]
    free = null_space(equal)
    rows = np.concatenate([target.rows(powers, exponents), np.full((len(powers), 1), _RIDGE) * np.eye(len(powers))])
    values = np.concatenate([target.values, np.zeros(len(powers))])
    q, upper = np.linalg.qr(rows @ free)
    rest = values - rows @ particular
    projected = q.T @ rest
    bound = target.bound_rows(powers, exponents)
    height = target.bound_values - bound @ particular
    # least distance programming (Lawson & Hanson): u = upper y − projected, G u ≥ h by non-negative least squares
    g = np.linalg.solve(upper.T, (bound @ free).T).T
    h = height - g @ projected
    system = np.vstack([g.T, h])
    dual, _ = nnls(system, np.append(np.zeros(len(projected)), 1.0), maxiter=60 * system.shape[1])
    residual = system @ dual - np.append(np.zeros(len(projected)), 1.0)
    if abs(residual[-1]) < 1e-12:
        raise ValueError("no non-negative density satisfies count, cusp and tail with these exponents")
    shift = -residual[:-1] / residual[-1]
    solution = particular + free @ np.linalg.solve(upper, projected + shift)
    return solution, rows @ solution - values


_LAYOUTS = (
    ((0,), (2, 4), (2, 4), (2, 4), (0, 2), (0, 2), (0, 2), (0, 2), (1,)),
    ((0,), (2, 3), (2, 3), (2, 3), (2,), (0, 2), (0, 2), (0, 2), (0, 1)),
    ((0,), (1, 2), (3,), (3,), (2,), (2,), (0, 2), (0, 2), (0, 2), (0,), (0, 1)),
    ((0,), (2,), (2,), (2,), (2,), (2,), (0, 2), (0, 2), (0, 2), (0, 2), (0, 1)),
    ((2, 3, 4), (0, 2), (0, 2), (0, 2), (0, 2), (0, 2), (0, 2), (1,)),
    ((0, 1, 2), (2, 3), (0, 2), (0, 2), (2, 4), (0, 1, 2), (0, 1)),
    ((0, 1, 2), (0, 2), (0, 2), (0, 2), (0, 2), (0, 2), (0, 1, 2)),
)
"""Powers carried by each exponent, the slowest first; at most 16 terms."""
_D_LAYOUTS = (
    ((0,), (2, 4), (2, 4), (2,), (2, 4), (2, 4), (2, 4), (0, 2), (0, 2), (0, 2), (1,)),
    ((0,), (2, 4), (2, 4), (2,), (4,), (2, 4), (2, 4), (2, 4), (0, 2), (0, 2), (0, 2), (0, 1)),
    ((0,), (1, 2), (3,), (3,), (2, 4), (2, 4), (2, 4), (0, 2), (0, 2), (0, 2), (0, 2), (0, 2), (0, 1)),
)
"""The same for the 3d row, whose open d shell lies inside 4s and asks for more, and for states that miss their goal
otherwise: at most 23 terms."""


def fit_density(
    density, number: int, electrons: int, decay: float, trials: int = 16, seed: int = 0, layouts=None, goal=np.inf
) -> Fit:
    """Slater terms for a density on RADII: several layouts and starts, the best polished from perturbed copies.

    Args:
        density: reference ρ on RADII, electrons/bohr³.
        number: nuclear charge. electrons: count to be met exactly. decay: slowest exponent, 1/bohr.
        trials: perturbed restarts after the first round. seed: of their random numbers.
        layouts: powers carried by each exponent, the slowest first; each is tried. By default a set that suits
            the nuclear charge.
        goal: ∫|ρ_fit − ρ| d³r, electrons; a fit above it is repeated for the least absolute error, then with more
            terms.

    Raises ValueError if no non-negative density meets the equalities.
    """
    target = Target(density, number, electrons, decay)
    layouts = layouts or (_D_LAYOUTS if 21 <= number <= 30 else _LAYOUTS)
    best, least = None, np.inf

    def consider(layout, x):
        nonlocal best, least
        try:
            x = _polish(target, layout, x, number, electrons, decay)
            fit = _finish(target, layout, x, number, electrons, decay)
        except (ValueError, np.linalg.LinAlgError, RuntimeError):
            return
        error = float(np.sum(VOLUME_WEIGHTS * np.abs(evaluate(*fit.terms, RADII) - density)))
        # nearly equal exponents make terms that cancel to many digits, and then the equalities no longer hold
        exact = count_error(*fit.terms, electrons) < 1e-11 and cusp_error(*fit.terms, number) < 1e-11
        if exact and error < least and smallest(*fit.terms) >= 0:
            best, least = (layout, x, fit), error

    def search(layouts, lowest):
        for layout in layouts:
            for low, high in ((1.3, 2.4), (1.6, 2.05)):
                first = np.geomspace(max(low * decay, lowest), high * max(number, 0.7 * decay), len(layout) - 1)
                consider(layout, np.log(np.maximum(first - _ABOVE * decay, 0.05 * decay)))
        if best is None:
            raise ValueError("no non-negative density satisfies count, cusp and tail; the reference may be unphysical")
        random = np.random.default_rng(seed)
        for _ in range(trials):
            consider(best[0], best[1] + random.normal(scale=0.15, size=len(best[1])))

    def emphasise():
        nonlocal target
        plain = target
        for _ in range(_EMPHASES):
            if least > 0.9 * goal:
                target = target.emphasised(*best[2].terms)
                consider(*best[:2])
        target = plain

    search(layouts, lowest=0.6)
    if least > goal:
        emphasise()
        if least > goal:
            search(_D_LAYOUTS, lowest=0.9)
            emphasise()
    return best[2]


def _expand(layout, x, decay):
    """Powers and exponents of all terms; every exponent but the first lies above the slowest by construction."""
    powers = np.array([n for group in layout for n in group])
    member = np.array([i for i, group in enumerate(layout) for _ in group])
    return powers, np.concatenate([[decay], decay * _ABOVE + np.exp(x)])[member]


def _polish(target, layout, x, number, electrons, decay):
    failed = np.full(len(target.values) + sum(map(len, layout)), 10.0)

    def residual(x):
        try:
            return _solve(*_expand(layout, x, decay), number, electrons, target)[1]
        except (ValueError, np.linalg.LinAlgError, RuntimeError):
            return failed

    return least_squares(residual, x, diff_step=1e-4, max_nfev=40, x_scale=0.3, xtol=1e-6, ftol=1e-7).x


def _finish(target, layout, x, number, electrons, decay):
    """Solve for the coefficients, adding grid points where the density came out negative between them."""
    powers, exponents = _expand(layout, x, decay)
    dense = check_grid(decay)
    for _ in range(5):
        solution, _ = _solve(powers, exponents, number, electrons, target)
        equal, right = _equalities(powers, exponents, number, electrons)
        for _ in range(3):  # remove the rounding errors of the equalities
            solution = solution - np.linalg.lstsq(equal, equal @ solution - right, rcond=None)[0]
        fit = Fit(solution / norms(powers, exponents), powers, exponents)
        if smallest(*fit.terms) >= 0:
            break
        negative = dense[evaluate(*fit.terms, dense) < 0]
        target = target.with_points(negative[:: max(1, len(negative) // 20)])
    return fit
