"""Which states are built for each element.

Every state is one determinant, except the low-spin terms of p², p³, p⁴ (¹D, ²D): they are made from the ground term's
coupled-cluster result and the difference between two state-averaged CASSCF + NEVPT2 calculations.
"""

from dataclasses import dataclass, replace

from ..tables import NUMBERS, label_of, parse_label
from .excited import EXCITED, LEFT_BEHIND, Excited
from .occupations import Occupation, aufbau, d_block


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
    rydberg: int = 0
    """Further shells of diffuse functions that the outer electron needs."""
    excitation: str = ""
    """Name of the excitation in experiment.csv."""
    exact: str = ""
    """"1s", "2s", "2p": the exact hydrogen state, no computation."""
    bound: bool = True
    molecule_distance: float = 0.0
    """Å, of the sodium molecule of an anion that is computed in a crystal's cage; 0 for any other state."""
    leaves: "Recipe | None" = None
    """Lowest cation level that can be left behind without a spin flip, where it is not the cation's ground level."""

    @property
    def electrons(self) -> int:
        return sum(a + b for a, b in self.occupation.values())

    @property
    def spin(self) -> int:
        return sum(a - b for a, b in self.occupation.values())


_NO_ANION = set("He Be Ne Mg Ar Ca Sc Ti Mn Zn Kr".split())
"""Unbound, or (Ca, Sc, Ti, below 0.2 eV and of disputed configuration) too weakly bound for these methods."""
_UNBOUND_ANION = {"N"}
_HIGHEST = {"Si": 4} | dict.fromkeys("B Al P Ga Sc Ti V Cr Fe Co".split(), 3)
"""Largest charge of an element's cations; 2 of all others."""
_DIANION = {"O", "S"}  # crystals need them
_CAGED = {"H": 1.8874, "F": 1.926, "Cl": 2.3609}
"""Anions that are made compressed as well ("-1*", `caged`): R_e of the sodium molecule in Å (Huber and Herzberg)."""
# 3d and 4s electrons of the neutral atom, +1, +2, +3 and -1
_D_GROUND = {
    "Sc": {0: (1, 2), 1: (1, 1), 2: (1, 0), 3: (0, 0)},
    "Ti": {0: (2, 2), 1: (2, 1), 2: (2, 0), 3: (1, 0)},
    "V": {0: (3, 2), 1: (4, 0), 2: (3, 0), 3: (2, 0), -1: (4, 2)},
    "Cr": {0: (5, 1), 1: (5, 0), 2: (4, 0), 3: (3, 0), -1: (5, 2)},
    "Mn": {0: (5, 2), 1: (5, 1), 2: (5, 0)},
    "Fe": {0: (6, 2), 1: (6, 1), 2: (6, 0), 3: (5, 0), -1: (7, 2)},
    "Co": {0: (7, 2), 1: (8, 0), 2: (7, 0), 3: (6, 0), -1: (8, 2)},
    "Ni": {0: (8, 2), 1: (9, 0), 2: (8, 0), -1: (9, 2)},
    "Cu": {0: (10, 1), 1: (10, 0), 2: (9, 0), -1: (10, 2)},
}
_HYDROGEN = {
    "1s": ("1s", "2S", {"s": (1, 0)}),
    "2p": ("2p", "2P", {"x": (1, 0)}),
    "2s": ("2s", "2S", {"s": (1, 0)}),
}


def ground_state(symbol: str, charge: int) -> tuple[str, str, Occupation]:
    """Configuration, term and occupation of the lowest state of this charge."""
    z = NUMBERS[symbol]
    if symbol in _D_GROUND:
        return d_block(*_D_GROUND[symbol][charge])
    return aufbau(z - charge, filled_3d=z >= 30)


def recipes(symbol: str) -> dict[str, Recipe]:
    """Every state that `ectjax tables build` makes for this element, the neutral ground state first.

    Raises ValueError for an element without recipes, with those that have them.
    """
    z = NUMBERS[symbol]
    if z > 36:
        raise ValueError(f"no recipes for {symbol} yet; 'ectjax tables build' knows H to Kr")
    charges = [0, -1, *range(1, _HIGHEST.get(symbol, 2) + 1)] + [-2] * (symbol in _DIANION)
    made: dict[str, Recipe] = {}
    for charge in charges:
        if charge > z or (charge == -1 and symbol in _NO_ANION):
            continue
        bound = not (charge == -2 or (charge == -1 and symbol in _UNBOUND_ANION))
        label = label_of(charge)
        diffuse = charge < 0 and symbol in _D_GROUND  # whose basis has no diffuse functions of its own
        made[label] = Recipe(label, charge, *ground_state(symbol, charge), rydberg=int(diffuse), bound=bound)
    if symbol in _CAGED:
        made["-1*"] = replace(made["-1"], label="-1*", bound=False, molecule_distance=_CAGED[symbol])
    for count, state in enumerate(EXCITED.get(symbol, []), start=1):
        label = label_of(0, count)
        left = LEFT_BEHIND.get((symbol, label))
        made[label] = replace(_recipe(label, 0, state), leaves=_recipe("+1*", 1, left) if left else None)
    if symbol == "H":
        for label, orbital, name in (("0", "1s", ""), ("0*", "2p", "2p/2s n=2"), ("0**", "2s", "2p/2s n=2")):
            configuration, term, occupation = _HYDROGEN[orbital]
            made[label] = Recipe(label, 0, configuration, term, occupation, excitation=name, exact=orbital)
    for recipe in made.values():
        assert recipe.electrons == z - recipe.charge, (symbol, recipe)
    return made


def _recipe(label: str, charge: int, state: Excited) -> Recipe:
    return Recipe(
        label, charge, state.configuration, state.term, state.occupation, state.roots, state.rydberg, state.name
    )


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
