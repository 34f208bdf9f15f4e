"""Ground configurations H to Kr and the single determinant, in D2h symmetry species, that stands for each term.

Occupations are (α, β) electrons per species: s and the d components z², x²−y² share "s" (Ag); "x", "y", "z" are the
p components, "xy", "xz", "yz" the other d components. Every high-spin ground term of pⁿ and dⁿ is one determinant of
real orbitals: d² ³F is z² x²−y² (in cubic symmetry e², the only ³A₂, which is pure F), d³ ⁴F is xy xz yz (t₂³, the
only ⁴A₂), and d⁷, d⁸ are their complements.
"""

Occupation = dict[str, tuple[int, int]]

_SHELLS = [("1s", 2), ("2s", 2), ("2p", 6), ("3s", 2), ("3p", 6), ("3d", 10), ("4s", 2), ("4p", 6)]
_NOBLE = {2: "[He]", 10: "[Ne]", 18: "[Ar]"}
_HUND_P = {0: "1S", 1: "2P", 2: "3P", 3: "4S", 4: "3P", 5: "2P", 6: "1S"}
_P = ("x", "y", "z")
_D = ("xy", "xz", "yz", "z2", "x2")  # the last two belong to species "s"
# dⁿ: term, α components, β components
_HUND_D = {
    0: ("S", "", ""),
    1: ("D", "xy", ""),
    2: ("F", "z2 x2", ""),
    3: ("F", "xy xz yz", ""),
    4: ("D", "xz yz z2 x2", ""),
    5: ("S", " ".join(_D), ""),
    6: ("D", " ".join(_D), "xy"),
    7: ("F", " ".join(_D), "z2 x2"),
    8: ("F", " ".join(_D), "xy xz yz"),
    9: ("D", " ".join(_D), "xz yz z2 x2"),
    10: ("S", " ".join(_D), " ".join(_D)),
}


def aufbau(electrons: int, filled_3d: bool = False) -> tuple[str, str, Occupation]:
    """Configuration, term and high-spin occupation of the ground state with open s or p shells only.

    `filled_3d` puts ten electrons into 3d before 4s, as in zinc to krypton and their ions.
    Raises ValueError beyond 20 electrons without, 36 with a filled 3d shell.
    """
    filled, left, s, p = [], electrons, [0, 0], [[0, 0], [0, 0], [0, 0]]
    term = "1S"
    for name, room in _SHELLS:
        if room == 10 and not filled_3d:
            continue
        if left == 0 or (name == "4p" and not filled_3d):
            break
        n = min(room, left)
        left -= n
        filled.append((name, n))
        if room == 2:
            s[0] += 1
            s[1] += n - 1
            term = "2S" if n == 1 else "1S"
        elif room == 6:
            for k in range(n):
                p[k % 3][k // 3] += 1
            term = _HUND_P[n]
        elif n < room:
            raise ValueError(f"{electrons} electrons leave 3d open; use d_block for such a configuration")
        else:
            term = "1S"
    if left:
        raise ValueError(
            f"no s,p ground configuration for {electrons} electrons; up to 20 are supported, 36 with filled 3d"
        )
    core = max((n for n in _NOBLE if n < electrons), default=0)
    text, seen = [_NOBLE[core]] if core else [], 0
    for name, n in filled:
        seen += n
        if seen > core:
            text.append(f"{name}{n if n > 1 else ''}")
    occupation = {"s": tuple(s)} | {axis: tuple(v) for axis, v in zip(_P, p, strict=True) if any(v)}
    if ("3d", 10) in filled:
        occupation["s"] = (s[0] + 2, s[1] + 2)
        occupation |= {"xy": (1, 1), "xz": (1, 1), "yz": (1, 1)}
    return " ".join(text), term, occupation


def d_block(d: int, s: int, p: int = 0) -> tuple[str, str, Occupation]:
    """Configuration, term and occupation of [Ar] 3d^d 4s^s 4p^p, high spin, with at most one 4p electron.

    A 4p electron is allowed beside an S core only; elsewhere its determinant would mix several terms.
    """
    letter, alpha, beta = _HUND_D[d]
    if p and letter != "S":
        raise ValueError(f"3d{d} 4s{s} 4p is not one determinant; only 3d0, 3d5 and 3d10 take a 4p electron")
    counts = {"s": [3, 3], "x": [2, 2], "y": [2, 2], "z": [2, 2]}
    for spin, names in enumerate((alpha, beta)):
        for name in names.split():
            counts.setdefault("s" if name in ("z2", "x2") else name, [0, 0])[spin] += 1
    for k in range(s):
        counts["s"][k] += 1
    counts["x"][0] += p
    occupation = {name: tuple(value) for name, value in counts.items()}
    spin = sum(a - b for a, b in occupation.values())
    text = ["[Ar]"] + [f"{shell}{n if n > 1 else ''}" for shell, n in (("3d", d), ("4s", s), ("4p", p)) if n]
    return " ".join(text), f"{spin + 1}{'P' if p else letter}", occupation
