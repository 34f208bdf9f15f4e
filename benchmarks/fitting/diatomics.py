"""Constants of diatomic molecules by CCSD(T): `python benchmarks/fitting/diatomics.py OUT.csv [--only SO PH ...]`.

OUT has the columns of `ectjax/fitting/data/diatomics.csv`: R_e in Å, D_e in eV from the potential minimum to neutral
ground-state atoms, ω_e in cm⁻¹, dipole in debye, positive if atom a is. Comment lines hold the diagnostics of every
molecule and the reason wherever one was left out. A run goes on where an earlier one stopped.

Method. Restricted Hartree-Fock, open shells included, and CCSD(T) (unrestricted amplitudes on semicanonical orbitals
for open shells), frozen core, with the (n−1)sp shell of K and Ca correlated. A short search in def2-SVP leads to four
points, through which goes a cubic in 1 − r₀/r: R_e, ω_e and the energy at the minimum. Their energies are those of MP2
at the basis limit (Hartree-Fock/def2-QZVPPD; correlation extrapolated with X⁻³ from def2-TZVPPD and def2-QZVPPD,
density fitted) and CCSD(T) less MP2: in def2-SVP at all four, and in the triple-zeta basis at the two about the
minimum, where the change goes into the curve as a straight line. Open shells of the p block, the costly ones and the
less ionic, have def2-TZVPP instead of def2-TZVPPD. The dipole is the derivative by a field along the bond of
MP2/def2-QZVPPD and CCSD(T) less MP2 in def2-SVP. D_e is the energy of the atoms by the same means less that of the
minimum; where ASE's G2 set has the molecule, the measured one of that set. No spin-orbit coupling, no relativity.

A state is a list of λ, one per singly occupied orbital: 0 for σ, 1 for π. Of several starts the lowest solution with
these is taken. Rows are left out whose triples are above MOST_TRIPLES of the computed D_e or whose T1 is above MOST_T1,
unless D_e is measured; and those bound by less than LEAST_BOUND.
"""

import argparse
import datetime
import re
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.data import atomic_masses, atomic_numbers, covalent_radii

from ectjax.files import replacing
from ectjax.fitting.curves import AMU_ANGSTROM2_EV_IN_HBAR2, COLUMNS, INVERSE_CM_IN_EV
from ectjax.units import BOHR_IN_ANGSTROM, DEBYE_IN_E_ANGSTROM, HARTREE_IN_EV

SMALL, PLAIN, DIFFUSE, LARGE = "def2-SVP", "def2-TZVPP", "def2-TZVPPD", "def2-QZVPPD"
WITHOUT_DIFFUSE = set("B C N O F Al Si P S Cl".split())
FIELD = 0.002  # atomic units
OFFSETS = (-0.13, -0.06, 0.01, 0.08)  # Å about the minimum of the small basis, which is long
LEAST_BOUND, MOST_TRIPLES, MOST_T1 = 0.5, 0.20, 0.055

CORE = {"H": 0, "Li": 0, "Be": 1, "B": 1, "C": 1, "N": 1, "O": 1, "F": 1, "Na": 5, "Mg": 5, "Al": 5, "Si": 5}
CORE |= {"P": 5, "S": 5, "Cl": 5, "K": 5, "Ca": 5}
ATOM_OPEN = {"H": 1, "Li": 1, "Be": 0, "B": 1, "C": 2, "N": 3, "O": 2, "F": 1, "Na": 1, "Mg": 0, "Al": 1, "Si": 2}
ATOM_OPEN |= {"P": 3, "S": 2, "Cl": 1, "K": 1, "Ca": 0}
MEASURED = {"SH": "SH", "BeH": "BeH", "SO": "SO", "SiO": "SiO", "S2": "S2", "P2": "P2", "Si2": "Si2", "CS": "CS"}
MEASURED |= {"ClO": "ClO", "ClF": "ClF"}
"""Names in ASE's G2 set."""

