"""Correlated energy and spherically averaged density of one atomic state with PySCF (imported lazily)."""

from dataclasses import dataclass

import numpy as np

from .caged import caged_ion
from .composite import basis_limit, mp2_energy
from .d_shell import IRREP, d_electrons, d_guess, d_population
from .levels import level_of_theory
from .low_spin import low_spin_change, valence_electrons
from .pyscf_atom import RADII, atom, diffuse_name, spherical_density
from .spin_orbit import lowest_level
from .states import Recipe, recipes

_MEMORY = 9000
"""Megabytes for coupled cluster; enough to keep the integrals of 150 functions in memory."""


@dataclass(frozen=True)
class Reference:
    """What the quantum chemistry gave for one state (atomic units)."""

    density: np.ndarray
    """ρ on RADII."""
    energy: float
    """Total energy, Hartree; of an anion in a cage, above the free one."""
    method: str
    basis: str
    homo: float
    """Highest occupied orbital energy, Hartree (nan if not computed)."""


def compute(symbol: str, recipe: Recipe, neutral: Reference | None = None) -> Reference:
    """UCCSD(T) energy and UCCSD density of one state; low-spin terms relative to the neutral ground state.

    Raises ValueError for an iteration that did not converge, a basis without the element, or missing PySCF; each
    says which state and what to try.
    """
    if recipe.electrons == 0:
        return Reference(np.zeros_like(RADII), 0.0, "bare nucleus", "", float("nan"))
    if recipe.exact:
        return _hydrogen(recipe)
    if recipe.molecule_distance:
        ion = caged_ion(symbol, recipe)
        return Reference(ion.density, ion.cost, ion.method, ion.basis, float("nan"))
    where = f"{symbol} {recipe.label} ({recipe.configuration} {recipe.term})"
    if recipe.roots:
        if neutral is None:
            raise ValueError(f"{where} is computed relative to the neutral ground state; build state 0 first")
        energy, change = low_spin_change(symbol, recipe)
        level = level_of_theory(symbol)
        if level.spin_orbit:  # the change is between the centres of the two terms
            ground = recipes(symbol)["0"]
            energy -= lowest_level(_mean_field(symbol, ground, level.core[0], level.relativistic, where)[1], ground)
        electrons = valence_electrons(recipe)
        splitting = f"{recipe.term} - ground term by state-averaged CASSCF({electrons},4), NEVPT2 and FCI"
        method = f"{neutral.method}; {splitting}"
        density = neutral.density + change
        return Reference(density, neutral.energy + energy, method, level_of_theory(symbol).basis, float("nan"))
    level = level_of_theory(symbol)
    name, frozen = level.basis, level.frozen
    molecule, mean_field = _mean_field(symbol, recipe, name, level.relativistic, where)
    core = "X2C-" if level.relativistic else ""
    added, beyond = _beyond(symbol, recipe, level, mean_field, where)
    if recipe.electrons - 2 * frozen <= 1:
        energy, matrix, method = mean_field.e_tot, _total(mean_field.make_rdm1()), f"{core}UHF"
    else:
        correlated = _coupled_cluster(mean_field, frozen, where, name)
        doubles, triples = float(correlated.e_corr), None
        if not level.small_triples:
            triples = float(correlated.ccsd_t())
        if level.smaller:
            _, other = _mean_field(symbol, recipe, level.smaller, level.relativistic, where)
            other = _coupled_cluster(other, frozen, where, level.smaller)
            small_triples = float(other.ccsd_t())
            triples = small_triples if triples is None else triples + (triples - small_triples) * level.weight
            doubles += (doubles - float(other.e_corr)) * level.weight
        energy = mean_field.e_tot + doubles + triples
        correlated.solve_lambda()
        if not correlated.converged_lambda:
            raise ValueError(f"UCCSD lambda equations of {where} did not converge in {name}; try another basis")
        matrix = _total(correlated.make_rdm1(ao_repr=True))
        extrapolated = f"/CBS{level.extrapolation}" if level.smaller else ""
        if level.small_triples:
            method = f"{core}UCCSD{extrapolated} energy with (T) of {level.smaller}, UCCSD density"
        else:
            method = f"{core}UCCSD(T){extrapolated} energy, UCCSD density"
        if frozen:
            method += f", {frozen} frozen core orbitals"
    energy, method = energy + added, method + beyond
    homo = _highest_occupied(mean_field)
    name = diffuse_name(name, recipe.rydberg)
    return Reference(spherical_density(molecule, matrix, RADII), float(energy), method, name, homo)


