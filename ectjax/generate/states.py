"""Which states are built for each element, and the single determinant that stands for each.

Occupations are given per D2h symmetry species, (α, β) electrons each: s and the d components z², x²−y² share "s",
the rest are x, y, z. The low-spin terms of p², p³, p⁴ (¹D, ²D) are not single determinants; they are made from the
ground term's coupled-cluster result and the difference between two state-averaged CASSCF + NEVPT2 calculations.
"""

from dataclasses import dataclass

from ..tables import NUMBERS, label_of, parse_label

Occupation = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Recipe:
    """How one state is computed."""

    label: str
    charge: int
    configuration: str
    term: str
    occupation: Occupation
    roots: int = 0
    """Degeneracy of a low-spin term that needs several determinants; 0 where one determinant serves."""
    rydberg: bool = False
    """Whether the outer electron needs a further shell of diffuse functions."""
    excitation: str = ""
    """Name of the excitation in experiment.csv."""
    exact: str = ""
    """"1s", "2s", "2p": the exact hydrogen state, no computation."""
    bound: bool = True

    @property
    def electrons(self) -> int:
        return sum(a + b for a, b in self.occupation.values())

    @property
    def spin(self) -> int:
        return sum(a - b for a, b in self.occupation.values())


_SHELLS = [("1s", 2), ("2s", 2), ("2p", 6), ("3s", 2), ("3p", 6), ("4s", 2)]
_NOBLE = {2: "[He]", 10: "[Ne]", 18: "[Ar]"}
_HUND_P = {0: "1S", 1: "2P", 2: "3P", 3: "4S", 4: "3P", 5: "2P", 6: "1S"}


