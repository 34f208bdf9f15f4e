"""Anions as their neighbours leave them, with PySCF (imported lazily).

A halide ion X⁻ sits among six sodium ions, effective cores (Stuttgart) without functions of their own, and the point
charges of the rest of a cube of rock salt, those on its surface reduced to their share (Evjen). No crystal is measured
for it: its distance Na–X is that of the molecule, R_e, times (6/1.7476)^(1/7) = 1.193, which is what six neighbours,
Madelung's sum and a repulsion that falls as R⁻⁸ make of it (M. Born).

Hydride is softer than that: the potential of a single sodium ion at the distance of its molecule, averaged over
directions, already halves its ⟨r²⟩, for 0.4 eV. The cage of six would cost it 1.9 eV.

What belongs to the ion is its density ρ and the energy that this costs: the expectation value of the free ion's
Hamiltonian in the state that minimises H + V, E(1) − dE/ds, with E(s) the lowest energy of H + s V, less E(0).
"""

from dataclasses import dataclass

import numpy as np

from ..units import BOHR_IN_ANGSTROM
from .pyscf_atom import RADII, atom, diffuse_name, spherical_density
from .states import Recipe

MADELUNG, BORN_EXPONENT, NEIGHBOURS = 1.7476, 8, 6
WIDENING = (NEIGHBOURS / MADELUNG) ** (1 / (BORN_EXPONENT - 1))
LAYERS = 3
"""Of ions around the anion in the cube."""
STEP = 0.03
"""In s, of dE/ds."""
FIELD = 4e-3
"""Hartree/(e bohr), of the polarizability."""
_CATION = "Na"
BASIS = {"H": ("aug-cc-pVQZ", 1, 0), "F": ("aug-cc-pVTZ", 1, 1), "Cl": ("aug-cc-pV(T+d)Z", 1, 5)}
"""Basis, further diffuse shells and frozen core orbitals."""
ONE_NEIGHBOUR = {"H"}
"""Anions that one cation compresses, seen from all directions."""


@dataclass(frozen=True)
class CagedIon:
    """ρ on RADII; Δ = E[ρ] − E of the free ion in Hartree; polarizability in the cage in bohr³; how it was computed."""

    density: np.ndarray
    cost: float
    polarizability: float
    method: str
    basis: str


def caged_ion(symbol: str, recipe: Recipe) -> CagedIon:
    """The anion of a recipe with `molecule_distance`, by CCSD.

    Raises ValueError where an iteration does not converge, or PySCF is missing.
    """
    try:
        from pyscf import gto
    except ImportError as error:
        raise ValueError(f"building tables needs {error.name}; install it with: pip install pyscf") from None
    basis, diffuse, frozen = BASIS[symbol]
    free = atom(symbol, recipe.charge, recipe.spin, basis, diffuse)
    distance, alone = cage_distance(symbol, recipe), symbol in ONE_NEIGHBOUR
    bohr = distance / BOHR_IN_ANGSTROM
    near, others = ([np.array([0.0, 0.0, bohr])], []) if alone else rock_salt(bohr)
    core = gto.basis.load_ecp("stuttgart", _CATION)
    shells = {symbol: free._basis[symbol], _CATION: [[0, [1e5, 1.0]]]}  # PySCF asks for one function; this one is empty
    cage = gto.M(
        atom=[[symbol, (0.0, 0.0, 0.0)], *([_CATION, tuple(x)] for x in near)],
        basis=shells,
        ecp={_CATION: core},
        charge=recipe.charge + len(near),
        unit="Bohr",
        verbose=0,
    )
    functions = free.nao
    with cage.with_rinv_origin((0.0, 0.0, 0.0)):
        nucleus = -float(free.atom_charge(0)) * cage.intor("int1e_rinv")
    inside = cage.intor("int1e_kin") + nucleus
    potential = cage.intor("int1e_nuc") - nucleus + cage.intor("ECPscalar")
    for position, charge in others:
        with cage.with_rinv_origin(position):
            potential = potential - charge * cage.intor("int1e_rinv")
    if alone:
        potential = over_directions(cage, potential)
    with cage.with_common_origin((0.0, 0.0, 0.0)):
        dipole = cage.intor("int1e_r", comp=3)[2]
    where = f"{symbol} {recipe.label} in its cage"

    def energy(s, field=0.0, density=False):
        return _coupled_cluster(cage, inside + s * potential + field * dipole, frozen, where, density)

    whole, matrix = energy(1.0, density=True)
    slope = (energy(1 + STEP)[0] - energy(1 - STEP)[0]) / (2 * STEP)
    cost = whole - slope - energy(0.0)[0]
    polarizability = -2 * (energy(1.0, FIELD)[0] - whole) / FIELD**2
    assert matrix is not None
    rho = spherical_density(free, matrix[:functions, :functions], RADII)
    cations = f"one {_CATION}+ (effective core)" if alone else f"six {_CATION}+ (effective cores)"
    method = f"CCSD in a cage of {cations} at {distance:.3f} Å"
    method += ", averaged over directions" if alone else " and point charges"
    return CagedIon(rho, float(cost), float(polarizability), method, diffuse_name(basis, diffuse))


