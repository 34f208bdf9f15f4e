"""Start points: of a cold equilibration deterministic, few and far apart; of a warm one from the steps before."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def start_amplitudes(
    energies: Float[Array, "N S"],
    charges: Float[Array, "N S"],
    mask: Bool[Array, "N S"],
) -> Float[Array, "3 N S"]:
    """Ionic, uniform and ground-state amplitudes; `equilibrate` gives them unit norm and the total charge.

    `energies` are the isolated states' ε in eV. The ionic start gives every atom a charge by its Mulliken
    electronegativity (I + A)/2 relative to the system's mean; the ground-state start favours the lowest state.
    Tiny state-dependent differences keep a symmetric system from starting on a saddle.
    """
    dtype = energies.dtype
    s = jnp.arange(mask.shape[1], dtype=dtype)
    n = jnp.arange(mask.shape[0], dtype=dtype)
    ripple = 1.0 + 1e-3 * jnp.cos(1.7 * s[None, :] + 2.3 * n[:, None])
    some = jnp.any(mask, axis=1)

    def lowest(selected):
        best = jnp.min(jnp.where(selected & mask, energies, jnp.inf), axis=1)
        return jnp.where(jnp.isfinite(best), best, 0.0), jnp.isfinite(best)

    ground, _ = lowest(mask)
    neutral = jnp.where(mask, jnp.where(energies == ground[:, None], 1.0, 0.15), 0.0)
    cation, has_cation = lowest(charges == 1)
    anion, has_anion = lowest(charges == -1)
    ionisation = jnp.where(has_cation, cation, 20.0)
    affinity = jnp.where(has_anion, -anion, 0.0)
    chi = jnp.where(some, 0.5 * (ionisation + affinity), 0.0)
    mean = jnp.sum(chi) / jnp.maximum(jnp.sum(some), 1)
    sign = jnp.where(jnp.abs(chi - mean) < 0.05, 0.0, jnp.sign(mean - chi))
    ionic = jnp.where(charges == sign[:, None], 1.0, 0.15)
    starts = [jnp.where(mask, x * ripple, 0.0) for x in (ionic, jnp.ones_like(energies), neutral)]
    safe = [jnp.where(some[:, None], x, jnp.eye(1, mask.shape[1], dtype=dtype)) for x in starts]
    return jnp.stack(safe)


HISTORY = 5
"""Steps that weights are foreseen from."""

_PARABOLA = np.linalg.pinv(np.vander(-np.arange(1.0, HISTORY + 1.0), 3, increasing=True))[0]


def foreseen_weights(steps: Float[Array, "H N S"]) -> Float[Array, "N S"]:
    """Weights of the next step from the amplitudes of the last `HISTORY`, newest first: the parabola nearest to them.

    Exact interpolation would be nearer where they are exact. From amplitudes that a loose tolerance left, and that were
    corrected (`Equilibration.corrected`), least squares keeps errors from growing when no step is solved any more
    (predictor and corrector as in J. Kolafa, J. Comput. Chem. 25, 335 (2004), with other coefficients).
    """
    foreseen = jnp.tensordot(jnp.asarray(_PARABOLA, steps.dtype), steps, axes=1, precision="highest")
    return jnp.maximum(foreseen, 0.0) ** 2
