"""The harness: a sound potential passes, and each check fails on a potential that is broken in just that way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax import testing
from ectjax.layers import ECTLayer

POSITIONS = np.array([[0.0, 0.0, 0.0], [1.1, 0.1, 0.0], [-0.2, 1.2, 0.3], [0.9, 1.0, -0.8]])
NUMBERS = np.array([8, 1, 1, 6])


pytestmark = pytest.mark.usefixtures("x64")


def _distances(x, real=None):
    squares = jnp.sum((x[:, None] - x[None]) ** 2, -1)
    other = ~jnp.eye(x.shape[0], dtype=bool)
    if real is not None:
        other = other & real[:, None] & real
    return jnp.sqrt(jnp.where(other, squares, 1.0)), other


def sound(x, z, charge):
    """Morse-like pairs that know the elements; number 0 is padding."""
    r, other = _distances(x, z > 0)
    strength = jnp.sqrt(z[:, None] * z[None]).astype(x.dtype)
    return 0.5 * jnp.sum(jnp.where(other, strength * (jnp.exp(-2 * (r - 1)) - 2 * jnp.exp(-(r - 1))), 0.0)) + charge**2


def charges(x, z, charge):
    """Charges that fall off with distance and sum to the total charge."""
    r, other = _distances(x)
    push = jnp.sum(jnp.where(other, (z[:, None] - z[None]) * jnp.exp(-r), 0.0), axis=1)
    return push - jnp.mean(push) + charge / x.shape[0]


def batched(x, z, charge):
    return jax.vmap(sound)(x, z, charge)


def test_a_sound_potential_passes_every_check():
    report = testing.check_potential(
        sound, POSITIONS, NUMBERS, charges=charges, batched=batched, energy32=sound, other=(POSITIONS[:3], NUMBERS[:3])
    )
    report.raise_if_failed()
    assert [o.passed for o in report.outcomes] == [True] * 9
    assert report.outcomes[0].worst < 1e-6


def test_checks_that_need_more_are_reported_as_not_run():
    report = testing.check_potential(sound, POSITIONS, NUMBERS)
    assert report.passed and "not run   give charges=" in str(report)
    broken = testing.check_potential(lambda x, z, q: sound(x, z, q) + 0.1 * x[0, 0], POSITIONS, NUMBERS)
    assert not broken.passed and "FAILED" in str(broken)
    with pytest.raises(AssertionError, match="translation"):
        broken.raise_if_failed()


@jax.custom_jvp
def _wrong_slope(x):
    return x


_wrong_slope.defjvp(lambda primals, tangents: (primals[0], 1.1 * tangents[0]))


def fragment_counter(x, z, charge):
    """Every atom feels the number of all atoms."""
    return sound(x, z, charge) * (1 + 0.01 * x.shape[0])


def always_ionic(x, z, charge):
    """The second atom keeps −0.4 e at any distance, as in charge equilibration."""
    r, _ = _distances(x)
    return sound(x, z, charge) + (1.0 if x.shape[0] > 1 else 0.0) * (0.5 - 14.4 * 0.16 / r[0, -1])


def by_position_in_the_list(x, z, charge):
    return sound(x, z, charge) + 0.01 * jnp.sum(jnp.arange(x.shape[0]) * jnp.sum(x**2, axis=1))


def handed(x, z, charge):
    """A triple product: turns with the structure, changes sign in a mirror."""
    a, b, c = (x[k] - x[0] for k in (1, 2, 3))
    return sound(x, z, charge) + 0.1 * jnp.dot(a, jnp.cross(b, c))


def cancelling(x, z, charge):
    """Small differences of large numbers."""
    return jnp.sqrt(1e10 + sound(x, z, charge)) * 2e5 - 2e10


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        (testing.check_forces, (lambda x, z, q: _wrong_slope(sound(x, z, q)), POSITIONS, NUMBERS), "gradient on atom"),
        (testing.check_translation, (lambda x, z, q: sound(x, z, q) + x[0, 0], POSITIONS, NUMBERS), "translation"),
        (testing.check_rotation, (lambda x, z, q: sound(x.at[:, 0].mul(0.9), z, q), POSITIONS, NUMBERS), "rotation"),
        (testing.check_rotation, (handed, POSITIONS, NUMBERS), "inversion"),
        (testing.check_permutation, (by_position_in_the_list, POSITIONS, NUMBERS), "in the order"),
        (testing.check_extensivity, (fragment_counter, POSITIONS, NUMBERS), "fragments 200 Å apart"),
        (testing.check_dissociation, (always_ionic, NUMBERS), "single atoms"),
        (testing.check_dissociation, (sound, NUMBERS, lambda x, z, q: 0.4 * jnp.sign(z - 2.0)), "keep charges"),
        (testing.check_charge_conservation, (lambda x, z, q: charges(x, z, 0.0), POSITIONS, NUMBERS), "charges sum to"),
        (testing.check_batching, (lambda *a: batched(*a) + 1, sound, [(POSITIONS, NUMBERS, 0.0)]), "in a batch"),
        (testing.check_batching,
         (lambda x, z, q: batched(x, z, q) + jnp.sum(x, axis=(1, 2)), lambda x, z, q: sound(x, z, q) + jnp.sum(x),
          [(POSITIONS, NUMBERS, 0.0), (POSITIONS[:3], NUMBERS[:3], 0.0)]), "forces on the padding"),
        (testing.check_float32, (cancelling, sound, POSITIONS, NUMBERS), "in float32"),
        (testing.check_float32, (lambda x, z, q: sound(x.astype(float), z, q), sound, POSITIONS, NUMBERS), "float64"),
    ],
)  # fmt: skip
def test_each_check_fails_on_what_it_is_for(check, arguments, message):
    with pytest.raises(AssertionError, match=message):
        check(*arguments)


def test_nan_fails_and_float32_needs_float64():
    with pytest.raises(AssertionError, match="nan"):
        testing.check_translation(lambda x, z, q: jnp.sqrt(-jnp.sum(x**2)), POSITIONS, NUMBERS)
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        testing.check_float32(sound, sound, POSITIONS, NUMBERS)


def test_coarse_checks_work_in_float32():
    with jax.enable_x64(False):
        assert testing.check_potential(sound, POSITIONS, NUMBERS, charges=charges).passed
        with pytest.raises(AssertionError, match="gradient on atom"):
            testing.check_forces(lambda x, z, q: _wrong_slope(sound(x, z, q)), POSITIONS, NUMBERS)


@pytest.mark.slow
def test_the_layer_passes():
    """Sodium and hydrogen chloride with the shipped set: energy, forces, invariances, dissociation, charges."""
    layer = ECTLayer("curves", ["H", "Na", "Cl"], radii=None, rounds=0)
    positions = np.array([[0.0, 0.0, 0.0], [0.1, 0.3, 2.4], [1.2, 0.1, -0.2]])
    report = testing.check_potential(
        lambda x, z, q: layer(x, z, q).energy,
        positions,
        np.array([17, 11, 1]),
        1.0,
        charges=lambda x, z, q: layer(x, z, q).charges,
        slots=6,
    )
    report.raise_if_failed()
