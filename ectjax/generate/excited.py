"""The excited neutral states of each element, and the excited cations that some of them ionise to.

Promoted configurations that bonding uses come first, then the lowest states of another symmetry. Each is one
determinant, except the low-spin terms of p², p³, p⁴, whose `roots` say how many components they have.
"""

from typing import NamedTuple

from .occupations import Occupation, d_block


class Excited(NamedTuple):
    """One excited state in short form; `name` is its name in experiment.csv."""

    configuration: str
    term: str
    occupation: Occupation
    roots: int = 0
    name: str = ""
    rydberg: int = 0


_FULL = (1, 1)
_TWO = (2, 2)


EXCITED: dict[str, list[Excited]] = {
    "He": [
        Excited("1s 2s", "3S", {"s": (2, 0)}, 0, "1s2s 3S", 1),
        Excited("1s 2p", "3P", {"s": (1, 0), "x": (1, 0)}, rydberg=1),
    ],
    "Li": [
        Excited("[He] 2p", "2P", {"s": (1, 1), "x": (1, 0)}, 0, "2p 2P"),
        Excited("[He] 3d", "2D", {"s": (1, 1), "xy": (1, 0)}, rydberg=2),
    ],
    "Be": [
        Excited("[He] 2s 2p", "3P", {"s": (2, 1), "x": (1, 0)}, 0, "2s2p 3P"),
        Excited("[He] 2s 3s", "3S", {"s": (3, 1)}, rydberg=1),
    ],
    "B": [
        Excited("[He] 2s 2p2", "4P", {"s": (2, 1), "x": (1, 0), "y": (1, 0)}, 0, "2s2p2 4P"),
        Excited("[He] 2s2 3s", "2S", {"s": (3, 2)}, rydberg=1),
    ],
    "C": [
        Excited("[He] 2s 2p3", "5S", {"s": (2, 1), "x": (1, 0), "y": (1, 0), "z": (1, 0)}, 0, "2s2p3 5S"),
        Excited("[He] 2s2 2p2", "1D", {"s": _TWO, "x": (1, 0), "y": (0, 1)}, 5, "2p2 1D"),
    ],
    "N": [
        Excited("[He] 2s2 2p3", "2D", {"s": _TWO, "x": (1, 0), "y": (1, 0), "z": (0, 1)}, 5, "2p3 2D"),
        Excited("[He] 2s2 2p2 3s", "4P", {"s": (3, 2), "x": (1, 0), "y": (1, 0)}, rydberg=1),
    ],
    "O": [
        Excited("[He] 2s2 2p4", "1D", {"s": _TWO, "x": _FULL, "y": (1, 0), "z": (0, 1)}, 5, "2p4 1D"),
        Excited("[He] 2s2 2p3 3s", "5S", {"s": (3, 2), "x": (1, 0), "y": (1, 0), "z": (1, 0)}, rydberg=1),
    ],
    "F": [
        Excited("[He] 2s2 2p4 3s", "4P", {"s": (3, 2), "x": _FULL, "y": (1, 0), "z": (1, 0)}, 0, "3s 4P", 1),
    ],
    "Ne": [Excited("[He] 2s2 2p5 3s", "3P", {"s": (3, 2), "x": _FULL, "y": _FULL, "z": (1, 0)}, rydberg=1)],
    "Na": [
        Excited("[Ne] 3p", "2P", {"s": _TWO, "x": (2, 1), "y": _FULL, "z": _FULL}, 0, "3p 2P"),
    ],
    "Mg": [
        Excited("[Ne] 3s 3p", "3P", {"s": (3, 2), "x": (2, 1), "y": _FULL, "z": _FULL}, 0, "3s3p 3P"),
        Excited("[Ne] 3s 4s", "3S", {"s": (4, 2), "x": _FULL, "y": _FULL, "z": _FULL}, rydberg=1),
    ],
    "Al": [
        Excited("[Ne] 3s 3p2", "4P", {"s": (3, 2), "x": (2, 1), "y": (2, 1), "z": _FULL}),
        Excited("[Ne] 3s2 4s", "2S", {"s": (4, 3), "x": _FULL, "y": _FULL, "z": _FULL}, 0, "4s 2S", 1),
    ],
    "Si": [
        Excited("[Ne] 3s 3p3", "5S", {"s": (3, 2), "x": (2, 1), "y": (2, 1), "z": (2, 1)}),
        Excited("[Ne] 3s2 3p2", "1D", {"s": (3, 3), "x": (2, 1), "y": (1, 2), "z": _FULL}, 5, "3p2 1D"),
    ],
    "P": [
        Excited("[Ne] 3s2 3p3", "2D", {"s": (3, 3), "x": (2, 1), "y": (2, 1), "z": (1, 2)}, 5, "3p3 2D"),
        Excited("[Ne] 3s2 3p2 4s", "4P", {"s": (4, 3), "x": (2, 1), "y": (2, 1), "z": _FULL}, rydberg=1),
    ],
    "S": [
        Excited("[Ne] 3s2 3p4", "1D", {"s": (3, 3), "x": _TWO, "y": (2, 1), "z": (1, 2)}, 5, "3p4 1D"),
        Excited("[Ne] 3s2 3p3 4s", "5S", {"s": (4, 3), "x": (2, 1), "y": (2, 1), "z": (2, 1)}, rydberg=1),
    ],
    "Cl": [Excited("[Ne] 3s2 3p4 4s", "4P", {"s": (4, 3), "x": _TWO, "y": (2, 1), "z": (2, 1)}, rydberg=1)],
    "Ar": [Excited("[Ne] 3s2 3p5 4s", "3P", {"s": (4, 3), "x": _TWO, "y": _TWO, "z": (2, 1)}, rydberg=1)],
    "K": [
        Excited("[Ar] 4p", "2P", {"s": (3, 3), "x": (3, 2), "y": _TWO, "z": _TWO}, 0, "4p 2P"),
        Excited("[Ar] 3d", "2D", {"s": (3, 3), "x": _TWO, "y": _TWO, "z": _TWO, "xy": (1, 0)}, rydberg=1),
    ],
    "Ca": [
        Excited("[Ar] 4s 4p", "3P", {"s": (4, 3), "x": (3, 2), "y": _TWO, "z": _TWO}, 0, "4s4p 3P"),
        Excited("[Ar] 3d 4s", "3D", {"s": (4, 3), "x": _TWO, "y": _TWO, "z": _TWO, "xy": (1, 0)}),
    ],
}
"""In the order of their labels 0*, 0**."""

