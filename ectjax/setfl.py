"""Reader of tabulated embedded atom potentials: setfl (.eam.alloy) and its Finnis-Sinclair form (.eam.fs).

Layout of both: three lines of comment; the number of elements and their names; Nρ, dρ, Nr, dr and the cutoff;
per element a line (atomic number, mass, lattice constant, lattice), the embedding function F(ρ) and the
density ρ(r), one in setfl and one per partner in the Finnis-Sinclair form; then r φ(r) of every pair i >= j.
Numbers may be spread over lines at will, but every block starts on a new line. Units eV, Å, amu.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Setfl:
    """A potential file as it stands; E elements.

    symbols, numbers, masses (amu), lattice_constants (Å), lattices : one entry per element.
    drho, dr : grid spacings; both grids start at 0. cutoff : Å.
    embedding : (E, Nρ) eV. density : (E, E, Nr), [source, target]: of element `source` at an atom `target`.
    scaled_pair : (E, E, Nr) r φ(r) in eV Å, symmetric.
    """

    path: str
    comments: tuple[str, str, str]
    symbols: tuple[str, ...]
    numbers: tuple[int, ...]
    masses: tuple[float, ...]
    lattice_constants: tuple[float, ...]
    lattices: tuple[str, ...]
    drho: float
    dr: float
    cutoff: float
    embedding: np.ndarray
    density: np.ndarray
    scaled_pair: np.ndarray


def read_setfl(path: str | Path, finnis_sinclair: bool | None = None) -> Setfl:
    """Read a potential file.

    Parameters
    ----------
    path : the file.
    finnis_sinclair : which of the two layouts; by default True where the name ends in ".fs".

    Raises
    ------
    ValueError : malformed or truncated; names the file, the line and what was expected there.
    OSError : the file cannot be read.
    """
    path = Path(path)
    if finnis_sinclair is None:
        finnis_sinclair = path.name.endswith(".fs")
    lines = _Lines(path)
    comments = tuple(lines.next("a line of comment").strip() for _ in range(3))
    symbols = _elements(lines)
    size = len(symbols)
    n_rho, drho, n_r, dr, cutoff = _grids(lines)
    numbers, masses, constants, lattices = [], [], [], []
    embedding, density = np.zeros((size, n_rho)), np.zeros((size, size, n_r))
    for e, symbol in enumerate(symbols):
        what = f"atomic number, mass, lattice constant and lattice of {symbol}"
        fields = lines.fields(what, 3)
        numbers.append(lines.integer(fields[0], f"the atomic number of {symbol}", 0))
        masses.append(lines.number(fields[1], f"the mass of {symbol}"))
        constants.append(lines.number(fields[2], f"the lattice constant of {symbol}"))
        lattices.append(fields[3] if len(fields) > 3 else "")
        embedding[e] = lines.block(n_rho, f"the embedding function of {symbol}")
        for t in range(size) if finnis_sinclair else [slice(None)]:
            at = f" at {symbols[t]}" if finnis_sinclair else ""
            density[e, t] = lines.block(n_r, f"the density of {symbol}{at}")
    pair = np.zeros((size, size, n_r))
    for i in range(size):
        for j in range(i + 1):
            values = lines.block(n_r, f"r*phi(r) of {symbols[i]}-{symbols[j]}")
            pair[i, j] = pair[j, i] = values
    lines.end(finnis_sinclair)
    return Setfl(
        path=str(path),
        comments=comments,
        symbols=symbols,
        numbers=tuple(numbers),
        masses=tuple(masses),
        lattice_constants=tuple(constants),
        lattices=tuple(lattices),
        drho=drho,
        dr=dr,
        cutoff=cutoff,
        embedding=embedding,
        density=density,
        scaled_pair=pair,
    )


def _elements(lines):
    fields = lines.fields("the number of elements and their names", 2)
    count = lines.integer(fields[0], "the number of elements", 1)
    if len(fields) - 1 != count:
        lines.fail(f"{count} element names after the number of elements", f"{len(fields) - 1}")
    if len(set(fields[1:])) != count:
        lines.fail("element names that all differ", " ".join(fields[1:]))
    return tuple(fields[1:])


def _grids(lines):
    fields = lines.fields("Nrho drho Nr dr cutoff", 5)
    n_rho = lines.integer(fields[0], "Nrho, at least 5", 5)
    drho = lines.positive(fields[1], "drho")
    n_r = lines.integer(fields[2], "Nr, at least 5", 5)
    dr, cutoff = lines.positive(fields[3], "dr"), lines.positive(fields[4], "the cutoff")
    if cutoff > n_r * dr * (1 + 1e-6):
        lines.fail(f"a cutoff within the table, which ends at {(n_r - 1) * dr:g} Å", f"{cutoff:g} Å")
    return n_rho, drho, n_r, dr, cutoff


class _Lines:
    """The lines of a file, with a place for error messages."""

    def __init__(self, path: Path):
        self.name, self.at = str(path), 0
        self.lines = path.read_text(encoding="utf-8", errors="replace").splitlines()

    def fail(self, expected: str, got: str):
        raise ValueError(f"{self.name}, line {self.at}: expected {expected}, got {got}")

    def next(self, expected: str) -> str:
        if self.at >= len(self.lines):
            raise ValueError(
                f"{self.name}: the file ends after line {len(self.lines)}, expected {expected}; is it truncated?"
            )
        self.at += 1
        return self.lines[self.at - 1]

    def fields(self, expected: str, least: int) -> list[str]:
        fields = self.next(expected).split()
        if len(fields) < least:
            self.fail(expected, repr(" ".join(fields)))
        return fields

    def number(self, text: str, expected: str) -> float:
        try:
            value = float(text.replace("D", "E").replace("d", "e"))  # Fortran's double precision exponent
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            self.fail(f"a finite number for {expected}", repr(text))
        return value

    def positive(self, text: str, expected: str) -> float:
        value = self.number(text, expected)
        if not value > 0:
            self.fail(f"a positive number for {expected}", repr(text))
        return value

    def integer(self, text: str, expected: str, least: int) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            self.fail(f"an integer for {expected}", repr(text))
        return value

    def block(self, count: int, expected: str) -> np.ndarray:
        """`count` numbers that start on a new line and end at the end of one."""
        values: list[float] = []
        while len(values) < count:
            fields = self.next(f"{count - len(values)} more of the {count} numbers of {expected}").split()
            if len(values) + len(fields) > count:
                self.fail(
                    f"the line to end after {count - len(values)} numbers, the last of {count} of {expected}",
                    f"{len(fields)} numbers",
                )
            for text in fields:
                values.append(self.number(text, f"{expected} (value {len(values) + 1} of {count})"))
        return np.array(values)

    def end(self, finnis_sinclair: bool):
        while self.at < len(self.lines):
            if self.next("").strip():
                layout = "Finnis-Sinclair (.eam.fs)" if finnis_sinclair else "setfl (.eam.alloy)"
                self.fail(f"the end of the file: all tables of the {layout} layout are read", "more text")
