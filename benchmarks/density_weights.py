"""Weights fitted to molecular densities along dissociation, beside weights that minimise the energy.

    python benchmarks/density_weights.py                # all molecules: about 40 minutes on one core; needs pyscf
    python benchmarks/density_weights.py CO LiH --points 6
    python benchmarks/density_weights.py --plot-only    # picture from the stored results

Densities: full-valence CASSCF/aug-cc-pVTZ (density-fitted integrals), which dissociates into neutral atoms, followed
outwards (LiF: from the neutral atoms inwards too, the lower energy is kept). Every fit uses all states of the tables
(q_density) or those of the model (q_density_model_states).
CO is computed at the distances of benchmarks/reference/co_density_weights.csv; the published weights are put on the
same density with our states, their excited states mapped in the way that serves them best. Writes
benchmarks/results/density_weights.csv and docs/images/density_weights.png.
"""

import argparse
import csv
import time
from pathlib import Path

import jax
import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/density_weights.csv"
PICTURE = ROOT / "docs/images/density_weights.png"
PUBLISHED = ROOT / "benchmarks/reference/co_density_weights.csv"
BOHR = 0.529177210903
LISTED = {"C": ["0", "+1", "-1", "+2"], "O": ["0", "+1", "-1", "-2"]}
EXCITED = {"C": [["0*", "0**", "0**"], ["0", "0", "0"], ["0**", "0**", "0**"]], "O": [["0*", "0*"], ["0", "0"]]}

# distances in Å from near equilibrium outwards, valence orbitals of the active space, its electrons and size
MOLECULES = {
    "CO": ("co", ["C 2s", "C 2p", "O 2s", "O 2p"], 10, 8),
    "LiH": ([1.2, 1.4, 1.6, 1.8, 2.1, 2.4, 2.8, 3.2, 3.6, 4.2, 5.0, 6.0, 8.0], ["Li 2s", "Li 2p", "H 1s"], 2, 5),
    "LiF": (
        [1.4, 1.56, 1.8, 2.1, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 9.0],
        ["Li 2s", "F 2s", "F 2p"],
        8,
        5,
    ),
    "HF": ([0.8, 0.92, 1.05, 1.2, 1.4, 1.6, 1.8, 2.1, 2.5, 3.0, 4.0, 6.0], ["H 1s", "F 2s", "F 2p"], 8, 5),
    "N2": ([1.0, 1.1, 1.25, 1.4, 1.6, 1.8, 2.1, 2.5, 3.0, 4.0, 6.0], ["N 2s", "N 2p"], 10, 8),
    "H2O": ([0.85, 0.96, 1.1, 1.25, 1.45, 1.7, 2.0, 2.4, 3.0, 4.0, 6.0], ["H 1s", "O 2s", "O 2p"], 8, 6),
}
BOTH_WAYS = ("LiF",)
SYMMETRY = {"CO": ("C2v", "A1"), "HF": ("Coov", "A1"), "LiF": ("Coov", "A1"), "H2O": ("Cs", "A'")}
"""Point group and term of the ground state, where separated atoms have others of the same energy."""


def geometry(name: str, r: float):
    """Symbols and positions in Å; of water one O-H bond is stretched, the other and the angle stay."""
    if name == "H2O":
        angle = np.deg2rad(104.5)
        return ["O", "H", "H"], [[0, 0, 0], [0, 0, r], [0, 0.9584 * np.sin(angle), 0.9584 * np.cos(angle)]]
    symbols = {"N2": ["N", "N"]}.get(name) or [x for x in ("Li", "C", "O", "F", "H") if x in name]
    symbols = ["H", "F"] if name == "HF" else symbols
    return symbols, [[0, 0, 0], [0, 0, r]]


def casscf(name: str, r: float, valence, electrons: int, orbitals: int, previous=None, neutral=False):
    """A converged CASSCF object and its molecule; orbitals of the last geometry or of neutral atoms are the guess."""
    from pyscf import gto, mcscf, scf

    symbols, positions = geometry(name, r)
    group, term = SYMMETRY.get(name, (False, None))
    made = {"atom": list(zip(symbols, positions, strict=True)), "basis": "aug-cc-pvtz", "symmetry": group, "verbose": 0}
    mol = gto.M(**made)
    mean_field = scf.RHF(mol).density_fit(auxbasis="def2-universal-jkfit").run()
    if previous is None:
        guess = _valence_window(mean_field, valence, electrons)
    solver = mcscf.CASSCF(mean_field, orbitals, electrons)
    if term:
        solver.fcisolver.wfnsym = term
    solver.fix_spin_(ss=0)
    solver.max_cycle_macro, solver.conv_tol, solver.conv_tol_grad = 60, 1e-7, 5e-4
    if previous is not None:
        guess = mcscf.project_init_guess(solver, previous[0].mo_coeff, prev_mol=previous[1])
    if neutral:  # orbitals of two open-shell atoms; those of the singlet mean field are the ions'
        solver.mo_coeff = guess = scf.ROHF(gto.M(**{**made, "spin": 2})).run().mo_coeff
    solver.kernel(guess)
    return solver, mol