def cage_distance(symbol: str, recipe: Recipe) -> float:
    """From the anion to its neighbours, in Å."""
    return recipe.molecule_distance * (1.0 if symbol in ONE_NEIGHBOUR else WIDENING)


def over_directions(molecule, matrix: np.ndarray) -> np.ndarray:
    """A one-electron operator, averaged over all rotations about the atom whose functions these are: what couples equal
    angular functions alone, the same for all of a shell."""
    first, shells = molecule.ao_loc_nr(), []
    for shell in range(molecule.nbas):
        size = 2 * molecule.bas_angular(shell) + 1
        shells += [slice(at, at + size) for at in range(first[shell], first[shell + 1], size)]
    averaged = np.zeros_like(matrix)
    for rows in shells:
        for columns in shells:
            block = matrix[rows, columns]
            if block.shape[0] == block.shape[1]:
                averaged[rows, columns] = np.mean(np.diag(block)) * np.eye(len(block))
    return averaged


def rock_salt(distance: float) -> tuple[list[np.ndarray], list[tuple[np.ndarray, float]]]:
    """Positions of the six neighbours of an anion, and positions and charges of all further ions of a cube of rock salt
    that extends `LAYERS` distances each way and has no charge with the anion (Evjen: an ion on a face counts half, on
    an edge a quarter, in a corner an eighth)."""
    steps = np.arange(-LAYERS, LAYERS + 1)
    places = np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T
    share = np.prod(np.where(np.abs(places) == LAYERS, 0.5, 1.0), axis=1)
    size = np.sum(places**2, axis=1)
    charges = np.where(size % 2 == 1, 1.0, -1.0) * share
    near = [distance * x for x in places[size == 1]]
    return near, [(distance * x, float(q)) for x, q in zip(places[size > 1], charges[size > 1], strict=True)]


def _coupled_cluster(molecule, core, frozen: int, where: str, density: bool):
    """CCSD energy (Hartree, without the repulsion of nuclei) with this one-electron Hamiltonian, and its density matrix
    in atomic orbitals if asked for."""
    from pyscf import cc, scf

    mean_field = scf.RHF(molecule)
    mean_field.get_hcore = lambda *_: core
    mean_field.energy_nuc = lambda *_: 0.0
    mean_field.conv_tol, mean_field.max_cycle = 1e-11, 200
    mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"SCF of {where} did not converge; try another basis")
    correlated = cc.CCSD(mean_field, frozen=frozen or None)
    correlated.verbose, correlated.conv_tol, correlated.conv_tol_normt = 0, 1e-9, 1e-6
    correlated.kernel()
    if not correlated.converged:
        raise ValueError(f"CCSD of {where} did not converge; try another basis")
    if not density:
        return float(correlated.e_tot), None
    correlated.solve_lambda()
    orbitals = mean_field.mo_coeff
    return float(correlated.e_tot), orbitals @ correlated.make_rdm1() @ orbitals.T
