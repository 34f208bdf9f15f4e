"""The layer as a Flax NNX module. Needs flax (`pip install flax`)."""

from collections.abc import Sequence
from pathlib import Path

import jax
from flax import nnx

from ectjax.layers.bounded import bounded, unbounded
from ectjax.layers.doors import Doors
from ectjax.layers.features import Tables, assembled
from ectjax.layers.shells import RADII
from ectjax.layers.source import load_source
from ectjax.model import Model, Parameters
from ectjax.parameters import ParameterSet


class Frozen(nnx.Variable):
    """Tables that no optimiser touches."""


class ECTLayer(nnx.Module, Doors):
    """As `ectjax.layers.ECTLayer`: trainable physical parameters are `nnx.Param`, everything else is `Frozen`."""

    def __init__(
        self,
        model: str | Path | ParameterSet | Model = "default",
        elements: Sequence[str] | None = None,
        *,
        trainable: Sequence[str] = (),
        radii: Sequence[float] | None = RADII,
        dtype=None,
        **solver,
    ):
        """Arguments and errors of `load_source`; `solver` are options of `ectjax.potential.solve_terms`."""
        source = load_source(model, elements, radii=radii, trainable=trainable, dtype=dtype)
        self.frozen = Frozen((source.tables, source.basis, source.parameters))
        self.free = nnx.Param(unbounded(source.parameters, trainable)) if trainable else None
        self.solver = solver

    @property
    def parameters(self) -> Parameters | None:
        """Physical parameters as they are now; None for a layer made from a `Model`."""
        start = self.frozen.get_value()[2]
        return start if self.free is None else bounded(self.free.get_value(), start)

    def tables(self) -> Tables:
        """What `features` reads: fixed, or assembled from the trainable parameters."""
        tables, basis, start = jax.lax.stop_gradient(self.frozen.get_value())
        if self.free is None:
            return tables
        return assembled(basis, bounded(self.free.get_value(), start), tables.shells)

    def options(self) -> dict:
        """Options of the solver."""
        return self.solver
