"""How much more than the Thomas–Fermi functional says two atoms repel of which one is a closed shell.

The antisymmetrised product of two rigid ions has a first-order energy that needs no functional (Heitler and London). Of
it and the Thomas–Fermi energy of the same overlap the ratio f hardly depends on the distance: 1.8 for Li⁺H⁻, 1.1 for
Na⁺F⁻, 2.2 for Si²⁺H⁻ (`ectjax.generate.heitler_london`, `ectjax/tables/overlap_factors.csv`). Ions are not rigid, and
give way in a crystal more than in a molecule, so a pair gets

    T → f^p T,    p = `EXPONENT`

common to all elements: with p = 1 salts' molecules are right without resonance, and their crystals 4 to 7 % too wide;
with p = 0 (the functional alone) it is the hydrides and lithium's salts that are too narrow.
"""

from collections.abc import Sequence

import numpy as np

from ectjax.tables.overlap_factors import overlap_factor

EXPONENT = 0.5


def repulsion_factors(states: Sequence[Sequence[tuple[str, str]]]) -> np.ndarray:
    """Factors (E, E, S, S) of pairs of states of E elements, each (symbol, label) of up to S states; 1 for padding."""
    most = max(map(len, states))
    factors = np.ones((len(states), len(states), most, most))
    for e, row in enumerate(states):
        for f, column in enumerate(states):
            factors[e, f, : len(row), : len(column)] = [[overlap_factor(a, b) for b in column] for a in row]
    return factors**EXPONENT