def aufbau(electrons: int) -> tuple[str, str, Occupation]:
    """Configuration, term and high-spin occupation of the ground state with s and p shells only (≤ 20 electrons)."""
    filled, left, s, p = [], electrons, [0, 0], [[0, 0], [0, 0], [0, 0]]
    term = "1S"
    for name, room in _SHELLS:
        n = min(room, left)
        left -= n
        if n == 0:
            break
        filled.append((name, n))
        if room == 2:
            s[0] += 1
            s[1] += n - 1
            term = "2S" if n == 1 else "1S"
        else:
            for k in range(n):
                p[k % 3][k // 3] += 1
            term = _HUND_P[n]
    if left:
        raise ValueError(f"no s,p ground configuration for {electrons} electrons; up to 20 are supported")
    core = max((n for n in _NOBLE if n < electrons), default=0)
    text, seen = [_NOBLE[core]] if core else [], 0
    for name, n in filled:
        seen += n
        if seen > core:
            text.append(f"{name}{n if n > 1 else ''}")
    occupation = {"s": tuple(s)} | {axis: tuple(v) for axis, v in zip("xyz", p, strict=True) if any(v)}
    return " ".join(text), term, occupation


_P6 = (1, 1)
# element: (label, configuration, term, occupation, roots, name in experiment.csv) of each excited state
_EXCITED: dict[str, list[tuple]] = {
    "He": [("0*", "1s 2s", "3S", {"s": (2, 0)}, 0, "1s2s 3S")],
    "Li": [("0*", "[He] 2p", "2P", {"s": (1, 1), "x": (1, 0)}, 0, "2p 2P")],
    "Be": [("0*", "[He] 2s 2p", "3P", {"s": (2, 1), "x": (1, 0)}, 0, "2s2p 3P")],
    "B": [("0*", "[He] 2s 2p2", "4P", {"s": (2, 1), "x": (1, 0), "y": (1, 0)}, 0, "2s2p2 4P")],
    "C": [
        ("0*", "[He] 2s 2p3", "5S", {"s": (2, 1), "x": (1, 0), "y": (1, 0), "z": (1, 0)}, 0, "2s2p3 5S"),
        ("0**", "[He] 2s2 2p2", "1D", {"s": (2, 2), "x": (1, 0), "y": (0, 1)}, 5, "2p2 1D"),
    ],
    "N": [("0*", "[He] 2s2 2p3", "2D", {"s": (2, 2), "x": (1, 0), "y": (1, 0), "z": (0, 1)}, 5, "2p3 2D")],
    "O": [("0*", "[He] 2s2 2p4", "1D", {"s": (2, 2), "x": _P6, "y": (1, 0), "z": (0, 1)}, 5, "2p4 1D")],
    "F": [("0*", "[He] 2s2 2p4 3s", "4P", {"s": (3, 2), "x": _P6, "y": (1, 0), "z": (1, 0)}, 0, "3s 4P")],
    "Ne": [("0*", "[He] 2s2 2p5 3s", "3P", {"s": (3, 2), "x": _P6, "y": _P6, "z": (1, 0)}, 0, "")],
    "Na": [("0*", "[Ne] 3p", "2P", {"s": (2, 2), "x": (2, 1), "y": _P6, "z": _P6}, 0, "3p 2P")],
    "Mg": [("0*", "[Ne] 3s 3p", "3P", {"s": (3, 2), "x": (2, 1), "y": _P6, "z": _P6}, 0, "3s3p 3P")],
    "Al": [
        ("0*", "[Ne] 3s 3p2", "4P", {"s": (3, 2), "x": (2, 1), "y": (2, 1), "z": _P6}, 0, ""),
        ("0**", "[Ne] 3s2 4s", "2S", {"s": (4, 3), "x": _P6, "y": _P6, "z": _P6}, 0, "4s 2S"),
    ],
    "Si": [
        ("0*", "[Ne] 3s 3p3", "5S", {"s": (3, 2), "x": (2, 1), "y": (2, 1), "z": (2, 1)}, 0, ""),
        ("0**", "[Ne] 3s2 3p2", "1D", {"s": (3, 3), "x": (2, 1), "y": (1, 2), "z": _P6}, 5, "3p2 1D"),
    ],
    "P": [("0*", "[Ne] 3s2 3p3", "2D", {"s": (3, 3), "x": (2, 1), "y": (2, 1), "z": (1, 2)}, 5, "3p3 2D")],
    "S": [("0*", "[Ne] 3s2 3p4", "1D", {"s": (3, 3), "x": (2, 2), "y": (2, 1), "z": (1, 2)}, 5, "3p4 1D")],
    "Cl": [("0*", "[Ne] 3s2 3p4 4s", "4P", {"s": (4, 3), "x": (2, 2), "y": (2, 1), "z": (2, 1)}, 0, "")],
    "Ar": [("0*", "[Ne] 3s2 3p5 4s", "3P", {"s": (4, 3), "x": (2, 2), "y": (2, 2), "z": (2, 1)}, 0, "")],
    "K": [("0*", "[Ar] 4p", "2P", {"s": (3, 3), "x": (3, 2), "y": (2, 2), "z": (2, 2)}, 0, "4p 2P")],
    "Ca": [("0*", "[Ar] 4s 4p", "3P", {"s": (4, 3), "x": (3, 2), "y": (2, 2), "z": (2, 2)}, 0, "4s4p 3P")],
}
_NO_ANION = {
    "He",
    "Be",
    "Ne",
    "Mg",
    "Ar",
    "Ca",
}  # unbound or (Ca, 0.02 eV) too weakly bound for these methods
_UNBOUND_ANION = {"N"}
_HYDROGEN = {
    "1s": ("1s", "2S", {"s": (1, 0)}),
    "2p": ("2p", "2P", {"x": (1, 0)}),
    "2s": ("2s", "2S", {"s": (1, 0)}),
}


def recipes(symbol: str) -> dict[str, Recipe]:
    """Every state that `ectjax tables build` makes for this element, the neutral ground state first.

    Raises ValueError for an element without recipes, with those that have them.
    """
    z = NUMBERS[symbol]
    if z > 20:
        raise ValueError(f"no recipes for {symbol} yet; 'ectjax tables build' knows H to Ca")
    made: dict[str, Recipe] = {}
    for charge in (0, -1, 1, 2):
        if charge > z or (charge == -1 and symbol in _NO_ANION):
            continue
        configuration, term, occupation = aufbau(z - charge)
        label = label_of(charge)
        bound = not (charge == -1 and symbol in _UNBOUND_ANION)
        made[label] = Recipe(label, charge, configuration, term, occupation, bound=bound)
    outer = {"He": "2s", "F": "3s", "Ne": "3s", "Al": "4s", "Cl": "4s", "Ar": "4s"}.get(symbol, "none")
    for label, configuration, term, occupation, roots, name in _EXCITED.get(symbol, []):
        rydberg = configuration.endswith(outer)
        made[label] = Recipe(label, 0, configuration, term, occupation, roots, rydberg, name)
    if symbol == "H":
        for label, orbital, name in (("0", "1s", ""), ("0*", "2p", "2p/2s n=2"), ("0**", "2s", "2p/2s n=2")):
            configuration, term, occupation = _HYDROGEN[orbital]
            made[label] = Recipe(label, 0, configuration, term, occupation, excitation=name, exact=orbital)
    for recipe in made.values():
        assert recipe.electrons == z - recipe.charge, (symbol, recipe)
    return made


def choose_states(symbol: str, wanted: list[str] | None) -> list[Recipe]:
    """The recipes of these labels, neutral ground state always first; ValueError names what exists."""
    known = recipes(symbol)
    if not wanted:
        return list(known.values())
    for label in wanted:
        parse_label(label)
        if label not in known:
            raise ValueError(
                f"{symbol} has no recipe for state {label!r} (unbound, or not a single-determinant state); "
                f"allowed are {', '.join(known)}"
            )
    return [known[label] for label in known if label in wanted]
