"""Which basis, core and Hamiltonian each element is computed with."""

from dataclasses import dataclass, replace

from ..tables import NUMBERS

CORE_OF = " + core of "
"""Between two names of bases: the first, with the functions that the second has beyond its valence family."""


@dataclass(frozen=True)
class Level:
    """Level of theory of one element's states."""

    basis: str
    """Name in the Basis Set Exchange; "(spdf)" after it drops g and higher functions."""
    frozen: int
    """Core orbitals that stay doubly occupied in coupled cluster."""
    smaller: str = ""
    """Next smaller basis of the family for the X⁻³ extrapolation of the correlation energy; "" for none."""
    relativistic: bool = False
    """Whether the one-electron Hamiltonian is scalar relativistic (X2C)."""
    small_triples: bool = False
    """(T) in the smaller basis only: it changes by meV from there on, and is half of the computing time."""
    limit: tuple[str, str] = ("", "")
    """Triple- and quadruple-zeta basis in which MP2 is taken to the basis limit; ("", "") for none."""
    core: tuple[str, int] = ("", 0)
    """Basis and frozen orbitals of a correction for the correlation of outer core shells; ("", 0) for none."""
    core_by: str = "UCCSD(T)"
    """Method of that correction, "UCCSD(T)" or "MP2"."""
    spin_orbit: bool = False
    """Whether energies are those of the lowest level J, not of the term's centre; only with `core`."""

    @property
    def weight(self) -> float:
        """Of the difference between the two correlation energies: 27/37 for (T,Q), 8/19 for (D,T)."""
        return {"Q": 27 / 37, "T": 8 / 19}[self.letter]

    @property
    def letter(self) -> str:
        return "Q" if "Q" in self.basis else "T"

    @property
    def extrapolation(self) -> str:
        """ "(T,Q)", "(D,T)" or "" for the name of the method."""
        return {"Q": "(T,Q)", "T": "(D,T)"}[self.letter] if self.smaller else ""


def level_of_theory(symbol: str) -> Level:
    """The level of theory of an element: the best that its number of electrons allows in minutes per state."""
    z = NUMBERS[symbol]
    if z <= 2:
        return _pair("d-aug-cc-pVQZ", 0)
    if symbol in {"C", "N", "O", "F"}:
        return _pair("aug-cc-pVQZ", 1)
    if symbol == "Li":
        return Level("aug-cc-pCVQZ(spdf)", 0)
    if symbol == "Na":
        return _pair("aug-cc-pCVQZ", 1, small_triples=True)
    if z == 10:
        return _pair("aug-cc-pVQZ", 1)
    if symbol == "Cl":
        return _pair("aug-cc-pV(Q+d)Z", 5)
    # triple zeta so far for these; replace the letter to raise it
    if z == 4:
        return _pair("aug-cc-pCVTZ", 0)
    if z == 5:
        return _pair("aug-cc-pVTZ", 1)
    if z == 12:
        return _pair("aug-cc-pCVTZ", 1)
    if z < 18:
        # the 2p shell of aluminium, whose +3 ion is asked for, is close enough to count
        return replace(_pair("aug-cc-pV(T+d)Z", 5), core=("aug-cc-pwCVTZ", 1) if z == 13 else ("", 0))
    if z == 18:
        return _pair("aug-cc-pV(Q+d)Z", 5, small_triples=True)
    if z <= 20:
        return Level("aug-cc-pwCVTZ-X2C", 5, "aug-cc-pwCVDZ-X2C", relativistic=True)
    if z <= 30:
        # 3s and 3p have to be correlated: they lie so close to 3d that its ionisation is off by 1 eV otherwise
        if symbol in {"Sc", "Fe", "Co", "Ni", "Cu", "Zn"}:
            return Level("cc-pVTZ-DK", 5, relativistic=True, limit=("cc-pwCVTZ-DK", "cc-pwCVQZ-DK"))
        return _pair("cc-pVTZ-DK", 5, relativistic=True, small_triples=True)
    # the filled 3d shell of gallium is close enough to the valence to be correlated
    if z == 31:
        return _pair("aug-cc-pVQZ-DK", 9, relativistic=True, small_triples=True)
    level = _pair("aug-cc-pVQZ-DK", 14, relativistic=True, small_triples=True)
    if z == 36:
        return level
    core = (f"aug-cc-pVTZ-DK{CORE_OF}cc-pwCVTZ-PP", 9)
    return replace(level, core=core, core_by="MP2", spin_orbit=True)


def _pair(basis: str, frozen: int, **options) -> Level:
    """A level with extrapolation from the next smaller basis of the same family."""
    smaller = basis.replace("Q", "T") if "Q" in basis else basis.replace("T", "D")
    return Level(basis, frozen, smaller, **options)