SIGMA, PI, PI2 = (0,), (1,), (1, 1)
STATES = {"SH": PI, "PH": PI2, "SiH": PI, "AlH": (), "MgH": SIGMA, "BH": (), "BeH": SIGMA, "KH": (), "CaH": SIGMA}
STATES |= {"SO": PI2, "PO": PI, "SiO": (), "AlO": SIGMA, "MgO": (), "BO": SIGMA, "BeO": (), "CaO": ()}
STATES |= {"SiF": PI, "PF": PI2, "SF": PI, "AlF": (), "MgF": SIGMA, "BF": (), "BeF": SIGMA, "KF": (), "CaF": SIGMA}
STATES |= {"KCl": (), "AlCl": (), "BCl": (), "P2": (), "K2": (), "CS": (), "SiS": (), "PN": (), "ClF": ()}
STATES |= {"MgCl": SIGMA, "CaCl": SIGMA, "BeCl": SIGMA, "SiCl": PI, "PCl": PI2, "SCl": PI}
STATES |= {"S2": PI2, "Si2": PI2, "NS": PI, "BS": SIGMA, "AlS": SIGMA, "CP": SIGMA, "SiN": SIGMA, "BeS": ()}
STATES |= {"MgS": (), "CaS": (), "B2": PI2, "Al2": (0, 1), "SiC": (0, 1), "BN": (0, 1), "BC": (0, 1, 1)}
STATES |= {"ClO": PI, "NaK": (), "LiO": PI, "NaO": PI, "KO": PI, "LiS": PI}
STATES |= {"NF": PI2, "OF": PI, "CF": PI, "NCl": PI2, "CCl": PI}
"""Ground states, in the order in which they are computed."""


class Energies(NamedTuple):
    """Hartree: Hartree-Fock, CCSD(T) in all, its triples; T1, and what continues the calculation nearby."""

    field: float
    total: float
    triples: float
    t1: float
    guess: tuple


class LeftOut(Exception):
    """Why a molecule has no row."""


@cache
def shells(symbol: str, basis: str):
    """PySCF's form of a basis of the Basis Set Exchange."""
    import basis_set_exchange as bse
    from pyscf import gto

    return gto.basis.parse(bse.get_basis(basis, elements=[symbol], fmt="nwchem", header=False))


def molecule(symbols: tuple, r: float, basis: str, spin: int):
    """One atom, or two on the z axis at distance r in Å, the first below."""
    from pyscf import gto

    places = [(s, (0.0, 0.0, n * r)) for n, s in enumerate(symbols)]
    return gto.M(atom=places, basis={s: shells(s, basis) for s in symbols}, spin=spin, verbose=0, max_memory=9000)


def lambdas(mol, orbitals: np.ndarray) -> np.ndarray:
    """|λ| about z of orbitals (nao, n), averaged over their populations."""
    magnitude = []
    for shell in range(mol.nbas):
        angular = mol.bas_angular(shell)
        one = [1, 1, 0] if angular == 1 else np.abs(np.arange(-angular, angular + 1))
        magnitude += [*one] * mol.bas_nctr(shell)
    return np.array(magnitude, float) @ (orbitals * (mol.intor("int1e_ovlp") @ orbitals))


def hartree_fock(mol, state: tuple | None, start=None, strength=0.0, fitted=False):
    """Converged restricted solution from `start`, or the lowest of several whose open orbitals have λ of `state`."""
    from pyscf import scf

    def solve(guess):
        field = scf.RHF(mol) if mol.spin == 0 else scf.ROHF(mol)
        if fitted:
            field = field.density_fit(auxbasis="def2-universal-jkfit")
        field.conv_tol, field.max_cycle = 1e-9, 80
        if strength:
            dipoles = mol.intor("int1e_r")[2]
            charges, places = mol.atom_charges(), mol.atom_coords()[:, 2]
            core = field.get_hcore() + strength * dipoles
            field.get_hcore = lambda *_: core
            field.energy_nuc = lambda *_: mol.energy_nuc() - strength * charges @ places
        field.kernel(dm0=guess)
        if not field.converged:
            field = field.newton()
            field.kernel(dm0=field.make_rdm1())
            field = field.undo_newton() if hasattr(field, "undo_newton") else field
        return field

    def fits(field):
        if state is None or not mol.spin:
            return True
        open_shell = field.mo_coeff[:, field.mo_occ == 1]
        return np.allclose(np.sort(lambdas(mol, open_shell)), state, atol=0.2)

    if start is not None:
        found = [solve(start)]
    else:
        found = []
        for kind in ("minao", "atom", "huckel", "1e"):
            field = solve((scf.ROHF if mol.spin else scf.RHF)(mol).get_init_guess(mol, kind))
            found.append(field)
            if mol.natm > 1 and field.converged:
                changed = field.stability()[0]
                if np.linalg.norm(changed - field.mo_coeff) > 1e-3:
                    found.append(solve(field.make_rdm1(changed, field.mo_occ)))
    good = [x for x in found if x.converged and fits(x)]
    if not good:
        seen = "; ".join(
            f"{x.e_tot:.4f} {np.round(np.sort(lambdas(mol, x.mo_coeff[:, x.mo_occ == 1])), 1).tolist()}"
            for x in found
            if x.converged
        )
        raise LeftOut(f"no Hartree-Fock solution of the state {list(state or ())}; found {seen or 'none'}")
    return min(good, key=lambda x: x.e_tot)


