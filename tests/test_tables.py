"""Table files: what is stored comes back, damage is noticed, and every shipped density keeps its promises."""

import dataclasses
import itertools
import math

import h5py
import jax
import numpy as np
import pytest
from scipy.integrate import quad

from ectjax.tables import (
    Element,
    available_elements,
    load_element,
    parse_label,
    read_table,
    symbol_of,
    table_directory,
    write_table,
)
from ectjax.tables.compare import compare_elements
from ectjax.tables.goals import missing_states
from ectjax.tables.page import write_page
from ectjax.tables.verify import energy_difference_ev, energy_tolerance, smallest, verify_element
from ectjax.units import HARTREE_IN_EV

SHIPPED = available_elements()
STATES = [(symbol, label) for symbol in SHIPPED for label in load_element(symbol).labels]


@pytest.fixture
def copy(tmp_path):
    """A private copy of the hydrogen table."""
    return write_table(load_element("H"), tmp_path / "H.h5")


def test_the_eight_elements_are_there():
    assert {"H", "Li", "C", "N", "O", "F", "Na", "Cl"} <= set(SHIPPED)


def test_round_trip_keeps_every_field(copy):
    before, after = load_element("H"), read_table(copy)
    assert after.labels == before.labels
    for old, new in zip(before.states, after.states, strict=True):
        for field in dataclasses.fields(old):
            np.testing.assert_equal(getattr(new, field.name), getattr(old, field.name))


