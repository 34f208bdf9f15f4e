"""Checks that any JAX potential should pass, ours or yours.

    from ectjax.testing import check_potential
    print(check_potential(energy, positions, numbers, charges=charges))

A potential is a function energy(positions (N, 3), numbers (N,), charge) of JAX arrays that returns a scalar; charges, a
function of the same arguments that returns (N,). Units are yours as long as energies are eV and lengths Å in the
tolerances. Functions are compiled here, with all three arguments traced.

Every check returns the largest deviation and raises AssertionError, with numbers, where that exceeds its tolerance. In
float32 (JAX's default) derivatives can only be checked coarsely: switch on float64 for real tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Function = Callable[..., Any]

FAR = 200.0
"""Å between things that should no longer feel each other."""
FORCE_TOLERANCE = {"float64": 1e-5, "float32": 3e-2}
"""eV/Å, relative to 1 + the largest force: analytic against numerical forces."""
INVARIANCE_TOLERANCE = {"float64": 1e-7, "float32": 1e-3}
"""eV (and eV/Å) per atom under translation, rotation, permutation, and between a batch and single structures."""
SEPARATION_TOLERANCE = 1e-3
"""eV per atom left between separated fragments or atoms."""
CHARGE_TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
"""e."""
NEUTRAL_TOLERANCE = 1e-3
"""e on a separated atom."""
PRECISION_TOLERANCE = 2e-3
"""eV per atom and eV/Å between float32 and float64."""


class Compiled:
    """An energy function with its gradient, compiled once for each shape; checks take it in place of the function.

    slots: pad every structure to so many atoms (number 0, position 0), for potentials that take padding: one program
    then serves all structures.
    """

    def __init__(self, energy: Function, slots: int | None = None):
        self.function, self.slots = energy, slots
        self._both = jax.jit(jax.value_and_grad(energy))

    def __call__(self, positions, numbers, charge=0.0) -> tuple[float, np.ndarray]:
        """Energy and its gradient (N, 3)."""
        value, slope = self._both(*_arrays(positions, numbers, charge, self.slots))
        return float(value), np.asarray(slope)[: len(numbers)]


def _arrays(positions, numbers, charge, slots: int | None):
    x, z = np.array(positions, float), np.asarray(numbers)
    if slots is not None:
        if len(z) > slots:
            raise ValueError(
                f"slots is {slots}, a check needs {len(z)} atoms: raise it (extensivity joins two structures)"
            )
        x, z = np.pad(x, ((0, slots - len(z)), (0, 0))), np.pad(z, (0, slots - len(z)))
    return jnp.asarray(x, float), jnp.asarray(z), jnp.asarray(charge, float)


def _compiled(energy) -> Compiled:
    return energy if isinstance(energy, Compiled) else Compiled(energy)


def _charges(charges: Function, positions, numbers, charge, slots) -> np.ndarray:
    return np.asarray(jax.jit(charges)(*_arrays(positions, numbers, charge, slots)))[: len(numbers)]


def _precision() -> str:
    return str(jnp.zeros(()).dtype)


def _demand(worst: float, tolerance: float, what: str) -> float:
    """The deviation, if it is within the tolerance; NaN is not."""
    if not worst <= tolerance:
        raise AssertionError(f"{what}: deviation {worst:.3g}, allowed {tolerance:.3g}")
    return float(worst)


def check_forces(energy, positions, numbers, charge=0.0, *, step: float | None = None) -> float:
    """Gradient of the energy against central differences with Richardson extrapolation, every coordinate.

    step: Å; 1e-3 in float64, 2e-2 in float32.
    """
    f, x = _compiled(energy), np.array(positions, float)
    h = step or (1e-3 if _precision() == "float64" else 2e-2)
    slope, numeric = f(x, numbers, charge)[1], np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        move = np.zeros_like(x)
        move[index] = h
        wide, fine = ((f(x + k * move, numbers, charge)[0] - f(x - k * move, numbers, charge)[0]) for k in (1.0, 0.5))
        numeric[index] = (4 * fine - 0.5 * wide) / (3 * h)
    error = np.abs(slope - numeric) / (1 + np.abs(numeric).max())
    atom = int(np.argmax(error.max(axis=1)))
    detail = f"gradient on atom {atom} is {slope[atom].tolist()}, differences give {numeric[atom].tolist()}"
    return _demand(error.max(), FORCE_TOLERANCE[_precision()], f"forces are not the slope of the energy; {detail}")


def check_translation(energy, positions, numbers, charge=0.0) -> float:
    """Energy and forces after a shift by (10.1, −7.3, 3.7) Å."""
    shift = np.array([10.1, -7.3, 3.7])
    return _same(energy, positions, np.array(positions, float) + shift, numbers, charge, np.eye(3), "a translation")


def check_rotation(energy, positions, numbers, charge=0.0, *, seed: int = 0) -> float:
    """Energy unchanged and forces turned along under a random rotation, and under it with a reflection."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    proper = q * np.sign(np.linalg.det(q))
    return max(
        _same(energy, positions, np.array(positions, float) @ turn.T, numbers, charge, turn, what)
        for turn, what in ((proper, "a rotation"), (-proper, "a rotation with inversion"))
    )


