"""Factors on the Thomas–Fermi overlap energy of pairs of states, from the CSV file beside this module."""

import csv
from functools import cache
from pathlib import Path

COLUMNS = ("element_a", "state_a", "element_b", "state_b", "factor", "distance_angstrom")
TABLE = Path(__file__).with_name("overlap_factors.csv")


def overlap_factor(a: tuple[str, str], b: tuple[str, str]) -> float:
    """Factor of a pair of (symbol, label): first-order overlap repulsion over the Thomas–Fermi functional's.

    1 for pairs that the file does not hold: two open shells, excited states, bare nuclei, elements beyond calcium
    (`ectjax.generate.heitler_london`).
    """
    return _table().get((a, b), 1.0)


def read_rows(path: Path = TABLE) -> dict[tuple[str, ...], tuple[float, float]]:
    """(element, state, element, state) → (factor, distance in Å at which it was taken), in the order of the file."""
    with path.open() as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {tuple(row[c] for c in COLUMNS[:4]): (float(row[COLUMNS[4]]), float(row[COLUMNS[5]])) for row in rows}


@cache
def _table() -> dict[tuple[tuple[str, str], tuple[str, str]], float]:
    found = {}
    for (symbol_a, label_a, symbol_b, label_b), (factor, _) in read_rows().items():
        a, b = (symbol_a, label_a), (symbol_b, label_b)
        found[a, b] = found[b, a] = factor
    return found
