"""A model's pair functions packed for the compiled sums: one row for a pair of elements and an interval."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ectjax.coulomb import DampedShiftedForce, EwaldParameters, PMEParameters
from ectjax.model import Model
from ectjax.native.library import MOST_STATES

_KERNEL = 8  # numbers of a row for the Ewald kernel: a quintic, and two that keep rows aligned


class NativeTables(eqx.Module):
    """Rows (E·E·M, 4·F + 8) of E elements and M intervals, see `sums.cc`; `kernel`, kind and α of the long-range sum
    whose part in pairs they hold, None without one."""

    rows: Float[Array, "EEM W"]
    kernel: tuple[str, float] | None = eqx.field(static=True)


def kernel_of(long_range) -> tuple[str, float] | None:
    """Kind and α (Å⁻¹) of what a long-range sum leaves to pairs.

    Raises:
        ValueError: a sum that the compiled code does not know, as that of a system spread over devices.
    """
    if long_range is None:
        return None
    for kinds, name in (((EwaldParameters, PMEParameters), "Ewald"), (DampedShiftedForce, "shifted force")):
        if isinstance(long_range, kinds):
            return name, float(long_range.alpha)
    raise ValueError(
        f"the long-range sum is a {type(long_range).__name__}; compiled sums know Ewald, PME and shifted forces on one "
        "device: use the JAX path (native=None)"
    )


def obstacle_of(model: Model) -> str | None:
    """Why the compiled sums cannot serve a model, None where they can."""
    if model.bonding is not None:
        return "the model's resonance knows bonding orbitals, the compiled sums do not: use the JAX path (native=None)"
    states = model.state_charge.shape[1]
    if states > MOST_STATES:
        return f"the model has {states} states per element; the compiled sums take at most {MOST_STATES}"
    return None


def native_tables(model: Model, long_range=None) -> NativeTables:
    """Packed tables of a model (host side); `long_range` as in `System`.

    Raises:
        ValueError: bonding orbitals, more states than the library knows, or a long-range sum that is cut off
            elsewhere than the model.
    """
    obstacle = obstacle_of(model)
    if obstacle is not None:
        raise ValueError(obstacle)
    elements, states = model.state_charge.shape
    kind = kernel_of(long_range)
    if long_range is not None and long_range.cutoff != model.cutoff:
        raise ValueError(
            f"the long-range sum is cut off at {long_range.cutoff} Å, the model at {model.cutoff} Å; the compiled sums "
            "need one cutoff: make the parameters with the model's"
        )
    density = np.asarray(model.density, np.float64)  # (S, 4, E, E, M): receiving element, sending element
    intervals = density.shape[-1]
    at_i = density.transpose(2, 3, 4, 1, 0)
    scaled = np.asarray(model.interaction, np.float64)  # (S, S, 4, E, E, M)
    between = scaled.transpose(3, 4, 5, 2, 0, 1).reshape(elements, elements, intervals, 4, states * states)
    functions = np.concatenate([at_i, at_i.swapaxes(0, 1), between], axis=-1)
    width = 8 * math.ceil(functions.shape[-1] / 8)
    functions = np.pad(functions, [(0, 0)] * 4 + [(0, width - functions.shape[-1])])
    kernel = np.zeros((intervals, _KERNEL))
    if long_range is not None:
        kernel[:, :6] = _quintics(long_range.screened_charge, np.arange(intervals + 1) * model.spacing)
    kernel = np.broadcast_to(kernel, (elements, elements, intervals, _KERNEL))
    rows = np.concatenate([functions.reshape(elements, elements, intervals, -1), kernel], axis=-1)
    return NativeTables(jnp.asarray(rows.reshape(elements**2 * intervals, -1), model.density.dtype), kind)


def _quintics(function, knots: np.ndarray) -> np.ndarray:
    """(M, 6) in the fraction of every interval, with the function's value, slope and curvature at the knots."""
    step = knots[1]
    with jax.enable_x64(True):
        slope_of = jax.grad(function)
        parts = (jax.vmap(f)(jnp.asarray(knots)) for f in (function, slope_of, jax.grad(slope_of)))
        value, slope, bend = (np.asarray(x) * step**k for k, x in enumerate(parts))
    at_start = np.stack([value, slope, 0.5 * bend])
    start, end = at_start[:, :-1], np.stack([value, slope, bend])[:, 1:]
    # what value, slope and curvature at the end lack, in terms of t³, t⁴, t⁵
    lack = end - np.stack([start.sum(0), start[1] + 2 * start[2], 2 * start[2]])
    rest = np.linalg.solve(np.array([[1.0, 1.0, 1.0], [3.0, 4.0, 5.0], [6.0, 12.0, 20.0]]), lack)
    return np.concatenate([start, rest]).T