def _same(energy, positions, moved, numbers, charge, turn, what) -> float:
    f = _compiled(energy)
    value, slope = f(positions, numbers, charge)
    value_moved, slope_moved = f(moved, numbers, charge)
    tolerance = INVARIANCE_TOLERANCE[_precision()]
    change = _demand(
        abs(value_moved - value) / len(numbers),
        tolerance,
        f"energy under {what}, {value} became {value_moved}, per atom",
    )
    turned = np.abs(slope_moved - slope @ turn.T).max() / (1 + np.abs(slope).max())
    return max(change, _demand(turned, 100 * tolerance, f"forces under {what}"))


def check_permutation(energy, positions, numbers, charge=0.0, *, seed: int = 0) -> float:
    """Energy unchanged and forces permuted when atoms are listed in another order."""
    f, order = _compiled(energy), np.random.default_rng(seed).permutation(len(numbers))
    if np.array_equal(order, np.arange(len(numbers))):
        order = order[::-1]
    value, slope = f(positions, numbers, charge)
    value_moved, slope_moved = f(np.array(positions, float)[order], np.asarray(numbers)[order], charge)
    tolerance = INVARIANCE_TOLERANCE[_precision()]
    what = f"energy with atoms in the order {order.tolist()}, {value} became {value_moved}, per atom"
    change = _demand(abs(value_moved - value) / len(numbers), tolerance, what)
    return max(change, _demand(np.abs(slope_moved - slope[order]).max(), 100 * tolerance, "forces in another order"))


def check_extensivity(energy, positions, numbers, other_positions=None, other_numbers=None) -> float:
    """E(A + B) = E(A) + E(B) for two neutral fragments 200 Å apart; B is A if not given."""
    f, a = _compiled(energy), np.array(positions, float)
    b, zb = (a, numbers) if other_positions is None else (np.array(other_positions, float), other_numbers)
    both = np.concatenate([a, b + np.array([FAR, 0.0, 0.0])])
    together = f(both, np.concatenate([numbers, zb]))[0]
    first, second = f(a, numbers)[0], f(b, zb)[0]
    what = f"fragments {FAR:g} Å apart have energy {together}, alone {first} and {second}; difference per atom"
    return _demand(abs(together - first - second) / len(both), SEPARATION_TOLERANCE, what)


def check_charge_conservation(
    charges: Function, positions, numbers, totals: Sequence[float] = (-1.0, 0.0, 1.0), slots: int | None = None
) -> float:
    """Σ_i q_i = Q for every total charge Q, and atomic charges that do depend on it."""
    found = [_charges(charges, positions, numbers, total, slots) for total in totals]
    errors = [abs(q.sum() - total) for q, total in zip(found, totals, strict=True)]
    worst = int(np.argmax(errors))
    what = f"charges sum to {found[worst].sum()} e for a total charge of {totals[worst]} e"
    return _demand(errors[worst], CHARGE_TOLERANCE[_precision()] * len(numbers), what)


def check_dissociation(energy, numbers, charges: Function | None = None) -> float:
    """Atoms 200 Å apart have the energy of single atoms and, where `charges` is given, no charge."""
    f, z = _compiled(energy), np.asarray(numbers)
    line = np.zeros((len(z), 3))
    line[:, 0] = FAR * np.arange(len(z))
    apart = f(line, z)[0]
    alone = sum(f(np.zeros((1, 3)), z[k : k + 1])[0] for k in range(len(z)))
    what = f"atoms {FAR:g} Å apart have energy {apart}, single atoms {alone}; difference per atom"
    worst = _demand(abs(apart - alone) / len(z), SEPARATION_TOLERANCE, what)
    if charges is not None:
        left = _charges(charges, line, z, 0.0, f.slots)
        _demand(np.abs(left).max(), NEUTRAL_TOLERANCE, f"separated atoms keep charges {left.tolist()} e")
    return worst


def check_batching(batched: Function, energy, structures: Sequence[tuple]) -> float:
    """Energies and forces of a padded batch are those of single structures, and one program serves all batches.

    batched: function of positions (B, N, 3), numbers (B, N) with 0 for padding, and charges (B,), to energies (B,).
    structures: (positions, numbers, charge) of each.
    """
    f, size = _compiled(energy), max(len(z) for _, z, _ in structures)
    x, z = np.zeros((len(structures), size, 3)), np.zeros((len(structures), size), int)
    for k, (positions, numbers, _) in enumerate(structures):
        x[k, : len(numbers)], z[k, : len(numbers)] = positions, numbers
    charge = np.array([c for *_, c in structures], float)

    traces = 0

    @jax.jit
    def program(x, z, charge):
        nonlocal traces
        traces += 1
        slope, value = jax.grad(lambda x: (jnp.sum(e := batched(x, z, charge)), e), has_aux=True)(x)
        return value, slope

    value, slope = map(np.asarray, program(x, z, charge))
    program(x[::-1], z[::-1], charge[::-1])
    tolerance, worst = INVARIANCE_TOLERANCE[_precision()], 0.0
    for k, (positions, numbers, q) in enumerate(structures):
        n = len(numbers)
        single, single_slope = f(positions, numbers, q)
        what = f"energy of structure {k} is {value[k]} in a batch of {len(structures)}, {single} alone; per atom"
        worst = max(worst, _demand(abs(value[k] - single) / n, tolerance, what))
        difference = np.abs(slope[k, :n] - single_slope).max() / (1 + np.abs(single_slope).max())
        worst = max(worst, _demand(difference, 100 * tolerance, f"forces of structure {k} in a batch"))
        _demand(np.abs(slope[k, n:]).max(initial=0.0), 0.0, f"forces on the padding of structure {k}")
    _demand(traces - 1, 0, "programs compiled for a second batch of the same shape")
    return worst


