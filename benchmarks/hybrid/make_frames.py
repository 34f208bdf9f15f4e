"""The data set of the hybrid benchmark: energies and forces of small molecules, water and salt clusters.

    python benchmarks/hybrid/make_frames.py [--jobs 2] [--scale 1.0] [--seed 0] [--out benchmarks/hybrid/frames.npz]

Needs pyscf and ase, and some two hours of one core. Every kind of frames is kept in a folder beside the output when
it is finished, and a second run goes on from there. Reference: LRC-ωPBEh (M. A. Rohrdanz, K. M. Martins, J. M. Herbert,
J. Chem. Phys. 130, 054112, 2009) with density fitting, def2-SVP (def2-SVPD on chlorine). Far apart its exchange is
Hartree-Fock's whole one, because separated fragments must keep whole charges: GFN2-xTB leaves 0.57 e on NaCl at 5 Å and
does not converge beyond. Hartree-Fock alone breaks bonds far too early. Clusters come apart into closed shells (ions,
molecules); bonds that are pulled are computed unrestricted from a symmetry-broken guess and come apart into neutral
atoms or radicals. Such a solution is followed downhill until it is stable; without that 8 of the 80 frames of CO in
the pool, 15 of CO2 and 17 of Cl2 would be of a higher one.

Groups: "pool" (to train on and test), "far" (one fragment of a cluster moved out of the training range), "bond"
(a covalent bond pulled beyond it), "large" (more fragments than in training), "charge" (total charges not in training).
Stored ragged: offsets (F+1,), numbers, positions (Å, float32), forces (eV/Å, float32), and per frame energy (eV, from
neutral atoms computed alike), charge (e), group, name.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.data import atomic_numbers, chemical_symbols
from data import FRAMES, read
from pyscf import dft, gto, lib
from pyscf.data.nist import BOHR, HARTREE2EV

from ectjax.files import replacing

FUNCTIONAL, GRID = "lrc_wpbeh", 1
RESTARTS = 4
"""Times that an unstable solution is followed downhill."""
LARGEST_FORCE = 25.0  # eV/Å; frames beyond it are left out
GROUPS = ("pool", "far", "bond", "large", "charge")
BASIS = {"default": "def2-svp", "Cl": "def2-svpd"}
SPIN = {"H": 1, "C": 2, "N": 3, "O": 2, "Na": 1, "Cl": 1}
MOLECULES = (
    "H2", "N2", "CO", "Cl2", "HCl", "H2O", "HCN", "CO2", "NH3", "H2CO", "H2O2", "CH4", "CH3Cl", "C2H2", "CH3OH",
)  # fmt: skip
"""Covalent molecules of the training range, one frame in two with a pulled bond."""
CLUSTERS = (
    "Na+ Cl-", "Na+ Cl- Na+", "Cl- Na+ Cl-", "Na+ Cl- Na+ Cl-", "H2O H2O", "Na+ H2O", "Cl- H2O",
    "Na+ H2O H2O", "Cl- H2O H2O", "Na+ Cl- H2O", "HCl H2O", "NH3 H2O",
)  # fmt: skip
FAR = (
    "Na+ Cl-", "Na+ Cl- Na+", "Cl- Na+ Cl-", "Na+ Cl- Na+ Cl-", "Na+ H2O", "Cl- H2O", "Na+ H2O H2O", "Cl- H2O H2O",
    "Na+ H2O Cl-", "H2O H2O",
)  # fmt: skip
LARGE = (
    "H2O H2O H2O", "Na+ Cl- Na+ Cl- Na+ Cl-", "Na+ Cl- Na+ Cl- Na+ Cl- Na+ Cl-", "Na+ Cl- H2O H2O",
    "Na+ Cl- Na+ Cl- H2O", "Na+ H2O H2O H2O",
)  # fmt: skip
CHARGE = ("Na+ Na+ Cl- Na+", "Cl- Cl- Na+ Cl-", "Na+ H2O Na+", "Cl- H2O Cl-", "Na+ Cl- Na+ Cl- Na+", "Na+ NH3")
PULLED = ("H2", "HCl", "H2O", "NH3", "CH4", "CH3Cl")
CONTACT = {
    "ClNa": 2.25, "NaO": 2.15, "NNa": 2.25, "ClH": 2.0, "HO": 1.7, "HN": 1.8, "NaNa": 3.0, "ClCl": 3.4, "OO": 2.5,
    "NO": 2.6, "HNa": 2.4, "HH": 1.9, "ClO": 2.9,
}  # fmt: skip
"""Closest distances in Å between atoms of two fragments."""
BOND = {"pool": (0.0, 1.0), "bond": (1.3, 2.6)}
"""Å by which bonds are pulled."""


def contact(a: int, b: int) -> float:
    return CONTACT["".join(sorted((chemical_symbols[a], chemical_symbols[b])))]


def shaken(name: str, rng) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and positions of a fragment with random displacements and a random strain."""
    if name[-1] in "+-":
        return np.array([atomic_numbers[name[:-1]]]), np.zeros((1, 3))
    atoms = molecule(name)
    strain = np.eye(3) + rng.normal(0, 0.02, (3, 3))
    return atoms.numbers, atoms.positions @ strain + rng.normal(0, rng.uniform(0.01, 0.05), atoms.positions.shape)


