"""Overlap repulsion of two rigid ions of which one is a closed shell, from first-order (Heitler–London) energies.

The antisymmetrised product of the ions' own Hartree–Fock determinants has the energy

    E = E_A + E_B + φ(R) + E_overlap(R),

φ the classical Coulomb energy of the densities: what a density functional has to reproduce without correlation (Gordon
& Kim, J. Chem. Phys. 56, 3122, 1972). The Thomas–Fermi functional misses it by up to a factor of two where a shell of
two electrons takes part, H⁻ or Li⁺ above all, and the factor

    f = (E_overlap − X)/T,    T Thomas–Fermi, X Slater exchange of the same densities,

hardly depends on the distance. It is taken where T is `REFERENCE`. Open shells are high spin, beside a closed shell one
determinant; atoms with open p shells are averaged over three orthogonal directions of the neighbour. Two open shells
have no such energy of their own, since it depends on how their spins couple.

`python -m ectjax.generate.heitler_london [ELEMENT ...]` adds what the table of the package lacks.
"""

import argparse
import csv
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from ..embedding.functionals import SLATER_CONSTANT, TF_CONSTANT
from ..files import replacing
from ..pairs.two_center import prolate_grid, unit_rule
from ..tables import SYMBOLS, symbol_of
from ..tables.overlap_factors import COLUMNS, TABLE, read_rows
from ..units import BOHR_IN_ANGSTROM
from .pyscf_atom import RADII, spherical_density
from .reference import IRREP
from .states import Recipe, recipes

REFERENCE = 0.05
"""Hartree, of the Thomas–Fermi overlap energy at which the factor is taken: about what it is in a salt's molecule."""
ELEMENTS = SYMBOLS[:20]
NEAREST, FARTHEST = 0.7, 16.0
"""Bohr, between which T is sought to be `REFERENCE`."""
_SAVE_EVERY = 25
_POINTS, _REACH, _STEEPEST = (100, 70), 30.0, 40.0
_DENSITY_FLOOR = 1e-30


@dataclass(frozen=True)
class Ion:
    """One state: Hartree–Fock determinant of s and p functions, and its spherical density."""

    symbol: str
    label: str
    charge: int
    basis: list
    orbitals: tuple[np.ndarray, np.ndarray]
    """Occupied, of each spin."""
    energy: float
    logarithm: CubicSpline
    """ln ρ of its spherical density over ln r, atomic units."""
    closed: bool
    """Whether no electron is unpaired."""
    isotropic: bool
    """Whether no p shell is open in some directions only."""


def ion(symbol: str, recipe: Recipe) -> Ion:
    """The determinant of a state. Raises ValueError if the self-consistent field does not converge."""
    from pyscf import gto, scf

    basis = _basis(symbol)
    molecule = gto.M(
        atom=[[symbol, (0.0, 0.0, 0.0)]],
        charge=recipe.charge,
        spin=recipe.spin,
        basis={symbol: basis},
        symmetry="D2h",
        verbose=0,
    )
    field = scf.UHF(molecule)
    field.irrep_nelec = {IRREP[k]: v for k, v in recipe.occupation.items()}
    field.conv_tol, field.max_cycle = 1e-10, 200
    field.kernel()
    if not field.converged:
        field = field.newton()
        field.kernel()
    if not field.converged:
        raise ValueError(f"SCF of {symbol} {recipe.label} ({recipe.configuration}) did not converge; try another basis")
    occupied = tuple(np.asarray(c)[:, n > 0] for c, n in zip(field.mo_coeff, field.mo_occ, strict=True))
    total = sum(c @ c.T for c in occupied)
    p = [recipe.occupation.get(axis, (0, 0)) for axis in ("x", "y", "z")]
    return Ion(
        symbol,
        recipe.label,
        recipe.charge,
        basis,
        occupied,
        float(field.e_tot),
        CubicSpline(np.log(RADII), np.log(np.maximum(spherical_density(molecule, total, RADII), _DENSITY_FLOOR))),
        closed=recipe.spin == 0,
        isotropic=len(set(p)) == 1,
    )


def _basis(symbol: str) -> list:
    """The s and p functions of def2-QZVPPD, for hydrogen of d-aug-cc-pV5Z: nothing else is in these atoms."""
    import basis_set_exchange as bse
    from pyscf import gto

    name = "d-aug-cc-pV5Z" if symbol == "H" else "def2-QZVPPD"
    text = bse.get_basis(name, elements=[symbol], fmt="nwchem", header=False)
    return [shell for shell in gto.basis.parse(text.split("\nECP")[0]) if shell[0] <= 1]


def overlap_energy(a: Ion, b: Ion, distance: float) -> float:
    """E_overlap(R) in Hartree at R in bohr: mean over three directions if a shell is open."""
    directions = np.eye(3) if not (a.isotropic and b.isotropic) else np.eye(3)[2:]
    return float(np.mean([_overlap_energy(a, b, distance * u) for u in directions]))


