"""Diatomic potential curves from spectroscopic constants. eV, Å, e."""

import csv
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from ectjax.units import COULOMB_EV_ANGSTROM, DEBYE_IN_E_ANGSTROM

COLUMNS = ("a", "b", "r_e_angstrom", "d_e_ev", "omega_e_cm1", "dipole_debye")
IONIC_FROM = 1.4
INVERSE_CM_IN_EV = 1.2398419843320026e-4
AMU_ANGSTROM2_EV_IN_HBAR2 = 0.004180159280
"""ħ²/(amu Å²) in eV: turns wavenumbers into force constants."""


class Diatomic(NamedTuple):
    """Constants of one pair: R_e in Å, D_e in eV (well depth from the potential minimum), ω_e in cm⁻¹, dipole in D."""

    a: str
    b: str
    r_e: float
    d_e: float
    omega_e: float
    dipole: float

    @property
    def charge_a(self) -> float:
        """Charge of atom a in e that reproduces the dipole at R_e with point charges, μ/R_e."""
        return self.dipole * DEBYE_IN_E_ANGSTROM / self.r_e

    @property
    def range_parameter(self) -> float:
        """Morse's exponent in Å⁻¹, ω_e √(μ/2D_e)."""
        masses = [atomic_masses[atomic_numbers[s]] for s in (self.a, self.b)]
        reduced = masses[0] * masses[1] / sum(masses)
        omega = self.omega_e * INVERSE_CM_IN_EV
        return omega * np.sqrt(reduced / (2.0 * self.d_e * AMU_ANGSTROM2_EV_IN_HBAR2))

    def morse(self, r):
        """Morse energy in eV at r in Å, zero for separated atoms."""
        x = np.exp(-self.range_parameter * (np.asarray(r) - self.r_e))
        return self.d_e * (x * x - 2.0 * x)

    def reference(self, r, ion_pair: float = np.inf):
        """Energy in eV at r (…,) in Å: Morse's, and beyond 1.4 R_e the Coulomb attraction of two ions where lower.

        `ion_pair` is I − A in eV. Morse's curve of an ionic molecule dies off too fast: that of NaCl is 0.6 eV too
        high at 5.2 Å, where the ions still attract with I − A − 1/R.
        """
        r = np.asarray(r, float)
        ionic = np.where(r > IONIC_FROM * self.r_e, ion_pair - COULOMB_EV_ANGSTROM / r, np.inf)
        return np.minimum(self.morse(r), ionic)


def further_diatomics() -> list[Diatomic]:
    """The shipped pairs of nine further elements, mostly computed (benchmarks/fitting/diatomics.py)."""
    with resources.as_file(resources.files("ectjax.fitting") / "data" / "diatomics_further.csv") as path:
        return read_diatomics(path)


def read_diatomics(path: str | Path | None = None) -> list[Diatomic]:
    """Diatomics of a CSV file with the columns of `COLUMNS`; the shipped 22 pairs if no path is given.

    Raises ValueError naming file, line and column for anything that is missing or not a positive number.
    """
    source = resources.files("ectjax.fitting") / "data" / "diatomics.csv" if path is None else Path(path)
    lines = [x for x in source.read_text(encoding="utf-8").splitlines() if x.strip() and not x.startswith("#")]
    rows = list(csv.DictReader(lines))
    found = tuple(rows[0]) if rows else ()
    if set(COLUMNS) - set(found):
        raise ValueError(
            f"{source}: columns are {', '.join(found) or 'none'}; needed are {', '.join(COLUMNS)}, units in the names"
        )
    result = []
    for n, row in enumerate(rows, start=1):
        try:
            numbers = [float(row[c]) for c in COLUMNS[2:]]
        except (TypeError, ValueError):
            raise ValueError(
                f"{source}: row {n} ({row['a']}-{row['b']}) has an entry that is no number; mend it"
            ) from None
        if min(numbers[:3]) <= 0 or not np.all(np.isfinite(numbers)):
            raise ValueError(
                f"{source}: row {n} ({row['a']}-{row['b']}) needs r_e, d_e and omega_e > 0; got {numbers[:3]}"
            )
        for symbol in (row["a"], row["b"]):
            if symbol not in atomic_numbers:
                raise ValueError(f"{source}: row {n} names {symbol!r}, which is no chemical element; mend it")
        result.append(Diatomic(row["a"], row["b"], *numbers))
    return result
