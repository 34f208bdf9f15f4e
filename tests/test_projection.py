"""Projection of weights onto simplices and the total charge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from ectjax.ensemble import charge_range, project_simplices
from ectjax.ensemble import project_weights as project_weights_

project_weights = jax.jit(project_weights_)


pytestmark = pytest.mark.usefixtures("x64")


def _case(seed, atoms=4, states=4):
    rng = np.random.default_rng(seed)
    charges = np.tile(np.array([-1.0, 0.0, 1.0, 2.0])[:states], (atoms, 1))
    mask = rng.random((atoms, states)) < 0.75
    mask[:, 1] = True
    low, high = charge_range(charges, mask)
    return rng.normal(size=(atoms, states)), charges, mask, float(low + rng.random() * (high - low))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_feasible_idempotent_and_closest(seed):
    with jax.enable_x64(True):
        weights, charges, mask, total = _case(seed)
        p = np.asarray(project_weights(weights, charges, mask, total))
        assert np.all(p >= 0) and np.all(p[~mask] == 0)
        np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
        assert np.sum(p * charges) == pytest.approx(total, abs=1e-11)
        np.testing.assert_allclose(project_weights(p, charges, mask, total), p, atol=1e-9)
        # the variational inequality of a projection: no feasible point lies on the other side
        rng = np.random.default_rng(seed + 1)
        for _ in range(5):
            other = np.asarray(project_weights(rng.normal(size=p.shape) * 2, charges, mask, total))
            assert np.sum((weights - p) * (other - p) * mask) < 1e-8


def test_agrees_with_a_general_constrained_solver():
    weights, charges, mask, total = _case(7)
    mask = np.ones_like(mask)
    ours = np.asarray(project_weights(weights, charges, mask, total))
    constraints = [{"type": "eq", "fun": lambda x: x.reshape(4, 4).sum(axis=1) - 1}]
    constraints.append({"type": "eq", "fun": lambda x: np.sum(x.reshape(4, 4) * charges) - total})
    found = minimize(
        lambda x: 0.5 * np.sum((x - weights.ravel()) ** 2),
        np.full(16, 0.25),
        jac=lambda x: x - weights.ravel(),
        bounds=[(0, 1)] * 16,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(ours.ravel(), found.x, atol=1e-6)


@pytest.mark.parametrize("end", [0, 1])
def test_ends_of_the_reachable_range(end):
    weights, charges, mask, _ = _case(3)
    total = float(charge_range(charges, mask)[end])
    p = np.asarray(project_weights(weights, charges, mask, total))
    assert np.sum(p * charges) == pytest.approx(total, abs=1e-10)


def test_derivative_against_finite_differences_and_batches():
    weights, charges, mask, total = _case(11)
    jacobian = jax.jacobian(lambda w: project_weights(w, charges, mask, total))(jnp.asarray(weights))
    direction = np.random.default_rng(5).normal(size=weights.shape)
    step = 1e-6
    up, down = (project_weights(weights + s * step * direction, charges, mask, total) for s in (1, -1))
    np.testing.assert_allclose(np.einsum("abcd,cd->ab", jacobian, direction), (up - down) / (2 * step), atol=1e-7)
    batch = jnp.stack([weights, 2 * weights])
    both = jax.vmap(lambda w: project_weights(w, charges, mask, total))(batch)
    np.testing.assert_allclose(both[1], project_weights(2 * weights, charges, mask, total), atol=1e-12)


def test_float32_keeps_the_charge():
    weights, charges, mask, total = _case(13)
    p = project_weights(*(jnp.asarray(x, jnp.float32) for x in (weights, charges)), mask, jnp.float32(total))
    assert p.dtype == jnp.float32
    assert float(jnp.sum(p * charges)) == pytest.approx(total, abs=2e-6)


def test_simplices_alone():
    p = project_simplices(jnp.array([[0.2, 0.3, 0.5], [5.0, 0.0, 0.0]]), jnp.ones((2, 3), bool))
    np.testing.assert_allclose(p, [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], atol=1e-15)