def semicanonical(field):
    """An unrestricted object with the determinant of a restricted open shell, each spin's Fock blocks diagonal."""
    both = field.to_uhf()
    fock = both.get_fock(dm=both.make_rdm1())
    orbitals, energies = [], []
    for spin in (0, 1):
        c, occupied = both.mo_coeff[spin], both.mo_occ[spin] > 0
        parts = []
        for block in (c[:, occupied], c[:, ~occupied]):
            e, turn = np.linalg.eigh(block.T @ fock[spin] @ block)
            parts.append((e, block @ turn))
        energies.append(np.concatenate([p[0] for p in parts]))
        orbitals.append(np.hstack([p[1] for p in parts]))
        both.mo_occ[spin] = np.sort(both.mo_occ[spin])[::-1]
    both.mo_coeff, both.mo_energy = np.array(orbitals), np.array(energies)
    return both


def carried_amplitudes(solver, old: tuple) -> tuple:
    """Amplitudes (t1, t2) of a calculation nearby, same basis, in the orbitals of this one."""
    orbitals, t1, t2 = old
    overlap, new = solver.mol.intor("int1e_ovlp"), correlated(solver)
    turn = [n.T @ overlap @ o for n, o in zip(new, orbitals, strict=True)]  # occupied α, virtual α, the same for β
    if len(turn) == 2:
        o, v = turn
        return o @ t1 @ v.T, np.einsum("iI,jJ,aA,bB,IJAB->ijab", o, o, v, v, t2, optimize=True)
    spins = turn[:2], turn[2:]
    pairs = ((0, 0), (0, 1), (1, 1))
    return tuple(o @ t @ v.T for (o, v), t in zip(spins, t1, strict=True)), tuple(
        np.einsum("iI,jJ,aA,bB,IJAB->ijab", spins[p][0], spins[q][0], spins[p][1], spins[q][1], t, optimize=True)
        for (p, q), t in zip(pairs, t2, strict=True)
    )


def correlated(solver) -> list[np.ndarray]:
    """Orbitals that a solver correlates: occupied and virtual, of both spins if it tells them apart."""
    frozen = solver.frozen or 0
    if isinstance(solver.nocc, tuple):
        both = zip(solver.mo_coeff, solver.nocc, strict=True)
        return [x for c, n in both for x in (c[:, frozen : frozen + n], c[:, frozen + n :])]
    return [solver.mo_coeff[:, frozen : frozen + solver.nocc], solver.mo_coeff[:, frozen + solver.nocc :]]


