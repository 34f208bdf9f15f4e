"""The two-centre functional against published values, another quadrature and limits; tables and cache."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

import ectjax.pairs.two_center_tables as tables_module
from ectjax.basis import DEFAULT_STATES
from ectjax.embedding import daw_components
from ectjax.embedding.functionals import pw92_energy_density
from ectjax.pairs.compression import COMPRESSED
from ectjax.pairs.two_center import two_center_components
from ectjax.pairs.two_center_store import cache_folder, density_key, pair_key, write_archive
from ectjax.pairs.two_center_tables import (
    ARCHIVE_ELEMENTS,
    default_distances,
    shipped_archive,
    two_center_array,
    two_center_tables,
)
from ectjax.parameters import load_parameters
from ectjax.tables import load_element

TF = 0.3 * (3 * np.pi**2) ** (2 / 3)
SLATER = 0.75 * (3 / np.pi) ** (1 / 3)


class Shells:
    """Density of normalised Slater orbitals r^(n-1) exp(-ζr): (electrons, n, ζ) per shell; NumPy float64."""

    def __init__(self, *occupied):
        self.coefficients = np.array(
            [e * (2 * z) ** (2 * n + 1) / (4 * np.pi * math.factorial(2 * n)) for e, n, z in occupied]
        )
        self.powers = np.array([2 * n - 2 for _, n, _ in occupied])
        self.exponents = np.array([2.0 * z for *_, z in occupied])

    def density(self, r):
        r = np.asarray(r)[..., None]
        return (self.coefficients * r**self.powers * np.exp(-self.exponents * r)).sum(-1)

    def gradient(self, r):
        r = np.asarray(r)[..., None]
        slope = self.powers / r - self.exponents
        return (self.coefficients * r**self.powers * np.exp(-self.exponents * r) * slope).sum(-1)


HYDROGEN = Shells((1, 1, 1.0))
OXYGEN = Shells((2, 1, 7.66), (6, 2, 2.25))
SODIUM = Shells((2, 1, 10.63), (8, 2, 3.5), (1, 1, 0.6))
CATION = Shells((2, 1, 10.63), (8, 2, 3.5))
CHLORIDE = Shells((2, 1, 16.5), (8, 2, 6.1), (7, 3, 2.0), (1, 3, 0.6))
LITHIDE = Shells((2, 1, 2.7), (1, 2, 0.6), (1, 1, 0.2))


def test_hydrogen_check_values():
    expected = [[0.1602053, -0.1373000, -0.0683783], [0.0272737, -0.0917558, -0.0172968]]
    np.testing.assert_allclose(two_center_components(HYDROGEN, HYDROGEN, [1.4, 3.0]), expected, rtol=0, atol=1e-7)


def xc_energy(n):
    return pw92_energy_density(n) - SLATER * n ** (4 / 3)


def becke_reference(a, b, distance, radial=160, angular=120):
    """Plain formulas on two overlapping atomic grids with Becke's fuzzy cells, cylindrical symmetry used."""
    x, w = np.polynomial.legendre.leggauss(radial)
    r = 1.0 * (1 + x) / (1 - x)
    wr = w * 2.0 / (1 - x) ** 2 * r**2
    c, wc = np.polynomial.legendre.leggauss(angular)
    total = np.zeros(3)
    for near, far in ((a, b), (b, a)):
        r1, cos = r[:, None], c[None, :]
        r2 = np.sqrt(r1**2 + distance**2 - 2 * r1 * distance * cos)
        mu = (r1 - r2) / distance
        for _ in range(3):
            mu = 1.5 * mu - 0.5 * mu**3
        weight = 2 * np.pi * wr[:, None] * wc[None, :] * 0.5 * (1 - mu)
        u, v, du, dv = near.density(r1 + 0 * r2), far.density(r2), near.gradient(r1), far.gradient(r2)
        u, v = np.maximum(u, 1e-60), np.maximum(v, 1e-60)
        cross = (r1 - distance * cos) / r2  # unit vectors away from both nuclei
        tf = TF * ((u + v) ** (5 / 3) - u ** (5 / 3) - v ** (5 / 3))
        vw = ((du**2 + dv**2 + 2 * du * dv * cross) / (u + v) - du**2 / u - dv**2 / v) / 8
        xc = xc_energy(u + v) - xc_energy(u) - xc_energy(v)
        total += [(f * weight).sum() for f in (tf, vw, xc)]
    return total


