"""One atom in PySCF: the molecule, and the angular average of a density matrix on the common radial grid."""

import numpy as np

from .levels import CORE_OF

_POINTS = 1600
RADII = np.exp(np.linspace(np.log(1e-6), np.log(90.0), _POINTS))
"""Radial grid of every reference density, bohr, uniform in ln r."""
VOLUME_WEIGHTS = 4 * np.pi * RADII**3 * np.log(RADII[1] / RADII[0])
"""∫f d³r = Σ VOLUME_WEIGHTS f: the trapezoidal rule in ln r, exponentially accurate for densities."""


def atom(symbol, charge, spin, basis, extra_diffuse=0, symmetry=False):
    """The PySCF molecule of one atom in a basis of the Basis Set Exchange; ValueError if either is missing.

    `extra_diffuse` shells continue an "aug-" basis; any other gets s, p, d of its "aug-" family, once.
    """
    try:
        import basis_set_exchange as bse
        from pyscf import gto
    except ImportError as error:
        raise ValueError(
            f"building tables needs {error.name}; install it with: pip install pyscf basis_set_exchange"
        ) from None

    def shells_of(name, diffuse=0):
        try:
            text = bse.get_basis(name, elements=[symbol], fmt="nwchem", header=False, augment_diffuse=diffuse)
        except KeyError:
            raise ValueError(f"basis {name} has no {symbol}; choose another in level_of_theory") from None
        return gto.basis.parse(text.split("\nECP")[0])  # of a basis for effective cores, its functions alone

    valence, _, core = basis.partition(CORE_OF)
    family = valence.removesuffix("(spdf)")
    plain = extra_diffuse and not augmented(family)
    shells = shells_of(family, 0 if plain else extra_diffuse)
    if family != valence:
        shells = [shell for shell in shells if shell[0] <= 3]
    if plain:  # the even-tempered rule finds nothing to continue in the contractions of these bases
        held = _single_gaussians(shells)
        outer = _single_gaussians(shells_of(f"aug-{family}"))
        shells += [[n, [a, 1.0]] for n, a in outer if n <= 2 and (n, a) not in held]
    if core:
        held = _single_gaussians(shells_of(core.replace("pwCV", "pV")))
        shells += [[n, [a, 1.0]] for n, a in _single_gaussians(shells_of(core)) if (n, a) not in held]
    return gto.M(
        atom=[[symbol, (0.0, 0.0, 0.0)]],
        charge=charge,
        spin=spin,
        basis={symbol: shells},
        symmetry=symmetry,
        verbose=0,
    )


def augmented(basis: str) -> bool:
    """Whether a basis has diffuse functions of its own."""
    return basis.startswith(("aug-", "d-aug-"))


def diffuse_name(basis: str, count: int) -> str:
    """Name of a basis with `count` further diffuse shells, as `atom` adds them."""
    if not count:
        return basis
    if augmented(basis):
        return f"{basis} + {count} diffuse shell{'s' * (count > 1)}"
    return f"{basis} + s, p, d of aug-{basis}"


def _single_gaussians(shells) -> list[tuple[int, float]]:
    """Angular momentum and exponent of every contraction of a basis that has one primitive only."""
    found = []
    for angular, *primitives in shells:
        table = np.array(primitives)
        for column in table.T[1:]:
            if np.count_nonzero(column) == 1:
                found.append((angular, float(table[column != 0, 0][0])))
    return found


def spherical_density(molecule, matrix: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Angular average of Σ_ij D_ij χ_i χ_j for one atom at the origin, spherical Gaussians, on radii `r`."""
    shells: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    starts = molecule.ao_loc_nr()
    for shell in range(molecule.nbas):
        angular = int(molecule.bas_angular(shell))
        contraction = molecule._libcint_ctr_coeff(shell)
        primitives = r[:, None] ** angular * np.exp(-np.outer(r**2, molecule.bas_exp(shell)))
        for column in range(contraction.shape[1]):
            first = starts[shell] + column * (2 * angular + 1)
            functions = np.arange(first, first + 2 * angular + 1)
            shells.setdefault(angular, []).append((primitives @ contraction[:, column], functions))
    density = np.zeros_like(r)
    for angular, members in shells.items():
        radial = np.stack([values for values, _ in members])
        index = np.stack([functions for _, functions in members])
        averaged = sum(matrix[np.ix_(index[:, m], index[:, m])] for m in range(2 * angular + 1))
        density += np.einsum("ir,ij,jr->r", radial, averaged, radial) / (4 * np.pi)
    return density