def check_float32(energy32, energy64, positions, numbers, charge=0.0) -> float:
    """Energy and forces of the float32 version against the float64 version. Needs float64 switched on.

    energy32 is called with float32 arrays and must return float32: promotion to float64 hides what it should show.
    """
    if _precision() != "float64":
        raise ValueError("check_float32 compares with float64: call jax.config.update('jax_enable_x64', True) first")
    value, slope = _compiled(energy64)(positions, numbers, charge)
    function = energy32.function if isinstance(energy32, Compiled) else energy32
    x, q = jnp.asarray(positions, jnp.float32), jnp.asarray(charge, jnp.float32)
    low, low_slope = jax.jit(jax.value_and_grad(function))(x, jnp.asarray(numbers), q)
    if low.dtype != jnp.float32:
        raise AssertionError(f"energy of float32 positions is {low.dtype}: parameters promote it, cast them to float32")
    what = f"energy is {float(low)} in float32, {value} in float64; difference per atom"
    worst = _demand(abs(float(low) - value) / len(numbers), PRECISION_TOLERANCE, what)
    difference = np.abs(np.asarray(low_slope) - slope).max() / (1 + np.abs(slope).max())
    return max(worst, _demand(difference, PRECISION_TOLERANCE, "forces in float32"))


@dataclass(frozen=True)
class Outcome:
    """One check: passed is None where it was not run; worst, the largest deviation; message, the failure or reason."""

    name: str
    passed: bool | None
    worst: float
    message: str = ""

    def __str__(self) -> str:
        state = {True: "passed", False: "FAILED", None: "not run"}[self.passed]
        return f"{self.name:20s}{state:9s}" + (f"{self.worst:9.1e}" if self.passed else f" {self.message}")


@dataclass(frozen=True)
class Report:
    """All checks of a potential; print it, or call `raise_if_failed()`."""

    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(o.passed is not False for o in self.outcomes)

    def raise_if_failed(self) -> None:
        """Raises AssertionError with the failures."""
        if not self.passed:
            raise AssertionError("\n".join(str(o) for o in self.outcomes if o.passed is False))

    def __str__(self) -> str:
        return "\n".join(map(str, self.outcomes))


def check_potential(
    energy: Function,
    positions,
    numbers,
    charge: float = 0.0,
    *,
    charges: Function | None = None,
    batched: Function | None = None,
    energy32: Function | None = None,
    other: tuple | None = None,
    slots: int | None = None,
) -> Report:
    """Run every check on one structure and report; nothing is raised for a failed check.

    Args:
        energy, charges, batched: see the module and `check_batching`; checks of what is not given are not run.
        positions, numbers, charge: a structure without symmetry, so that every force is tested.
        energy32: the float32 version, for `check_float32`.
        other: (positions, numbers) of a second neutral fragment for extensivity and batching.
        slots: see `Compiled`; twice the atoms of the structure are enough.
    """
    f, where = Compiled(energy, slots), (positions, numbers, charge)
    b = other or (np.array(positions, float)[:-1], np.asarray(numbers)[:-1])
    given = {"charges": charges, "batched": batched, "energy32": energy32}
    plan: list[tuple[str, str | None, Callable[[], float]]] = [
        ("forces", None, lambda: check_forces(f, *where)),
        ("translation", None, lambda: check_translation(f, *where)),
        ("rotation", None, lambda: check_rotation(f, *where)),
        ("permutation", None, lambda: check_permutation(f, *where)),
        ("extensivity", None, lambda: check_extensivity(f, positions, numbers, *(other or ()))),
        ("dissociation", None, lambda: check_dissociation(f, numbers, charges)),
        ("charges", "charges", lambda: check_charge_conservation(charges, positions, numbers, slots=slots)),  # type: ignore
        ("batching", "batched", lambda: check_batching(batched, f, [where, (*b, 0.0)])),  # type: ignore
        ("float32", "energy32", lambda: check_float32(energy32, f, *where)),
    ]
    return Report(
        tuple(_outcome(name, needs is None or given[needs] is not None, needs, run) for name, needs, run in plan)
    )


def _outcome(name: str, possible: bool, needs: str | None, run: Callable[[], float]) -> Outcome:
    if not possible:
        return Outcome(name, None, float("nan"), f"give {needs}=")
    try:
        return Outcome(name, True, run())
    except (AssertionError, ValueError) as error:
        return Outcome(name, False, float("nan"), str(error))
