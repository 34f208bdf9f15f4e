"""Static dipole polarizability of an atomic state from its coupled-cluster energy in weak uniform fields.

    E(F) = E(0) − α F²/2 − γ F⁴/24,    α from E(0), E(F), E(2F) along each axis, averaged over the axes.

Every state is the determinant of `states.recipes`; the mean over x, y, z of its tensor is the average over the
components M_L of the term. E is even in F because the state has a parity, and axes that the occupation does not
distinguish are computed once. The self-consistent field starts at the field-free determinant and always fills the
orbitals that overlap most with it. F is such that the energy changes by about 2e-5 Hartree, and is halved until α from
E(F) alone is within 2 % of the result.

An anion that is not bound has no polarizability: its entry is that of the electrons as a basis without further diffuse
functions confines them, a model of the ion in a crystal. That of an anion "-1*" is the one in its cage (`caged`).

`python -m ectjax.generate.polarizability [ELEMENT ...] [--states LABEL ...]` adds what the table of the package lacks;
a line that is deleted is computed again.
"""

import argparse
import csv
import datetime
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..files import replacing
from ..tables import NUMBERS, SYMBOLS, parse_label, symbol_of
from ..tables.polarizabilities import COLUMNS, TABLE, read_polarizabilities
from .caged import caged_ion
from .pyscf_atom import atom, diffuse_name
from .reference import _mean_field
from .states import Recipe, recipes

_ENERGY_CHANGE = 2e-5
"""Hartree: far above the convergence of coupled cluster, far below what excitations cost."""
_TOLERANCE = 0.02
_AXES = ("x", "y", "z")
CORRELATION = ("CCSD(T)", "MP2")


@dataclass(frozen=True)
class Polarizability:
    """Result for one state: α in bohr³, how it was computed, and |1 − α(F)/α| left by the field strength."""

    value: float
    method: str
    field_error: float = 0.0


def polarizability(symbol: str, recipe: Recipe, correlation: str = "CCSD(T)") -> Polarizability:
    """Polarizability of one state, averaged over directions; `correlation` is "CCSD(T)", or "MP2" in seconds.

    Raises ValueError, naming the state and what to try, for an iteration that does not converge, a determinant that is
    lost in the field, or a field dependence that no strength removes.
    """
    if recipe.electrons == 0:
        return Polarizability(0.0, "bare nucleus")
    if recipe.molecule_distance:
        ion = caged_ion(symbol, recipe)
        return Polarizability(ion.polarizability, f"{ion.method}, {ion.basis}")
    basis, frozen, relativistic = _level(symbol, recipe)
    diffuse = _diffuse_shells(recipe)
    recipe = replace(recipe, rydberg=diffuse)
    where = f"{symbol} {recipe.label} ({recipe.configuration} {recipe.term})"
    _, start = _mean_field(symbol, recipe, basis, relativistic, where)
    atom_in_field = _AtomInField(symbol, recipe, basis, frozen, relativistic, where, start, correlation)
    free = atom_in_field.energy(np.zeros(3))
    axes = _distinct_axes(recipe)
    values, errors = [], []
    for axis, weight in axes:
        value, error = _along(atom_in_field, np.eye(3)[axis], free)
        values.append(weight * value)
        errors.append(error)
    correlated = recipe.electrons - 2 * frozen
    method = (
        "UHF" if correlated <= 1 else "UMP2" if correlation == "MP2" else "UCCSD" if correlated == 2 else "UCCSD(T)"
    )
    method = f"{'X2C-' * relativistic}{method} in {diffuse_name(basis, diffuse)}"
    method += f", {frozen} frozen core orbitals" if frozen else ""
    method += "" if recipe.bound else "; unbound: confined by the basis, a model of the ion in a crystal"
    return Polarizability(sum(values) / 3, method, max(errors))


def _level(symbol: str, recipe: Recipe) -> tuple[str, int, bool]:
    """Basis, frozen core orbitals and whether the Hamiltonian is scalar relativistic."""
    z = NUMBERS[symbol]
    if z <= 2:
        return "aug-cc-pVQZ", 0, False
    if z in (3, 4, 11, 12) and recipe.electrons in (2, 10):  # triple zeta leaves 12 % of Li+ out
        return "aug-cc-pCVQZ", z // 11, False
    if z in (3, 4, 11, 12):
        return "aug-cc-pCVTZ", z // 11, False
    if z <= 10:
        return "aug-cc-pVTZ", 1, False
    if z == 13:
        return "aug-cc-pwCVTZ", 1, False
    if z <= 18:
        return "aug-cc-pV(T+d)Z", 5, False
    if z <= 20:
        return "aug-cc-pwCVTZ-X2C", 5, True
    if z <= 30:
        return "aug-cc-pVTZ-DK", 5, True
    return "aug-cc-pVTZ-DK", 9 if z == 31 else 14, True


