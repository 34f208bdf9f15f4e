"""Implicit derivatives of the equilibrated weights against finite differences of re-converged solutions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import model

from ectjax import build_system, potential_energy, solve_weights
from ectjax.load import basis_of, parameters_of
from ectjax.model import assemble
from ectjax.parameters import load_parameters

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.02, 0.0], [-0.24, 0.93, 0.01]])
RELATIVE = 1e-6
TIGHT = {"tolerance": 1e-10}


pytestmark = pytest.mark.usefixtures("x64")


def _water(default):
    return build_system(default, [8, 1, 1], WATER)


def _at(system, positions):
    return eqx.tree_at(lambda s: s.positions, system, positions)


@pytest.mark.slow
def test_hessian_of_water():
    default = model(["H", "O"])
    system = _water(default)
    energy = lambda x: potential_energy(default, _at(system, x), **TIGHT)[0]  # noqa: E731
    hessian = np.asarray(jax.jit(jax.hessian(energy))(system.positions)).reshape(9, 9)
    gradient = jax.jit(jax.grad(energy))
    numeric = np.zeros((9, 9))
    for k in range(9):

        def slope(h, k=k):
            d = np.zeros(9)
            d[k] = h
            return (gradient(WATER + d.reshape(3, 3)) - gradient(WATER - d.reshape(3, 3))).ravel() / (2 * h)

        numeric[k] = (4 * slope(5e-5) - slope(1e-4)) / 3
    scale = np.max(np.abs(hessian))
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-10 * scale)
    np.testing.assert_allclose(hessian, numeric, atol=RELATIVE * scale)


def test_charges_respond_to_positions_forward_and_reverse():
    default = model(["H", "O"])
    system = _water(default)
    charge = jax.jit(lambda x: solve_weights(default, _at(system, x), **TIGHT).charges[0])
    direction = np.random.default_rng(0).normal(size=(3, 3))
    step = 1e-4
    numeric = (charge(WATER + step * direction) - charge(WATER - step * direction)) / (2 * step)
    finer = (charge(WATER + step / 2 * direction) - charge(WATER - step / 2 * direction)) / step
    numeric = (4 * finer - numeric) / 3
    forward = jax.jit(lambda x: jax.jvp(charge, (x,), (direction,))[1])(jnp.asarray(WATER))
    reverse = jnp.sum(jax.jit(jax.grad(charge))(jnp.asarray(WATER)) * direction)
    assert float(forward) == pytest.approx(float(numeric), rel=RELATIVE, abs=1e-8)
    assert float(reverse) == pytest.approx(float(forward), rel=1e-9)


@pytest.mark.slow
def test_charges_and_forces_respond_to_every_parameter():
    chosen = load_parameters("curves")
    basis = basis_of(chosen, ["H", "O"])
    parameters = parameters_of(chosen, ["H", "O"])
    system = build_system(assemble(basis, parameters), [8, 1, 1], WATER)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))

    def observables(p):
        built = assemble(basis, p)
        charge = solve_weights(built, system, **TIGHT).charges[0]
        force = jax.jvp(
            lambda x: potential_energy(built, _at(system, x), **TIGHT)[0], (system.positions,), (direction,)
        )[1]
        return jnp.stack([charge, force])

    observables = jax.jit(observables)
    slopes = jax.jit(jax.jacfwd(observables))(parameters)
    for name, step in (("a", 1e-4), ("b", 1e-4), ("sigma", 1e-4), ("kappa", 1e-2)):
        for element in range(2):

            def moved(h, name=name, element=element):
                value = getattr(parameters, name).at[element].add(h)
                return observables(eqx.tree_at(lambda p: getattr(p, name), parameters, value))

            wide, fine = ((moved(h) - moved(-h)) / (2 * h) for h in (step, step / 2))
            numeric = (4 * fine - wide) / 3
            ours = getattr(slopes, name)[:, element]
            np.testing.assert_allclose(ours, numeric, rtol=2e-6, atol=2e-8, err_msg=f"{name} {element}")


@eqx.filter_jit
def _weights_and_response(chosen, system, direction):
    """Equilibration and the change of its weights along a displacement."""

    def weights(x):
        found = solve_weights(chosen, _at(system, x), **TIGHT)
        return found.weights, found

    _, change, found = jax.jvp(weights, (system.positions,), (direction,), has_aux=True)
    return found, change


def test_states_that_are_empty_do_not_respond_and_the_others_do():
    """Strict, the minimum is a corner. With resonance on sodium alone, chlorine's empty states stay empty."""
    base = model(["Na", "Cl"])
    system = build_system(base, [11, 17, 17], [[0, 0, 0], [0, 0, 2.5], [0.3, 4.0, 0.2]], charge=-1.0)
    direction = jnp.asarray(np.random.default_rng(5).normal(size=(3, 3)))
    for share in (jnp.zeros(2), jnp.array([1.0, 0.0])):
        chosen = eqx.tree_at(lambda m: m.resonance, base, base.resonance * share[:, None, None, None])
        found, change = _weights_and_response(chosen, system, direction)
        assert bool(found.converged)
        exists = np.asarray(chosen.state_mask)[np.asarray(system.species)]
        assert np.sum(np.asarray(found.amplitudes)[exists] < 1e-6) >= 2
        near = (
            _weights_and_response(chosen, _at(system, system.positions + h * direction), direction)[0].weights
            for h in (1e-4, -1e-4)
        )
        numeric = (next(near) - next(near)) / 2e-4
        np.testing.assert_allclose(change, numeric, atol=1e-6)
        if not share.any():
            np.testing.assert_allclose(change, 0.0, atol=1e-6)


