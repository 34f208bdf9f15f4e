"""φ(R): the full classical interaction of two spherical ions, less its point-charge part. Atomic units.

φ(R) = Z_A Z_B/R − Z_A ∫ρ_B/|r−R_A| − Z_B ∫ρ_A/|r−R_B| + ∬ρ_Aρ_B/|r−r'| and φ_sr = φ − q_A q_B/R.
With u(R) = N/R − ∫ρ/|r−R|, which is closed form and decays exponentially,

    φ_sr(R) = Z_A u_B(R) + Z_B u_A(R) − [N_A N_B/R − J(R)],
    J(R) = (2/π) ∫₀^∞ f_A(k) f_B(k) sin(kR)/(kR) dk.

Only the last bracket needs quadrature; the 1/R in it is removed with a Gaussian charge of known potential.
"""

import numpy as np
from scipy.special import erfc

from ectjax.pairs.fourier import KGrid

_GAUSSIAN = 1.0  # exponent γ of the reference charge exp(−γ r²): any value serves, the result does not depend on it


def penetration_table(
    nuclear_charges: np.ndarray,
    electrons: np.ndarray,
    screened_potentials: np.ndarray,
    form_factors: np.ndarray,
    grid: KGrid,
    distances: np.ndarray,
) -> np.ndarray:
    """R·φ_sr(R) for every pair of T states, (T, T, M) in Hartree bohr.

    Args:
        nuclear_charges: Z of each state's nucleus, (T,).
        electrons: N of each state, (T,).
        screened_potentials: R·u(R) = N − R·V(R) of each state at `distances`, (T, M).
        form_factors: f(k) on `grid`, (T, K), with f(0) = N.
        grid: wave numbers.
        distances: R in bohr, (M,), R = 0 allowed.
    """
    z, n = np.asarray(nuclear_charges, float), np.asarray(electrons, float)
    reference = np.exp(-(grid.k**2) / (4 * _GAUSSIAN))
    sines = np.sin(np.outer(grid.k, distances)) * (2 / np.pi * grid.spacing / grid.k)[:, None]
    tail = erfc(np.sqrt(_GAUSSIAN) * distances)
    table = np.empty((z.size, z.size, distances.size))
    for a in range(z.size):
        products = form_factors[a] * form_factors[a:] - n[a] * n[a:, None] * reference
        # f_A f_B − N_A N_B χ vanishes at k = 0, so the trapezoid end point contributes nothing
        bracket = n[a] * n[a:, None] * tail - products @ sines
        table[a, a:] = z[a] * screened_potentials[a:] + z[a:, None] * screened_potentials[a] - bracket
        table[a:, a] = table[a, a:]
    return table
