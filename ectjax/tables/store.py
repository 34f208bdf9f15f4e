"""One HDF5 file per element: where the files are, how they are read, written and protected by a checksum.

Layout (schema 1): attributes of the root say what the file is; the group `states/<label>` carries one state's
scalars as attributes and its arrays as data sets. The checksum is the sha256 of the canonical content, so it does
not depend on how HDF5 lays out the bytes.
"""

import hashlib
import json
import math
import os
from pathlib import Path

import h5py
import numpy as np

from ectjax.files import replacing

from .records import AtomicState, Element, parse_label
from .symbols import NUMBERS, SYMBOLS, symbol_of

SCHEMA = "ectjax-atomic-table"
SCHEMA_VERSION = 1
UNITS = "atomic units: Hartree, bohr, electrons/bohr^3"
_ARRAYS = {
    "coefficients": np.float64,
    "powers": np.int64,
    "exponents": np.float64,
    "reference_radii": np.float64,
    "reference_density": np.float64,
}
_SCALARS = {
    "charge": int,
    "excitation": int,
    "electrons": int,
    "term": str,
    "configuration": str,
    "energy_computed": float,
    "energy_experimental": float,
    "energy_source": str,
    "bound": bool,
    "decay": float,
    "decay_source": str,
    "method": str,
    "basis": str,
}


def table_directory() -> Path:
    """The shipped tables: inside an installed wheel, or beside the package in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "basis_tables"
    return inside if inside.is_dir() else package.parent / "basis_tables"


def available_elements(path: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Symbols of the elements that have a table in `path` (default: the shipped tables), in periodic order."""
    folder = Path(path) if path is not None else table_directory()
    if folder.is_file():
        folder = folder.parent
    found = {p.stem for p in folder.glob("*.h5")} if folder.is_dir() else set()
    return tuple(symbol for symbol in SYMBOLS if symbol in found)


def load_element(symbol_or_number: str | int, path: str | os.PathLike | None = None) -> Element:
    """Read one element's table.

    `path` is a table file, or a folder of files named like `Na.h5`; by default the shipped tables are read.

    Raises:
        ValueError: no such element, no table for it, or a file that is damaged or of another schema.
    """
    symbol = symbol_of(symbol_or_number)
    place = Path(path) if path is not None else table_directory()
    file = place / f"{symbol}.h5" if place.is_dir() else place
    if not file.is_file():
        listed = ", ".join(available_elements(place if place.is_dir() else None)) or "none"
        raise ValueError(
            f"no atomic table for element {symbol} at {file}; tables are there for: {listed}. "
            f"Use one of these or make it with 'ectjax tables build {symbol}'"
        )
    element = read_table(file)
    if element.symbol != symbol:
        raise ValueError(f"table file {file} is for {element.symbol}, not for {symbol}; give the file of {symbol}")
    return element


def read_table(file: str | os.PathLike) -> Element:
    """The element in one table file, schema and checksum verified (ValueError when they do not hold)."""
    try:
        with h5py.File(file, "r") as handle:
            schema, version = handle.attrs.get("schema"), handle.attrs.get("schema_version")
            if schema != SCHEMA or version != SCHEMA_VERSION:
                raise ValueError(
                    f"table file {file} has schema {schema!r} version {version}; this program reads {SCHEMA!r} "
                    f"version {SCHEMA_VERSION}: rebuild it with 'ectjax tables build'"
                )
            element = _read(handle)
            stored = str(handle.attrs["checksum"])
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"table file {file} is truncated or not an ectjax HDF5 table ({str(error).splitlines()[0][:120]}); "
            f"copy it again or rebuild it with 'ectjax tables build'"
        ) from None
    if checksum(element) != stored:
        raise ValueError(
            f"table file {file} has a wrong checksum (stored {stored[:12]}…, content {checksum(element)[:12]}…): it "
            f"was changed after it was made; copy it again or rebuild it with 'ectjax tables build {element.symbol}'"
        )
    return element


def write_table(element: Element, file: str | os.PathLike) -> Path:
    """Write a table under a temporary name and rename it, so that no half-written file is ever seen."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary, h5py.File(temporary, "w", track_order=False) as handle:
        handle.attrs["schema"], handle.attrs["schema_version"] = SCHEMA, SCHEMA_VERSION
        handle.attrs["units"], handle.attrs["checksum"] = UNITS, checksum(element)
        handle.attrs["symbol"], handle.attrs["number"] = element.symbol, element.number
        handle.attrs["provenance"] = json.dumps(element.provenance, sort_keys=True)
        handle.attrs["labels"] = json.dumps(element.labels)
        for state in element.states:
            group = handle.create_group(f"states/{state.label}")
            for name in _SCALARS:
                group.attrs[name] = getattr(state, name)
            group.attrs["fit"] = json.dumps(state.fit, sort_keys=True)
            if state.concordance:
                group.attrs["concordance"] = json.dumps(state.concordance, sort_keys=True)
            for name, kind in _ARRAYS.items():
                group.create_dataset(name, data=np.asarray(getattr(state, name), kind))
    return file


def checksum(element: Element) -> str:
    """sha256 over the canonical content: sorted JSON of the scalars, little-endian bytes of the arrays."""
    digest = hashlib.sha256()

    def add(value):
        digest.update(json.dumps(value, sort_keys=True, allow_nan=True).encode())

    add([SCHEMA, SCHEMA_VERSION, UNITS, element.symbol, element.number, element.provenance])
    for state in element.states:
        add([state.label, {name: kind(getattr(state, name)) for name, kind in _SCALARS.items()}, state.fit])
        if state.concordance:  # optional, so that tables without it keep their checksum
            add(state.concordance)
        for name, kind in _ARRAYS.items():
            array = np.asarray(getattr(state, name), kind)
            add([name, list(array.shape)])
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _read(handle: h5py.File) -> Element:
    symbol = str(handle.attrs["symbol"])
    number = int(handle.attrs["number"])
    if NUMBERS.get(symbol) != number:
        raise ValueError(f"table file {handle.filename} says element {symbol} has number {number}; correct the file")
    states = []
    for label in json.loads(handle.attrs["labels"]):
        group = handle["states"][label]
        charge, excitation = parse_label(label)
        scalars = {name: kind(group.attrs[name]) for name, kind in _SCALARS.items()}
        arrays = {name: np.asarray(group[name][()], kind) for name, kind in _ARRAYS.items()}
        for array in arrays.values():
            array.setflags(write=False)
        notes = {name: json.loads(group.attrs.get(name, "{}")) for name in ("fit", "concordance")}
        state = AtomicState(label=label, **notes, **scalars, **arrays)
        consistent = (state.charge, state.excitation) == (charge, excitation)
        if not consistent or state.electrons != number - charge or not math.isfinite(state.energy):
            raise ValueError(
                f"table file {handle.filename}, state {label}: charge {state.charge}, excitation {state.excitation}, "
                f"{state.electrons} electrons, energy {state.energy} do not belong together; correct the file"
            )
        states.append(state)
    return Element(symbol, number, tuple(states), json.loads(handle.attrs["provenance"]))
