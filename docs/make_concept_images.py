"""Makes the pictures of docs/concepts: `python docs/make_concept_images.py`, under a minute."""

from dataclasses import replace
from pathlib import Path

import jax
import matplotlib
import numpy as np

import ectjax
from ectjax.tables import NUMBERS, load_element
from ectjax.units import BOHR_IN_ANGSTROM, COULOMB_EV_ANGSTROM, HARTREE_IN_EV

matplotlib.use("Agg")
import matplotlib.pyplot as plt

IMAGES = Path(__file__).parent / "images"


def scan(parameters, pair, distances):
    """Energies in eV and charges of the first atom in e."""
    model = ectjax.load_model(parameters, list(pair))
    numbers = [NUMBERS[s] for s in pair]
    solve = jax.jit(lambda system: ectjax.potential_energy(model, system))
    found = [solve(ectjax.build_system(model, numbers, [[0, 0, 0], [0, 0, r]])) for r in distances]
    return np.array([float(e) for e, _ in found]), np.array([float(x.charges[0]) for _, x in found])


def ionisation_and_affinity(symbol):
    """I and A in eV, from the table."""
    element = load_element(symbol)
    return element.state("+1").energy * HARTREE_IN_EV, -element.state("-1").energy * HARTREE_IN_EV


def charge_equilibration(pair, distances):
    """Charge of the first atom where E = Σ χq + ½ηq² + q_A q_B J(R) is stationary, J shielded by both hardnesses."""
    (ia, aa), (ib, ab) = map(ionisation_and_affinity, pair)
    eta = (ia - aa) + (ib - ab)
    length = COULOMB_EV_ANGSTROM / (0.5 * eta)  # J(0) is the mean hardness
    coulomb = COULOMB_EV_ANGSTROM / (distances**3 + length**3) ** (1 / 3)
    return 0.5 * ((ib + ab) - (ia + aa)) / (eta - 2 * coulomb)


def states() -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.1), layout="constrained")
    r = np.linspace(0.01, 3.6, 400)
    for axis, symbol in zip(axes, ("O", "Na"), strict=True):
        for label, color in (("+1", "C3"), ("0", "0.2"), ("-1", "C0")):
            state = load_element(symbol).state(label)
            x = r / BOHR_IN_ANGSTROM
            name = symbol + {"+1": "⁺", "0": "", "-1": "⁻"}[label]
            axis.plot(r, 4 * np.pi * x**2 * np.asarray(state.density(x)) / BOHR_IN_ANGSTROM, color=color, label=name)
        axis.set_yscale("log")
        axis.set_ylim(0.01, 60)
        axis.set_xlabel("distance from the nucleus / Å")
        axis.set_ylabel("4πr²ρ / (e/Å)")
        axis.legend(frameon=False)
    figure.savefig(IMAGES / "states.png", dpi=100)


def charge_transfer() -> None:
    shipped = ectjax.load_parameters("curves")
    strict = replace(shipped, elements={s: {**x, "kappa": 0.0} for s, x in shipped.elements.items()})
    r = np.linspace(1.9, 12, 203)
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    (cost, _), (_, gain) = ionisation_and_affinity("Na"), ionisation_and_affinity("Cl")
    above.plot(r, cost - gain - COULOMB_EV_ANGSTROM / r, color="0.6", lw=0.9)
    above.axhline(0, color="0.6", lw=0.9)
    for name, parameters, style in (("curves", shipped, "-"), ("strict", strict, "--")):
        energy, charge = scan(parameters, ("Na", "Cl"), r)
        above.plot(r, energy, style, label=name)
        below.plot(r, charge, style, label=name)
    above.set_ylim(-5.5, 2)
    above.set_ylabel("energy / eV")
    above.legend(frameon=False)
    below.set_ylabel("charge of Na / e")
    below.set_xlabel("distance / Å")
    figure.savefig(IMAGES / "charge_transfer.png", dpi=100)


def dissociation() -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.1), sharey=True, layout="constrained")
    for axis, pair in zip(axes, (("Na", "F"), ("H", "F")), strict=True):
        r = np.linspace(1.6 if pair[0] == "Na" else 0.75, 14, 180)
        axis.plot(r, scan("default", pair, r)[1], label="this model")
        axis.plot(r, charge_equilibration(pair, r), "--", label="charge equilibration")
        axis.set_title(f"{pair[0]}–{pair[1]}: charge of {pair[0]}", fontsize=10)
        axis.set_xlabel("distance / Å")
        axis.axhline(0, color="0.8", lw=0.8, zorder=0)
        axis.set_ylim(-0.05, 1.05)
    axes[0].set_ylabel("charge / e")
    axes[1].legend(frameon=False)
    figure.savefig(IMAGES / "dissociation.png", dpi=100)


if __name__ == "__main__":
    with jax.enable_x64(True):
        states()
        charge_transfer()
        dissociation()
