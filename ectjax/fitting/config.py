"""The configuration of a fit: a TOML file with a checked schema."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ectjax.basis import (
    DEFAULT_CUTOFF,
    DEFAULT_STATES,
    EMBEDDING_FORMS,
    PAIR_FORMS,
    POLARIZATION_FORMS,
    RESONANCE_FORMS,
    states_of,
)
from ectjax.files import read_utf8
from ectjax.fitting.crystals import RockSalt, read_crystals
from ectjax.fitting.curves import Diatomic, further_diatomics, read_diatomics
from ectjax.fitting.molecules import Molecule, read_distorted, read_molecules, read_structures
from ectjax.model import BOUNDS
from ectjax.parameters import load_parameters
from ectjax.tables import available_elements, load_element

SCHEMA: dict[str, dict[str, type | tuple]] = {
    "model": {
        "name": str,
        "description": str,
        "elements": list,
        "states": (list, dict),
        "cutoff": (int, float),
        "energies": str,
        "pair": str,
        "embedding": str,
        "resonance": str,
        "polarization": str,
    },
    "data": {"diatomics": str, "molecules": (str, bool), "distorted": (str, bool), "crystals": (str, bool)},
    "start": {"set": str, **dict.fromkeys(BOUNDS, (int, float, dict))},
    "bounds": {name: dict for name in BOUNDS},
    "prior_widths": {name: (int, float) for name in BOUNDS},
    "train": {
        "steps": int,
        "tolerance": (int, float),
        "charge_weight": (int, float),
        "molecule_weight": (int, float),
        "distorted_weight": (int, float),
        "crystal_weight": (int, float),
        "breathing_weight": (int, float),
        "force_weight": (int, float),
        "measured_weight": (int, float),
        "deeper_weight": (int, float),
        "relaxations": int,
        "prior": (int, float),
        "validation": (int, float),
        "patience": int,
        "starts": int,
        "seed": int,
        "fixed": list,
        "free": list,
        "hold": list,
    },
}
ENERGIES = ("experimental", "computed")
FURTHER, ALL = "further", "all"
"""[data] diatomics: the further shipped pairs instead of the 22, or both."""
OPTIONAL = ("anion", "tau")
"""Parameters that stay at their start unless [train] free names them."""


@dataclass(frozen=True)
class FitConfig:
    """A checked configuration; see docs/fitting.md for the meaning of every key."""

    name: str
    description: str
    elements: tuple[str, ...]
    states: tuple[str, ...] | dict[str, tuple[str, ...]]
    cutoff: float
    energies: str
    pair: str
    embedding: str
    resonance: str
    polarization: str
    diatomics: tuple[Diatomic, ...]
    molecules: tuple[Molecule, ...]
    distorted: tuple[Molecule, ...]
    crystals: tuple[RockSalt, ...]
    start: dict[str, float | str | dict[str, float]]
    train: dict
    bounds: dict[str, dict[int, tuple[float, float]]]
    prior_widths: dict[str, float]


def read_config(path: str | Path) -> FitConfig:
    """Read and check a TOML file.

    Raises ValueError naming file, key and remedy: unknown keys, wrong types, elements without tables, a data set
    with an uncovered element.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no configuration file {path}; give a TOML file (see examples/fit_default.toml)")
    try:
        content = tomllib.loads(read_utf8(path, "a TOML file (see examples/fit_default.toml)"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}; mend the line it names") from None
    _check_schema(path, content)
    model, start, train = (content.get(k, {}) for k in ("model", "start", "train"))
    for key in ("name", "elements"):
        if key not in model:
            raise ValueError(f"{path}: [model] lacks {key!r}; it needs at least name and elements")
    elements = tuple(model["elements"])
    if not elements or len(set(map(str, elements))) < len(elements):
        raise ValueError(f"{path}: [model] elements = {list(elements)}; name one element or more, each once")
    missing = [str(e) for e in elements if e not in available_elements()]
    if missing:
        raise ValueError(f"{path}: no tables for {', '.join(missing)}; there are {', '.join(available_elements())}")
    source = content.get("data", {}).get("diatomics")
    if source in (None, FURTHER, ALL):
        shipped = read_diatomics() * (source != FURTHER) + further_diatomics() * (source is not None)
        pairs = [p for p in shipped if {p.a, p.b} <= set(elements)]
    else:
        pairs = read_diatomics(_existing(path, source))
    _check_covered(path, ((f"{p.a}-{p.b}", (p.a, p.b)) for p in pairs), elements)
    states = model.get("states", list(DEFAULT_STATES))
    states = {k: tuple(v) for k, v in states.items()} if isinstance(states, dict) else tuple(states)
    _check_states(path, states, elements)
    _check_numbers(path, content)
    _check_start(path, start, elements)
    if not 0 <= train.get("validation", 0.0) < 1:
        raise ValueError(f"{path}: [train] validation = {train['validation']}; give a share of the molecules, 0 to 1")
    widths = {k: float(v) for k, v in content.get("prior_widths", {}).items()}
    for name, width in widths.items():
        if not width > 0:
            raise ValueError(f"{path}: [prior_widths] {name} = {width}; give a width > 0")
    bad = [f for f in train.get("free", []) if f not in OPTIONAL]
    if bad:
        raise ValueError(f"{path}: [train] free names {', '.join(bad)}; allowed are {', '.join(OPTIONAL)}")
    bad = [f for f in train.get("fixed", []) if f not in BOUNDS]
    if bad:
        raise ValueError(f"{path}: [train] fixed names {', '.join(bad)}; allowed are {', '.join(BOUNDS)}")
    if model.get("polarization", "none") != "none" and model.get("resonance") != "orbitals":
        raise ValueError(
            f'{path}: [model] polarization = "{model["polarization"]}" needs resonance = "orbitals"; add it, or drop it'
        )
    bad = [e for e in train.get("hold", []) if e not in elements]
    if bad or len(set(train.get("hold", []))) == len(elements):
        raise ValueError(
            f"{path}: [train] hold = {train['hold']}; name elements of the fit ({', '.join(elements)}), not all of them"
        )
    molecules = _training_molecules(path, content.get("data", {}).get("molecules", False), elements)
    return FitConfig(
        name=model["name"],
        description=model.get("description", ""),
        elements=elements,
        states=states,
        cutoff=float(model.get("cutoff", DEFAULT_CUTOFF)),
        energies=_one_of(path, model, "energies", ENERGIES),
        pair=_one_of(path, model, "pair", PAIR_FORMS),
        embedding=_one_of(path, model, "embedding", EMBEDDING_FORMS),
        resonance=_one_of(path, model, "resonance", RESONANCE_FORMS),
        polarization=_one_of(path, model, "polarization", POLARIZATION_FORMS),
        diatomics=tuple(pairs),
        molecules=molecules,
        distorted=_distorted(path, content.get("data", {}).get("distorted", False), elements, molecules),
        crystals=_training_crystals(path, content.get("data", {}).get("crystals", False), elements),
        start=dict(start),
        train=dict(train),
        bounds=_checked_bounds(path, content.get("bounds", {}), elements),
        prior_widths=widths,
    )


def _training_molecules(path: Path, source: str | bool, elements: tuple[str, ...]) -> tuple[Molecule, ...]:
    """Molecules marked train: of the shipped file for true (those that are covered), of a CSV file for a path (all);
    every frame of any other file that ASE reads."""
    if source is False:
        return ()
    if source is True:
        shipped = (m for m in read_molecules() if m.use == "train")
        return tuple(m for m in shipped if set(m.symbols) <= set(elements))
    file = _existing(path, str(source))
    chosen = [m for m in read_molecules(file) if m.use == "train"] if file.suffix == ".csv" else read_structures(file)
    _check_covered(path, ((m.name, m.symbols) for m in chosen), elements)
    return tuple(chosen)


def _distorted(path: Path, source: str | bool, elements: tuple[str, ...], molecules) -> tuple[Molecule, ...]:
    """Distorted geometries: of the shipped file for true (those of the molecules trained on), of a file for a path."""
    if source is False:
        return ()
    if not molecules:
        raise ValueError(f"{path}: [data] distorted is given without molecules; add molecules = true, or drop it")
    if source is True:
        known = {m.name for m in molecules}
        return tuple(m for m in read_distorted() if m.parent in known)
    chosen = read_distorted(_existing(path, str(source)))
    _check_covered(path, ((m.name, m.symbols) for m in chosen), elements)
    return tuple(chosen)


def _training_crystals(path: Path, source: str | bool, elements: tuple[str, ...]) -> tuple[RockSalt, ...]:
    """Crystals of the shipped file for true (those that are covered), of a CSV file for a path (all)."""
    if source is False:
        return ()
    if source is True:
        return tuple(c for c in read_crystals() if set(c.symbols) <= set(elements))
    chosen = read_crystals(_existing(path, str(source)))
    _check_covered(path, ((c.formula, c.symbols) for c in chosen), elements)
    return tuple(chosen)


def _check_states(path: Path, states, elements: tuple[str, ...]) -> None:
    for symbol in elements:
        try:
            states_of(load_element(symbol), states)
        except ValueError as error:
            raise ValueError(f"{path}: [model] states: {error}") from None


def _check_numbers(path: Path, content: dict) -> None:
    """Counts and weights in their ranges."""
    model, train = (content.get(k, {}) for k in ("model", "train"))
    cutoff = model.get("cutoff", DEFAULT_CUTOFF)
    if not 2 <= cutoff <= 30:
        raise ValueError(f"{path}: [model] cutoff = {cutoff}; give 2 to 30 Å")
    for key, value in train.items():
        least = 1 if key in ("steps", "starts", "patience") else 0
        if isinstance(value, (int, float)) and not least <= value < float("inf"):
            raise ValueError(f"{path}: [train] {key} = {value}; give a number of at least {least}")


def _check_start(path: Path, start: dict, elements: tuple[str, ...]) -> None:
    """Start values in their ranges: one for all elements, or a table by symbol."""
    for key, value in start.items():
        if key == "set":
            load_parameters(str(value))
            continue
        low, high = BOUNDS[key]
        for symbol, number in value.items() if isinstance(value, dict) else [(None, value)]:
            where = key if symbol is None else f"{key}.{symbol}"
            if symbol is not None and symbol not in elements:
                raise ValueError(f"{path}: [start] names {where}; the fit covers {', '.join(elements)}")
            if not isinstance(number, (int, float)) or not low <= number <= high:
                raise ValueError(f"{path}: [start] {where} = {number}; give a number in {low} to {high}")


def _existing(path: Path, source: str) -> Path:
    file = path.parent / source
    if not file.is_file():
        raise ValueError(f"{path}: [data] names {source}, but there is no file {file}; mend the path")
    return file


def _check_covered(path: Path, entries, elements: tuple[str, ...]) -> None:
    for name, symbols in entries:
        if not set(symbols) <= set(elements):
            raise ValueError(
                f"{path}: data entry {name} has an element outside [model] elements ({', '.join(elements)}); "
                "add the element or remove the entry"
            )


def _one_of(path: Path, model: dict, key: str, allowed: tuple[str, ...]) -> str:
    """A named choice of [model], the first allowed one if the file is silent."""
    value = model.get(key, allowed[0])
    if value not in allowed:
        raise ValueError(f"{path}: [model] {key} = {value!r}; allowed are {', '.join(map(repr, allowed))}")
    return value


def _checked_bounds(path: Path, bounds: dict, elements: tuple[str, ...]) -> dict[str, dict[int, tuple[float, float]]]:
    """Narrower ranges by field and row of the element; ValueError unless they lie inside `BOUNDS`."""
    result: dict[str, dict[int, tuple[float, float]]] = {}
    for name, entries in bounds.items():
        low, high = BOUNDS[name]
        for symbol, limits in entries.items():
            if symbol not in elements:
                raise ValueError(f"{path}: [bounds] {name} names {symbol}; the fit covers {', '.join(elements)}")
            sound = isinstance(limits, list) and len(limits) == 2 and all(isinstance(x, (int, float)) for x in limits)
            if not sound or not low <= limits[0] < limits[1] <= high:
                raise ValueError(f"{path}: [bounds] {name}.{symbol} = {limits}; give [low, high] in {low} to {high}")
            result.setdefault(name, {})[elements.index(symbol)] = (float(limits[0]), float(limits[1]))
    return result


def _check_schema(path: Path, content: dict) -> None:
    for section, entries in content.items():
        if section not in SCHEMA:
            raise ValueError(f"{path}: unknown section [{section}]; allowed are {', '.join(f'[{s}]' for s in SCHEMA)}")
        if not isinstance(entries, dict):
            raise ValueError(f"{path}: {section} is a value, it must be a section [{section}]")
        for key, value in entries.items():
            if key not in SCHEMA[section]:
                raise ValueError(
                    f"{path}: unknown key {key!r} in [{section}]; allowed are {', '.join(SCHEMA[section])}"
                )
            allowed = SCHEMA[section][key]
            if not isinstance(value, allowed) or (isinstance(value, bool) and section != "data"):
                raise ValueError(f"{path}: [{section}] {key} = {value!r} has the wrong type; see docs/fitting.md")
