"""The model as an ASE calculator.

    from ase.build import molecule
    from ectjax.ase import ECTCalculator

    atoms = molecule("H2O")
    atoms.calc = ECTCalculator()
    atoms.get_potential_energy(), atoms.get_charges(), atoms.calc.results["weights"]

Units are ASE's: eV, Å, e. JAX's global settings stay as they are: float64 is switched on for this calculator only.
"""

from contextlib import nullcontext
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress

from ectjax.calculate import Results, calculate_lightly
from ectjax.calculate import calculate as calculate_results
from ectjax.diagnose import explain
from ectjax.load import load_model
from ectjax.model import Model, cast
from ectjax.neighbors import VerletList
from ectjax.potential import System
from ectjax.system import ALL_PAIRS_LIMIT, build_system

LARGEST_STRAIN = 0.05
"""Ewald wave vectors are chosen anew when the cell has strained more than this since they were made."""

FEW_ATOMS = 32
"""Systems of so few are compiled lightly, larger ones with a warm start in full: that pays from a thousand steps on."""

CHARGE_MISMATCH = 1e-3

PARAMETERS = (
    "model", "charge", "dtype", "cutoff", "pair", "embedding", "skin", "tolerance", "max_iterations", "warm_start",
)  # fmt: skip


class NotConverged(CalculationFailed):
    """The weights of a geometry did not converge; `why` says how far they came, the message what to do in Python."""

    def __init__(self, why: str):
        self.why = why
        super().__init__(
            f"{why}. Check the geometry, or allow more with ECTCalculator(max_iterations=...) or a larger tolerance"
        )


