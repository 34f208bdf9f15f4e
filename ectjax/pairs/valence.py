"""Valence shells of the elements, and the closed cores beneath them by Slater's rules. Atomic units.

A core shell of principal number n that N electrons fill has the density N (2ζ)^{2n+1}/(4π (2n)!) r^{2n−2} e^{−2ζr} with
ζ = (Z − s)/n, s being what the other electrons screen (J. C. Slater, Phys. Rev. 36, 57, 1930).
"""

import math

from ectjax.radial.slater import SlaterExpansion

NOBLE_GASES = (0, 2, 10, 18, 36)
TRANSITION_ROW = range(21, 31)
_CORE_SHELLS = ((1, 2), (2, 8), (3, 8), (3, 10))
"""Principal number and room of 1s, 2s2p, 3s3p and 3d, in the order in which cores fill."""


def valence(number: int) -> tuple[int, int, bool]:
    """Valence electrons, unpaired ones in bonds (8 − n from nitrogen's group on), and whether p orbitals bond."""
    electrons = number - max(z for z in NOBLE_GASES if z < number)
    if number <= 2 or electrons <= 2 or number in TRANSITION_ROW:
        electrons = min(electrons, 2)
        return electrons, 0 if number == 2 else electrons, False
    electrons -= 10 if number > TRANSITION_ROW[-1] else 0
    return electrons, min(electrons, 8 - electrons), True


def bonds(number: int, charge: int) -> int:
    """Bonds that an ion can form: those of the neutral atom with as many electrons; of a 3d metal its s electrons."""
    left = number - charge
    if number in TRANSITION_ROW:
        return max(valence(number)[1] - abs(charge), 0)
    return valence(left)[1] if left > 0 else 0


def core_density(number: int) -> SlaterExpansion | None:
    """Density of all electrons beneath the valence shell of a neutral atom; None for hydrogen and helium."""
    terms = []
    for n, held, zeta in _core_shells(number):
        decay, power = 2.0 * zeta, 2 * n - 2
        terms.append((held * decay ** (power + 3) / (4.0 * math.pi * math.factorial(power + 2)), power, decay))
    return SlaterExpansion(*zip(*terms, strict=True)) if terms else None


def core_radius(number: int) -> float:
    """Where the outermost core shell is densest, n/ζ in bohr; 0 for hydrogen and helium."""
    return max((n / zeta for n, _, zeta in _core_shells(number)), default=0.0)


def _core_shells(number: int) -> list[tuple[int, int, float]]:
    """Principal number, electrons and ζ of the shells beneath the valence shell, the innermost first."""
    left = number - valence(number)[0]
    shells: list[tuple[int, int, float]] = []
    for n, room in _CORE_SHELLS:
        held = min(room, left)
        if held == 0:
            break
        same = (0.30 if n == 1 else 0.35) * (held - 1)
        beneath = sum(count * (0.85 if m == n - 1 and room == 8 else 1.0) for m, count, _ in shells)
        shells.append((n, held, (number - same - beneath) / n))
        left -= held
    return shells