@pytest.mark.parametrize(
    "a, b, distance",
    [(HYDROGEN, OXYGEN, 1.8), (CATION, CHLORIDE, 4.5), (SODIUM, HYDROGEN, 3.5), (OXYGEN, OXYGEN, 2.3)],
)
def test_another_quadrature(a, b, distance):
    reference = becke_reference(a, b, distance)
    finer = becke_reference(a, b, distance, 220, 170)
    assert np.abs(reference - finer).max() < 5e-7  # the reference itself is converged
    np.testing.assert_allclose(two_center_components(a, b, [distance])[0], finer, rtol=0, atol=1e-6)


@pytest.mark.parametrize("a, b", [(CHLORIDE, CHLORIDE), (SODIUM, CHLORIDE), (LITHIDE, OXYGEN)])
def test_quadrature_is_converged(a, b):
    distances = np.array([0.4, 1.0, 2.0, 3.5, 6.0, 10.0, 16.0])
    fine = two_center_components(a, b, distances, radial_points=120, axial_points=100)
    np.testing.assert_allclose(two_center_components(a, b, distances), fine, rtol=0, atol=5e-7)


def test_united_atom_limit():
    """Two equal densities on one spot: T grows by 2^(5/3) - 2 of itself, W not at all."""
    tf, vw, _ = two_center_components(HYDROGEN, HYDROGEN, [1e-3])[0]
    whole = quad(lambda r: 4 * np.pi * r**2 * TF * float(HYDROGEN.density(r)) ** (5 / 3), 0, 40)[0]
    np.testing.assert_allclose(tf, (2 ** (5 / 3) - 2) * whole, rtol=1e-5)
    assert abs(vw) < 1e-5


def test_flat_density_gives_the_embedding_function():
    """A very diffuse partner is a constant background: the two-centre functional turns into Daw's."""
    flat = Shells((2.5e6, 1, 0.01))
    background = float(flat.density(3.0))
    near = two_center_components(HYDROGEN, flat, [3.0], radial_points=400, axial_points=200)[0]
    np.testing.assert_allclose(near, daw_components(HYDROGEN, [background])[0], rtol=0.03)


def test_signs_symmetry_and_decay():
    distances = np.linspace(0.3, 25, 60)
    values = two_center_components(SODIUM, CHLORIDE, distances)
    np.testing.assert_allclose(values, two_center_components(CHLORIDE, SODIUM, distances), rtol=1e-12)
    assert np.all(values[:, 0] > 0) and np.all(values[:, 1:] < 0)
    far = np.log(np.abs(values[distances > 12]))
    rate = -np.diff(far, axis=0) / np.diff(distances[distances > 12])[:, None]
    assert np.all(rate > 0.3)  # W goes like the density midway, exp(-0.6 R), times R²


def test_bare_nucleus_and_bad_distance():
    empty = Shells()
    assert np.all(two_center_components(empty, OXYGEN, [1.0, 2.0]) == 0)
    for bad in ([0.0], [-1.0], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match="positive"):
            two_center_components(HYDROGEN, HYDROGEN, bad)


def test_resampled_table_matches_the_quadrature():
    states = [HYDROGEN, SODIUM, CHLORIDE, LITHIDE]
    tables = two_center_tables(states, cache=False)
    distances = np.sort(np.random.default_rng(3).uniform(0.7, 20.0, 25))
    values = tables.resample(distances)
    for i in range(4):
        for j in range(i + 1):
            exact = two_center_components(states[i], states[j], distances).T
            np.testing.assert_allclose(values[i, j], exact, rtol=1e-5, atol=1e-8, err_msg=f"pair {i} {j}")
            np.testing.assert_array_equal(values[i, j], values[j, i])
    assert np.all(np.isfinite(tables.resample(np.array([0.0, 0.05, 60.0]))))


def test_tables_treat_absent_and_empty_states_as_nothing():
    tables = two_center_tables([HYDROGEN, None, Shells()], np.linspace(0.5, 8, 8), cache=False)
    assert tables.values.shape == (3, 3, 3, 8)
    assert np.all(tables.values[0, 0] != 0) and np.all(tables.values[1:] == 0)
    assert np.all(tables.resample(np.linspace(0, 9, 5))[:, 1:] == 0)


def test_cache(tmp_path, monkeypatch):
    distances, calls = np.linspace(0.5, 8, 8), []
    compute = two_center_components

    def counted(*args):
        calls.append(args)
        return compute(*args)

    monkeypatch.setattr(tables_module, "two_center_components", counted)
    first = two_center_tables([HYDROGEN, OXYGEN], distances, cache=tmp_path, jobs=2)
    assert len(calls) == 3 and len(list(tmp_path.glob("*.npy"))) == 3
    assert len(list(tmp_path.iterdir())) == 3  # nothing temporary is left
    again = two_center_tables([HYDROGEN, OXYGEN], distances, cache=tmp_path)
    assert len(calls) == 3
    np.testing.assert_array_equal(first.values, again.values)
    # equal states share one table; a new state costs only its own pairs; other distances are other tables
    two_center_tables([OXYGEN, HYDROGEN, OXYGEN], distances, cache=tmp_path)
    assert len(calls) == 3
    two_center_tables([HYDROGEN, OXYGEN, CATION], distances, cache=tmp_path)
    assert len(calls) == 6
    two_center_tables([HYDROGEN], distances + 0.1, cache=tmp_path)
    assert len(calls) == 7