class ECTCalculator(Calculator):
    """Energy, forces, charges, dipole (no cell) and stress (cell) of the ECT-EAM model.

    Beyond ASE's own keys, `results` holds `weights` (N, S), `chemical_potential` (eV/e), `residual` (eV),
    `iterations` and `converged`; `states` names the columns of the weights. The dipole of a charged molecule
    is about the origin of coordinates.

    Args:
        model: name of a shipped parameter set, path of a parameter file, or a loaded `Model`.
        charge: total charge in e, per cell if periodic. `atoms.info["charge"]` and the sum of ASE's initial
            charges, where set, must agree with it: a contradiction is an error, never silently resolved.
        dtype: "float64" or "float32".
        cutoff, pair, embedding: instead of the parameter set's own, see `ectjax.load_model`.
        skin: Å; neighbour lists are kept until an atom has moved half of it.
        tolerance, max_iterations: of the equilibration, see `ectjax.ensemble.equilibrate`.
        warm_start: Å; the last weights are the start of the next solve where no atom moved farther than this
            since then. 0 solves every geometry from three cold starts, so that results carry no memory.

    Raises:
        ValueError: on input that `ectjax.build_system` refuses, or charges that contradict each other.
        NotConverged: the weights did not converge, from a cold start either; an
            `ase.calculators.calculator.CalculationFailed`.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "charges", "dipole"]  # noqa: RUF012

    def __init__(
        self,
        model: Any = "default",
        charge: float = 0.0,
        *,
        dtype: str = "float64",
        cutoff: float | None = None,
        pair: str | None = None,
        embedding: str | None = None,
        skin: float = 1.0,
        tolerance: float | None = None,
        max_iterations: int = 300,
        warm_start: float = 0.3,
        **options,
    ):
        if np.dtype(dtype).name not in ("float64", "float32"):
            raise ValueError(f"dtype is {dtype!r}, allowed are 'float64' and 'float32'")
        if not skin >= 0 or not warm_start >= 0:
            raise ValueError(f"skin is {skin} Å and warm_start {warm_start} Å; both must be >= 0")
        self._given = model
        self._forget()
        super().__init__(
            model=model if isinstance(model, str) else getattr(model, "name", type(model).__name__),
            charge=float(charge),
            dtype=np.dtype(dtype).name,
            cutoff=cutoff,
            pair=pair,
            embedding=embedding,
            skin=float(skin),
            tolerance=tolerance,
            max_iterations=int(max_iterations),
            warm_start=float(warm_start),
            **options,
        )

    def _forget(self) -> None:
        self._model: Any = None
        self._system: Any = None
        self._list: Any = None
        self._last: Any = None
        self._info_charge = None

    def set(self, **parameters) -> dict:
        """Change parameters; anything computed before is dropped, `charge` included in the check."""
        unknown = [name for name in parameters if name not in PARAMETERS]
        if unknown:
            raise ValueError(
                f"ECTCalculator has no parameter {', '.join(unknown)}; allowed are {', '.join(PARAMETERS)}"
            )
        if not (parameters.get("tolerance") is None or parameters["tolerance"] > 0):
            raise ValueError(f"tolerance is {parameters['tolerance']} eV, must be > 0, or None for the default")
        if parameters.get("max_iterations", 1) < 1:
            raise ValueError(f"max_iterations is {parameters['max_iterations']}, must be at least 1")
        if "model" in parameters and hasattr(self, "parameters") and self.parameters:
            self._given = parameters["model"]
            if not isinstance(self._given, str):
                parameters["model"] = getattr(self._given, "name", type(self._given).__name__)
        changed = super().set(**parameters)
        if changed:
            self._forget()
            self.reset()
        return changed

    @property
    def states(self) -> list[tuple[str, ...]]:
        """Labels of every atom's states, in the order of the columns of `results["weights"]`."""
        if self._model is None or self._system is None:
            raise ValueError("nothing was computed yet: call atoms.get_potential_energy() first")
        return [self._model.labels[row] for row in np.asarray(self._system.species)]

    def check_state(self, atoms, tol=1e-15):
        """As ASE's, and a changed `atoms.info["charge"]` counts as a change."""
        changes = super().check_state(atoms, tol=tol)
        if atoms.info.get("charge") != self._info_charge:
            changes.append("initial_charges")
        return changes

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        """ASE's entry point: fills `results`."""
        super().calculate(atoms, list(properties), list(system_changes))
        atoms = self.atoms
        self._info_charge = atoms.info.get("charge")
        self._check_charges(atoms)
        with jax.enable_x64(True) if self.parameters["dtype"] == "float64" else nullcontext():
            system = self._current_system(atoms)
            out = self._solve(system)
        self._system = system
        self._last = (atoms.numbers.copy(), atoms.positions.copy(), atoms.cell[:].copy(), atoms.pbc.copy(), out)
        self._store(out, system.cell is not None)

    def _check_charges(self, atoms) -> None:
        asked = self.parameters["charge"]
        named = atoms.info.get("charge")
        if named is not None and abs(float(named) - asked) > CHARGE_MISMATCH:
            raise ValueError(
                f"atoms.info['charge'] is {named} but the calculator has charge {asked:g}: "
                "make it with charge=atoms.info['charge'] or remove that entry"
            )
        if "initial_charges" in atoms.arrays:
            total = float(atoms.get_initial_charges().sum())
            if abs(total - asked) > CHARGE_MISMATCH:
                raise ValueError(
                    f"the initial charges of the atoms add up to {total:g} e but the calculator has charge "
                    f"{asked:g}: make it with charge={total:g} or reset them (atoms.set_initial_charges())"
                )

    def _current_model(self, atoms) -> Model:
        if isinstance(self._given, Model):
            if self._model is None:
                self._model = cast(self._given, self.parameters["dtype"])
            return self._model
        numbers = sorted(set(atoms.numbers.tolist()))
        if self._model is None or not set(numbers) <= set(self._model.numbers):
            symbols = [chemical_symbols[z] for z in numbers]
            self._model = load_model(
                self._given,
                symbols or None,
                cutoff=self.parameters["cutoff"],
                pair=self.parameters["pair"],
                embedding=self.parameters["embedding"],
                dtype=self.parameters["dtype"],
            )
            self._list = None
        return self._model

    def _current_system(self, atoms) -> System:
        """The system of these atoms, with the old neighbour list and wave vectors where they still serve."""
        model = self._current_model(atoms)
        if self._list is not None and self._same_kind(atoms) and not self._outdated(atoms):
            system = self._system
            dtype = system.positions.dtype
            cell = None if system.cell is None else jnp.asarray(atoms.cell[:], dtype)
            return eqx.tree_at(
                lambda s: (s.positions, s.cell),
                system,
                (jnp.asarray(atoms.positions, dtype), cell),
                is_leaf=lambda x: x is None,
            )
        same_size = self._system is not None and len(self._system.species) == len(atoms)
        system = build_system(
            model,
            atoms.numbers,
            atoms.positions,
            cell=atoms.cell[:],
            pbc=atoms.pbc,
            charge=self.parameters["charge"],
            skin=self.parameters["skin"],
            capacity=self._system.neighbors.capacity if same_size and self._list is not None else None,
        )
        listed = system.cell is not None or len(atoms) > ALL_PAIRS_LIMIT
        self._list = (
            VerletList(system.neighbors, system.positions, system.cell, model.cutoff, self.parameters["skin"])
            if listed
            else None
        )
        return system

    def _same_kind(self, atoms) -> bool:
        if self._last is None:
            return False
        numbers, _, _, pbc, _ = self._last
        return np.array_equal(numbers, atoms.numbers) and np.array_equal(pbc, atoms.pbc)

    def _outdated(self, atoms) -> bool:
        verlet = self._list
        dtype = verlet.positions.dtype
        cell = None
        if verlet.cell is not None:
            strain = np.linalg.solve(np.asarray(verlet.cell), atoms.cell[:]) - np.eye(3)
            if not np.abs(strain).max() < LARGEST_STRAIN:
                return True
            cell = jnp.asarray(atoms.cell[:], dtype)
        return bool(_needs_rebuild(verlet, jnp.asarray(atoms.positions, dtype), cell))

    def _start_weights(self, system: System):
        """The last weights where this geometry is a small step from the last one, else None."""
        farthest = self.parameters["warm_start"]
        if farthest == 0 or self._last is None:
            return None
        numbers, positions, cell, pbc, out = self._last
        atoms: Any = self.atoms
        if not (np.array_equal(numbers, atoms.numbers) and np.array_equal(pbc, atoms.pbc)):
            return None
        if system.cell is not None and np.abs(cell - atoms.cell[:]).max() > farthest:
            return None
        moved = np.linalg.norm(positions - atoms.positions, axis=1).max()
        return out.equilibration.weights if moved <= farthest else None

    def _solve(self, system: System) -> Results:
        options = {k: self.parameters[k] for k in ("tolerance", "max_iterations")}
        start = self._start_weights(system)
        seldom = start is None or len(system.species) <= FEW_ATOMS
        solve = calculate_lightly if seldom else calculate_results
        out = solve(self._model, system, start, **options)
        if start is not None and not bool(out.equilibration.converged):
            out = calculate_lightly(self._model, system, None, **options)
        if not bool(out.equilibration.converged):
            e = out.equilibration
            raise NotConverged(
                f"the weights did not converge from a cold start: residual {float(e.residual):.2e} eV after "
                f"{int(e.iterations)} iterations; {explain(self._model, system)}"
            )
        return out

    def _store(self, out: Results, periodic: bool) -> None:
        e = out.equilibration
        energy = float(out.energy)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.array(out.forces, np.float64),
            "charges": np.array(e.charges, np.float64),
            "weights": np.array(e.weights, np.float64),
            "chemical_potential": float(e.chemical_potential),
            "residual": float(e.residual),
            "iterations": int(e.iterations),
            "converged": bool(e.converged),
        }
        if periodic:
            self.results["stress"] = full_3x3_to_voigt_6_stress(np.array(out.stress, np.float64))
        else:
            self.results["dipole"] = np.array(out.dipole, np.float64)


@eqx.filter_jit
def _needs_rebuild(verlet: VerletList, positions, cell):
    return verlet.needs_rebuild(positions, cell)