def coupled_cluster(mol, state, start: tuple = (None, None), strength=0.0) -> Energies:
    """CCSD(T) with the core frozen; `start` is the `guess` of a calculation nearby."""
    from pyscf import cc

    field = hartree_fock(mol, state, start[0], strength)
    frozen = sum(CORE[mol.atom_pure_symbol(n)] for n in range(mol.natm))
    if mol.nelectron == 1:
        return Energies(field.e_tot, field.e_tot, 0.0, 0.0, (field.make_rdm1(), None))
    if mol.spin:
        solver = cc.UCCSD(semicanonical(field), frozen=frozen or None)
    else:
        solver = cc.CCSD(field, frozen=frozen or None)
    solver.conv_tol, solver.conv_tol_normt, solver.max_cycle = 1e-6, 2e-4, 100
    integrals = solver.ao2mo()
    t1, t2 = carried_amplitudes(solver, start[1]) if start[1] else (None, None)
    solver.kernel(t1, t2, eris=integrals)
    if not solver.converged:
        raise LeftOut("CCSD does not converge")
    triples = solver.ccsd_t(eris=integrals)
    if mol.spin:
        t1 = np.sqrt(sum(np.sum(t**2) for t in solver.t1) / (2 * sum(solver.nocc)))
    else:
        t1 = np.sqrt(np.sum(solver.t1**2) / (2 * solver.nocc))
    guess = field.make_rdm1(), (correlated(solver), solver.t1, solver.t2)
    return Energies(field.e_tot, solver.e_tot + triples, triples, t1, guess)


def perturbation(mol, state, start=None, strength=0.0) -> tuple[float, float]:
    """Hartree-Fock and MP2 correlation energies, density fitted."""
    from pyscf.mp.dfmp2_native import DFRMP2
    from pyscf.mp.dfump2_native import DFUMP2

    field = hartree_fock(mol, state, start, strength, fitted=True)
    if mol.nelectron == 1:
        return field.e_tot, 0.0
    frozen = sum(CORE[mol.atom_pure_symbol(n)] for n in range(mol.natm))
    fit = {mol.atom_pure_symbol(n): shells(mol.atom_pure_symbol(n), "def2-QZVPPD-RIFIT") for n in range(mol.natm)}
    kind, field = (DFUMP2, semicanonical(field)) if mol.spin else (DFRMP2, field)
    return field.e_tot, kind(field, frozen=frozen or None, auxbasis=fit).kernel()


def limit(middle: tuple, large: tuple) -> float:
    """Basis limit of (Hartree-Fock, MP2 correlation) from both bases, X⁻³ for the correlation."""
    return large[0] + (4**3 * large[1] - 3**3 * middle[1]) / (4**3 - 3**3)


@cache
def atom(symbol: str, middle: str) -> tuple[float, float]:
    """CCSD(T) moved from a middle basis to the limit, and its triples; hartree."""
    spin = ATOM_OPEN[symbol]
    mols = [molecule((symbol,), 0.0, basis, spin) for basis in (middle, LARGE)]
    energies = coupled_cluster(mols[0], None)
    pairs = [perturbation(m, None) for m in mols]
    return energies.total - sum(pairs[0]) + limit(*pairs), energies.triples


def through(r, energies, centre: float) -> tuple[float, float, float]:
    """Minimum in Å, energy there and second derivative by r of the polynomial in 1 − centre/r through all points."""
    p = np.polynomial.Polynomial.fit(1 - centre / np.asarray(r), energies, len(r) - 1)
    roots: list[float] = [float(x.real) for x in p.deriv().roots() if abs(x.imag) < 1e-9 and p.deriv(2)(x.real) > 0]
    if not roots:
        return np.nan, np.nan, np.nan
    x = min(roots, key=abs)
    return centre / (1 - x), p(x), p.deriv(2)(x) * ((1 - x) ** 2 / centre) ** 2


def search(symbols: tuple, state: tuple) -> tuple[float, tuple]:
    """Minimum in the small basis in Å and a density from there."""
    first = sum(covalent_radii[atomic_numbers[s]] for s in symbols)
    start = (None, None)
    known: dict[float, float] = {}
    points = [first, first * 0.93, first * 1.07]
    while points:
        r = points.pop(0)
        found = coupled_cluster(molecule(symbols, r, SMALL, len(state)), state, start)
        known[r], start = found.total, found.guess
        best = min(known, key=known.get)
        if not points and best in (min(known), max(known)):
            if len(known) > 9:
                raise LeftOut("no minimum found in the small basis")
            points.append(best * (0.93 if best == min(known) else 1.07))
    near = sorted(sorted(known, key=lambda r: abs(r - best))[:3])
    r = through(near, [known[x] for x in near], best)[0]
    if not min(near) <= r <= max(near):
        raise LeftOut(f"the curve in {SMALL} has a kink near {best:.2f} A: more than one state")
    return r, coupled_cluster(molecule(symbols, r, SMALL, len(state)), state, start).guess