def _valence_window(mean_field, valence, electrons):
    """Occupied and virtual orbitals, each rotated so that those most like the atoms' valence shells are active."""
    from pyscf import gto

    mol, c = mean_field.mol, mean_field.mo_coeff
    minimal = gto.M(atom=mol._atom, unit="Bohr", basis="minao", verbose=0)
    pick = minimal.search_ao_label(valence)
    overlap = gto.intor_cross("int1e_ovlp", mol, minimal)[:, pick]
    metric = minimal.intor("int1e_ovlp")[np.ix_(pick, pick)]
    occupied = mol.nelectron // 2

    blocks = [np.arange(c.shape[1])]
    if mol.symmetry:  # irreps stay apart
        labels = np.asarray(mean_field.mo_coeff.orbsym)
        blocks = [np.flatnonzero(labels == x) for x in np.unique(labels)]

    def like_valence(start, stop):
        """Orbitals start to stop, most valence-like first."""
        found, likeness = [], []
        for block in blocks:
            part = c[:, block[(block >= start) & (block < stop)]]
            s = part.T @ overlap
            values, vectors = np.linalg.eigh(s @ np.linalg.solve(metric, s.T))
            found.append(part @ vectors)
            likeness.append(values)
        return np.hstack(found)[:, np.argsort(-np.concatenate(likeness), kind="stable")]

    inner, outer = like_valence(0, occupied), like_valence(occupied, c.shape[1])
    active = electrons // 2
    return np.hstack([inner[:, active:], inner[:, :active], outer])


def densities(name: str, points: int | None):
    """(r, energy in Hartree, CASSCF density, Mulliken charges) at every distance, ascending."""
    from pyscf import lib

    from ectjax.analysis import density_from_pyscf

    lib.num_threads(1)
    grid, valence, electrons, orbitals = MOLECULES[name]
    if grid == "co":
        grid = [float(row["r_angstrom"]) for row in csv.DictReader(PUBLISHED.open())]
    if points:
        grid = [grid[i] for i in np.unique(np.linspace(0, len(grid) - 1, points).round().astype(int))]
    start = int(np.argmin(np.abs(np.array(grid) - grid[0] * 1.2)))
    found: dict[float, tuple] = {}

    def follow(order, neutral=False):
        previous = None
        for r in order:
            first = neutral and previous is None
            solver, mol = casscf(name, r, valence, electrons, orbitals, previous, first)
            previous = (solver, mol)
            if not solver.converged:
                print(f"  {name} {r}: CASSCF did not converge")
            if r not in found or solver.e_tot < found[r][0] - 1e-7:
                matrix = solver.make_rdm1()
                found[r] = (solver.e_tot, mol, matrix)

    follow(grid[start:])
    follow(grid[start::-1])
    if name in BOTH_WAYS:
        follow(grid[::-1], neutral=True)
    for r in grid:
        energy, mol, matrix = found[r]
        populations = np.einsum("ij,ji->i", matrix, mol.intor("int1e_ovlp"))
        mulliken = [
            float(mol.atom_charge(i)) - populations[a:b].sum() for i, (_, _, a, b) in enumerate(mol.aoslice_by_atom())
        ]
        yield r, energy, density_from_pyscf(mol, matrix, level=4), np.array(mulliken)


def published_errors(density, row) -> float:
    """Error of the published weights with our states on our density, e/Å^(3/2): the best of the mappings."""
    from ectjax.analysis import superpose

    alone = {
        symbol: {x: superpose(density, [[x], ["0"]] if i == 0 else [["0"], [x]], np.eye(2)[[i]].T) for x in states}
        for i, (symbol, states) in enumerate((("C", [*LISTED["C"], "0*", "0**"]), ("O", [*LISTED["O"], "0*"])))
    }

    def atom(symbol, excited):
        labels = LISTED[symbol] + excited
        keys = [f"w_{symbol}_{x}" for x in LISTED[symbol]] + [f"w_{symbol}_exc{k + 1}" for k in range(len(excited))]
        return sum(float(row[k]) * alone[symbol][x] for k, x in zip(keys, labels, strict=True))

    offs = [density.density - atom("C", c) - atom("O", o) for c in EXCITED["C"] for o in EXCITED["O"]]
    return min(float(np.sqrt(density.volumes @ off**2)) for off in offs)


def energy_charges(name: str, grid) -> np.ndarray:
    """Charges of the shipped set `curves` at every distance."""
    import ectjax
    from ectjax.tables import NUMBERS

    with jax.enable_x64(True):
        symbols = geometry(name, 1.0)[0]
        model = ectjax.load_model("curves", list(dict.fromkeys(symbols)))
        solve = jax.jit(lambda system: ectjax.solve_weights(model, system))
        numbers = [NUMBERS[s] for s in symbols]
        found = [solve(ectjax.build_system(model, numbers, geometry(name, r)[1])) for r in grid]
        return np.array([np.asarray(x.charges) for x in found])