def _overlap_energy(a: Ion, b: Ion, vector: np.ndarray) -> float:
    from pyscf import gto, scf

    molecule = gto.M(
        atom=[[f"{a.symbol}1", (0.0, 0.0, 0.0)], [f"{b.symbol}2", tuple(vector)]],
        basis={f"{a.symbol}1": a.basis, f"{b.symbol}2": b.basis},
        unit="Bohr",
        charge=a.charge + b.charge,
        spin=None,
        verbose=0,
    )
    overlap, size = molecule.intor("int1e_ovlp"), a.orbitals[0].shape[0]
    core = molecule.intor("int1e_kin") + molecule.intor("int1e_nuc")
    both, apart = [], np.zeros((2, *overlap.shape))
    for spin, (of_a, of_b) in enumerate(zip(a.orbitals, b.orbitals, strict=True)):
        c = np.zeros((overlap.shape[0], of_a.shape[1] + of_b.shape[1]))
        c[:size, : of_a.shape[1]], c[size:, of_a.shape[1] :] = of_a, of_b
        both.append(c @ np.linalg.solve(c.T @ overlap @ c, c.T) if c.shape[1] else np.zeros_like(overlap))
        apart[spin] = c @ c.T
    both = np.stack(both)
    j, k = scf.hf.get_jk(molecule, np.concatenate([both, apart]))
    total = np.einsum("sij,ji->", both, core)
    total += 0.5 * np.einsum("sij,ji->", both, j[0] + j[1]) - 0.5 * np.einsum("sij,sji->", both, k[:2])
    # the same without antisymmetry: ρ_a + ρ_b, exchange within each ion only
    alone = np.einsum("sij,ji->", apart, core) + 0.5 * np.einsum("sij,ji->", apart, j[2] + j[3])
    for part in (slice(None, size), slice(size, None)):
        inside = np.zeros_like(apart)
        inside[:, part, part] = apart[:, part, part]
        k_inside = scf.hf.get_jk(molecule, inside, with_j=False)[1]
        alone -= 0.5 * np.einsum("sij,sji->", inside, k_inside)
    return float(total - alone)


def density_functionals(a: Ion, b: Ion, distance: float) -> tuple[float, float]:
    """Thomas–Fermi and Slater exchange overlap energies of the spherical densities, Hartree."""
    s, from_a, from_b, _, volume = (
        x[0] for x in prolate_grid(np.array([distance]), _REACH, (_STEEPEST, _STEEPEST), *map(unit_rule, _POINTS))
    )
    u, v = (
        np.exp(x.logarithm(np.log((s[:, None] + t).clip(RADII[0], RADII[-1])))) for x, t in ((a, from_a), (b, from_b))
    )

    def overlap(power):
        return float(np.sum(volume * ((u + v) ** power - u**power - v**power)))

    return TF_CONSTANT * overlap(5.0 / 3.0), -SLATER_CONSTANT * overlap(4.0 / 3.0)


def factor(a: Ion, b: Ion) -> tuple[float, float]:
    """f, and the distance in bohr at which it was taken; ValueError if no distance has the reference T."""

    def short(distance):
        return np.log(density_functionals(a, b, distance)[0] / REFERENCE)

    if short(NEAREST) < 0 or short(FARTHEST) > 0:
        raise ValueError(f"Thomas–Fermi energy of {a.symbol} {a.label} and {b.symbol} {b.label} is out of range")
    distance = brentq(short, NEAREST, FARTHEST, xtol=1e-3)
    kinetic, exchange = density_functionals(a, b, distance)
    return (overlap_energy(a, b, distance) - exchange) / kinetic, distance


def ions(symbols: Sequence[str]) -> list[Ion]:
    """Ground states of elements, of all charges that have electrons."""
    return [
        ion(symbol, recipe)
        for symbol in symbols
        for recipe in recipes(symbol).values()
        if not recipe.label.endswith("*") and recipe.electrons
    ]


def main(arguments: list[str] | None = None) -> None:
    """Factors of all pairs of states, one a closed shell, that the table lacks; a deleted line is computed again."""
    parser = argparse.ArgumentParser(prog="python -m ectjax.generate.heitler_london", description=main.__doc__)
    parser.add_argument("elements", nargs="*", metavar="ELEMENT", help="symbols; H to Ca if none")
    parser.add_argument("--output", type=Path, default=TABLE, help="CSV to continue; that of the package by default")
    options = parser.parse_args(arguments)
    rows = read_rows(options.output) if options.output.exists() else {}
    for a, b in combinations_with_replacement(ions([symbol_of(x) for x in options.elements or ELEMENTS]), 2):
        key = a.symbol, a.label, b.symbol, b.label
        if not (a.closed or b.closed) or key in rows or (*key[2:], *key[:2]) in rows:
            continue
        try:
            value, distance = factor(a, b)
        except ValueError as error:
            print(error, flush=True)
            continue
        rows[key] = value, distance * BOHR_IN_ANGSTROM
        print(*key, f"{value:.4f} at {rows[key][1]:.3f} Å", flush=True)
        if len(rows) % _SAVE_EVERY == 0:
            _write(rows, options.output)
    _write(rows, options.output)


def _write(rows: dict[tuple[str, ...], tuple[float, float]], path: Path) -> None:
    """Write the whole table under another name, then rename."""
    made = f"pyscf {version('pyscf')}, basis_set_exchange {version('basis_set_exchange')}"
    with replacing(path) as part, part.open("w", newline="") as file:
        file.write(
            "# Overlap repulsion of rigid ions, one of them a closed shell: first-order energy less Slater exchange,\n"
            f"# over the Thomas-Fermi energy, where that is {REFERENCE} Hartree (ectjax/generate/heitler_london.py).\n"
            f"# Made with {made}, {datetime.date.today().isoformat()}.\n"
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key, (value, distance) in rows.items():
            writer.writerow([*key, f"{value:.4f}", f"{distance:.3f}"])


if __name__ == "__main__":
    main()
