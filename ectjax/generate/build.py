"""From recipes to table files: compute, fit, attach measured energies, write; resumable state by state."""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import numpy as np

from ..tables import AtomicState, Element, read_table, symbol_of, write_table
from ..tables.goals import fit_error_goal
from ..tables.verify import evaluate, verify_state
from ..units import HARTREE_IN_EV
from .fit import Fit, fit_density
from .low_spin import low_spin_change
from .outcome import Outcome
from .pyscf_atom import RADII, VOLUME_WEIGHTS
from .reference import Reference, compute
from .states import Recipe, choose_states, recipes

_STORED = slice(400, None, 7)  # reference radii kept in the file: 1e-4 … 90 bohr
_UNBOUND_IONISATION = 0.2 / HARTREE_IN_EV


@cache
def experiment() -> dict[tuple[str, str, str], tuple[float, str]]:
    """(element, quantity, which) → (energy in Hartree, source) of the measured energies kept with the package."""
    lines = files("ectjax.generate").joinpath("experiment.csv").read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {
        (row["element"], row["quantity"], row["which"]): (
            float(row["energy_ev"]) / HARTREE_IN_EV,
            row["source"],
        )
        for row in rows
    }


def measured_energy(symbol: str, recipe: Recipe, cost: float = 0.0) -> tuple[float, str]:
    """Experimental energy relative to the neutral ground state (Hartree, nan if unknown) and its source; `cost`, what a
    cage does to an anion."""
    data, none = experiment(), (math.nan, "")
    if recipe.label == "0":
        return 0.0, "zero of energy"
    if recipe.molecule_distance:
        energy, source = measured_energy(symbol, recipes(symbol)["-1"])
        return energy + cost, f"{source}; with the cost of the cage, computed"
    if recipe.charge == -1:
        affinity, source = data.get((symbol, "affinity", "1"), none)
        return (-affinity, source) if recipe.bound and affinity > 0 else (math.nan, "")
    if recipe.charge > 0:
        steps = [data.get((symbol, "ionisation", str(k)), none) for k in range(1, recipe.charge + 1)]
        return sum(energy for energy, _ in steps), steps[0][1]
    return data.get((symbol, "excitation", recipe.excitation), none)


def decay_exponent(symbol: str, recipe: Recipe, energy: float, threshold: float = 0.0) -> tuple[float, str]:
    """Slowest exponent 2√(2I) and where I comes from; `energy` is the state's own (experimental before computed).

    `threshold` is the energy of the level that `recipe.leaves` names above the cation's ground state, Hartree.
    """
    if recipe.electrons == 0:
        return 0.0, "bare nucleus"
    if recipe.exact:
        return {"1s": 2.0, "2s": 1.0, "2p": 1.0}[recipe.exact], "exact"
    if recipe.molecule_distance:
        energy, _ = measured_energy(symbol, recipes(symbol)["-1"])
        ionisation, source = -energy, "electron affinity of the free ion"
    elif recipe.charge < 0 and not recipe.bound:
        ionisation, source = _UNBOUND_IONISATION, "unbound: chosen as if I were 0.2 eV"
    elif recipe.charge == -1:
        ionisation, source = -energy, "electron affinity"
    else:
        step, source = experiment()[(symbol, "ionisation", str(recipe.charge + 1))]
        ionisation = step - (energy if recipe.charge == 0 else 0.0)
        source = f"ionisation energy, {source}" + (", less the excitation energy" if recipe.label[-1] == "*" else "")
        if recipe.leaves:  # the tail belongs to the lowest ion that can be left behind without a spin flip
            left = recipe.leaves
            ionisation += threshold
            source += f", to the lowest spin-allowed level of the cation ({left.configuration} {left.term}, computed)"
    if not ionisation > 0:
        raise ValueError(
            f"{symbol} {recipe.label} is not bound (I = {ionisation * HARTREE_IN_EV:.3f} eV); leave it out"
        )
    return 2 * math.sqrt(2 * ionisation), source


def make_state(
    symbol: str,
    number: int,
    recipe: Recipe,
    reference: Reference,
    zero: float,
    threshold: float = 0.0,
    cost: float = 0.0,
) -> AtomicState:
    """Fit one reference and pack it with its energies. ValueError if the result breaks a hard condition."""
    measured, energy_source = measured_energy(symbol, recipe, cost)
    computed = reference.energy - zero
    own = computed if math.isnan(measured) else measured
    decay, decay_source = decay_exponent(symbol, recipe, own, threshold)
    if recipe.electrons == 0:
        fit = Fit(np.zeros(1), np.zeros(1, int), np.ones(1))
    elif recipe.exact:
        coefficients, powers = {
            "1s": ([1 / np.pi], [0]),
            "2p": ([1 / (96 * np.pi)], [2]),
            "2s": ([4 / (32 * np.pi), -4 / (32 * np.pi), 1 / (32 * np.pi)], [0, 1, 2]),
        }[recipe.exact]
        fit = Fit(np.array(coefficients), np.array(powers), np.full(len(powers), decay))
    else:
        fit = fit_density(reference.density, number, recipe.electrons, decay, goal=fit_error_goal(number))
    charge, excitation = recipe.charge, recipe.label.count("*")
    state = AtomicState(
        label=recipe.label,
        charge=charge,
        excitation=excitation,
        electrons=recipe.electrons,
        term=recipe.term,
        configuration=recipe.configuration or "bare nucleus",
        energy_computed=computed,
        energy_experimental=measured,
        energy_source=energy_source,
        bound=recipe.bound,
        decay=decay,
        decay_source=decay_source,
        method=reference.method,
        basis=reference.basis,
        coefficients=fit.coefficients,
        powers=fit.powers,
        exponents=fit.exponents,
        fit={"total_energy": reference.energy} | fit_errors(fit, reference.density),
        reference_radii=RADII[_STORED],
        reference_density=reference.density[_STORED],
    )
    check = verify_state(Element(symbol, number, (state,)), state)
    if check.faults:
        raise ValueError(f"{symbol} {recipe.label}: {'; '.join(check.faults)}; the state was not stored")
    return state


