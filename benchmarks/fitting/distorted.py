"""Energies and forces of distorted training molecules, by PBE0/def2-TZVP: `python benchmarks/fitting/distorted.py OUT`.

For every molecule marked `train` in `ectjax/fitting/data/g2_split.csv`: random displacements of its atoms (0.07 and
0.14 Å in every direction), and, with `--visited FILE`, geometries to which a model relaxed it, from 40 % of the way on:
what a fit must be told about. Kohn-Sham with density fitting (PySCF), unrestricted for open shells, spins of ASE's G2
set. The label of a frame is the measured atomisation energy of the molecule less what PBE0 says that the distortion
costs, so that the functional's error in atomisation energies does not enter. Frames with a distortion above 5 eV are
left out, and those whose calculation does not converge; both are named on the screen.

The file is extended XYZ: `atomisation_ev` and forces in eV/Å. A run goes on where an earlier one stopped. About half an
hour on one core; molecules with more than four atoms beyond hydrogen are left out.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from ectjax.fitting.molecules import read_molecules
from ectjax.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

FUNCTIONAL, BASIS = "pbe0", "def2-tzvp"
METHOD = "PBE0/def2-TZVP, PySCF"
SPREADS = (0.07, 0.14)
VISITED_SHARES = (0.4, 1.0)
MOST_HEAVY, MOST_COST = 4, 5.0


def energy_and_forces(atoms: Atoms, spin: int) -> tuple[float, np.ndarray] | None:
    """Total energy in eV and forces (N, 3) in eV/Å; None without convergence."""
    from pyscf import dft, gto

    mol = gto.M(atom=list(zip(atoms.symbols, atoms.positions, strict=True)), basis=BASIS, spin=spin, verbose=0)
    field = (dft.UKS if spin else dft.RKS)(mol).density_fit()
    field.xc, field.grids.level, field.conv_tol = FUNCTIONAL, 2, 1e-8
    energy = field.kernel()
    if not field.converged:
        return None
    return energy * HARTREE_IN_EV, -field.nuc_grad_method().kernel() * HARTREE_IN_EV / BOHR_IN_ANGSTROM


def geometries(name: str, positions: np.ndarray, visited: dict) -> list[np.ndarray]:
    """Distorted positions (N, 3) in Å, the same in every run."""
    draw = np.random.default_rng([*name.encode()])
    found = [positions + draw.normal(0.0, spread, positions.shape) for spread in SPREADS]
    for end in visited.get(name, []):
        found += [positions + share * (np.array(end) - positions) for share in VISITED_SHARES]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--visited", type=Path, help="JSON, {molecule: [positions]}")
    options = parser.parse_args()
    visited = json.loads(options.visited.read_text()) if options.visited else {}
    done = read(options.out, index=":") if options.out.is_file() else []
    known = {(x.info["molecule"], x.info["frame"]) for x in done}
    shipped = [m for m in read_molecules() if m.use == "train"]
    for m in sorted(shipped, key=lambda m: np.sum(np.asarray(m.numbers, float) ** 2)):
        if np.sum(m.numbers > 1) > MOST_HEAVY:
            print(f"{m.name}: left out, more than {MOST_HEAVY} atoms beyond hydrogen")
            continue
        spin = round(abs(molecule(m.name).get_initial_magnetic_moments().sum()))
        frames = list(enumerate(geometries(m.name, m.positions, visited)))
        if all((m.name, n) in known for n, _ in frames):
            continue
        rest = energy_and_forces(Atoms(m.numbers, m.positions), spin)
        for n, positions in frames:
            if (m.name, n) in known:
                continue
            atoms = Atoms(m.numbers, positions)
            result = energy_and_forces(atoms, spin)
            if rest is None or result is None:
                print(f"{m.name} {n}: not converged")
                continue
            cost = result[0] - rest[0]
            print(f"{m.name} {n}: {cost:+.3f} eV", flush=True)
            if cost > MOST_COST:
                continue
            atoms.info = {"molecule": m.name, "frame": n, "atomisation_ev": m.atomisation - cost, "method": METHOD}
            atoms.calc = SinglePointCalculator(atoms, energy=cost - m.atomisation, forces=result[1])
            done.append(atoms)
            write(options.out, done, format="extxyz")


if __name__ == "__main__":
    main()
