"""The loop over steps: blocks of steps inside one compiled function, repaired on the host where they stop."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ectjax.calculate import Results, calculate, calculate_lightly
from ectjax.compilation import QUICK, compiled
from ectjax.coulomb import DampedShiftedForce, long_range_parameters
from ectjax.diagnose import explain
from ectjax.dynamics.integrators import Integrator, degrees_of_freedom, kinetic_energy
from ectjax.ensemble import HISTORY, default_tolerance, foreseen_weights
from ectjax.model import Model
from ectjax.native import NativeTables, native_tables, obstacle_of, usable
from ectjax.neighbors import VerletList, bucket_size, neighbor_list
from ectjax.potential import System
from ectjax.system import ALL_PAIRS_LIMIT, EWALD_ACCURACY
from ectjax.units import BOLTZMANN_EV_PER_K

FINE, LIST_WORN, NOT_CONVERGED = 0, 1, 2
BOX_MARGIN = 1.03
"""Wave vectors and meshes are good for cells stretched up to this factor; then a new list and new ones are made."""

LIST_GROWTH = 1.05
"""Ratio of successive sizes of neighbour lists: every slot costs in every step, a new size one compilation."""

LOOSE = 5e-4
"""Tolerance in eV from which on the foreseen weights are mostly good enough: one gradient, and with it the forces."""

BASIN_GAP = 1e-6
"""Energy in eV by which another basin must lie lower before a run changes over to it."""


class Moment(NamedTuple):
    """Everything a run continues from: the integrator's state, the results at its positions, and the corrected
    amplitudes (H, N, S) of this step and of those before, newest first."""

    state: Any
    results: Results
    step: jax.Array
    past: jax.Array


class Tally(NamedTuple):
    """Of a block of steps: iterations of the solver, gradients in all, largest residual."""

    iterations: int | jax.Array
    evaluations: int | jax.Array
    residual: float | jax.Array


class NotConverged(Exception):
    """A run cannot go on: the weights of a step do not converge, from a cold start either, or atoms fly apart."""


class Interrupted(Exception):
    """A run was stopped from outside; the message says how to go on."""


def virial(results: Results, cell) -> jax.Array:
    """dE/dε in eV for r → (1 + ε) r; zero without a cell, where nothing needs it."""
    if cell is None:
        return jnp.zeros((), results.energy.dtype)
    return jnp.trace(results.stress) * jnp.abs(jnp.linalg.det(cell))


@eqx.filter_jit
def _block(
    model, native, eager, system, verlet: VerletList | None, wave_cell, integrator, tolerance, moment: Moment, until
):
    """Steps until `until` or trouble. A step is only taken when its list is complete and its weights converged."""

    def going(carry):
        moment, _, flag = carry
        return (moment.step < until) & (flag == FINE)

    def outlook(moment):
        """Whether the list is good for the next step: known before the work that a worn list would waste."""
        if verlet is None:
            return jnp.zeros((), int)
        _, positions, cell = _place_ahead(integrator, moment)
        worn = verlet.needs_rebuild(positions, cell)
        if cell is not None:
            worn = worn | _stretched(wave_cell, cell)
        return jnp.where(worn, LIST_WORN, FINE).astype(int)

    def step(carry):
        moment, tally, _ = carry
        old_virial, positions, cell = _place_ahead(integrator, moment)
        moved = _moved(system, positions, cell)
        new = calculate(model, moved, foreseen_weights(moment.past), native=native, eager=eager, tolerance=tolerance)
        after = integrator.step(moment.state, new.forces, old_virial, virial(new, cell))
        past = jnp.concatenate([new.equilibration.corrected[None], moment.past[:-1]])
        taken = Moment(after, new, moment.step + 1, past)
        counted = Tally(
            tally.iterations + new.equilibration.iterations.astype(int),
            tally.evaluations + new.equilibration.evaluations.astype(int),
            jnp.maximum(tally.residual, new.equilibration.residual),
        )
        good = new.equilibration.converged
        taken, counted = jax.tree.map(lambda a, b: jnp.where(good, a, b), (taken, counted), (moment, tally))
        return taken, counted, jnp.where(good, outlook(taken), NOT_CONVERGED)

    none = jnp.zeros((), int)
    zero = Tally(none, none, jnp.zeros((), moment.results.energy.dtype))
    return jax.lax.while_loop(going, step, (moment, zero, outlook(moment)))


@compiled(QUICK)
def _cold_start(model, system, native, tolerance):
    """A cold start with native sums. It runs once or now and then: what counts is the time to compile it."""
    return calculate(model, system, native=native, tolerance=tolerance)


def _place_ahead(integrator: Integrator, moment: Moment):
    """Virial here, and positions and cell one step ahead: they do not depend on the forces there."""
    old_virial = virial(moment.results, integrator.cell(moment.state))
    nothing = jnp.zeros_like(moment.state.position)
    ahead = integrator.step(moment.state, nothing, old_virial, jnp.zeros_like(old_virial))
    return old_virial, ahead.position, integrator.cell(ahead)


def _stretched(first, cell):
    deformation = jnp.linalg.solve(first, cell)
    squared = jnp.linalg.eigvalsh(jnp.matmul(deformation, deformation.T, precision="highest"))
    return squared[-1] > BOX_MARGIN**2


def _moved(system: System, positions, cell) -> System:
    return eqx.tree_at(lambda s: (s.positions, s.cell), system, (positions, cell), is_leaf=lambda x: x is None)


class Simulation:
    """A run in memory: model, system, neighbour list and integrator; `advance(until)` goes on to a step.

    `tolerance` of the weights in eV, `accuracy` of the long-range sum as in `build_system`. Every `search_every` steps
    (0: never) a cold equilibration looks whether another basin has become lower than the one the warm starts follow; if
    so the run goes on in it, and `released` sums the energies in eV that were given up so. The conserved energy counts
    them. `native`: whether sums are compiled (`ectjax.native`), by default where that was built and serves the model.
    """

    def __init__(
        self,
        model: Model,
        system: System,
        integrator: Integrator,
        *,
        skin: float,
        tolerance: float | None = None,
        search_every: int = 0,
        accuracy: float = EWALD_ACCURACY,
        native: bool | None = None,
    ):
        self.model, self.system, self.integrator, self.skin = model, system, integrator, skin
        tolerance = default_tolerance(system.positions.dtype) if tolerance is None else tolerance
        self.tolerance = jnp.asarray(tolerance, system.positions.dtype)
        self.eager = float(tolerance) >= LOOSE
        self.search_every = search_every
        self.accuracy = accuracy
        self.native_wanted = usable() if native is None else native
        self.native: NativeTables | None = self._packed()
        self.basin_changes, self.released = 0, 0.0
        self.moment: Moment  # set by `begin` or `unpack`
        self.reference: tuple[np.ndarray, np.ndarray | None]
        self.rebuilds = self.cold_starts = 0
        self.verlet: VerletList | None = None
        self.wave_cell: jax.Array | None = None  # what the wave vectors or the mesh were made for

    def begin(self, momenta, masses, key) -> None:
        """Equilibrate from cold starts and set up the integrator's state."""
        self.make_list(self.system.positions, self.system.cell)
        results = self._cold(self.system)
        if not bool(results.equilibration.converged):
            raise NotConverged(self._told("step 0", self.system, results))
        self.moment = self._first(results, momenta, masses, key)

    def _first(self, results: Results, momenta, masses, key) -> Moment:
        place = self.system.positions, self.system.cell
        known = results.forces, virial(results, self.system.cell)
        own = (jnp.asarray(x, self.system.positions.dtype) for x in (masses, momenta))
        state = self.integrator.start(key, *place, *own, *known)
        return Moment(state, results, jnp.zeros((), int), _still(results))

    def _cold(self, system: System) -> Results:
        if self.native is None:
            return calculate_lightly(self.model, system, tolerance=self.tolerance)
        return _cold_start(self.model, system, self.native, self.tolerance)

    def pack(self) -> dict[str, np.ndarray]:
        """Everything that `unpack` needs to go on exactly as if nothing had happened."""
        positions, cell = self.reference
        packed = {f"leaf_{k}": np.asarray(x) for k, x in enumerate(jax.tree.leaves(self.moment))}
        packed |= {"list_positions": positions, "released": np.array(self.released)}
        packed["counts"] = np.array([self.rebuilds, self.cold_starts, self.basin_changes])
        packed["list_capacity"] = np.array(self.system.neighbors.capacity)
        return packed if cell is None else packed | {"list_cell": cell, "wave_cell": np.asarray(self.wave_cell)}

    def unpack(self, packed, momenta, masses, key) -> None:
        """Restore what `pack` gave, the neighbour list rebuilt from the very positions it was first made from."""
        # not `_cold`, whose compiler options cannot be traced; the shapes are the same
        expected = eqx.filter_eval_shape(lambda: self._first(calculate(self.model, self.system), momenta, masses, key))
        leaves, structure = jax.tree.flatten(expected)
        stored = [packed[f"leaf_{k}"] for k in range(len(leaves)) if f"leaf_{k}" in packed]
        if len(stored) != len(leaves) or any(a.shape != b.shape for a, b in zip(stored, leaves, strict=True)):
            raise ValueError("the checkpoint was written by another version or for another structure; start a new run")
        self.moment = jax.tree.unflatten(
            structure, [jnp.asarray(x, y.dtype) for x, y in zip(stored, leaves, strict=True)]
        )
        self.rebuilds, self.cold_starts, self.basin_changes = (int(x) for x in packed["counts"])
        self.released = float(packed["released"])
        if "wave_cell" in packed:
            self._make_waves(packed["wave_cell"])
        self.make_list(packed["list_positions"], packed.get("list_cell"), int(packed["list_capacity"]))

    def _make_waves(self, cell) -> None:
        """Wave vectors or a mesh good for this cell and for all it may stretch to."""
        self.wave_cell = jnp.asarray(cell)
        if isinstance(self.system.long_range, DampedShiftedForce):
            return  # good for any cell
        long_range = long_range_parameters(
            np.asarray(cell) * BOX_MARGIN, len(self.system.species), self.model.cutoff, self.accuracy
        )
        self.system = eqx.tree_at(lambda s: s.long_range, self.system, long_range)
        self.native = self._packed()

    def _packed(self) -> NativeTables | None:
        """The model's tables for compiled sums, where these are wanted."""
        if not self.native_wanted or obstacle_of(self.model) is not None:
            return None
        return native_tables(self.model, self.system.long_range)

    def make_list(self, positions, cell, capacity: int | None = None) -> None:
        """A neighbour list for these positions and, where the cell outgrew them, new wave vectors.

        `reference` remembers what the list was made from.
        """
        positions = np.asarray(positions)
        cell = None if cell is None else np.asarray(cell)
        self.reference = (positions, cell)
        if cell is None and len(positions) <= ALL_PAIRS_LIMIT:
            return
        cutoff = self.model.cutoff
        first = capacity is None and self.verlet is None
        if capacity is None:
            capacity = 0 if first else self.system.neighbors.capacity
        reach = cutoff + self.skin
        pairs = neighbor_list(positions, cell, cell is not None, reach, capacity=capacity, growth=LIST_GROWTH)
        if first:  # the list of a crystal grows as soon as the crystal warms up
            pairs = pairs.padded(bucket_size(math.ceil(1.03 * pairs.capacity), LIST_GROWTH))
        self.verlet = VerletList(pairs, jnp.asarray(positions), _array(cell), cutoff, self.skin)
        self.system = eqx.tree_at(lambda s: s.neighbors, self.system, pairs)
        if cell is not None and (self.wave_cell is None or bool(_stretched(self.wave_cell, cell))):
            self._make_waves(cell)

    def advance(self, until: int) -> Tally:
        """Go on to step `until`. Raises NotConverged when a cold start does not help either."""
        total = Tally(0, 0, 0.0)
        stuck_at = -1
        while int(self.moment.step) < until:
            before = int(self.moment.step)
            stop = until
            if self.search_every:
                stop = min(until, before + self.search_every - before % self.search_every)
            self.moment, tally, flag = _block(
                self.model,
                self.native,
                self.eager,
                self.system,
                self.verlet,
                self.wave_cell,
                self.integrator,
                self.tolerance,
                self.moment,
                jnp.asarray(stop),
            )
            total = Tally(
                total.iterations + int(tally.iterations),
                total.evaluations + int(tally.evaluations),
                max(total.residual, float(tally.residual)),
            )
            step = int(self.moment.step)
            if int(flag) == LIST_WORN and step < stop:
                if stuck_at == step and step == before:
                    raise NotConverged(
                        f"atoms move farther than the neighbour skin of {self.skin} Å in step {step + 1}; "
                        "shorten --dt or check the start geometry"
                    )
                stuck_at = step
                self.rebuilds += 1
                self.make_list(self.moment.state.position, self.integrator.cell(self.moment.state))
            elif int(flag) == NOT_CONVERGED:
                self._cold_start()
            elif self.search_every and step % self.search_every == 0:
                self._search()
        return total

    def _cold_start(self) -> None:
        """Solve the step that failed from three cold starts and let the run warm-start from the result."""
        self.cold_starts += 1
        _, positions, cell = _place_ahead(self.integrator, self.moment)
        moved = _moved(self.system, positions, cell)
        results = self._cold(moved)
        step = int(self.moment.step) + 1
        if not bool(results.equilibration.converged):
            raise NotConverged(self._told(f"step {step}", moved, results))
        weights = results.equilibration.weights
        again = calculate(self.model, moved, weights, native=self.native, tolerance=self.tolerance)
        if not bool(again.equilibration.converged):
            raise NotConverged(self._told(f"step {step}", moved, again))
        amplitudes = results.equilibration.amplitudes
        self.moment = eqx.tree_at(
            lambda m: (m.results.equilibration.weights, m.results.equilibration.amplitudes, m.past),
            self.moment,
            (weights, amplitudes, _still(results)),
        )

    def _search(self) -> None:
        """Go over to the basin that a cold equilibration finds where it lies lower than the present one."""
        state, old = self.moment.state, self.moment.results
        here = _moved(self.system, state.position, self.integrator.cell(state))
        found = self._cold(here)
        gain = float(old.energy) - float(found.energy)
        if not (bool(found.equilibration.converged) and gain > BASIN_GAP):
            return
        self.basin_changes += 1
        self.released += gain
        self.moment = Moment(state.set(force=found.forces), found, self.moment.step, _still(found))

    def _told(self, where: str, system: System, results: Results) -> str:
        e = results.equilibration
        return (
            f"the weights of {where} did not converge from a cold start (residual {float(e.residual):.2e} eV after "
            f"{int(e.iterations)} iterations; {explain(self.model, system)})"
        )

    def observables(self) -> dict[str, float]:
        """Of the current step: energies in eV, temperature in K, volume in Å³, pressure in eV/Å³."""
        state, results = self.moment.state, self.moment.results
        kinetic = float(kinetic_energy(state))
        potential = float(results.energy)
        freedom = degrees_of_freedom(len(state.position))
        found = {
            "potential": potential,
            "kinetic": kinetic,
            "total": potential + kinetic,
            "conserved": float(self.integrator.conserved(state, results.energy)) + self.released,
            "temperature": 2.0 * kinetic / (freedom * BOLTZMANN_EV_PER_K),
        }
        cell = self.integrator.cell(state)
        if cell is not None:
            volume = float(abs(np.linalg.det(np.asarray(cell))))
            found["volume"] = volume
            found["pressure"] = (2.0 * kinetic - float(virial(results, cell))) / (3.0 * volume)
        return found


def _still(results: Results) -> jax.Array:
    """A past in which nothing moved."""
    return jnp.stack([results.equilibration.corrected] * HISTORY)


def _array(x):
    return None if x is None else jnp.asarray(x)
