"""jax-md's integrators, driven by forces that are computed outside of them.

An integrator of jax-md calls a force function and throws away whatever else that function knows. Here the weights
and their convergence must come out of every step, so a step is done in three parts: run the integrator with
forces of zero to learn where the atoms go (the new positions never depend on the new forces), equilibrate there
once, and run it again with the forces found. Integrators cost microseconds; there is one solve per step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import simulate, space

from ectjax.units import BOLTZMANN_EV_PER_K

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("nose-hoover", "langevin")


class Integrator(NamedTuple):
    """Functions of a jax-md state.

    start(key, positions, cell, masses, momenta, forces, virial) → state;
    step(state, forces, old_virial, virial) → state with new positions and momenta;
    cell(state) → (3, 3) rows or None; conserved(state, potential) → eV (NaN where nothing is conserved).
    `virial` is dE/dε under r → (1 + ε) r, in eV.
    """

    start: Callable
    step: Callable
    cell: Callable
    conserved: Callable


@lru_cache(maxsize=8)
def make_integrator(
    ensemble: str,
    dt: float,
    *,
    temperature: float = 0.0,
    pressure: float = 0.0,
    tau: float = 0.0,
    barostat_tau: float = 0.0,
    thermostat: str = "nose-hoover",
    cell: tuple[tuple[float, ...], ...] | None = None,
    atoms: int = 1,
) -> Integrator:
    """dt, tau in √(amu Å²/eV), temperature in K, pressure in eV/Å³; positions are real and not wrapped.

    `cell` is a tuple of rows, or None. The same arguments give the same object: nothing is compiled twice.
    """
    fixed = None if cell is None else np.array(cell)
    kT = temperature * BOLTZMANN_EV_PER_K
    _, shift = space.free()
    freedom = degrees_of_freedom(atoms)
    if ensemble == "npt":
        return _npt(dt, kT, pressure, tau, barostat_tau, shift, freedom)

    def given(R, *, forces, **_):
        return forces

    if ensemble == "nve":
        init, apply = simulate.nve(given, shift, dt)
    elif thermostat == "langevin":
        init, apply = simulate.nvt_langevin(given, shift, dt, kT, gamma=1.0 / tau)
    else:
        init, apply = simulate.nvt_nose_hoover(given, shift, dt, kT, chain_length=3, tau=tau)
    chained = ensemble == "nvt" and thermostat == "nose-hoover"

    def start(key, positions, cell, masses, momenta, forces, virial):
        options = {"kT": kT} if ensemble == "nve" else {}
        state = init(key, positions, mass=masses, momenta=momenta, forces=forces, **options)
        return state.set(chain=state.chain.set(degrees_of_freedom=freedom)) if chained else state

    def step(state, forces, old_virial, virial):
        return apply(state, forces=forces)

    def cell_of(state):
        return None if fixed is None else jnp.asarray(fixed, state.position.dtype)

    def conserved(state, potential):
        total = potential + kinetic_energy(state)
        if ensemble == "nve":
            return total
        if not chained:
            return jnp.full_like(total, jnp.nan)
        return total + _chain_energy(state.chain, kT)

    return Integrator(start, step, cell_of, conserved)


def _npt(dt, kT, pressure, tau, barostat_tau, shift, freedom) -> Integrator:
    """Isotropic pressure. Positions are real: jax-md's update r·e^x − r is meant for them (with fractional
    coordinates it would add an unphysical drift of relative size 1/box)."""

    def linear(R, *, box, perturbation=1.0, forces, before, old_virial, virial, **_):
        slope = jnp.where(jnp.all(R == before), old_virial, virial)
        return -jnp.sum(forces * R) + slope * (perturbation - 1.0)

    init, apply = simulate.npt_nose_hoover(
        linear,
        shift,
        dt,
        pressure,
        kT,
        barostat_kwargs={"tau": barostat_tau},
        thermostat_kwargs={"tau": tau},
    )

    def start(key, positions, cell, masses, momenta, forces, virial):
        known = {"forces": forces, "before": positions, "old_virial": virial, "virial": virial}
        state = init(key, positions, jnp.asarray(cell).T, mass=masses, momenta=momenta, **known)
        return state.set(thermostat=state.thermostat.set(degrees_of_freedom=freedom))

    def step(state, forces, old_virial, virial):
        known = {"forces": forces, "before": state.position, "old_virial": old_virial, "virial": virial}
        return apply(state, **known)

    def cell_of(state):
        return simulate.npt_box(state).T

    def conserved(state, potential):
        volume = jnp.abs(jnp.linalg.det(cell_of(state)))
        box = 0.5 * state.box_momentum**2 / state.box_mass + pressure * volume
        chains = _chain_energy(state.thermostat, kT) + _chain_energy(state.barostat, kT)
        return potential + kinetic_energy(state) + box + chains

    return Integrator(start, step, cell_of, conserved)


def degrees_of_freedom(atoms: int) -> int:
    """3N − 3: the centre of mass rests."""
    return max(3 * atoms - 3, 3)


def kinetic_energy(state) -> jax.Array:
    """½ Σ p²/m in eV."""
    return 0.5 * jnp.sum(state.momentum**2 / state.mass)


def _chain_energy(chain, kT):
    kinetic = jnp.sum(chain.momentum**2 / (2.0 * chain.mass))
    return kinetic + kT * (chain.degrees_of_freedom * chain.position[0] + jnp.sum(chain.position[1:]))