def test_implicit_equals_unrolled_differentiation():
    """A fixed number of gradient steps on the same problem, differentiated through, converges to the implicit rule."""
    from ectjax.ensemble import equilibrate

    charges = jnp.array([[0.0, 1.0], [0.0, -1.0]])

    def energy(w, c, args):
        mixed = args[3] * (c[0, 0] * c[0, 1] + c[1, 0] * c[1, 1])
        return args[0] * w[0, 1] + args[1] * w[1, 1] - args[2] * w[0, 1] * w[1, 1] - mixed

    args = jnp.array([3.0, -0.5, 1.0, 1.5])

    def implicit(args):
        found = equilibrate(
            energy,
            args,
            jnp.ones((1, 2, 2)),
            charges=charges,
            mask=jnp.ones((2, 2), bool),
            total_charge=0.0,
            tolerance=1e-12,
        )
        return found.charges[0]

    def unrolled(args):
        # one unknown: with Q = 0 both atoms transfer the same ω = sin²x
        def slope(x):
            def value(x):
                c = jnp.stack([jnp.cos(x), jnp.sin(x)])
                both = jnp.stack([c, c])
                return energy(both**2, both, args)

            return jax.grad(value)(x)

        x, _ = jax.lax.scan(lambda x, _: (x - 0.1 * slope(x), None), jnp.asarray(0.7), None, length=600)
        return jnp.sin(x) ** 2

    def value_and_slope(args):
        both = jax.value_and_grad(implicit)(args)
        return both[1], both

    first, second = jax.value_and_grad(unrolled)(args), jax.hessian(unrolled)(args)
    for again in (jax.jacfwd, jax.jacrev):
        ours, (value, slope) = again(value_and_slope, has_aux=True)(args)
        assert float(value) == pytest.approx(float(first[0]), abs=1e-10)
        np.testing.assert_allclose(slope, first[1], rtol=1e-7)
        np.testing.assert_allclose(ours, second, rtol=1e-6, atol=1e-9)


def test_active_set_the_derivative_of_a_projection_onto_a_simplex():
    """min |ω − t|² leaves states empty whose t is low: dω/dt is I − 1/n among the filled ones and zero elsewhere."""
    from ectjax.ensemble import equilibrate

    def weights(t):
        return equilibrate(
            lambda w, c, args: 5.0 * jnp.sum((w - args) ** 2),
            t,
            jnp.ones((1, 2, 4)),
            charges=jnp.zeros((2, 4)),
            mask=jnp.ones((2, 4), bool),
            total_charge=0.0,
            tolerance=1e-11,
        ).weights

    t = jnp.array([[0.6, 0.5, 0.3, -0.4], [0.9, -0.2, -0.3, 0.7]])
    filled = np.array([[True, True, True, False], [True, False, False, True]])
    found, forward = jax.linearize(weights, t)
    np.testing.assert_array_equal(np.asarray(found) > 1e-9, filled)
    expected = np.zeros((2, 4, 2, 4))
    for atom, used in enumerate(filled):
        expected[atom, :, atom] = np.diag(used * 1.0) - np.outer(used, used) / used.sum()
    unit = jnp.eye(8).reshape(8, 2, 4)
    np.testing.assert_allclose(jax.vmap(forward)(unit).reshape(8, 8).T, expected.reshape(8, 8), atol=1e-7)
    backward = jax.linear_transpose(forward, t)
    np.testing.assert_allclose(jax.vmap(backward)(unit)[0].reshape(8, 8), expected.reshape(8, 8), atol=1e-7)


@pytest.mark.slow
def test_hessian_by_reverse_mode_twice():
    default = model(["Na", "Cl"])
    positions = jnp.array([[0.0, 0.0, 0.0], [0.2, -0.1, 2.6]])
    direction = jnp.asarray(np.random.default_rng(6).normal(size=(2, 3)))
    system = build_system(default, [11, 17], positions)

    @jax.jit
    def product(x):
        def slope(y):
            gradient = jax.grad(lambda z: potential_energy(default, _at(system, z), **TIGHT)[0])(y)
            return jnp.vdot(gradient, direction), gradient

        return jax.grad(slope, has_aux=True)(x)

    ours, _ = product(positions)
    wide, fine = (
        (product(positions + h * direction)[1] - product(positions - h * direction)[1]) / (2 * h) for h in (1e-4, 5e-5)
    )
    numeric = (4 * fine - wide) / 3
    np.testing.assert_allclose(ours, numeric, atol=RELATIVE * float(jnp.abs(numeric).max()))
