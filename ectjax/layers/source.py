"""What a layer is made from: the name of a parameter set, a `ParameterSet`, or a ready `Model`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ectjax.basis import Basis
from ectjax.layers.features import Tables, prefactor_table
from ectjax.layers.shells import RADII, ShellTable
from ectjax.load import basis_of, basis_symbols, load_model, parameters_of
from ectjax.model import Model, Parameters, cast
from ectjax.parameters import ParameterSet, load_parameters


class Source(NamedTuple):
    """Tables of the start; basis and parameters where they can be trained, else None."""

    tables: Tables
    basis: Basis | None
    parameters: Parameters | None


def load_source(
    model: str | Path | ParameterSet | Model = "default",
    elements: Sequence[str] | None = None,
    *,
    radii: Sequence[float] | None = RADII,
    trainable: Sequence[str] = (),
    dtype=None,
) -> Source:
    """Everything a layer needs; host side.

    Args:
        model: name of a shipped set, a parameter file, a `ParameterSet`, or a `Model` (nothing trainable).
        elements: symbols; all of the set if None.
        radii: of the descriptor's spheres in Å; None or () for no descriptor.
        trainable: fields of `Parameters`.
        dtype: floating type; JAX's default if None.

    Raises:
        ValueError: an unknown set or element, trainable parameters of a `Model` or in float32, unknown fields.
    """
    if isinstance(model, Model):
        if trainable:
            raise ValueError("a Model holds splines, not parameters: make the layer from a parameter set to train them")
        return Source(Tables(model, _shells(model, radii), None), None, None)
    chosen = model if isinstance(model, ParameterSet) else load_parameters(model)
    built = load_model(chosen, elements, dtype=dtype)
    if trainable and built.state_energy.dtype != jnp.float64:
        raise ValueError(
            "trainable physical parameters assemble their tables in float64: call "
            "jax.config.update('jax_enable_x64', True), or freeze them with trainable=()"
        )
    basis = basis_of(chosen, elements)
    parameters = parameters_of(chosen, basis_symbols(chosen, elements))
    with jax.enable_x64(True):
        prefactors = jax.tree.map(np.asarray, prefactor_table(basis, np.asarray(parameters.m)))
    tables = Tables(built, _shells(built, radii), cast(prefactors, built.state_energy.dtype))
    if not trainable:
        return Source(tables, None, parameters)
    # the model and its prefactors are assembled from the parameters in every call
    return Source(eqx.tree_at(lambda t: t.prefactors, tables, None), cast(basis, jnp.float64), parameters)


def _shells(model: Model, radii) -> ShellTable | None:
    return ShellTable.build(model, radii) if radii else None
