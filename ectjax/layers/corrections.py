"""Where a network enters the physics: changes of an atom's own quantities, one number per atom (or state).

They are made to the arrays a solve works on, so energy, charges and weights respond to them exactly. A correction
that does not vanish for an isolated atom changes what separated atoms cost: let it come from messages of neighbours,
without a bias, and dissociation stays as it is.
"""

from collections.abc import Sequence
from typing import Any, cast

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ectjax.embedding.table import EmbeddingTable
from ectjax.pairs.terms import PairTerms
from ectjax.potential import Terms


class Corrections(eqx.Module):
    """Changes per atom; a field that is None changes nothing.

    state_energy (N, S): added to ε_iα, eV. log_kappa (N,): κ_i → κ_i e^x, so resonance stays positive.
    log_background (N,): ρ̄_i → ρ̄_i e^x, how densely an atom feels its surroundings. a, b (N,): added to the prefactors
    of the Thomas–Fermi and von Weizsäcker parts of the atom's embedding function.
    """

    state_energy: Float[Array, "*batch N S"] | None = None
    log_kappa: Float[Array, "*batch N"] | None = None
    log_background: Float[Array, "*batch N"] | None = None
    a: Float[Array, "*batch N"] | None = None
    b: Float[Array, "*batch N"] | None = None

    @staticmethod
    def width(states: int, fields: Sequence[str] = ("state_energy", "log_kappa")) -> int:
        """How many numbers per atom `split` takes: S for state_energy, one for every other field.

        Raises ValueError for a field that does not exist.
        """
        unknown = [f for f in fields if f not in FIELDS]
        if unknown:
            raise ValueError(f"corrections got the fields {', '.join(unknown)}; allowed are {', '.join(FIELDS)}")
        return sum(states if f == "state_energy" else 1 for f in fields)

    @classmethod
    def split(cls, raw: Float[Array, "... K"], states: int, fields: Sequence[str] = ("state_energy", "log_kappa")):
        """Corrections from a network's output (..., N, width(states, fields)), in the order of `fields`.

        Raises ValueError for a wrong last axis or an unknown field.
        """
        if raw.shape[-1] != cls.width(states, fields):
            raise ValueError(
                f"corrections of {', '.join(fields)} with {states} states take {cls.width(states, fields)} numbers per "
                f"atom, got {raw.shape[-1]}: let the last layer have that many outputs"
            )
        parts, at = {}, 0
        for field in fields:
            if field == "state_energy":
                parts[field], at = raw[..., at : at + states], at + states
            else:
                parts[field], at = raw[..., at], at + 1
        return cls(**parts)


FIELDS = ("state_energy", "log_kappa", "log_background", "a", "b")


class CorrectedEmbedding(eqx.Module):
    """Embedding functions with other prefactors on every atom: F + Δa_i F_TF + Δb_i F_vW, eV.

    `prefactors` has tables (E, 2 S, …): the Thomas–Fermi parts of S states, then the von Weizsäcker parts.
    """

    table: EmbeddingTable
    prefactors: EmbeddingTable
    a: Float[Array, " N"]
    b: Float[Array, " N"]

    def of_species(self, species: Int[Array, " N"], background: Float[Array, " N"]) -> Float[Array, "N S"]:
        """As `EmbeddingTable.of_species`."""
        parts = self.prefactors.of_species(species, background).reshape(species.shape[0], 2, -1)
        free = self.table.of_species(species, background)
        return free + self.a[:, None] * parts[:, 0] + self.b[:, None] * parts[:, 1]


def corrected(terms: Terms, corrections: Corrections | None, prefactors: EmbeddingTable | None = None) -> Terms:
    """The terms with corrections made; those of padded atoms and missing states are ignored."""
    if corrections is None:
        return terms
    new: dict[str, Any] = {}
    if corrections.state_energy is not None:
        change = jnp.where(terms.state_mask, corrections.state_energy, 0.0)
        new["state_energy"] = terms.state_energy + change.astype(terms.state_energy.dtype)
    if corrections.log_kappa is not None:
        new["resonance"] = terms.resonance * jnp.exp(corrections.log_kappa)[:, None, None, None]
    if corrections.log_background is not None:
        factor = jnp.exp(corrections.log_background)
        pairs = cast(PairTerms, terms.pairs)
        densities = pairs.density_at_i * factor[pairs.i], pairs.density_at_j * factor[pairs.j]
        new["pairs"] = eqx.tree_at(lambda p: (p.density_at_i, p.density_at_j), pairs, densities)
    if corrections.a is not None or corrections.b is not None:
        if prefactors is None:
            raise ValueError(
                "corrections of a and b need the parts of the embedding functions, which this layer lacks: it was made "
                "from a Model or with embedding='baskes'; make it from a parameter set, or correct log_background"
            )
        zero = jnp.zeros(terms.species.shape[0], terms.state_energy.dtype)
        a, b = (zero if x is None else x for x in (corrections.a, corrections.b))
        new["embedding"] = CorrectedEmbedding(terms.embedding, prefactors, a, b)
    names = list(new)
    return eqx.tree_at(lambda t: [getattr(t, n) for n in names], terms, [new[n] for n in names])
