"""Neighbour lists against matscipy, their padding, and when a Verlet list asks for a rebuild."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ectjax.neighbors import (
    PADDING_DISTANCE,
    VerletList,
    all_pairs,
    bucket_size,
    computed_once,
    neighbor_list,
    pair_distances,
    pair_vectors,
)

DISTANCE_TOLERANCE = 1e-10

CELLS = {
    "cubic": np.eye(3) * 4.0,
    "tiny": np.diag([1.1, 1.6, 1.3]),
    "flat": np.diag([9.0, 8.0, 0.9]),
    "skewed": np.array([[4.0, 0, 0], [3.9, 1.5, 0], [-3.0, 2.0, 1.8]]),
    "left-handed": np.array([[0, 3.0, 0.5], [3.5, 0, 0.3], [0.2, 1.0, 2.5]]),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def rows(i, j, shifts):
    table = np.column_stack([i, j, shifts])
    return table[np.lexsort(table.T)]


def full_rows(neighbors):
    """Both directions of a half list, sorted."""
    used = np.asarray(neighbors.mask)
    i, j, shifts = (np.asarray(part)[used] for part in (neighbors.i, neighbors.j, neighbors.shifts))
    return rows(np.append(i, j), np.append(j, i), np.concatenate([shifts, -shifts]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(CELLS)),
    n=st.integers(1, 9),
    cutoff=st.floats(0.3, 6.5),
    pbc=st.sampled_from([(True,) * 3, (True,) * 3, (False,) * 3, (True, True, False), (False, True, False)]),
)
def test_same_pairs_as_matscipy(seed, shape, n, cutoff, pbc):
    """Rotated odd cells, atoms outside the cell, cutoffs from none to many images."""
    oracle = pytest.importorskip("matscipy.neighbours").neighbour_list
    rng = np.random.default_rng(seed)
    cell = CELLS[shape] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    positions = rng.uniform(-1.2, 2.1, (n, 3)) @ cell
    neighbors = neighbor_list(positions, cell, pbc, cutoff)
    i, j, shifts, distances = oracle("ijSd", positions=positions, cell=cell, pbc=pbc, cutoff=cutoff)
    np.testing.assert_array_equal(full_rows(neighbors), rows(i, j, shifts))
    ours = jax.jit(pair_distances)(jnp.asarray(positions), jnp.asarray(cell), neighbors)
    ours = np.asarray(ours)[np.asarray(neighbors.mask)]
    assert np.all(ours <= cutoff)
    np.testing.assert_allclose(np.sort(np.repeat(ours, 2)), np.sort(distances), atol=DISTANCE_TOLERANCE)


@pytest.mark.parametrize("lengths", [(5000.0, 5000.0, 3.0), (4.0, 4.0, 1e6), (1e6, 1e6, 3.0)])
def test_flat_and_long_cells(lengths):
    """vesin ends the process where its bins, fewer than the cell asks for, round to none."""
    positions, cell = np.array([[0, 0, 0], [2.5, 0, 0], [-3.0, 0, 1.0]]), np.diag(lengths)
    neighbors = neighbor_list(positions, cell, True, 9.0)
    images = neighbor_list(positions, np.diag(np.minimum(lengths, 40.0)), True, 9.0)
    assert neighbors.mask.sum() == images.mask.sum() > 0
    far = np.concatenate([positions, positions + np.array([5000.0, 5000.0, 1.0])])
    assert neighbor_list(far, cutoff=9.0).mask.sum() == 6


def test_an_atom_neighbours_its_own_images_once():
    neighbors = neighbor_list(np.zeros((1, 3)), np.eye(3) * 2.0, True, 2.5)
    shifts = np.asarray(neighbors.shifts)[np.asarray(neighbors.mask)]
    assert len(shifts) == 3
    assert {tuple(np.abs(row)) for row in shifts} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    assert neighbors.i.dtype == neighbors.j.dtype == neighbors.shifts.dtype == jnp.int32


def test_open_system_and_all_pairs_agree():
    positions = np.random.default_rng(0).uniform(0, 5, (9, 3))
    np.testing.assert_array_equal(full_rows(neighbor_list(positions, cutoff=50.0)), full_rows(all_pairs(9)))
    assert all_pairs(9).capacity == 36
    assert all_pairs(1).capacity == 1 and not all_pairs(1).mask.any()
    assert not neighbor_list(np.zeros((0, 3)), cutoff=5.0).mask.any()


def test_padding_is_harmless_to_second_order():
    positions = jnp.array([[0.0, 0, 0], [0, 0, 1.5], [0.4, 1.0, 0]])
    cell = jnp.eye(3) * 8.0
    neighbors = neighbor_list(positions, cell, True, 3.0)
    assert neighbors.capacity == 64 and int(neighbors.mask.sum()) == 3

    def energy(x, box):
        return jnp.sum(jnp.exp(-pair_distances(x, box, neighbors)))

    distances = pair_distances(positions, cell, neighbors)
    assert (np.asarray(distances)[~np.asarray(neighbors.mask)] == PADDING_DISTANCE).all()
    exact = all_pairs(3)
    want = jax.jit(jax.hessian(lambda x: jnp.sum(jnp.exp(-pair_distances(x, None, exact)))))(positions)
    got = jax.jit(jax.hessian(energy, argnums=(0, 1)))(positions, cell)
    np.testing.assert_allclose(got[0][0], want, atol=1e-12)
    assert all(jnp.isfinite(block).all() for block in jax.tree.leaves(got))


def test_float32_follows_the_positions():
    cell = jnp.eye(3, dtype=jnp.float32) * 3
    positions = jnp.zeros((1, 3), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        vectors = pair_vectors(positions, cell, neighbor_list(positions, cell, True, 4.0))
    assert vectors.dtype == jnp.float32


def test_sizes_come_in_few_buckets_and_never_shrink_below_the_capacity():
    sizes = {bucket_size(count) for count in range(1, 20000, 7)}
    assert len(sizes) < 25 and all(size % 64 == 0 for size in sizes)
    assert all(bucket_size(count) >= count for count in (1, 64, 65, 12345))
    positions = np.random.default_rng(1).uniform(0, 6, (30, 3))
    assert neighbor_list(positions, cutoff=2.0, capacity=999).capacity == 999
    first = neighbor_list(positions, cutoff=4.0)
    assert neighbor_list(positions, cutoff=2.0, capacity=first.capacity).capacity == first.capacity
    assert neighbor_list(positions, cutoff=4.0, capacity=3).capacity == first.capacity


def missing_pairs(verlet, positions, cell):
    fresh = full_rows(neighbor_list(positions, cell, True, verlet.cutoff))
    held = {tuple(row) for row in full_rows(verlet.neighbors)}
    return [row for row in fresh if tuple(row) not in held]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(CELLS)),
    move=st.floats(0.0, 0.6),
    deform=st.floats(0.0, 0.3),
)
def test_a_list_that_keeps_quiet_is_complete(seed, shape, move, deform):
    rng = np.random.default_rng(seed)
    cell = CELLS[shape]
    positions = rng.uniform(size=(6, 3)) @ cell
    verlet = VerletList.build(positions, cell, True, cutoff=2.5, skin=0.8)
    change = np.eye(3) + deform * rng.uniform(-1, 1, (3, 3))
    later = positions @ change + move * rng.uniform(-1, 1, (6, 3)) + rng.uniform(-9, 9, 3)
    if not verlet.needs_rebuild(jnp.asarray(later), jnp.asarray(cell @ change)):
        assert missing_pairs(verlet, later, cell @ change) == []


def test_verlet_list_asks_for_a_rebuild_when_due():
    cell = np.eye(3) * 6.0
    positions = jnp.asarray(np.random.default_rng(2).uniform(0, 6, (20, 3)))
    verlet = VerletList.build(positions, cell, True, cutoff=3.0, skin=1.0)
    ask = jax.jit(lambda v, x, box: v.needs_rebuild(x, box))
    box = jnp.asarray(cell)
    assert not ask(verlet, positions, box)
    assert not ask(verlet, positions + 40.0, box)  # a drift of the whole system
    assert not ask(verlet, positions.at[3, 0].add(0.4), box)
    assert ask(verlet, positions.at[3, 0].add(0.6), box)
    assert ask(verlet, positions.at[3, 0].add(6.0), box)  # wrapped: its shifts no longer hold
    assert ask(verlet, positions.at[3, 0].set(jnp.nan), box)
    assert ask(verlet, positions * 0.74, box * 0.74)  # affine compression, no atom moved against the cell
    assert not ask(verlet, positions * 0.76, box * 0.76)
    assert not ask(verlet, positions * 1.2, box * 1.2)
    assert ask(verlet, positions, box * 1.5)  # the cell alone grew: atoms moved against it
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0])
    assert not ask(verlet, positions @ turn, box @ turn)
    shear = jnp.eye(3).at[0, 1].set(0.8)
    assert ask(verlet, positions @ shear, box @ shear)
    cluster = VerletList.build(positions, cutoff=3.0, skin=1.0)
    assert not cluster.needs_rebuild(positions) and cluster.needs_rebuild(positions.at[3, 0].add(0.6))


def test_a_list_beyond_memory_is_refused_with_its_size():
    with pytest.raises(ValueError, match=r"would hold about .* pairs and take .* GiB"):
        neighbor_list(np.random.default_rng(0).uniform(0, 6, (1000, 3)), np.eye(3) * 6.0, True, 400.0)
    crowd = np.random.default_rng(0).uniform(0, 6, (500, 3))
    with pytest.raises(ValueError, match="shorten the cutoff"):
        neighbor_list(crowd, cutoff=20.0, memory_limit=1e6)
    apart = np.arange(500.0)[:, None] * [3.0, 0, 0]
    assert int(neighbor_list(apart, cutoff=4.0, memory_limit=1e6).mask.sum()) == 499


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (([[0, 0, np.nan]],), {}, "position of atom 0"),
        (([[0, 0, np.inf]],), {}, "finite"),
        (([0.0, 0, 0],), {}, r"shape \(3,\)"),
        (([[0, 0, 0]],), {"cutoff": 0.0}, "cutoff is 0.0 Å"),
        (([[0, 0, 0]],), {"cutoff": np.nan}, "cutoff is nan"),
        (([[0, 0, 0]],), {"growth": 1.0}, "growth"),
        (([[0, 0, 0]], None, True), {}, "no cell"),
        (([[0, 0, 0]], np.zeros((3, 3))), {}, "no volume"),
        (([[0, 0, 0]], np.ones((3, 3))), {}, "no volume"),
        (([[0, 0, 0]], np.eye(2)), {}, r"\(3, 3\)"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        neighbor_list(*arguments, **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="skin is -1"):
        VerletList.build(np.zeros((1, 3)), skin=-1)


def test_a_pass_computed_once_keeps_values_and_derivatives():
    r = jnp.linspace(0.5, 2.0, 7)

    def f(scale, r):
        return scale * jnp.sin(r), {"square": r**2}

    def once(scale, r, some=True):
        return computed_once(f, jnp.asarray(some), scale, r)

    def total(g):
        return lambda scale, r: jnp.sum(g(scale, r)[0] ** 2) + jnp.sum(g(scale, r)[1]["square"])

    for got, want in zip(jax.tree.leaves(once(2.0, r)), jax.tree.leaves(f(2.0, r)), strict=True):
        np.testing.assert_array_equal(got, want)
    for x in jax.tree.leaves(once(2.0, r, some=False)):
        np.testing.assert_array_equal(x, jnp.zeros_like(r))
    for derivative in (jax.grad, jax.jacfwd, lambda g, argnums: jax.hessian(g, argnums)):
        for argnums in (0, 1):
            got = jax.jit(derivative(total(once), argnums))(2.0, r)
            np.testing.assert_allclose(got, derivative(total(f), argnums)(2.0, r), rtol=1e-12)
    several = jax.vmap(lambda scale: once(scale, r)[0])(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(several, jnp.stack([jnp.sin(r), 3 * jnp.sin(r)]))


def test_padded_lists_keep_their_pairs():
    positions = np.random.default_rng(0).uniform(0, 4, (6, 3))
    short = neighbor_list(positions, np.eye(3) * 4.0, True, 3.0)
    longer = short.padded(short.capacity + 100)
    assert longer.capacity == short.capacity + 100 and short.padded(3).capacity == short.capacity
    assert int(longer.mask.sum()) == int(short.mask.sum())
    np.testing.assert_array_equal(full_rows(longer), full_rows(short))