def constants(symbols: tuple, state: tuple) -> tuple[list[float], float, float, str]:
    """R_e, D_e, ω_e, dipole in the units of the file; T1, the share of the triples in D_e, the basis."""
    from pyscf import scf

    spin = len(state)
    middle = PLAIN if state and WITHOUT_DIFFUSE.issuperset(symbols) else DIFFUSE
    r0, small_start = search(symbols, state)

    def at(r, basis, density, old):
        mol = molecule(symbols, r, basis, spin)
        return mol, scf.addons.project_dm_nr2nr(old, density, mol)

    def moved(r, basis, density, old):
        mol, density = at(r, basis, density, old)
        return perturbation(mol, state, density)

    small: dict[float, Energies] = {}
    curve: dict[float, float] = {}  # CCSD(T) in the small basis and what MP2 adds up to the limit
    beyond: dict[float, float] = {}  # CCSD(T) less MP2 in the small basis
    pairs: dict[float, tuple] = {}
    points = [r0 + x * max(1.0, r0 / 2.0) for x in OFFSETS]
    while points:
        r = points.pop(0)
        mol = molecule(symbols, r, SMALL, spin)
        small[r] = coupled_cluster(mol, state, small_start)
        small_start = small[r].guess
        beyond[r] = small[r].total - sum(perturbation(mol, state, small_start[0]))
        pairs[r] = tuple(moved(r, b, small_start[0], mol) for b in (middle, LARGE))
        curve[r] = beyond[r] + limit(*pairs[r])
        if not points:
            r_e = through(list(curve), list(curve.values()), r0)[0]
            if not min(curve) < r_e < max(curve):
                if len(curve) > 6:
                    raise LeftOut(f"no minimum found; CCSD(T)/{SMALL} has it at {r0:.2f} A")
                best = min(curve, key=curve.get)
                points.append(best + (0.08 if best == max(curve) else -0.08) * max(1.0, r0 / 2.0))
    left = max(r for r in curve if r <= r_e)
    right = min(r for r in curve if r > r_e)
    start, change, found = (None, None), [], []
    for r in (left, right):
        mol, density = at(r, middle, small[r].guess[0], molecule(symbols, r, SMALL, spin))
        found.append(coupled_cluster(mol, state, (density, start[1])))
        start = found[-1].guess
        change.append(found[-1].total - sum(pairs[r][0]) - beyond[r])
    slope = (change[1] - change[0]) / (right - left)
    energies = [e + change[0] + slope * (r - left) for r, e in curve.items()]
    r_e, energy, force = through(list(curve), energies, r0)
    if not min(curve) < r_e < max(curve):
        raise LeftOut(f"the change from {SMALL} to {middle} does not go through: {np.round(change, 3)} hartree")
    dipole = 0.0
    if symbols[0] != symbols[1]:  # by a field along z, in which the energy is that without it less field times dipole
        mol = molecule(symbols, r_e, SMALL, spin)
        big, density = at(r_e, LARGE, small[left].guess[0], mol)
        for strength in (FIELD, -FIELD):
            inner = coupled_cluster(mol, state, small[left].guess, strength)
            total = inner.total - sum(perturbation(mol, state, inner.guess[0], strength))
            dipole += (total + sum(perturbation(big, state, density, strength))) / (2 * strength)
    parts = [atom(s, middle) for s in symbols]
    depth = sum(p[0] for p in parts) - energy
    triples = (sum(p[1] for p in parts) - found[0].triples) / depth
    masses = [atomic_masses[atomic_numbers[s]] for s in symbols]
    reduced = masses[0] * masses[1] / sum(masses)
    omega = np.sqrt(force * HARTREE_IN_EV * AMU_ANGSTROM2_EV_IN_HBAR2 / reduced) / INVERSE_CM_IN_EV
    debye = dipole * BOHR_IN_ANGSTROM / DEBYE_IN_E_ANGSTROM
    return [r_e, depth * HARTREE_IN_EV, omega, debye], found[0].t1, triples, middle


