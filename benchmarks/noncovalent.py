"""Molecules and ions beside each other: interaction energies against coupled cluster, charges far apart.

    python benchmarks/noncovalent.py [--model default] [--reference]

prints and stores interaction energies of rigid fragments at four distances, relative to the fragments alone, and what
charge an ion keeps 40 Å away from a molecule. `--reference` computes the reference again (a quarter of an hour, needs
PySCF): CCSD(T) in the basis aug-cc-pVDZ (cc-pVDZ on sodium), frozen core, counterpoise corrected, stored in
reference/noncovalent.csv. That basis leaves a tenth of a hydrogen bond away.
"""

import argparse
import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import molecule
from ase.data import atomic_numbers, chemical_symbols
from scipy.spatial.transform import Rotation

from ectjax.files import replacing
from ectjax.layers import ECTLayer
from ectjax.units import HARTREE_IN_EV

FOLDER = Path(__file__).parent
REFERENCE, RESULT = FOLDER / "reference" / "noncovalent.csv", FOLDER / "results" / "noncovalent.txt"
ELEMENTS, MOST = ("H", "C", "N", "O", "F", "Na", "Cl"), 10
FAR = 40.0  # Å
CORE = {7: 1, 8: 1, 9: 1, 11: 1, 17: 5}
"""Orbitals that are not correlated: 1s, and up to 2p in chlorine; sodium's 2s and 2p are."""
COMPLEXES = {
    # donor, acceptor, distances in Å of the two atoms that are named first below
    "H2O-H2O": ("H2O", "H2O", (2.6, 2.9, 3.4, 4.5)),
    "H2O-NH3": ("H2O", "NH3", (2.6, 2.95, 3.4, 4.5)),
    "HF-HF": ("HF", "HF", (2.4, 2.75, 3.2, 4.5)),
    "HCl-H2O": ("HCl", "H2O", (2.8, 3.15, 3.6, 4.5)),
    "H2O-Cl-": ("H2O", "Cl-", (2.8, 3.15, 3.6, 5.0)),
    "Na+-H2O": ("Na+", "H2O", (2.0, 2.3, 2.8, 4.0)),
    "Na+-NH3": ("Na+", "NH3", (2.1, 2.4, 2.9, 4.0)),
}
"""The donor's hydrogen (or the cation) points at the acceptor's heavy atom, whose own bonds point away."""
APART = ("Na+ H2O", "Na+ NH3", "Cl- H2O", "Cl- HCl", "F- H2", "Cl- CO2")


def fragment(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Atomic numbers, positions (heavy atom at 0, its bonds on the average towards −x) and charge."""
    if name[-1] in "+-":
        return np.array([atomic_numbers[name[:-1]]]), np.zeros((1, 3)), 1 if name[-1] == "+" else -1
    atoms = molecule(name)
    heavy = int(np.argmax(atoms.numbers))
    order = [heavy, *(k for k in range(len(atoms)) if k != heavy)]
    x = atoms.positions[order] - atoms.positions[heavy]
    return atoms.numbers[order], x @ _turn(x[1:].sum(0), [-1.0, 0.0, 0.0]).T, 0


def _turn(a, b) -> np.ndarray:
    """The shortest rotation that brings the direction of a to that of b."""
    return Rotation.align_vectors([b], [a])[0].as_matrix()


def complex_of(name: str, distance: float):
    """Numbers, positions and charge of both fragments together, and the atoms of the donor."""
    first, second, _ = COMPLEXES[name]
    z, x, q = fragment(first)
    other, y, r = fragment(second)
    if len(z) > 1:
        x = x @ _turn(x[1], [1.0, 0.0, 0.0]).T  # a hydrogen ahead
    y = y * [-1.0, 1.0, 1.0] if len(other) > 1 else y  # bonds away from the donor
    if len(z) > 2 and len(other) > 1:  # hydrogens of the two are not above each other
        y = y @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float)
    return np.concatenate([z, other]), np.concatenate([x, y + np.array([distance, 0, 0])]), q + r, np.arange(len(z))


def coupled_cluster(name: str, distance: float) -> float:
    """Interaction energy in eV, every fragment in the basis of both."""
    from pyscf import cc, gto, scf

    z, x, charge, donor = complex_of(name, distance)
    is_donor = np.isin(np.arange(len(z)), donor)
    charges = [fragment(n)[2] for n in COMPLEXES[name][:2]]

    def energy(present, q):
        symbols = [
            chemical_symbols[a] if here else f"ghost-{chemical_symbols[a]}" for a, here in zip(z, present, strict=True)
        ]
        basis = {s: "cc-pvdz" if s.endswith("Na") else "aug-cc-pvdz" for s in symbols}
        mol = gto.M(atom=list(zip(symbols, x, strict=True)), basis=basis, charge=q, verbose=0)
        field = scf.RHF(mol).run(conv_tol=1e-10)
        core = sum(CORE.get(int(a), 0) for a in z[present])
        solver = cc.CCSD(field, frozen=core).run()
        return solver.e_tot + solver.ccsd_t()

    whole = energy(np.ones(len(z), bool), charge)
    return HARTREE_IN_EV * (whole - energy(is_donor, charges[0]) - energy(~is_donor, charges[1]))


def write_reference() -> None:
    """All points, one row each."""
    rows = [(name, r, coupled_cluster(name, r)) for name, (*_, distances) in COMPLEXES.items() for r in distances]
    REFERENCE.parent.mkdir(exist_ok=True)
    with replacing(REFERENCE) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("complex", "distance_angstrom", "interaction_ev"))
        writer.writerows((name, r, f"{e:.4f}") for name, r, e in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--reference", action="store_true")
    options = parser.parse_args()
    if options.reference:
        write_reference()
    jax.config.update("jax_enable_x64", True)
    layer = ECTLayer(options.model, ELEMENTS, radii=None)
    found = jax.jit(lambda z, x, q: (lambda f: (f.energy, f.charges))(layer(x, z, q)))

    def single(z, x, charge):
        numbers, positions = np.zeros(MOST, int), np.zeros((MOST, 3))
        numbers[: len(z)], positions[: len(z)] = z, x
        energy, charges = found(jnp.asarray(numbers), jnp.asarray(positions), float(charge))
        return float(energy), np.asarray(charges)[: len(z)]

    with REFERENCE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [f"python benchmarks/noncovalent.py --model {options.model}: interaction energies in eV", ""]
    lines += [f"{'complex':10s}{'R in Å':>8s}{'CCSD(T)':>10s}{options.model:>10s}{'charge':>8s}"]
    for row in rows:
        name, distance = row["complex"], float(row["distance_angstrom"])
        z, x, charge, donor = complex_of(name, distance)
        energy, charges = single(z, x, charge)
        energy -= sum(single(*fragment(n))[0] for n in COMPLEXES[name][:2])
        lines.append(
            f"{name:10s}{distance:8.2f}{float(row['interaction_ev']):10.3f}{energy:10.3f}{charges[donor].sum():8.2f}"
        )
    lines += ["", f"{FAR:.0f} Å apart: charge of the ion in e, and energy gained in eV (0 if charges stay whole)"]
    for pair in APART:
        ion, other = pair.split()
        (z, x, q), (y, p, _) = fragment(ion), fragment(other)
        energy, charges = single([*z, *y], np.concatenate([x, p + np.array([FAR, 0, 0])]), q)
        lines.append(f"{pair:10s}{charges[0]:8.2f}{energy - single(z, x, q)[0] - single(y, p, 0)[0]:10.3f}")
    text = "\n".join(lines)
    print(text)
    if options.model == "default":
        with replacing(RESULT) as part:
            part.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
