"""Correlated energy and spherically averaged density of one atomic state with PySCF (imported lazily)."""

from dataclasses import dataclass

import numpy as np

from ..tables import NUMBERS
from .states import Recipe

_POINTS = 1600
RADII = np.exp(np.linspace(np.log(1e-6), np.log(90.0), _POINTS))
"""Radial grid of every reference density, bohr, uniform in ln r."""
VOLUME_WEIGHTS = 4 * np.pi * RADII**3 * np.log(RADII[1] / RADII[0])
"""∫f d³r = Σ VOLUME_WEIGHTS f: the trapezoidal rule in ln r, exponentially accurate for densities."""
_SMALLER = {"Q": ("T", 27 / 37), "T": ("D", 8 / 19)}
"""Next smaller basis of a family and the weight of the X⁻³ extrapolation of the correlation energy."""
_IRREP = {"s": "Ag", "x": "B3u", "y": "B2u", "z": "B1u"}


@dataclass(frozen=True)
class Reference:
    """What the quantum chemistry gave for one state (atomic units)."""

    density: np.ndarray
    """ρ on RADII."""
    energy: float
    """Total energy, Hartree."""
    method: str
    basis: str
    homo: float
    """Highest occupied orbital energy, Hartree (nan if not computed)."""


def level_of_theory(symbol: str) -> tuple[str, int, bool]:
    """Basis set name (Basis Set Exchange), number of frozen orbitals, scalar relativity."""
    z = NUMBERS[symbol]
    if z <= 2:
        return "d-aug-cc-pVQZ", 0, False
    if symbol in {"C", "N", "O", "F"}:
        return "aug-cc-pVQZ", 1, False
    if symbol == "Li":
        return "aug-cc-pCVQZ(spdf)", 0, False
    if symbol == "Cl":
        return "aug-cc-pV(Q+d)Z", 5, False
    # triple zeta so far for the others; replace the letter to raise it
    if z == 4:
        return "aug-cc-pCVTZ", 0, False
    if z <= 10:
        return "aug-cc-pVTZ", 1, False
    if z <= 12:
        return "aug-cc-pCVTZ", 1, False
    if z <= 18:
        return "aug-cc-pV(T+d)Z", 5, False
    return "def2-QZVPPD", 5, True


def compute(symbol: str, recipe: Recipe, neutral: Reference | None = None) -> Reference:
    """UCCSD(T) energy and UCCSD density of one state; low-spin terms relative to the neutral ground state.

    Raises ValueError for an iteration that did not converge, a basis without the element, or missing PySCF; each
    says which state and what to try.
    """
    if recipe.electrons == 0:
        return Reference(np.zeros_like(RADII), 0.0, "bare nucleus", "", float("nan"))
    if recipe.exact:
        return _hydrogen(recipe)
    where = f"{symbol} {recipe.label} ({recipe.configuration} {recipe.term})"
    if recipe.roots:
        if neutral is None:
            raise ValueError(f"{where} is computed relative to the neutral ground state; build state 0 first")
        return _low_spin(symbol, recipe, neutral, where)
    name, frozen, relativistic = level_of_theory(symbol)
    molecule, mean_field = _mean_field(symbol, recipe, name, relativistic, where)
    homo = max(float(e[o > 0].max()) for e, o in zip(mean_field.mo_energy, mean_field.mo_occ, strict=True) if any(o))
    core = "X2C-" if relativistic else ""
    if recipe.electrons - 2 * frozen <= 1:
        energy, matrix, method = mean_field.e_tot, np.sum(mean_field.make_rdm1(), axis=0), f"{core}UHF"
    else:
        correlated, correlation = _coupled_cluster(mean_field, frozen, where, name)
        energy = mean_field.e_tot + correlation
        extrapolated = ""
        if "def2" not in name and "(spdf)" not in name:
            letter = "Q" if "Q" in name else "T"
            smaller, factor = _SMALLER[letter]
            _, other = _mean_field(symbol, recipe, name.replace(letter, smaller), relativistic, where)
            energy += (correlation - _coupled_cluster(other, frozen, where, smaller)[1]) * factor
            extrapolated = f"/CBS({smaller},{letter})"
        correlated.solve_lambda()
        if not correlated.converged_lambda:
            raise ValueError(f"UCCSD lambda equations of {where} did not converge in {name}; try another basis")
        matrix = sum(correlated.make_rdm1(ao_repr=True))
        method = f"{core}UCCSD(T){extrapolated} energy, UCCSD density"
        if frozen:
            method += f", {frozen} frozen core orbitals"
    if recipe.rydberg:
        name += " + 1 diffuse shell"
    return Reference(spherical_density(molecule, matrix, RADII), float(energy), method, name, homo)