def test_the_same_content_makes_the_same_checksum(tmp_path):
    files = [write_table(load_element("H"), tmp_path / name) for name in ("a.h5", "b.h5")]
    with h5py.File(files[0]) as a, h5py.File(files[1]) as b:
        assert a.attrs["checksum"] == b.attrs["checksum"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_elements_are_found_by_symbol_number_file_and_folder(copy):
    assert load_element("h").number == load_element(1).number == load_element("1").number == 1
    assert load_element("H", copy).labels == load_element("H", copy.parent).labels == load_element("H").labels


def test_hydrogen_ground_state_is_exact():
    state = load_element("H").state("0")
    np.testing.assert_allclose(state.coefficients, [1 / np.pi], rtol=1e-15)
    assert (state.exponents[0], state.powers[0], state.energy) == (2.0, 0, 0.0)


def test_bare_proton_has_no_electrons():
    state = load_element("H").state("+1")
    assert state.electrons == 0 and not state.coefficients.any()
    assert state.energy * HARTREE_IN_EV == pytest.approx(13.598, abs=1e-3)


@pytest.mark.parametrize(("symbol", "label"), STATES)
def test_shipped_density_keeps_count_cusp_tail_and_sign(symbol, label):
    element = load_element(symbol)
    state = element.state(label)
    if state.electrons == 0:
        return
    c, n, a = state.coefficients, state.powers, state.exponents

    def rho(r):
        return np.sum(c * r**n * np.exp(-a * r))

    edges = [0, 0.02, 0.1, 0.3, 0.8, 2, 4, 8, 16, 32, 64, 160]
    pieces = [quad(lambda r: 4 * np.pi * r * r * rho(r), *e, epsrel=1e-11)[0] for e in itertools.pairwise(edges)]
    assert sum(pieces) == pytest.approx(state.electrons, abs=1e-8)
    with jax.enable_x64(True):
        density = state.density
        assert float(density.electron_count()) == pytest.approx(state.electrons, abs=1e-10)
        slope, value = float(density.gradient(0.0)), float(density.density(0.0))
    assert slope == pytest.approx(-2 * element.number * value, rel=1e-10, abs=1e-12)
    assert a[c != 0].min() == pytest.approx(state.decay, rel=1e-12)
    assert smallest(c, n, a) >= 0
    assert len(c) <= 23


@pytest.mark.parametrize(("symbol", "label"), STATES)
def test_slowest_exponent_follows_from_the_ionisation_energy(symbol, label):
    element = load_element(symbol)
    state = element.state(label)
    following = f"+{state.charge + 1}" if state.charge >= 0 else "0"
    if state.electrons == 0 or not state.bound or following not in element.labels:
        return
    ionisation = element.state(following).energy - state.energy
    if "spin-allowed" in state.decay_source:  # leaves an excited cation behind, so it falls off faster
        assert state.decay > 2 * math.sqrt(2 * ionisation)
        return
    tolerance = 1e-3 if symbol == "H" else 1e-9  # hydrogen is stored for an infinitely heavy nucleus
    assert state.decay == pytest.approx(2 * math.sqrt(2 * ionisation), rel=tolerance)


@pytest.mark.parametrize(("symbol", "label"), STATES)
def test_fit_reproduces_the_stored_reference(symbol, label):
    element = load_element(symbol)
    state = element.state(label)
    r, reference = state.reference_radii, state.reference_density
    if state.electrons == 0:
        return
    fitted = np.sum(state.coefficients * r[:, None] ** state.powers * np.exp(-r[:, None] * state.exponents), -1)
    volume = 4 * np.pi * r**3 * np.log(r[1] / r[0])
    assert np.sum(volume * reference) == pytest.approx(state.electrons, abs=2e-3)
    assert np.sum(volume * np.abs(fitted - reference)) < 0.02
    for power in (-1, 1, 2):
        moments = [np.sum(volume * d * r**power) for d in (fitted, reference)]
        assert moments[0] == pytest.approx(moments[1], rel=5e-3)


@pytest.mark.parametrize(("symbol", "label"), STATES)
def test_outer_density_falls_without_bumps(symbol, label):
    state = load_element(symbol).state(label)
    if state.electrons == 0 or (symbol == "H" and "*" in label):
        return
    r = np.linspace(0.01, 60, 6000)
    terms = state.coefficients * r[:, None] ** state.powers
    density = np.sum(terms * np.exp(-r[:, None] * state.exponents), -1)
    scaled = np.sum(terms * np.exp(-r[:, None] * (state.exponents - 0.4 * state.decay)), -1)
    beyond = np.cumsum((4 * np.pi * r**2 * density)[::-1])[::-1] * (r[1] - r[0])
    assert np.all(np.diff(scaled[beyond < 0.1]) < 0)


@pytest.mark.parametrize(("symbol", "label"), STATES)
def test_computed_energies_stand_beside_measured_ones(symbol, label):
    element = load_element(symbol)
    state = element.state(label)
    difference = energy_difference_ev(state)
    assert math.isnan(difference) or abs(difference) < 2.5 * energy_tolerance(state, element.number)


def test_the_documentation_page_belongs_to_the_files(tmp_path):
    page = table_directory().parent / "docs" / "tables.md"
    if not page.is_file():
        pytest.skip("no source checkout")
    assert page.read_text() == write_page(tmp_path / "tables.md").read_text(), "run 'ectjax tables page'"


def test_every_state_with_a_recipe_is_shipped():
    assert missing_states([load_element(symbol) for symbol in SHIPPED]) == {}


def test_labels_are_parsed_and_refused():
    assert [parse_label(x) for x in ("-1", "0", "+2", "0**")] == [(-1, 0), (0, 0), (2, 0), (0, 2)]
    for wrong in ("1", "+0", "neutral", "", "--1"):
        with pytest.raises(ValueError, match="not of the form"):
            parse_label(wrong)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(ValueError, match="unknown element 'Xx'; allowed"):
        load_element("Xx")
    with pytest.raises(ValueError, match="unknown element 0"):
        symbol_of(0)
    with pytest.raises(ValueError, match=r"no atomic table for element Xe .*H, .*tables build Xe"):
        load_element("Xe")
    with pytest.raises(ValueError, match=r"no atomic table for element C .*none"):
        load_element("C", tmp_path)
    with pytest.raises(ValueError, match=r"H has no state '\+2'; its table holds 0, -1"):
        load_element("H").state("+2")


def test_a_truncated_file_is_refused(copy):
    copy.write_bytes(copy.read_bytes()[:700])
    with pytest.raises(ValueError, match="truncated or not an ectjax HDF5 table"):
        load_element("H", copy)


def test_a_text_file_is_refused(tmp_path):
    file = tmp_path / "H.h5"
    file.write_text("hello")
    with pytest.raises(ValueError, match="truncated or not an ectjax HDF5 table"):
        load_element("H", file)


def test_another_schema_version_is_refused(copy):
    with h5py.File(copy, "r+") as handle:
        handle.attrs["schema_version"] = 99
    with pytest.raises(ValueError, match="version 99; this program reads"):
        load_element("H", copy)


def test_a_changed_number_breaks_the_checksum(copy):
    with h5py.File(copy, "r+") as handle:
        handle["states/0/coefficients"][0] *= 1 + 1e-15
        handle["states/0/coefficients"][0] += 1e-12
    with pytest.raises(ValueError, match="wrong checksum"):
        load_element("H", copy)


def test_the_file_of_another_element_is_refused(copy):
    with pytest.raises(ValueError, match="is for H, not for C"):
        load_element("C", copy)


def test_a_failed_write_leaves_the_old_file(copy, monkeypatch):
    before = copy.read_bytes()
    broken = dataclasses.replace(load_element("H").state("0"), coefficients=np.array(["x"]))
    with pytest.raises(ValueError):
        write_table(Element("H", 1, (broken,)), copy)
    assert copy.read_bytes() == before
    assert [p.name for p in copy.parent.iterdir()] == ["H.h5"]


def test_a_rebuilt_table_is_compared_state_by_state():
    carbon = load_element("C")
    same = compare_elements(carbon, carbon)
    assert [x.label for x in same] == list(carbon.labels)
    assert all(x.agree and x.energy == x.decay == x.density == 0 for x in same)
    state = carbon.state("0")

    def difference(**changes):
        return compare_elements(carbon, Element("C", 6, (dataclasses.replace(state, **changes),)))[0]

    assert not difference(energy_computed=state.energy_computed + 1e-4).agree
    assert not difference(decay=state.decay * 1.001).agree
    moved = difference(coefficients=state.coefficients * 1.01)  # a hundredth of six electrons
    assert moved.density == pytest.approx(0.06, rel=1e-4) and not moved.agree
    with pytest.raises(ValueError, match="of C and of H"):
        compare_elements(carbon, load_element("H"))
    with pytest.raises(ValueError, match="no state in common"):
        compare_elements(carbon, Element("C", 6, ()))


def test_verify_notices_each_broken_condition():
    element = load_element("C")
    good = element.state("0")

    def faults(**changes):
        return verify_element(Element("C", 6, (dataclasses.replace(good, **changes),)))[0].faults

    assert faults() == ()
    assert any("count" in f for f in faults(coefficients=good.coefficients * (1 + 1e-9)))
    assert any("cusp" in f for f in faults(powers=np.where(good.powers == 1, 2, good.powers)))
    assert any("slowest exponent" in f for f in faults(decay=good.decay * 1.01))
    assert any("negative" in f for f in faults(coefficients=-good.coefficients))


def test_the_whole_set_is_small():
    assert sum(p.stat().st_size for p in table_directory().glob("*.h5")) < 5_000_000