@pytest.mark.parametrize("damage", ["truncated", "foreign", "nan"])
def test_damaged_cache_is_rebuilt(tmp_path, damage):
    distances = np.linspace(0.5, 8, 8)
    good = two_center_tables([HYDROGEN], distances, cache=tmp_path).values
    (path,) = tmp_path.glob("*.npy")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "foreign":
        path.write_text("not a table")
    else:
        np.save(path, np.full((8, 3), np.nan))
    np.testing.assert_array_equal(two_center_tables([HYDROGEN], distances, cache=tmp_path).values, good)
    assert np.all(np.isfinite(np.load(path)))


def test_interrupted_build_keeps_what_was_done(tmp_path, monkeypatch):
    compute, done = two_center_components, []

    def failing(a, b, distances):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return compute(a, b, distances)

    monkeypatch.setattr(tables_module, "two_center_components", failing)
    with pytest.raises(KeyboardInterrupt):
        two_center_tables([HYDROGEN, OXYGEN], np.linspace(0.5, 8, 8), cache=tmp_path, jobs=1)
    kept = len(list(tmp_path.glob("*.npy")))
    assert kept == 2


def test_unwritable_cache_is_not_an_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    tables = two_center_tables([HYDROGEN], np.linspace(0.5, 8, 8), cache=blocked)
    assert np.all(tables.values != 0)


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ECTJAX_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "two_center"


def test_archive(tmp_path, monkeypatch):
    """What is in the archive is not computed; another density, or a damaged archive, is."""
    distances, states = np.linspace(0.5, 8, 8), [HYDROGEN, OXYGEN]
    built = two_center_tables(states, distances, cache=False)
    keys = [density_key(s) for s in states]
    pairs = {pair_key(keys[i], keys[j], distances): built.values[i, j].T for i, j in ((0, 0), (1, 0), (1, 1))}
    archive = tmp_path / "archive" / "two_center.npz"
    write_archive(archive, pairs)
    monkeypatch.setattr(tables_module, "shipped_archive", lambda: archive)
    calls, compute = [], two_center_components
    monkeypatch.setattr(tables_module, "two_center_components", lambda *a: calls.append(a) or compute(*a))
    again = two_center_tables(states, distances, cache=tmp_path / "cache")
    assert not calls
    np.testing.assert_array_equal(again.values, built.values)
    two_center_tables([*states, CATION], distances, cache=tmp_path / "cache")
    assert len(calls) == 3
    archive.write_bytes(archive.read_bytes()[:200])
    two_center_tables(states, distances, cache=tmp_path / "other")
    assert len(calls) == 6


@pytest.mark.skipif(not shipped_archive().exists(), reason="a checkout without the archive builds tables on first use")
def test_shipped_archive_covers_the_shipped_states(tmp_path):
    """Every pair of default states, and of the set `default`, comes from the archive: first use computes nothing."""
    also = load_parameters("default").states
    states = [
        state
        for symbol in ARCHIVE_ELEMENTS
        for state in load_element(symbol).states
        if (state.label in DEFAULT_STATES and state.bound) or state.label in (*also.get(symbol, ()), COMPRESSED)
    ]
    two_center_tables(states, cache=tmp_path, progress=False)
    assert not list(tmp_path.iterdir()), "rebuild it: python -m ectjax.pairs.two_center_tables"


def test_array_of_elements():
    distances = np.linspace(1.0, 6.0, 7)
    array = two_center_array([[HYDROGEN], [SODIUM, CATION]], distances, cache=False)
    assert array.shape == (2, 2, 2, 2, 3, 7)
    exact = two_center_components(HYDROGEN, CATION, distances).T
    np.testing.assert_allclose(array[0, 1, 0, 1], exact, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(array[1, 0, 1, 0], array[0, 1, 0, 1])
    assert np.all(array[0, 1, 1] == 0)


def test_bad_arguments():
    for distances in ([1.0, 2.0], [2, 1, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5]):
        with pytest.raises(ValueError, match="ascending"):
            two_center_tables([HYDROGEN], distances)
    with pytest.raises(ValueError, match="jobs"):
        two_center_tables([HYDROGEN], jobs=0)
    assert default_distances()[0] == 0.1 and default_distances()[-1] >= 30