def _diffuse_shells(recipe: Recipe) -> int:
    """Further diffuse shells: none for cations and what is unbound, two for anions (H⁻ is 30 % off with one)."""
    if recipe.charge > 0 or not recipe.bound:
        return 0
    return 2 if recipe.charge < 0 else 1


def _distinct_axes(recipe: Recipe) -> list[tuple[int, int]]:
    """Axes that the occupation tells apart, and how many of the three each stands for."""
    p = [recipe.occupation.get(axis, (0, 0)) for axis in _AXES]
    d = [recipe.occupation.get(plane, (0, 0)) for plane in ("yz", "xz", "xy")]  # planes normal to the axes
    kinds = list(zip(p, d, strict=True))
    return [(kinds.index(kind), kinds.count(kind)) for kind in dict.fromkeys(kinds)]


@dataclass(frozen=True)
class _AtomInField:
    """One determinant that is followed into uniform fields."""

    symbol: str
    recipe: Recipe
    basis: str
    frozen: int
    relativistic: bool
    where: str
    start: object
    """Its field-free mean field."""
    correlation: str = "CCSD(T)"

    def mean_field(self, field: np.ndarray):
        """Converged mean field in `field` (atomic units; the electrons' energy is +F·r)."""
        from pyscf import scf

        recipe, origin = self.recipe, self.start
        molecule = atom(self.symbol, recipe.charge, recipe.spin, self.basis, recipe.rydberg)
        result = scf.RHF(molecule) if np.ndim(origin.mo_occ) == 1 else scf.UHF(molecule)
        dipole = molecule.intor_symmetric("int1e_r", comp=3)
        core = np.asarray(origin.get_hcore()) + np.einsum("x,xij->ij", field, dipole)
        result.get_hcore = lambda *_: core
        result.conv_tol, result.conv_tol_grad, result.max_cycle = 1e-12, 1e-7, 200
        orbitals, occupation = np.asarray(origin.mo_coeff), np.asarray(origin.mo_occ)
        result.get_occ = _most_overlapping(orbitals, occupation, molecule.intor_symmetric("int1e_ovlp"), result)
        result.kernel(np.asarray(origin.make_rdm1()))
        if not result.converged:
            raise ValueError(f"SCF of {self.where} in the field {field} did not converge; try a smaller field")
        kept = _overlap(np.asarray(result.mo_coeff), result.mo_occ, orbitals, occupation, molecule)
        if kept < 0.8:
            raise ValueError(
                f"determinant of {self.where} keeps an overlap of only {kept:.2f} in the field {field}; "
                "try a smaller field"
            )
        return result

    def energy(self, field: np.ndarray) -> float:
        """Correlated energy in `field`, Hartree."""
        from pyscf import cc, mp

        result = self.mean_field(field)
        correlating = self.recipe.electrons - 2 * self.frozen
        if correlating <= 1:
            return float(result.e_tot)
        if self.correlation == "MP2":
            return float(mp.MP2(result, frozen=self.frozen or None).run().e_tot)
        correlated = cc.CCSD(result, frozen=self.frozen or None)
        correlated.max_memory, correlated.max_cycle = 3000, 200
        correlated.conv_tol, correlated.conv_tol_normt = 1e-9, 1e-6
        correlated.kernel()
        if not correlated.converged:
            raise ValueError(f"UCCSD of {self.where} in the field {field} did not converge; try another basis")
        triples = float(correlated.ccsd_t()) if correlating > 2 else 0.0
        return float(correlated.e_tot) + triples