def rotated(x: np.ndarray, rng) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return (x - x.mean(0)) @ (q * np.sign(np.diag(r)))


def assemble(names: list[str], rng, last: Callable[[], float] | None = None):
    """Fragments put together one by one, slid along random directions until they touch within a random factor of the
    closest distances: 0.95 to 1.6, or `last()` for the last one; of six directions the most compact is taken.
    Returns numbers, positions."""
    z, x = shaken(names[0], rng)
    x = rotated(x, rng)
    for k, name in enumerate(names[1:], 1):
        nz, nx = shaken(name, rng)
        nx, factor = rotated(nx, rng), 0.95 + 0.65 * rng.uniform() ** 2
        if last is not None and k == len(names) - 1:
            factor = last()
        limits = factor * np.array([[contact(a, b) for b in nz] for a in z])
        ends = [_slide(x, nx, limits, rng) for _ in range(6)]
        best = min(ends, key=lambda end: np.linalg.norm(end.mean(0) - x.mean(0)))
        z, x = np.concatenate([z, nz]), np.concatenate([x, best])
    return z, x


def _slide(x: np.ndarray, new: np.ndarray, limits: np.ndarray, rng) -> np.ndarray:
    """Positions of a fragment that comes from outside towards one of the atoms `x` until a distance limit is met."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    lengths = np.arange(30.0, 0.0, -0.02)
    path = new[None] + x[rng.integers(len(x))] + lengths[:, None, None] * direction
    free = np.all(np.linalg.norm(path[:, None] - x[None, :, None], axis=-1) >= limits, axis=(1, 2))
    return path[np.argmin(free) - 1]


def pulled(name: str, length: float, rng):
    """A molecule with one bond lengthened; returns numbers, positions and which side of the bond each atom is on."""
    z, x = shaken(name, rng)
    hydrogen, chlorine = z == 1, z == 17
    reach = np.where(chlorine[:, None] | chlorine, 2.35, 1.9)
    reach[hydrogen[:, None] | hydrogen] = 1.65
    if len(z) > 2:
        reach[np.ix_(hydrogen, hydrogen)] = 0.0
    bonded = np.linalg.norm(x[:, None] - x[None], axis=-1) < reach
    bonds = [(i, j) for i in range(len(z)) for j in range(i) if bonded[i, j]]
    i, j = bonds[rng.integers(len(bonds))]
    cut = bonded.copy()
    cut[i, j] = cut[j, i] = False
    side = np.eye(len(z), dtype=bool)[i]
    for _ in range(len(z)):
        side = cut[side].any(0) | side
    if side[j]:
        raise ValueError(f"bond {i}-{j} of {name} is in a ring")
    return z, x + np.outer(side, (x[i] - x[j]) / np.linalg.norm(x[i] - x[j]) * length), side.astype(int)


def field(mol, unrestricted: bool):
    """The self-consistent field of a molecule, to be converged."""
    mean = (dft.UKS if unrestricted else dft.RKS)(mol, xc=FUNCTIONAL).density_fit()
    mean.grids.level, mean.conv_tol, mean.max_cycle = GRID, 1e-8, 100
    return mean


def broken_symmetry(mol, density, side):
    """The unrestricted solution from a restricted density whose spins are tilted to the two sides (N,) of a bond."""
    up = np.repeat(side, np.diff(mol.aoslice_by_atom()[:, 2:])[:, 0])
    tilt = np.where(up[:, None] & up, 1.0, np.where(up[:, None] | up, 0.0, -1.0))
    mean = field(mol, True)
    mean.kernel(np.stack([density / 2 * (1 + 0.6 * tilt), density / 2 * (1 - 0.6 * tilt)]))
    for _ in range(RESTARTS):
        orbitals, _, stable, _ = mean.stability(return_status=True)
        if stable:
            break
        lower = field(mol, True)
        lower.kernel(lower.make_rdm1(orbitals, mean.mo_occ))
        if not lower.converged:
            lower = lower.newton()
            lower.kernel(orbitals, mean.mo_occ)
        if lower.e_tot > mean.e_tot - 1e-5:
            break
        mean = lower
    return mean


def reference(z, x, charge: int, side=None):
    """(energy in eV, forces in eV/Å), or None without convergence. `side` (N,) asks for an unrestricted solution
    whose guess has opposite spins on the two sides."""
    mol = gto.M(atom=[(int(a), p) for a, p in zip(z, x, strict=True)], charge=charge, basis=BASIS, verbose=0)
    mean = field(mol, False)
    mean.kernel()
    if side is not None:
        mean = broken_symmetry(mol, mean.make_rdm1(), side)
    if not mean.converged:
        return None
    gradient = mean.nuc_grad_method()
    gradient.grid_response = True  # forces then add up to zero
    return mean.e_tot * HARTREE2EV, -gradient.kernel() * HARTREE2EV / BOHR


@cache
def atom_energy(symbol: str) -> float:
    """Of a neutral atom in eV."""
    atom = gto.M(atom=[(symbol, (0, 0, 0))], spin=SPIN[symbol], basis=BASIS, verbose=0)
    return field(atom, True).kernel() * HARTREE2EV


def plan(scale: float) -> list[tuple[str, str, int]]:
    """(group, name, frames) in the order they are stored."""
    counts = {"pool": 56, "far": 12, "bond": 12, "large": 8, "charge": 10}
    names = {"pool": MOLECULES + CLUSTERS, "far": FAR, "bond": PULLED, "large": LARGE, "charge": CHARGE}

    def count(group, name):
        return 80 if group == "pool" and name in MOLECULES else counts[group]

    return [(g, n, max(1, round(scale * count(g, n)))) for g in GROUPS for n in names[g]]


def frame(group: str, name: str, rng):
    """Numbers, positions, charge and the sides of a pulled bond (None where none is pulled)."""
    if name in MOLECULES:
        if group == "pool" and rng.uniform() < 0.5:
            return *shaken(name, rng), 0, None
        z, x, side = pulled(name, rng.uniform(*BOND[group]), rng)
        return z, x, 0, side
    parts = name.split()
    charge = sum(p.endswith("+") - p.endswith("-") for p in parts)
    far = (lambda: rng.uniform(2.0, 3.5)) if group == "far" else None
    z, x = assemble(parts, rng, far)
    return z, x, charge, None


def make(group: str, name: str, count: int, seed: int) -> tuple[list[tuple], int]:
    """Frames of one kind as (numbers, positions, forces, energy, charge, group, name), and how many were left out."""
    lib.num_threads(1)
    rng = np.random.default_rng([seed, *map(ord, group + name)])
    kept: list[tuple] = []
    missed = 0
    while len(kept) < count:
        try:
            z, x, charge, side = frame(group, name, rng)
        except ValueError:  # shaken until its bonds seem to close a ring
            missed += 1
            continue
        x = np.float32(x - x.mean(0)).astype(float)
        found = reference(z, x, charge, side)
        if found is None or np.abs(found[1]).max() > LARGEST_FORCE:
            missed += 1
            continue
        energy = found[0] - sum(atom_energy(chemical_symbols[a]) for a in z)
        kept.append((z, x, found[1], energy, charge, group, name))
    return kept, missed


def write(path: Path, frames: list[tuple]) -> None:
    """The archive, whole or not at all."""
    z, x, forces, energy, charge, group, name = zip(*frames, strict=True)
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            offsets=np.cumsum([0, *map(len, z)]).astype(np.int32),
            numbers=np.concatenate(z).astype(np.uint8),
            positions=np.concatenate(x).astype(np.float32),
            forces=np.concatenate(forces).astype(np.float32),
            energy=np.array(energy),
            charge=np.array(charge, np.int8),
            group=np.array(group),
            name=np.array(name),
            method=np.array(f"{FUNCTIONAL}, density fitting, def2-SVP, def2-SVPD on Cl (PySCF {version('pyscf')})"),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="kinds of frames that are made at the same time")
    parser.add_argument("--scale", type=float, default=1.0, help="times the number of frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FRAMES)
    options = parser.parse_args()
    folder = options.out.with_suffix(f".parts_{options.seed}_{options.scale:g}")
    folder.mkdir(parents=True, exist_ok=True)
    kinds = plan(options.scale)
    places = {kind: folder / f"{kind[0]}_{kind[1].replace(' ', '_')}.npz" for kind in kinds}
    begin = time.time()
    with ProcessPoolExecutor(options.jobs) as pool:
        running = {pool.submit(make, *kind, options.seed): kind for kind in kinds if not places[kind].exists()}
        for done in as_completed(running):
            kind, (frames, missed) = running[done], done.result()
            write(places[kind], frames)
            print(f"{time.time() - begin:7.0f} s  {kind[0]:7s}{kind[1]:30s}{kind[2]:5d}  left out {missed}", flush=True)
    write(options.out, [frame for kind in kinds for frame in read(places[kind])])
    shutil.rmtree(folder)
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
