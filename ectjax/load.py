"""`load_model`: from the name of a parameter set to a model that is ready to use."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp

from ectjax.basis import DEFAULT_CUTOFF, Basis, build_basis
from ectjax.compilation import QUICK, compiled
from ectjax.model import Model, Parameters, assemble, cast
from ectjax.parameters import ParameterSet, load_parameters
from ectjax.parameters.store import FIELDS, OPTIONS


def load_model(
    model: str | Path | ParameterSet = "default",
    elements: Sequence[str] | None = None,
    *,
    cutoff: float | None = None,
    pair: str | None = None,
    embedding: str | None = None,
    resonance: str | None = None,
    polarization: str | None = None,
    dtype=None,
) -> Model:
    """A model of a parameter set.

    Args:
        model: name of a shipped set, path of a parameter file, or a `ParameterSet`.
        elements: symbols to include, in this order; all of the set if None. Fewer elements load faster.
        cutoff: Å, instead of the set's own.
        pair: "coulomb", "two_center" or "heitler_london", instead of the form the set was fitted with.
        embedding: "dft" or "baskes", instead of the form the set was fitted with.
        resonance: "spherical" or "orbitals", instead of the form the set was fitted with.
        polarization: "none" or "states", instead of the form the set was fitted with.
        dtype: of the arrays; JAX's default float if None.

    Raises:
        ValueError: no such set, a damaged file, an element that the set or the tables lack.
    """
    chosen = model if isinstance(model, ParameterSet) else load_parameters(model)
    forms = {"pair": pair, "embedding": embedding, "resonance": resonance, "polarization": polarization}
    basis = basis_of(chosen, elements, cutoff=cutoff, **forms)
    with jax.enable_x64(True):
        built = assemble_once(basis, parameters_of(chosen, basis_symbols(chosen, elements)))
        built = jax.tree.map(jax.device_get, built)
    return cast(built, dtype)


@compiled(QUICK)
def assemble_once(basis: Basis, parameters: Parameters) -> Model:
    """`ectjax.model.assemble`, compiled: as it stands every operation would be a program of its own."""
    return assemble(basis, parameters)


def basis_symbols(chosen: ParameterSet, elements: Sequence[str] | None) -> tuple[str, ...]:
    """The symbols asked for, checked against the set."""
    symbols = tuple(dict.fromkeys(elements)) if elements is not None else tuple(chosen.elements)
    if not symbols:
        raise ValueError(f"no elements were named; parameter set {chosen.name!r} covers {', '.join(chosen.elements)}")
    missing = [s for s in symbols if s not in chosen.elements]
    if missing:
        raise ValueError(
            f"parameter set {chosen.name!r} has no element {', '.join(map(str, missing))}; it covers "
            f"{', '.join(chosen.elements)}: choose another set or fit one with `ectjax fit`"
        )
    return symbols


def basis_of(
    chosen: ParameterSet,
    elements: Sequence[str] | None = None,
    *,
    cutoff: float | None = None,
    pair: str | None = None,
    embedding: str | None = None,
    resonance: str | None = None,
    polarization: str | None = None,
) -> Basis:
    """The parameter-free tables of a set, kept in memory for the next call; arguments as in `load_model`."""
    symbols = basis_symbols(chosen, elements)
    options = {"cutoff": DEFAULT_CUTOFF, "energies": "experimental", "pair": "coulomb", "embedding": "dft"}
    options |= {"resonance": "spherical", "polarization": "none"} | chosen.options
    asked = {"cutoff": cutoff, "pair": pair, "embedding": embedding}
    asked |= {"resonance": resonance, "polarization": polarization}
    options |= {k: v for k, v in asked.items() if v is not None}
    states = tuple((s, chosen.states[s]) for s in symbols)
    return _cached_basis(states, tuple(sorted(options.items())))


@lru_cache(maxsize=16)
def _cached_basis(states, options) -> Basis:
    known = {k: v for k, v in options if k in OPTIONS}
    return build_basis([s for s, _ in states], states=dict(states), **known)


def parameters_of(chosen: ParameterSet, symbols: Sequence[str]) -> Parameters:
    """The numbers of a set as arrays, in the order of `symbols`."""
    return Parameters(*(jnp.asarray([chosen.elements[s][k] for s in symbols]) for k in FIELDS))
