"""The two models that are compared: the network alone, and the network with the layer."""

import equinox as eqx
import jax
import jax.numpy as jnp
from network import Network

from ectjax.layers import Corrections, ECTLayer

CUTOFF = 5.0  # Å, of the network in both models: the usual choice for networks of this kind
HOOKS = ("state_energy", "log_kappa", "log_background", "a", "b")
STATES = 3


class Plain(eqx.Module):
    """The network alone; the second result is there so that both models are called alike."""

    network: Network

    def __init__(self, key):
        self.network = single_precision(Network(key, cutoff=CUTOFF))

    def __call__(self, positions, numbers, charge, weights=None):
        return self.network(positions.astype(jnp.float32), numbers, charge.astype(jnp.float32)), weights


class Hybrid(eqx.Module):
    """Energy of network and physics; what atoms hear of their neighbours corrects the physics, atom by atom."""

    network: Network
    layer: ECTLayer

    def __init__(self, key, layer: ECTLayer):
        self.network = single_precision(Network(key, cutoff=CUTOFF, hooks=Corrections.width(STATES, HOOKS)))
        self.layer = layer

    def __call__(self, positions, numbers, charge, weights=None):
        """Energy in eV and the ensemble weights, a start for the next solve."""
        own, raw = self.network.energy_and_hooks(positions.astype(jnp.float32), numbers, charge.astype(jnp.float32))
        corrections = Corrections.split(0.2 * raw.astype(positions.dtype), STATES, HOOKS)
        found = self.layer(positions, numbers, charge, corrections=corrections, weights=weights)
        return own + found.energy, found.weights


def single_precision(tree):
    """The network computes in float32, the physics in float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, tree)