def _along(atom_in_field: _AtomInField, axis: np.ndarray, free: float) -> tuple[float, float]:
    """α along one axis and the relative error of the quadratic fit; the strength follows from the mean field's α."""
    trial = 1e-3
    change = atom_in_field.mean_field(trial * axis).e_tot - atom_in_field.mean_field(0 * axis).e_tot
    strength = float(np.sqrt(_ENERGY_CHANGE / -change) * trial)
    one, two = (atom_in_field.energy(n * strength * axis) - free for n in (1, 2))
    for _ in range(3):
        single, value = -2 * one / strength**2, (two - 16 * one) / (6 * strength**2)
        error = abs(1 - single / value)
        if error < _TOLERANCE:
            return value, error
        strength /= 2
        one, two = atom_in_field.energy(strength * axis) - free, one
    raise ValueError(
        f"energy of {atom_in_field.where} is not quadratic in a field of {2 * strength:.1e} ({error:.1%}); "
        "its determinant crosses another, or its basis is too diffuse"
    )


def _most_overlapping(orbitals, occupation, overlap, mean_field):
    """An occupation rule: as many orbitals as before, those that lie most in the span of the ones filled before."""

    def filled(coefficients, before, numbers):
        inside = np.linalg.norm(before[:, numbers > 0].T @ overlap @ coefficients, axis=0)
        result = np.zeros_like(numbers)
        result[np.argsort(-inside)[: np.count_nonzero(numbers)]] = numbers.max(initial=0)
        return result

    def get_occ(mo_energy=None, mo_coeff=None):
        now = mean_field.mo_coeff if mo_coeff is None else mo_coeff
        if occupation.ndim == 1:
            return filled(now, orbitals, occupation)
        return np.stack([filled(*one) for one in zip(now, orbitals, occupation, strict=True)])

    return get_occ


def _overlap(orbitals, filled, others, others_filled, molecule) -> float:
    """|⟨Φ|Φ'⟩| of two determinants, spatial orbitals given per spin or for a closed shell."""
    overlap, result = molecule.intor_symmetric("int1e_ovlp"), 1.0
    if filled.ndim == 1:
        orbitals, filled, others, others_filled = [orbitals] * 2, [filled] * 2, [others] * 2, [others_filled] * 2
    for c, n, other, m in zip(orbitals, filled, others, others_filled, strict=True):
        result *= abs(np.linalg.det(c[:, n > 0].T @ overlap @ other[:, m > 0]))
    return result


def _write(rows: dict[tuple[str, str], tuple[float, str]], path: Path) -> None:
    """Write the whole table under another name, then rename."""
    made = f"pyscf {version('pyscf')}, basis_set_exchange {version('basis_set_exchange')}"
    order = sorted(rows, key=lambda key: (NUMBERS[key[0]], parse_label(key[1])))
    with replacing(path) as part, part.open("w", newline="") as file:
        file.write(
            "# Static dipole polarizabilities of isolated states, averaged over directions, bohr^3: second derivative\n"
            "# of the energy in weak uniform fields (ectjax/generate/polarizability.py).\n"
            f"# Made with {made}, last changed {datetime.date.today().isoformat()}.\n"
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key in order:
            value, method = rows[key]
            writer.writerow([*key, f"{value:.5g}", method])


def main(arguments: list[str] | None = None) -> None:
    """Compute what is missing; one line per state."""
    parser = argparse.ArgumentParser(prog="python -m ectjax.generate.polarizability", description=main.__doc__)
    parser.add_argument("elements", nargs="*", metavar="ELEMENT", help="symbols; H to Kr if none")
    parser.add_argument("--states", nargs="+", metavar="LABEL", help="-1, 0, +1, …; all ground states if not given")
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to continue; that of the package by default")
    parser.add_argument("--correlation", choices=CORRELATION, default=CORRELATION[0], help="MP2 takes seconds a state")
    options = parser.parse_args(arguments)
    for symbol in map(symbol_of, options.elements or SYMBOLS[:36]):
        for label, recipe in recipes(symbol).items():
            excited = recipe.label.endswith("*") and not recipe.molecule_distance
            if excited or (options.states and label not in options.states):
                continue
            if options.output.exists() and (symbol, label) in read_polarizabilities(options.output):
                continue
            try:
                found = polarizability(symbol, recipe, options.correlation)
            except ValueError as error:
                print(f"{symbol:2s} {label:>3s} failed: {error}", flush=True)
                continue
            rows = read_polarizabilities(options.output) if options.output.exists() else {}
            _write(rows | {(symbol, label): (found.value, found.method)}, options.output)
            print(f"{symbol:2s} {label:>3s} {found.value:10.4f}  ±{found.field_error:.1%} {found.method}", flush=True)


if __name__ == "__main__":
    main()
