"""A small message-passing network: scalars and vectors on atoms, after PaiNN.

K. T. Schütt, O. T. Unke, M. Gastegger, Proc. ICML (2021), arXiv:2102.03150. Dense over all pairs of a padded molecule:
numbers (N,) with 0 for padding, positions (N, 3) in Å, total charge in e. Energy in eV; atoms beyond the
cutoff do not interact but through `inputs`, because all else that atoms know of each other are messages that end there.
The energy counts from isolated neutral atoms: what the network says of an atom without neighbours, charge and inputs
is taken off, so that neutral atoms that come apart have energy 0 as in the data. Radial functions are waves in
e^(−R/LENGTH), after O. T. Unke and M. Meuwly, J. Chem. Theory Comput. 15, 3678 (2019): fine where bonds are, smooth
where they end.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

ELEMENTS = 18
QUIET = 0.8  # amplitude of every radial wave in that of the one before: smooth forces take fewer frames
LENGTH = 2.0  # Å, in which radial functions fall


def linear(key, inputs, outputs, bias=True):
    return eqx.nn.Linear(inputs, outputs, use_bias=bias, key=key)


def each(layer, x):
    """A layer applied to the last axis of x."""
    y = x @ layer.weight.T
    return y if layer.bias is None else y + layer.bias


def surroundings(positions, real, cutoff):
    """Vectors (N, N, 3) to all atoms, distances, and a factor that ends at the cutoff, 0 but for pairs of atoms."""
    pair = real[:, None] & real & ~jnp.eye(len(real), dtype=bool)
    vector = positions[None] - positions[:, None]
    distance = jnp.sqrt(jnp.where(pair, jnp.sum(vector**2, axis=-1), cutoff**2))
    fade = jnp.where(pair & (distance < cutoff), 0.5 * (1 + jnp.cos(jnp.pi * distance / cutoff)), 0.0)
    return vector, distance, fade


class Message(eqx.Module):
    """What an atom hears from its neighbours: scalars, and vectors along the bonds and of the neighbours."""

    first: eqx.nn.Linear
    second: eqx.nn.Linear
    filters: eqx.nn.Linear

    def __init__(self, width, radial, key):
        a, b, c = jax.random.split(key, 3)
        self.first, self.second = linear(a, width, width), linear(b, width, 3 * width)
        self.filters = linear(c, radial, 3 * width)

    def __call__(self, scalars, vectors, radial, fade, unit):
        sent = each(self.second, jax.nn.silu(each(self.first, scalars)))  # (N, 3F)
        gates = each(self.filters, radial) * fade[..., None]  # (N, N, 3F)
        a, b, c = jnp.split(gates * sent[None], 3, axis=-1)
        along = jnp.einsum("ijf,ijx->ixf", b, unit)
        return scalars + a.sum(1), vectors + along + jnp.einsum("ijf,jxf->ixf", c, vectors)


class Update(eqx.Module):
    """Scalars and vectors of one atom mix."""

    left: eqx.nn.Linear
    right: eqx.nn.Linear
    first: eqx.nn.Linear
    second: eqx.nn.Linear

    def __init__(self, width, key):
        a, b, c, d = jax.random.split(key, 4)
        self.left, self.right = linear(a, width, width, False), linear(b, width, width, False)
        self.first, self.second = linear(c, 2 * width, width), linear(d, width, 3 * width)

    def __call__(self, scalars, vectors):
        u, v = each(self.left, vectors), each(self.right, vectors)
        length = jnp.sqrt(jnp.sum(v**2, axis=1) + 1e-8)
        both = jnp.concatenate([scalars, length], axis=-1)
        a, b, c = jnp.split(each(self.second, jax.nn.silu(each(self.first, both))), 3, axis=-1)
        return scalars + a + b * jnp.sum(u * v, axis=1), vectors + c[:, None] * u


class Network(eqx.Module):
    """Energy of a molecule from its atoms' numbers, positions and total charge (spread evenly over the atoms), and from
    `inputs` more numbers about every atom if there are any, all 0 for an isolated neutral atom. `unit`: eV in which its
    weights count, about the size of the forces it has to learn in eV/Å."""

    elements: jax.Array
    charge: jax.Array
    told: eqx.nn.Linear | None
    messages: list[Message]
    updates: list[Update]
    first: eqx.nn.Linear
    second: eqx.nn.Linear
    cutoff: float = eqx.field(static=True)
    radial: int = eqx.field(static=True)
    unit: float = eqx.field(static=True)

    def __init__(self, key, width=32, radial=16, layers=2, cutoff=6.0, inputs=0, unit=1.0):
        keys = jax.random.split(key, 2 * layers + 5)
        self.elements = jax.random.normal(keys[0], (ELEMENTS, width))
        self.charge = jax.random.normal(keys[1], (width,))
        self.told = linear(keys[4], inputs, width, False) if inputs else None
        self.messages = [Message(width, radial, k) for k in keys[5 : 5 + layers]]
        self.updates = [Update(width, k) for k in keys[5 + layers :]]
        self.first, self.second = linear(keys[2], width, width), linear(keys[3], width, 1)
        self.cutoff, self.radial, self.unit = cutoff, radial, unit

    def __call__(self, positions, numbers, charge, inputs=None):
        """Energy in eV; inputs (N, K)."""
        inputs, positions, charge = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (inputs, positions, charge))
        real = numbers > 0
        vector, distance, fade = surroundings(positions, real, self.cutoff)
        order = jnp.arange(self.radial, dtype=distance.dtype)
        radial = QUIET**order * jnp.sin((order + 1) * jnp.pi * jnp.exp(-distance / LENGTH)[..., None])
        unit = vector / distance[..., None]
        scalars = self.elements[numbers] + self.charge * (charge / jnp.maximum(jnp.sum(real), 1))
        if self.told is not None:
            scalars = scalars + each(self.told, inputs)
        atomic = self.atomic(scalars, radial, fade, unit) - self.isolated(numbers)
        return self.unit * jnp.sum(jnp.where(real, atomic, 0.0))

    def atomic(self, scalars, radial, fade, unit):
        """What every atom adds to the energy, (N,)."""
        vectors = jnp.zeros((len(scalars), 3, scalars.shape[1]), scalars.dtype)
        for message, update in zip(self.messages, self.updates, strict=True):
            scalars, vectors = update(*message(scalars, vectors, radial, fade, unit))
        return each(self.second, jax.nn.silu(each(self.first, scalars)))[:, 0]

    def isolated(self, numbers):
        """The same of neutral atoms that have no neighbours, (N,)."""
        radial, fade, unit = (jnp.zeros((ELEMENTS, ELEMENTS, *k)) for k in ((self.radial,), (), (3,)))
        return self.atomic(self.elements, *(x.astype(self.elements.dtype) for x in (radial, fade, unit)))[numbers]
