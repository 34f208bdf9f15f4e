"""The two models that are compared: the network alone, and the network that reads what the physics found."""

import equinox as eqx
import jax
import jax.numpy as jnp
from network import Network
from physics import atomic_inputs

from ectjax.layers import ECTLayer

CUTOFF = 6.5  # Å, of the network in both models: for the network alone as good as 5 in range, better beyond it


def plain_network(key, unit: float = 1.0) -> Network:
    """The network alone. unit: see `Network`."""
    return single_precision(Network(key, cutoff=CUTOFF, unit=unit))


def hybrid_network(key, inputs: int, unit: float = 1.0) -> Network:
    """The same network, told what the physics says about every atom: so many numbers of `physics.atomic_inputs`."""
    return single_precision(Network(key, cutoff=CUTOFF, inputs=inputs, unit=unit))


class Hybrid(eqx.Module):
    """Energy of network and physics as one function of positions, to differentiate. Training takes a shorter way to
    the same forces: the physics is frozen, so its part of them is computed once (`physics.evaluate`)."""

    network: Network
    layer: ECTLayer

    def __call__(self, positions, numbers, charge):
        """Energy in eV."""
        found = self.layer(positions, numbers, charge)
        return found.energy + self.network(positions, numbers, charge, atomic_inputs(found, numbers))


def single_precision(tree):
    """The network computes in float32, the physics in float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, tree)
