"""Concordance: one embedding function per state on which the density functional and the analytic form agree.

For every state, neutral, ionic or excited, the prefactors (a, b) of Daw's functional and the two numbers
(A E_c, ρ0) of Baskes' form are adjusted as little as possible until both curves agree over the densities that
bonding reaches (F. Baxter and S. R. Atlas; S. R. Atlas, J. Phys. Chem. A 125, 3760 (2021)). Atomic units.

The adjustment of a = b = 1 and of the closed-form start ρ0 = e ρ̄_min, A E_c = e |F_min| is measured by
(a-1)² + (b-1)² + ln²(A E_c / start) + ln²(ρ0 / start). Its weight is lowered from a large value until the rms
difference of the curves falls below `tolerance` times the depth: the first solution on that path is the least
adjustment that reaches concordance. A state whose path never falls below it is reported as such, with the
best point of the path.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, least_squares, minimize_scalar

from ectjax.embedding.baskes import BaskesParameters, E, baskes, from_minimum
from ectjax.embedding.daw import SphericalDensity, daw_components, density_terms, evaluate_density
from ectjax.units import BOHR_IN_ANGSTROM

TOLERANCE = 0.04
RANGE = 1.0
"""Curves are compared up to this multiple of the start's ρ0 = e ρ̄_min: through the well, up to F = 0."""
COORDINATION = 12
_POINTS = 120
_SEARCH = (1e-7, 3.0)


@dataclass(frozen=True)
class Concordance:
    """Outcome for one state; energies in Hartree, densities in electrons/Bohr³.

    status : "agreed" (rms <= tolerance * depth), "best effort" (the smallest rms found is larger), or
        "no minimum" (no well between 1e-7 and 3 electrons/Bohr³: everything else is nan).
    a, b : adjusted prefactors of Thomas-Fermi and von Weizsäcker; start 1, 1.
    baskes, start : adjusted and closed-form parameters (A E_c, ρ0) of the analytic form.
    minimum : (ρ̄_min, F_min) of the unadjusted functional.
    range : (0, ρ̄_max) compared.
    rms, largest : root mean square and largest difference of the curves there.
    depth : |F_min| of the adjusted functional, to which `relative_rms` refers.
    adjustment : square root of the penalty above.
    """

    status: str
    a: float
    b: float
    baskes: BaskesParameters
    start: BaskesParameters
    minimum: tuple[float, float]
    range: tuple[float, float]
    rms: float
    largest: float
    depth: float
    adjustment: float

    @property
    def relative_rms(self) -> float:
        return self.rms / self.depth

    def record(self) -> dict[str, float | str]:
        """What a table stores of it: Hartree and electrons/Bohr³; only the status where there is no minimum."""
        if self.status == "no minimum":
            return {"status": self.status}
        numbers = (self.a, self.b, *self.baskes, self.range[1], self.rms, self.depth)
        names = ("a", "b", "strength", "rho0", "range", "rms", "depth")
        return {"status": self.status, **{k: float(x) for k, x in zip(names, numbers, strict=True)}}


def find_minimum(density: SphericalDensity, a: float = 1.0, b: float = 1.0):
    """Deepest well (ρ̄_min, F_min) of Daw's functional with F < 0, or None where there is none.

    Searched between 1e-7 and 3 electrons/Bohr³ on a logarithmic grid, refined to 1e-9 in ln ρ̄.
    """
    prefactors = np.array([a, b, 1.0])
    logs = np.linspace(*np.log(_SEARCH), 160)
    values = daw_components(density, np.exp(logs)) @ prefactors
    best = int(np.argmin(values))
    if best in (0, logs.size - 1) or not values[best] < 0:
        return None
    found = minimize_scalar(
        lambda x: float(daw_components(density, [np.exp(x)])[0] @ prefactors),
        bounds=(logs[best - 1], logs[best + 1]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x)), float(found.fun)