def _beyond(symbol, recipe, level, mean_field, where) -> tuple[float, str]:
    """Energy (Hartree) that the level adds to coupled cluster in its basis, and how the method is described."""

    def fields(*bases):
        return tuple(_mean_field(symbol, recipe, basis, level.relativistic, where)[1] for basis in bases)

    added, named = 0.0, ""
    if all(level.limit):
        added += basis_limit(fields(*level.limit), mean_field, level)
        named += f", basis limit by MP2 in {level.limit[0]} and {level.limit[1]}"
    basis, outer = level.core
    if basis:
        (large,) = fields(basis)
        for frozen, sign in ((outer, 1), (level.frozen, -1)):
            if recipe.electrons - 2 * frozen <= 1:
                continue
            if level.core_by == "MP2":
                added += sign * mp2_energy(large, frozen)
            else:
                correlated = _coupled_cluster(large, frozen, where, basis)
                added += sign * float(correlated.e_corr + correlated.ccsd_t())
        named += f", core down to {outer} frozen orbitals by {level.core_by} in {basis}"
        if level.spin_orbit:
            added += lowest_level(large, recipe)
            named += ", lowest level by spin-orbit coupling"
    return added, named


def _total(matrix) -> np.ndarray:
    """The density matrix of both spins: restricted codes give it at once, unrestricted ones as a pair."""
    matrix = np.asarray(matrix)
    return matrix if matrix.ndim == 2 else matrix.sum(axis=0)


def _highest_occupied(mean_field) -> float:
    energies, occupations = np.asarray(mean_field.mo_energy), np.asarray(mean_field.mo_occ)
    return float(energies[occupations > 0].max())


def _mean_field(symbol, recipe, basis, relativistic, where):
    """The molecule and its converged UHF determinant with the recipe's occupation (RHF, the same, if closed)."""
    molecule = atom(symbol, recipe.charge, recipe.spin, basis, recipe.rydberg, symmetry="D2h")
    from pyscf import scf

    closed = all(alpha == beta for alpha, beta in recipe.occupation.values())
    mean_field = scf.RHF(molecule) if closed else scf.UHF(molecule)
    if relativistic:
        mean_field = mean_field.x2c1e()
    mean_field.irrep_nelec = {IRREP[k]: 2 * v[0] if closed else v for k, v in recipe.occupation.items()}
    mean_field.conv_tol, mean_field.max_cycle = 1e-10, 200
    wanted = d_electrons(recipe)
    mean_field.kernel(d_guess(mean_field, recipe) if wanted else None)
    if not mean_field.converged:
        mean_field = mean_field.newton()
        mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"SCF of {where} did not converge in {basis}; try another basis or configuration")
    found = d_population(mean_field)
    if abs(found - wanted) > 0.3:
        raise ValueError(f"SCF of {where} converged to {found:.2f} d electrons in {basis}; try another basis or guess")
    return molecule, mean_field


def _coupled_cluster(mean_field, frozen, where, basis):
    """Converged UCCSD; closed shells by the restricted code, which gives the same, faster."""
    from pyscf import cc

    correlated = cc.CCSD(mean_field, frozen=frozen or None)
    correlated.max_memory = _MEMORY
    correlated.conv_tol, correlated.conv_tol_normt, correlated.max_cycle = 1e-8, 1e-5, 200
    correlated.kernel()
    if not correlated.converged:
        raise ValueError(f"UCCSD of {where} did not converge in {basis}; try another basis or configuration")
    return correlated


def _hydrogen(recipe: Recipe) -> Reference:
    r = RADII
    density = {
        "1s": np.exp(-2 * r) / np.pi,
        "2s": (2 - r) ** 2 * np.exp(-r) / (32 * np.pi),
        "2p": r**2 * np.exp(-r) / (96 * np.pi),
    }[recipe.exact]
    energy = -0.5 if recipe.exact == "1s" else -0.125
    return Reference(density, energy, "exact, non-relativistic, infinite nuclear mass", "", energy)
