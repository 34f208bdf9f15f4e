"""Why the density fit of CO keeps 0.018 e at 7.4 Å: separate atoms computed in several ways, their densities added.

    python benchmarks/separated_co.py        # some minutes; needs pyscf

The atoms cannot exchange charge, so whatever charge the fit finds comes from the difference between these atoms and the
tabulated ones (UCCSD, aug-cc-pVQZ). Writes benchmarks/results/separated_co.txt.
"""

from pathlib import Path

import numpy as np
from pyscf import cc, gto, lib, scf
from pyscf.dft import gen_grid, numint

from ectjax.analysis import MolecularDensity, fit_weights, superpose
from ectjax.units import BOHR_IN_ANGSTROM

RESULTS = Path(__file__).parent / "results/separated_co.txt"
DISTANCE = 7.4
IRREPS = {"x": "B3u", "y": "B2u", "z": "B1u"}
SPECIAL = {"C": (0, 0), "O": (1, 1)}
"""Electrons of both spins in the p orbital that differs from the other two, which have (1, 0)."""
CASES = (
    ("ROHF", "aug-cc-pvtz", "x"),
    ("ROHF", "aug-cc-pvtz", "z"),
    ("ROHF", "aug-cc-pvtz", "xyz"),
    ("ROHF", "aug-cc-pcvqz", "z"),
    ("UCCSD", "aug-cc-pvtz", "z"),
    ("UCCSD", "aug-cc-pcvtz", "z"),
)
"""Method, basis, and the axis of the p orbital that differs; xyz is the mean of three: spherical."""


def atom_density(symbol: str, z: float, method: str, basis: str, axis: str, points) -> np.ndarray:
    """Density (G,) in e/bohr³ of the ground term of one atom at height z in Å."""
    mol = gto.M(atom=[(symbol, (0, 0, z))], basis=basis, spin=2, symmetry="D2h", verbose=0)
    field = scf.ROHF(mol) if method == "ROHF" else scf.UHF(mol)
    field.irrep_nelec = {"Ag": (2, 2)} | {IRREPS[a]: SPECIAL[symbol] if a == axis else (1, 0) for a in "xyz"}
    field.run()
    matrix = field.make_rdm1() if method == "ROHF" else cc.UCCSD(field).run().make_rdm1(ao_repr=True)
    return numint.eval_rho(mol, numint.eval_ao(mol, points), np.sum(np.asarray(matrix), axis=0))


def separated(method: str, basis: str, axes: str) -> MolecularDensity:
    """Carbon and oxygen DISTANCE Å apart, each atom the mean over `axes`."""
    atoms = (("C", 0.0), ("O", DISTANCE))
    both = gto.M(atom=[(s, (0, 0, z)) for s, z in atoms], basis=basis, verbose=0)
    grid = gen_grid.Grids(both)
    grid.level, grid.prune = 4, None
    grid.build()
    density = sum(atom_density(*atom, method, basis, axis, grid.coords) for atom in atoms for axis in axes) / len(axes)
    a = BOHR_IN_ANGSTROM
    return MolecularDensity([6, 8], both.atom_coords() * a, grid.coords * a, grid.weights * a**3, density / a**3)


def main() -> None:
    lib.num_threads(1)
    lines = [f"{'method':8s}{'basis':14s}{'p orbital':11s}{'q_C, w = 1':>11s}{'w = r^2':>10s}{'error':>9s}"]

    def report(density: MolecularDensity, *names: str) -> None:
        nearest = np.linalg.norm(density.points[:, None] - density.positions, axis=-1).min(axis=1)
        even, outer = fit_weights(density), fit_weights(density, weight=nearest**2)
        error = even.error * BOHR_IN_ANGSTROM**1.5
        lines.append(
            "{:8s}{:14s}{:11s}".format(*names) + f"{even.charges[0]:11.4f}{outer.charges[0]:10.4f}{error:9.4f}"
        )
        print(lines[-1], flush=True)

    print(lines[0])
    for case in CASES:
        density = separated(*case)
        report(density, *case)
    d = density
    tabulated = superpose(d, [["0"], ["0"]], np.ones((2, 1)))
    report(MolecularDensity(d.numbers, d.positions, d.points, d.volumes, tabulated), "tables", "", "")
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