def concordance(
    density: SphericalDensity,
    tolerance: float = TOLERANCE,
    reach: float = RANGE,
    bond_density: float = 0.0,
) -> Concordance:
    """Least adjustment of (a, b) and (A E_c, ρ0) that brings Daw's and Baskes' forms together.

    Parameters
    ----------
    density : state density in atomic units.
    tolerance : wanted rms difference as a fraction of the depth of the well.
    reach : the curves are compared on 0 < ρ̄ < reach * e * ρ̄_min,
    bond_density : but at least to this density in electrons/Bohr³, what one neighbour at bonding distance
        brings (diffuse states have their well far below it), and at most to 12 times it, a closest packing
        (alkali atoms have their well far above that). 0 leaves both out.

    Raises
    ------
    ValueError : tolerance or reach that is not positive.
    """
    if not (tolerance > 0 and reach > 0 and bond_density >= 0):
        raise ValueError(
            f"tolerance and reach must be positive and bond_density at least 0, got {tolerance}, {reach} "
            f"and {bond_density}"
        )
    well = find_minimum(density)
    if well is None:
        nan, none = float("nan"), BaskesParameters(float("nan"), float("nan"))
        return Concordance("no minimum", nan, nan, none, none, (nan, nan), (nan, nan), nan, nan, nan, nan)
    start = from_minimum(*well)
    end = range_end(reach * start.rho0, bond_density)
    rho, weight = range_nodes(end)
    problem = _Problem(daw_components(density, rho), rho, weight, start)

    strict = problem.solve(1e2, np.zeros(4))
    if problem.relative_rms(strict) <= tolerance:
        best, status = strict, "agreed"
    else:
        best, status = problem.descend(strict, tolerance)
    a, b, strength, rho0 = problem.parameters(best)
    difference = problem.difference(best)
    return Concordance(
        status=status,
        a=a,
        b=b,
        baskes=BaskesParameters(strength, rho0),
        start=start,
        minimum=well,
        range=(0.0, end),
        rms=float(np.sqrt(weight @ difference**2)),
        largest=float(np.abs(difference).max()),
        depth=problem.depth(best),
        adjustment=float(np.linalg.norm(best)),
    )


def range_end(wanted: float, bond_density: float) -> float:
    """Upper end of a compared range in electrons/Bohr³: `wanted`, held between one neighbour's worth and twelve."""
    if bond_density <= 0:
        return wanted
    return min(max(wanted, bond_density), COORDINATION * bond_density)


def range_nodes(end: float):
    """(ρ, weight) (n,) on 0 < ρ < end: Gauss-Legendre nodes and weights; an rms is then an integral."""
    node, weight = np.polynomial.legendre.leggauss(_POINTS)
    return 0.5 * end * (1.0 + node), 0.5 * weight


def bond_density(record) -> float:
    """Density of an element's neutral atom at twice its covalent radius, electrons/Bohr³."""
    from ase.data import covalent_radii

    distance = np.array([2.0 * covalent_radii[record.number] / BOHR_IN_ANGSTROM])
    return float(evaluate_density(density_terms(record.state("0")), distance)[0][0])


class _Problem:
    """Least squares in z = (a - 1, b - 1, ln A E_c / start, ln ρ0 / start)."""

    def __init__(self, components, rho, weight, start):
        self.components, self.rho, self.root, self.start = components, rho, np.sqrt(weight), start
        self.scale = start.strength / E

    def parameters(self, z):
        a, b = 1.0 + z[:2]
        return float(a), float(b), *(float(s * np.exp(x)) for s, x in zip(self.start, z[2:], strict=True))

    def daw(self, z):
        return self.components @ np.array([1.0 + z[0], 1.0 + z[1], 1.0])

    def difference(self, z):
        return self.daw(z) - baskes(self.rho, *self.parameters(z)[2:])

    def depth(self, z):
        """Depth of the adjusted functional on the compared range."""
        return float(max(-self.daw(z).min(), 1e-300))

    def relative_rms(self, z):
        return float(np.linalg.norm(self.root * self.difference(z)) / self.depth(z))

    def solve(self, penalty, guess):
        def residual(z):
            return np.concatenate([self.root * self.difference(z) / self.scale, np.sqrt(penalty) * z])

        return least_squares(residual, guess, method="lm", xtol=1e-13, ftol=1e-13).x

    def descend(self, z, tolerance):
        """Lower the penalty until the tolerance is met, then find the penalty that just meets it."""
        previous, best = 2.0, z
        for exponent in np.arange(1.5, -6.1, -0.5):
            trial = self.solve(10.0**exponent, z)
            best = min(best, trial, key=self.relative_rms)
            if self.relative_rms(trial) <= tolerance:

                def excess(x, origin=z):
                    return self.relative_rms(self.solve(10.0**x, origin)) - tolerance

                at = brentq(excess, exponent, previous, xtol=1e-3)
                solution = self.solve(10.0**at, z)
                return (solution if self.relative_rms(solution) <= tolerance * 1.01 else trial), "agreed"
            z, previous = trial, exponent
        return best, "best effort"
