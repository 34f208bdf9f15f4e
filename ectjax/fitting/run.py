"""A whole fit: from a configuration to a parameter set with its provenance."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ectjax.basis import Basis, build_basis
from ectjax.files import replacing
from ectjax.fitting.config import OPTIONAL, FitConfig
from ectjax.fitting.crystals import crystal_data
from ectjax.fitting.objective import (
    Data,
    Weights,
    curve_data,
    molecule_data,
    relaxed_molecules,
    room_for_relaxed,
    summary,
)
from ectjax.fitting.train import Fit, fit
from ectjax.load import assemble_once
from ectjax.model import Model, Parameters
from ectjax.pairs.orbitals import SATURATION
from ectjax.parameters import ParameterSet, load_parameters
from ectjax.parameters.store import FIELDS, OPTIONS

STARTS = {"a": (0.1, 1.2), "b": (-0.3, 0.6), "sigma": (0.5, 2.0), "kappa": (1.0, 60.0)}
"""Ranges of the random restarts, units as in `Parameters`."""


def start_parameters(config: FitConfig, index: int) -> Parameters:
    """Start number `index`: the configured one for 0, then draws from `STARTS` under the configured seed."""
    n = len(config.elements)
    base = {
        "a": 0.5,
        "b": 0.0,
        "sigma": 1.0,
        "kappa": 20.0,
        "m": 1.0,
        "anion": 1.0,
        "pi": 0.5 if config.resonance == "orbitals" else 0.0,
        "tau": SATURATION,
    }
    given = {k: v for k, v in config.start.items() if k != "set"}
    base.update({k: float(v) for k, v in given.items() if not isinstance(v, dict)})
    values = {k: np.full(n, base[k]) for k in base}
    if "set" in config.start:
        known = load_parameters(str(config.start["set"]))
        for row, symbol in enumerate(config.elements):
            for k in FIELDS:
                if symbol in known.elements:
                    values[k][row] = known.elements[symbol][k]
    for k, entries in given.items():
        for symbol, number in entries.items() if isinstance(entries, dict) else ():
            values[k][config.elements.index(symbol)] = number
    if index > 0:
        draw = np.random.default_rng([int(config.train.get("seed", 0)), index])
        fixed = config.train.get("fixed", [])
        for k, (low, high) in STARTS.items():
            if k not in fixed:
                values[k] = draw.uniform(low, high, n)
    return Parameters(**{k: jnp.asarray(v) for k, v in values.items()})


def run_fit(
    config: FitConfig,
    report: Callable[[int, int, float], None] | None = None,
    checkpoint: str | Path | None = None,
) -> tuple[ParameterSet, Fit, Basis, Data, Model]:
    """Fit from every start and keep the best. Deterministic for a configuration. Runs in float64.

    Args:
        report: called with (start, evaluation, root of the summed squared errors).
        checkpoint: a file that holds the best numbers of every start so far. If it is there, every start goes on from
            its numbers; with another configuration it is refused (ValueError).
    """
    train = config.train
    kept = _Checkpoint(config, checkpoint)
    with jax.enable_x64(True):
        basis = build_basis(
            config.elements,
            states=config.states,
            cutoff=config.cutoff,
            energies=config.energies,
            pair=config.pair,
            embedding=config.embedding,
            resonance=config.resonance,
            polarization=config.polarization,
        )
        _check_held(config, basis)
        all_molecules = [*config.molecules, *config.distorted]
        molecules = molecule_data(all_molecules, basis, training_weights(config)) if all_molecules else None
        crystals = crystal_data(list(config.crystals), basis) if config.crystals else None
        data = Data(curve_data(list(config.diatomics), basis), molecules, crystals)
        best: Fit | None = None
        for index in range(max(1, int(train.get("starts", 1)))):
            found = _search(config, basis, data, index, kept, report)
            if best is None or _judged(found) < _judged(best):
                best = found
        assert best is not None
        model = assemble_once(basis, best.parameters)
        if data.molecules is not None and train.get("relaxations"):
            data = data._replace(molecules=relaxed_molecules(model, room_for_relaxed(data.molecules, 1)))
        figures = summary(model, data)
    return _as_set(config, basis, best, figures), best, basis, data, model


def _check_held(config: FitConfig, basis: Basis) -> None:
    """Raise ValueError where numbers that are held would meet other states than those they were fitted with."""
    if "set" not in config.start:
        return
    held = load_parameters(str(config.start["set"]))
    for symbol, labels in zip(config.elements, basis.labels, strict=True):
        if symbol in config.train.get("hold", ()) and set(held.states.get(symbol, labels)) != set(labels):
            raise ValueError(
                f"{config.name}: {symbol} keeps the numbers of {held.name}, fitted with the states "
                f"{', '.join(held.states[symbol])}, but has {', '.join(labels)}; list the former under [model.states]"
            )


def _search(config: FitConfig, basis: Basis, data: Data, index: int, kept: "_Checkpoint", report) -> Fit:
    """One start: a fit at measured geometries, then as many with relaxed ones as the configuration asks for."""
    train, start = config.train, start_parameters(config, index)
    given = {name: train[f"{name}_weight"] for name in Weights._fields if f"{name}_weight" in train}
    widths = tuple(config.prior_widths.get(k, w) for k, w in zip(FIELDS, Weights().widths, strict=True))
    weights = Weights(**given, prior=float(train.get("prior", 0.0)), widths=widths)

    held = {f for f in OPTIONAL if f not in train.get("free", ())} | set(train.get("fixed", ()))
    idle = {
        "m": config.pair == "coulomb",
        "pi": config.resonance == "spherical",
        "tau": config.resonance == "spherical",
    }
    fixed = tuple(f for f in FIELDS if f in held or idle.get(f, False))

    def search(data: Data, begin: Parameters | None) -> Fit:
        return fit(
            basis,
            data,
            start,
            begin=begin,
            weights=weights,
            fixed=fixed,
            hold=tuple(config.elements.index(symbol) for symbol in train.get("hold", ())),
            bounds=config.bounds,
            steps=int(train.get("steps", 60)),
            tolerance=float(train.get("tolerance", 1e-5)),
            patience=train.get("patience"),
            report=None if report is None else (lambda n, loss: report(index, n, loss)),
            keep=lambda parameters: kept.write(index, parameters),
        )

    molecules, relaxations = data.molecules, int(train.get("relaxations", 0))
    if molecules is None or relaxations == 0:
        return search(data, kept.parameters(index))
    # all places at once, measured geometries in them: one program for every round
    remembers = weights.deeper is not None
    molecules = room_for_relaxed(molecules, relaxations if remembers else 1)
    found = search(data._replace(molecules=molecules), kept.parameters(index))
    for place in range(relaxations):
        model = assemble_once(basis, found.parameters)
        molecules = relaxed_molecules(model, molecules, place if remembers else 0, unfinished=remembers)
        found = search(data._replace(molecules=molecules), found.parameters)
    return found


def training_weights(config: FitConfig) -> np.ndarray:
    """Weights of the molecules, 1 or 0 for validation, and of their distorted geometries, which follow them."""
    kept = {m.name for m, v in zip(config.molecules, validation_of(config), strict=True) if v}
    weight = float(config.train.get("distorted_weight", 0.3))
    return np.array(
        [float(m.name not in kept) for m in config.molecules]
        + [weight * (m.parent not in kept) for m in config.distorted]
    )


def validation_of(config: FitConfig) -> np.ndarray:
    """Which molecules are kept for validation (M,): a share drawn under the configured seed."""
    count = round(float(config.train.get("validation", 0.0)) * len(config.molecules))
    drawn = np.random.default_rng(int(config.train.get("seed", 0))).permutation(len(config.molecules))[:count]
    return np.isin(np.arange(len(config.molecules)), drawn)


def _judged(found: Fit) -> float:
    """What starts are compared by: the validation error, or the objective without one."""
    return found.loss if np.isnan(found.validation) else found.validation


class _Checkpoint:
    """The best numbers of every start in one JSON file, written under a temporary name and renamed."""

    def __init__(self, config: FitConfig, path: str | Path | None):
        self._path, self._digest = None if path is None else Path(path), _digest(config)
        self._starts: dict[str, dict[str, list[float]]] = {}
        if self._path is None or not self._path.is_file():
            return
        try:
            content = json.loads(self._path.read_text())
            same, self._starts = content["config_sha256"] == self._digest, content["starts"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"checkpoint {self._path} is damaged ({error}); remove it to begin anew") from None
        if not same:
            raise ValueError(
                f"checkpoint {self._path} belongs to another configuration; remove it, or restore that configuration"
            )

    def parameters(self, index: int) -> Parameters | None:
        """Numbers to go on from, None for a start that has not begun."""
        stored = self._starts.get(str(index))
        return None if stored is None else Parameters(**{k: jnp.asarray(v) for k, v in stored.items()})

    def write(self, index: int, parameters: Parameters) -> None:
        """Keep the numbers of a start."""
        if self._path is None:
            return
        self._starts[str(index)] = {k: np.asarray(getattr(parameters, k)).tolist() for k in FIELDS}
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps({"config_sha256": self._digest, "starts": self._starts}))


def _digest(config: FitConfig) -> str:
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value):
    """Arrays of a configuration in full: their text leaves entries out."""
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def _as_set(config: FitConfig, basis: Basis, found: Fit, figures: dict) -> ParameterSet:
    known: dict = {}
    learned: dict = {}
    if config.train.get("hold") and "set" in config.start:  # what the held numbers have learned stays learned
        held = load_parameters(str(config.start["set"]))
        known, learned = held.provenance, {"held": list(config.train["hold"]), "held_set": held.name}
        learned |= {key: known[key] for key in ("molecules", "distorted", "crystals") if key in known}
    if config.molecules:
        learned["molecules"] = [m.name for m in config.molecules]
        learned["molecule_mae_ev_per_atom"] = round(float(figures["molecules"]), 5)
        if np.isfinite(figures["validation"]):
            learned["validation"] = [m.name for m, v in zip(config.molecules, validation_of(config), strict=True) if v]
            learned["validation_mae_ev_per_atom"] = round(float(figures["validation"]), 5)
    if config.distorted:
        learned["distorted"] = len(config.distorted)
        learned["distorted_mae_ev_per_atom"] = round(float(figures["distorted"]), 5)
    if config.crystals:
        learned["crystals"] = [c.formula for c in config.crystals]
        learned["crystal_mae_ev_per_atom"] = round(float(figures["crystals"]), 5)
    numbers = {k: np.round(np.asarray(getattr(found.parameters, k)), 6) for k in FIELDS}
    return ParameterSet(
        name=config.name,
        description=config.description,
        elements={s: {k: float(numbers[k][n]) for k in FIELDS} for n, s in enumerate(config.elements)},
        states=dict(zip(config.elements, basis.labels, strict=True)),
        options={k: getattr(config, k) for k in OPTIONS},
        provenance={
            "method": "bounded least squares on diatomic curves (8 points, 0.85 to 2.2 R_e)"
            + (", charges mu/R_e" if config.train.get("charge_weight", Weights().charge) else "")
            + (", atomisation energies of molecules" if config.molecules else "")
            + (", lattice constants and energies of crystals" if config.crystals else ""),
            "pairs": list(dict.fromkeys([*known.get("pairs", ()), *(f"{p.a}-{p.b}" for p in config.diatomics)])),
            "curve_rms_in_depths": round(float(figures["curves"]), 5),
            "charge_rms_in_e": round(float(figures["charges"]), 5),
            **learned,
            "config_sha256": _digest(config),
            "jax": jax.__version__,
        },
    )