def write(out: Path, head: list[str], notes: dict[str, str], rows: dict[str, str]) -> None:
    """The file under a temporary name, then renamed."""
    numbers = [re.search(r"computed ([\d.]+) eV, measured ([\d.]+)", x) for x in notes.values()]
    errors = [float(x[1]) - float(x[2]) for x in numbers if x]
    if errors:
        mean, largest = np.mean(np.abs(errors)), max(errors, key=abs)
        head = [
            *head,
            f"# D_e computed less measured, {len(errors)} pairs: {mean:.3f} eV on average, at most {largest:+.3f}",
        ]
    text = [*head, *(f"# {n}: {x}" for n, x in notes.items()), ",".join(COLUMNS), *rows.values()]
    with replacing(out) as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")


def header() -> list[str]:
    """Provenance."""
    import ase
    import basis_set_exchange as bse
    import pyscf

    versions = f"PySCF {pyscf.__version__}, basis_set_exchange {bse.__version__}, ASE {ase.__version__}"
    return [
        f"# Made by benchmarks/fitting/diatomics.py, {versions}, {datetime.date.today()}",
        "# MP2 at the basis limit (def2-TZVPPD or TZVPP; QZVPPD), CCSD(T) less MP2 in def2-SVP, corrected",
        "# by two points in the triple-zeta basis named; restricted reference, frozen core, K, Ca: (n-1)sp not,",
        "# no spin-orbit coupling or relativity. Dipole: MP2/def2-QZVPPD, CCSD(T) less MP2 in SVP; > 0: a positive",
        "# D_e is computed; measured (G2 of ASE) where said",
        f"# Left out: triples above {MOST_TRIPLES:.0%} of D_e or T1 above {MOST_T1}, unless D_e is measured; D_e below"
        f" {LEAST_BOUND} eV",
    ]


def main() -> None:
    """Command line."""
    from ectjax.fitting.molecules import g2_molecule

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=STATES, default=list(STATES), metavar="MOLECULE")
    options = parser.parse_args()
    notes: dict[str, str] = {}
    rows: dict[str, str] = {}
    for line in options.out.read_text(encoding="utf-8").splitlines() if options.out.is_file() else ():
        if found := re.match(r"# (\w+): (.*)", line):
            if found[1] in STATES:
                notes[found[1]] = found[2]
        elif not line.startswith(("#", "a,")):
            rows["".join(line.split(",")[:2])] = line
    for name in options.only:
        if name in notes:
            continue
        began = time.time()
        symbols = tuple(re.findall("[A-Z][a-z]?", name))
        symbols = symbols * 2 if name.endswith("2") else symbols
        try:
            (r_e, d_e, omega, dipole), t1, triples, basis = constants(symbols, STATES[name])
            note = f"{basis}, T1 {t1:.3f}, triples {triples:.1%}, D_e computed {d_e:.3f} eV"
            if name in MEASURED:
                measured = g2_molecule(MEASURED[name]).atomisation
                note, d_e = f"{note}, measured {measured:.3f} eV (taken)", measured
            elif d_e < LEAST_BOUND:
                raise LeftOut(f"bound too little; {note}")
            elif triples > MOST_TRIPLES or t1 > MOST_T1:
                raise LeftOut(
                    f"CCSD(T) not trusted; {note}, R_e {r_e:.3f} A, omega_e {omega:.0f} cm-1, dipole {dipole:.2f} D"
                )
            rows["".join(symbols)] = f"{symbols[0]},{symbols[1]},{r_e:.4f},{d_e:.3f},{omega:.1f},{dipole:.3f}"
            notes[name] = note
            print(f"{rows[''.join(symbols)]}  {note}  {time.time() - began:.0f} s", flush=True)
        except LeftOut as reason:
            notes[name] = f"left out, {reason}"
            print(f"{name}: {notes[name]}  {time.time() - began:.0f} s", flush=True)
        write(options.out, header(), notes, rows)


if __name__ == "__main__":
    main()