def rows_of(name: str, points: int | None):
    """One dictionary per distance. q: charge of the first atom (of the leaving hydrogen for water) in e."""
    from ectjax.analysis import fit_weights, hirshfeld_charges

    published = {float(r["r_angstrom"]): r for r in csv.DictReader(PUBLISHED.open())} if name == "CO" else {}
    which, rows = (1 if name == "H2O" else 0), []
    for r, energy, density, mulliken in densities(name, points):
        fit, model_states = fit_weights(density), fit_weights(density, states=_model_states(name))
        row = {
            "molecule": name,
            "r_angstrom": f"{r:.3f}",
            "e_casscf_hartree": f"{energy:.6f}",
            "q_density": f"{fit.charges[which]:.5f}",
            "q_density_model_states": f"{model_states.charges[which]:.5f}",
            "q_hirshfeld": f"{hirshfeld_charges(density)[which]:.5f}",
            "q_mulliken": f"{mulliken[which]:.5f}",
            "q_dipole": "" if name == "H2O" else f"{-density.dipole()[2] / r:.5f}",
            "electrons_missed": f"{fit.electrons - round(density.electrons):.1e}",
            "error": f"{fit.error * BOHR**1.5:.6f}",
            "missing_electrons": f"{fit.missing:.4f}",
            "weights": " ".join(
                f"{s}{i + 1}({label}):{w:.4f}"
                for i, (s, labels, ws) in enumerate(zip(geometry(name, r)[0], fit.labels, fit.weights, strict=True))
                for label, w in zip(labels, ws, strict=False)
                if w > 5e-5
            ),
        }
        if r in published:
            row["q_published"] = f"{float(published[r]['q_C']):.5f}"
            row["error_published"] = f"{published_errors(density, published[r]) * BOHR**1.5:.6f}"
        rows.append(row)
        print(f"  {name} {r:6.3f} Å  {' '.join(f'{k}={row[k]}' for k in list(row)[2:11])}", flush=True)
    for row, q in zip(rows, energy_charges(name, [float(row["r_angstrom"]) for row in rows]), strict=True):
        row["q_energy"] = f"{q[which]:.5f}"
    return rows


def _model_states(name: str):
    from ectjax import load_parameters

    return {s: list(load_parameters("curves").states[s]) for s in set(geometry(name, 1.0)[0])}


FIELDS = [
    *("molecule", "r_angstrom", "e_casscf_hartree", "q_density", "q_density_model_states", "q_energy", "q_hirshfeld"),
    *("q_mulliken", "q_dipole", "q_published", "electrons_missed", "error", "error_published", "missing_electrons"),
    "weights",
]


def plot(rows) -> None:
    """Charges against distance, one panel per molecule."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
    lines = {
        "q_density": ("density fit", "k-"),
        "q_energy": ("energy (default set)", "C1-"),
        "q_hirshfeld": ("Hirshfeld", "C0--"),
        "q_mulliken": ("Mulliken", "C2:"),
        "q_dipole": ("dipole / R", "C3-."),
        "q_published": ("published density fit", "C4."),
    }
    of = {"H2O": "H of the stretched bond", "N2": "N", "HF": "H", "CO": "C"}
    for axis, name in zip(axes.flat, MOLECULES, strict=True):
        mine = [row for row in rows if row["molecule"] == name]
        for key, (label, style) in lines.items():
            data = [(float(row["r_angstrom"]), float(row[key])) for row in mine if row.get(key)]
            if data:
                axis.plot(*zip(*data, strict=True), style, label=label, markersize=4)
        axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, -0.05), max(high, 0.3))
        axis.set_title(f"{name}: charge of {of.get(name, 'Li')}", fontsize=10)
        axis.set_xlabel("distance / Å")
        axis.set_ylabel("charge / e")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecules", nargs="*", choices=[*MOLECULES, []])  # []: none named, all are meant
    parser.add_argument("--points", type=int, help="that many of the distances only; results are then not stored")
    parser.add_argument("--plot-only", action="store_true")
    options = parser.parse_args()
    rows = list(csv.DictReader(RESULTS.open())) if RESULTS.exists() else []
    if not options.plot_only:
        for name in options.molecules or MOLECULES:
            started = time.time()
            new = rows_of(name, options.points)
            print(f"{name}: {time.time() - started:.0f} s", flush=True)
            if options.points:
                continue
            rows = [row for row in rows if row["molecule"] != name] + new
            rows.sort(key=lambda row: list(MOLECULES).index(row["molecule"]))
            RESULTS.parent.mkdir(exist_ok=True)
            with RESULTS.open("w", newline="") as handle:
                writer = csv.DictWriter(handle, FIELDS, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    if not options.points:
        plot(rows)


if __name__ == "__main__":
    main()
