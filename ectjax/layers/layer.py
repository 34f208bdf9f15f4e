"""The layer as an Equinox module."""

from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ectjax.basis import Basis
from ectjax.layers.bounded import bounded, unbounded
from ectjax.layers.doors import Doors
from ectjax.layers.features import Tables, assembled
from ectjax.layers.shells import RADII
from ectjax.layers.source import load_source
from ectjax.model import Model, Parameters
from ectjax.parameters import ParameterSet


class ECTLayer(eqx.Module, Doors):
    """Physics as a layer: positions, atomic numbers, total charge and cell to `Features`.

        layer = ECTLayer("default", ["H", "O"])
        found = layer(positions, numbers, charge=-1.0)        # found.energy in eV, found.charges in e, …

    Physical parameters are frozen, or trainable within the bounds of the fit: gradients of anything else inside are
    zero, and `eqx.partition(network, trainable(network))` keeps an optimiser from touching it.
    """

    fixed: Tables
    basis: Basis | None
    start: Parameters | None
    free: dict[str, Float[Array, " E"]]
    solver: dict = eqx.field(static=True)

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
        """Arguments and errors of `load_source`; `solver` are options of `ectjax.potential.solve_terms`.

        For training, `rounds=0` (three cold starts) or warm starts in the call are enough and much cheaper.
        """
        source = load_source(model, elements, radii=radii, trainable=trainable, dtype=dtype)
        self.fixed, self.basis, self.start = source.tables, source.basis, source.parameters
        self.free = unbounded(source.parameters, trainable) if trainable else {}
        self.solver = solver

    @property
    def parameters(self) -> Parameters | None:
        """Physical parameters as they are now; None for a layer made from a `Model`."""
        return bounded(self.free, self.start) if self.free else self.start

    def tables(self) -> Tables:
        """What `features` reads: fixed, or assembled from the trainable parameters."""
        fixed = jax.lax.stop_gradient(self.fixed)
        if not self.free:
            return fixed
        basis, start = jax.lax.stop_gradient((self.basis, self.start))
        return assembled(basis, bounded(self.free, start), fixed.shells)

    def options(self) -> dict:
        """Options of the solver."""
        return self.solver


def trainable(tree: PyTree) -> PyTree:
    """True for the arrays of a model that an optimiser should move: all inexact ones, but of an `ECTLayer` only its
    free physical parameters. For `eqx.partition` and `eqx.filter`."""

    def of(node):
        if isinstance(node, ECTLayer):
            spec = jax.tree.map(lambda _: False, node)
            return eqx.tree_at(lambda n: n.free, spec, jax.tree.map(lambda _: True, node.free))
        return eqx.is_inexact_array(node)

    return jax.tree.map(of, tree, is_leaf=lambda x: isinstance(x, ECTLayer))