# 3d, 4s and 4p electrons of the 3d row: the neighbours of the ground configuration, then 4p beside an S core
_D_ROW = {
    "Sc": ((2, 1, 0), (3, 0, 0)),
    "Ti": ((3, 1, 0), (4, 0, 0)),
    "V": ((4, 1, 0), (5, 0, 0)),
    "Cr": ((4, 2, 0), (5, 0, 1)),
    "Mn": ((6, 1, 0), (5, 1, 1)),
    "Fe": ((7, 1, 0), (8, 0, 0)),
    "Co": ((8, 1, 0), (9, 0, 0)),
    "Ni": ((9, 1, 0), (10, 0, 0)),
    "Cu": ((9, 2, 0), (10, 0, 1)),
    "Zn": ((10, 1, 1),),
}
_D_NAMES = {("Cu", (9, 2, 0)): "3d9 4s2 2D", ("Zn", (10, 1, 1)): "4s4p 3P"}
for _symbol, _counts in _D_ROW.items():
    EXCITED[_symbol] = [Excited(*d_block(*c), 0, _D_NAMES.get((_symbol, c), ""), int(c[2] > 0)) for c in _counts]
EXCITED["Zn"].append(Excited("[Ar] 3d10 4s 5s", "3S", d_block(10, 1)[2] | {"s": (7, 5)}, rydberg=1))


def _fourth_row(s, *p):
    """Occupation above [Ar] 3d10 with s electrons (α, β) and p components added to the argon shells."""
    base = d_block(10, 0)[2]
    added = {axis: (2 + a, 2 + b) for axis, (a, b) in zip("xyz", p, strict=False)}
    return base | {"s": (5 + s[0], 5 + s[1])} | added


_UP, _DOWN = (1, 0), (0, 1)
EXCITED |= {
    "Ga": [
        Excited("[Ar] 3d10 4s 4p2", "4P", _fourth_row(_UP, _UP, _UP)),
        Excited("[Ar] 3d10 4s2 5s", "2S", _fourth_row((2, 1)), rydberg=1),
    ],
    "Ge": [
        Excited("[Ar] 3d10 4s 4p3", "5S", _fourth_row(_UP, _UP, _UP, _UP)),
        Excited("[Ar] 3d10 4s2 4p2", "1D", _fourth_row(_FULL, _UP, _DOWN), 5),
    ],
    "As": [
        Excited("[Ar] 3d10 4s2 4p3", "2D", _fourth_row(_FULL, _UP, _UP, _DOWN), 5),
        Excited("[Ar] 3d10 4s2 4p2 5s", "4P", _fourth_row((2, 1), _UP, _UP), rydberg=1),
    ],
    "Se": [
        Excited("[Ar] 3d10 4s2 4p4", "1D", _fourth_row(_FULL, _FULL, _UP, _DOWN), 5),
        Excited("[Ar] 3d10 4s2 4p3 5s", "5S", _fourth_row((2, 1), _UP, _UP, _UP), rydberg=1),
    ],
    "Br": [Excited("[Ar] 3d10 4s2 4p4 5s", "4P", _fourth_row((2, 1), _FULL, _UP, _UP), rydberg=1)],
    "Kr": [Excited("[Ar] 3d10 4s2 4p5 5s", "3P", _fourth_row((2, 1), _FULL, _FULL, _UP), rydberg=1)],
}

LEFT_BEHIND: dict[tuple[str, str], Excited] = {
    ("B", "0*"): Excited("[He] 2s 2p", "3P", {"s": (2, 1), "x": (1, 0)}),
    ("C", "0*"): Excited("[He] 2s 2p2", "4P", {"s": (2, 1), "x": (1, 0), "y": (1, 0)}),
    ("O", "0*"): Excited("[He] 2s2 2p3", "2D", {"s": _TWO, "x": (1, 0), "y": (1, 0), "z": (0, 1)}, 5),
    ("Al", "0*"): Excited("[Ne] 3s 3p", "3P", {"s": (3, 2), "x": (2, 1), "y": _FULL, "z": _FULL}),
    ("Si", "0*"): Excited("[Ne] 3s 3p2", "4P", {"s": (3, 2), "x": (2, 1), "y": (2, 1), "z": _FULL}),
    ("S", "0*"): Excited("[Ne] 3s2 3p3", "2D", {"s": (3, 3), "x": (2, 1), "y": (2, 1), "z": (1, 2)}, 5),
    ("Fe", "0**"): Excited(*d_block(7, 0)),
    ("Ga", "0*"): Excited("[Ar] 3d10 4s 4p", "3P", _fourth_row(_UP, _UP)),
    ("Ge", "0*"): Excited("[Ar] 3d10 4s 4p2", "4P", _fourth_row(_UP, _UP, _UP)),
    ("Se", "0*"): Excited("[Ar] 3d10 4s2 4p3", "2D", _fourth_row(_FULL, _UP, _UP, _DOWN), 5),
}
"""Lowest level of the cation that a state can ionise to without a spin flip, where it is not the ground level."""