def fit_errors(fit: Fit, density: np.ndarray) -> dict[str, float]:
    """Fit against reference: l1 in electrons, moments ∫ρr^k of the reference, their and the Coulomb relative errors."""
    fitted = evaluate(*fit.terms, RADII)
    errors = {"l1": float(np.sum(VOLUME_WEIGHTS * np.abs(fitted - density)))}
    for name, k in (("inverse_r", -1), ("r", 1), ("r2", 2)):
        exact, found = (float(np.sum(VOLUME_WEIGHTS * d * RADII**k)) for d in (density, fitted))
        errors[name], errors[f"{name}_error"] = exact, found / exact - 1 if exact else 0.0
    exact, found = _self_repulsion(density), _self_repulsion(fitted)
    errors["self_repulsion"], errors["self_repulsion_error"] = exact, found / exact - 1 if exact else 0.0
    return errors


def _self_repulsion(density: np.ndarray) -> float:
    shells = VOLUME_WEIGHTS * density
    inside = np.cumsum(shells) - 0.5 * shells
    return float(np.sum(shells * inside / RADII))


def provenance() -> dict[str, str]:
    """Versions of what makes a table."""
    found = {}
    for package in ("ectjax", "pyscf", "basis_set_exchange", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def build_element(
    element: str | int,
    states: list[str] | None = None,
    out: str | Path = ".",
    force: bool = False,
    report: Callable[[Outcome], None] = lambda outcome: None,
    engine: Callable[[str, Recipe, Reference | None], Reference] = compute,
) -> list[Outcome]:
    """Build one element's table file in `out`, one state after another.

    States already in the file are kept; the file is rewritten, whole, after every state, so an interrupted build goes
    on where it stopped. A state that fails is reported and does not stop the others.

    Args:
        states: labels to build, all recipes by default; the neutral ground state is built too where the file lacks it.
        force: build the named states again; the file keeps its others, and those that fail as they were.
        engine: what computes a reference density; `compute` unless a test replaces it.

    Raises ValueError for an unknown element or state.
    """
    symbol = symbol_of(element)
    number = _number(symbol)
    wanted = choose_states(symbol, None if states is None else list(dict.fromkeys(["0", *states])))
    order = list(recipes(symbol))
    file = Path(out) / f"{symbol}.h5"
    again = {r.label for r in choose_states(symbol, states)} if force else set()
    kept = {state.label: state for state in read_table(file).states} if file.exists() else {}
    outcomes, neutral = [], None
    for recipe in wanted:
        if recipe.label in kept and recipe.label not in again:
            outcome = Outcome(symbol, recipe.label, "kept")
        else:
            try:
                if neutral is None and recipe.label != "0" and recipe.roots:
                    neutral = engine(symbol, recipes(symbol)["0"], None)
                reference, cost = engine(symbol, recipe, neutral), 0.0
                if recipe.molecule_distance:  # its energy is what the cage costs the free ion
                    if "-1" not in kept:
                        raise ValueError("needs the free anion; build state -1 first")
                    cost, free = reference.energy, kept["-1"].fit["total_energy"]
                    reference = replace(reference, energy=free + cost)
                if recipe.label == "0":
                    neutral = reference
                zero = reference.energy if recipe.label == "0" else kept["0"].fit["total_energy"]
                threshold = _threshold(symbol, recipe.leaves, kept, engine) if recipe.leaves else 0.0
                kept[recipe.label] = make_state(symbol, number, recipe, reference, zero, threshold, cost)
                ordered = sorted(kept.values(), key=lambda s: order.index(s.label) if s.label in order else 99)
                write_table(Element(symbol, number, tuple(ordered), provenance()), file)
                outcome = Outcome(symbol, recipe.label, "built")
            except (ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
                outcome = Outcome(symbol, recipe.label, "failed", str(error))
        outcomes.append(outcome)
        report(outcome)
        if recipe.label == "0" and "0" not in kept:
            rest = [replace(outcome, label=r.label, message="needs the neutral ground state") for r in wanted[1:]]
            for missing in rest:
                report(missing)
            return outcomes + rest
    return outcomes


def _threshold(symbol: str, left: Recipe, kept: dict[str, AtomicState], engine) -> float:
    """Energy of an excited cation above its ground state, both computed (Hartree)."""
    if left.roots:
        return low_spin_change(symbol, left)[0]
    ground = kept["+1"].fit["total_energy"] if "+1" in kept else engine(symbol, recipes(symbol)["+1"], None).energy
    return engine(symbol, left, None).energy - ground


def _number(symbol: str) -> int:
    from ..tables import NUMBERS

    return NUMBERS[symbol]