def _mean_field(symbol, recipe, basis, relativistic, where):
    """The molecule and its converged UHF determinant with the recipe's occupation."""
    molecule = _atom(symbol, recipe.charge, recipe.spin, basis, recipe.rydberg, symmetry="D2h")
    from pyscf import scf

    mean_field = scf.UHF(molecule)
    if relativistic:
        mean_field = mean_field.x2c1e()
    mean_field.irrep_nelec = {_IRREP[k]: v for k, v in recipe.occupation.items()}
    mean_field.conv_tol, mean_field.max_cycle = 1e-10, 200
    mean_field.kernel()
    if not mean_field.converged:
        mean_field = mean_field.newton()
        mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"SCF of {where} did not converge in {basis}; try another basis or configuration")
    return molecule, mean_field


def _coupled_cluster(mean_field, frozen, where, basis):
    """Converged UCCSD and the UCCSD(T) correlation energy."""
    from pyscf import cc

    correlated = cc.UCCSD(mean_field, frozen=frozen or None)
    correlated.conv_tol, correlated.conv_tol_normt, correlated.max_cycle = 1e-8, 1e-5, 200
    correlated.kernel()
    if not correlated.converged:
        raise ValueError(f"UCCSD of {where} did not converge in {basis}; try another basis or configuration")
    return correlated, float(correlated.e_corr + correlated.ccsd_t())


def _atom(symbol, charge, spin, basis, extra_diffuse=False, symmetry=False):
    """The PySCF molecule of one atom in a basis of the Basis Set Exchange; ValueError if either is missing."""
    try:
        import basis_set_exchange as bse
        from pyscf import gto
    except ImportError as error:
        raise ValueError(
            f"building tables needs {error.name}; install it with: pip install 'ectjax[generate]'"
        ) from None
    family = basis.removesuffix("(spdf)")
    try:
        text = bse.get_basis(
            family, elements=[symbol], fmt="nwchem", header=False, augment_diffuse=1 if extra_diffuse else 0
        )
    except KeyError:
        raise ValueError(f"basis {basis} has no {symbol}; choose another in level_of_theory") from None
    shells = gto.basis.parse(text)
    if family != basis:
        shells = [shell for shell in shells if shell[0] <= 3]
    return gto.M(
        atom=[[symbol, (0.0, 0.0, 0.0)]],
        charge=charge,
        spin=spin,
        basis={symbol: shells},
        symmetry=symmetry,
        verbose=0,
    )


def _low_spin(symbol: str, recipe: Recipe, neutral: Reference, where: str) -> Reference:
    """A ¹D or ²D term: ground state's coupled cluster + [term − ground] from valence CASSCF and NEVPT2."""
    from pyscf import fci, mcscf, mrpt, scf

    name, _, _ = level_of_theory(symbol)
    core = {"[He]": 2, "[Ne]": 10}[recipe.configuration.split()[0]]
    electrons = recipe.electrons - core
    high_spin = 3 if electrons == 5 else 2
    ground_roots = 1 if electrons == 5 else 3
    start = scf.ROHF(_atom(symbol, 0, high_spin, name)).run(conv_tol=1e-10)
    energies, densities = [], []
    for spin, roots in ((high_spin, ground_roots), (recipe.spin, recipe.roots)):
        half = 0.5 * spin
        counts = ((electrons + spin) // 2, (electrons - spin) // 2)
        average = mcscf.CASSCF(start, 4, counts)
        if roots > 1:
            average = average.state_average_([1 / roots] * roots)
        fci.addons.fix_spin_(average.fcisolver, ss=half * (half + 1))
        average.conv_tol, average.conv_tol_grad, average.max_cycle_macro = 1e-8, 1e-3, 200
        average.kernel(start.mo_coeff)
        if not average.converged:
            raise ValueError(f"CASSCF of {where} did not converge in {name}; try another basis")
        single = mcscf.CASCI(start, 4, counts)
        single.fcisolver.nroots = roots
        fci.addons.fix_spin_(single.fcisolver, ss=half * (half + 1))
        single.kernel(average.mo_coeff)
        total = np.atleast_1d(single.e_tot)
        energies.append(float(total[0]) + float(mrpt.NEVPT(single, root=0).kernel()))
        if np.ptp(total) > 2e-4:
            raise ValueError(f"the {roots} components of {where} came out unequal by {np.ptp(total):.1e} Hartree")
        densities.append(spherical_density(start.mol, average.make_rdm1(), RADII))
    method = neutral.method + f"; {recipe.term} - ground term by state-averaged CASSCF({electrons},4) and NEVPT2"
    density = neutral.density + densities[1] - densities[0]
    return Reference(density, neutral.energy + energies[1] - energies[0], method, name, float("nan"))


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


def _hydrogen(recipe: Recipe) -> Reference:
    r = RADII
    density = {
        "1s": np.exp(-2 * r) / np.pi,
        "2s": (2 - r) ** 2 * np.exp(-r) / (32 * np.pi),
        "2p": r**2 * np.exp(-r) / (96 * np.pi),
    }[recipe.exact]
    energy = -0.5 if recipe.exact == "1s" else -0.125
    return Reference(density, energy, "exact, non-relativistic, infinite nuclear mass", "", energy)
