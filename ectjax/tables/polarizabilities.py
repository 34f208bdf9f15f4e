"""Static dipole polarizabilities of isolated states, from the CSV file beside this module."""

import csv
from functools import cache
from pathlib import Path

from .symbols import symbol_of

COLUMNS = ("element", "state", "polarizability_bohr3", "method")
TABLE = Path(__file__).with_name("polarizabilities.csv")


def polarizability(symbol: str, label: str) -> float:
    """α of one state in bohr³, averaged over directions (E = −αF²/2); 0 for a bare nucleus.

    Coupled cluster in finite fields (`ectjax.generate.polarizability`). Anions that are not bound, such as N "-1",
    hold a model of the ion in a crystal; the file says so in the column "method".

    Raises ValueError for a state that the file does not hold, with those that it holds and how to add one.
    """
    symbol, table = symbol_of(symbol), _table()
    if (symbol, label) in table:
        return table[symbol, label][0]
    held = ", ".join(state for element, state in table if element == symbol)
    if not held:
        held = f"no state of it, only of {', '.join(dict.fromkeys(element for element, _ in table))}"
    raise ValueError(
        f"no polarizability of {symbol} {label!r}: {TABLE.name} holds {held}; "
        f"add it with 'python -m ectjax.generate.polarizability {symbol}'"
    )


def read_polarizabilities(path: Path = TABLE) -> dict[tuple[str, str], tuple[float, str]]:
    """(element, state) → (α in bohr³, method), in the order of the file."""
    with path.open() as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {(row["element"], row["state"]): (float(row["polarizability_bohr3"]), row["method"]) for row in rows}


@cache
def _table() -> dict[tuple[str, str], tuple[float, str]]:
    return read_polarizabilities()
