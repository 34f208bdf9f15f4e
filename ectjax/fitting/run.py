"""A whole fit: from a configuration to a parameter set with its provenance."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from ectjax.fitting.config import FitConfig
from ectjax.fitting.objective import Data, Weights, curve_data, molecule_data, summary
from ectjax.fitting.train import Fit, fit
from ectjax.model import Basis, Model, Parameters, assemble, build_basis
from ectjax.parameters import ParameterSet, load_parameters
from ectjax.parameters.store import FIELDS

STARTS = {"a": (0.1, 1.2), "b": (-0.3, 0.6), "sigma": (0.5, 2.0), "kappa": (1.0, 60.0)}
"""Ranges of the random restarts, units as in `Parameters`."""


def start_parameters(config: FitConfig, index: int) -> Parameters:
    """Start number `index`: the configured one for 0, then draws from `STARTS` under the configured seed."""
    n = len(config.elements)
    base = {"a": 0.5, "b": 0.0, "sigma": 1.0, "kappa": 20.0, "m": 1.0}
    base.update({k: float(v) for k, v in config.start.items() if k != "set"})
    values = {k: np.full(n, base[k]) for k in base}
    if "set" in config.start:
        known = load_parameters(str(config.start["set"]))
        for row, symbol in enumerate(config.elements):
            for k in FIELDS:
                if symbol in known.elements:
                    values[k][row] = known.elements[symbol][k]
    if index > 0:
        draw = np.random.default_rng([int(config.train.get("seed", 0)), index])
        fixed = config.train.get("fixed", [])
        for k, (low, high) in STARTS.items():
            if k not in fixed:
                values[k] = draw.uniform(low, high, n)
    return Parameters(**{k: jnp.asarray(v) for k, v in values.items()})


def run_fit(
    config: FitConfig, report: Callable[[int, int, float], None] | None = None
) -> tuple[ParameterSet, Fit, Basis, Data, Model]:
    """Fit from every start and keep the best. Deterministic for a configuration. Runs in float64.

    `report` is called with (start, evaluation, root of the summed squared errors).
    """
    with jax.enable_x64(True):
        basis = build_basis(
            config.elements,
            states=config.states,
            cutoff=config.cutoff,
            energies=config.energies,
            pair=config.pair,
            embedding=config.embedding,
        )
        molecules = molecule_data(list(config.molecules), basis) if config.molecules else None
        data = Data(curve_data(list(config.diatomics), basis), molecules)
        train = config.train
        best: Fit | None = None
        for index in range(max(1, int(train.get("starts", 1)))):
            found = fit(
                basis,
                data,
                start_parameters(config, index),
                weights=Weights(
                    charge=float(train.get("charge_weight", 1.0)),
                    molecule=float(train.get("molecule_weight", 1.0)),
                    breathing=float(train.get("breathing_weight", 0.01)),
                    prior=float(train.get("prior", 0.0)),
                ),
                fixed=(*(("m",) if config.pair == "coulomb" else ()), *train.get("fixed", ())),
                bounds=config.bounds,
                steps=int(train.get("steps", 60)),
                tolerance=float(train.get("tolerance", 1e-5)),
                report=None if report is None else (lambda n, loss, i=index: report(i, n, loss)),
            )
            if best is None or found.loss < best.loss:
                best = found
        assert best is not None
        model = assemble(basis, best.parameters)
        figures = summary(model, data)
    return _as_set(config, basis, best, figures), best, basis, data, model


def _as_set(config: FitConfig, basis: Basis, found: Fit, figures: dict) -> ParameterSet:
    learned: dict = {}
    if config.molecules:
        learned["molecules"] = [m.name for m in config.molecules]
        learned["molecule_mae_ev_per_atom"] = round(float(figures["molecules"]), 5)
    numbers = {k: np.round(np.asarray(getattr(found.parameters, k)), 6) for k in FIELDS}
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True, default=str).encode()).hexdigest()
    return ParameterSet(
        name=config.name,
        description=config.description,
        elements={s: {k: float(numbers[k][n]) for k in FIELDS} for n, s in enumerate(config.elements)},
        states=dict(zip(config.elements, basis.labels, strict=True)),
        options={k: getattr(config, k) for k in ("cutoff", "energies", "pair", "embedding")},
        provenance={
            "method": "bounded least squares on diatomic curves (8 points, 0.85 to 2.2 R_e), charges mu/R_e"
            + (" and atomisation energies of molecules" if config.molecules else ""),
            "pairs": [f"{p.a}-{p.b}" for p in config.diatomics],
            "curve_rms_in_depths": round(float(figures["curves"]), 5),
            "charge_rms_in_e": round(float(figures["charges"]), 5),
            **learned,
            "config_sha256": digest,
            "jax": jax.__version__,
        },
    )
