"""Embedding functions of the shipped states: known wells, the generated page, the plot, the count."""

import dataclasses
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from ectjax.embedding.concordance import find_minimum
from ectjax.embedding.report import page, plot_embedding, state_reports, store_concordance, summary
from ectjax.tables import available_elements, load_element, table_directory, write_table
from ectjax.units import HARTREE_IN_EV


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


KNOWN_WELLS = {"H": (-3.8, 0.01), "Li": (-7.5, 0.03), "C": (-6.6, 0.01), "O": (-7.6, 0.01)}
"""eV and electrons/bohr³ with a = b = 1, from an independent implementation on other densities."""


@pytest.mark.parametrize("symbol", [s for s in KNOWN_WELLS if s in available_elements()])
def test_known_wells(symbol):
    energy, density = KNOWN_WELLS[symbol]
    rho, f = find_minimum(load_element(symbol).state("0"))
    assert abs(f * HARTREE_IN_EV - energy) < 0.3
    assert 0.6 * density < rho < 1.6 * density


@pytest.fixture(scope="module")
def rows():
    return state_reports(["C", "H"])


def test_page_and_summary_say_the_same(rows):
    text = page(rows)
    assert summary(rows) in text
    row = r"^\| [A-Z][a-z]? \S+(?: \(unbound\))? \|.*\| (agreed|best effort|no minimum) \|$"
    statuses = re.findall(row, text, re.M)
    assert len(statuses) == len(rows) == sum(len(load_element(s).states) for s in "HC")
    agreed = statuses.count("agreed")
    assert f"all states: {agreed} of {len(rows)} agree" in text
    assert "H +1 (no minimum)" in text  # a bare proton has no electrons to embed
    assert [r.symbol for r in rows] == sorted((r.symbol for r in rows), key="HC".index)
    assert "| H | 2.235 | 2.27 |" in text


def test_agreement_of_the_neutral_states(rows):
    for row in rows:
        if row.label == "0":
            assert row.result.status == "agreed" and row.result.relative_rms < 0.05
            assert row.result.range[1] >= row.bond_density


def test_command_prints_the_count(tmp_path):
    out = tmp_path / "page.md"
    done = subprocess.run(
        [sys.executable, "-m", "ectjax.embedding.report", "H", "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "neutral ground states: 1 of 1 agree; not: none" in done.stdout
    assert out.read_text(encoding="utf-8").startswith("# Embedding functions")


def test_plot(tmp_path):
    path = plot_embedding(load_element("H"), tmp_path / "h.png")
    assert [p.name for p in tmp_path.iterdir()] == ["h.png"]
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 20_000


def test_tables_carry_their_concordance():
    """Every shipped state does; three of them computed anew."""
    for symbol in available_elements():
        for state in load_element(symbol).states:
            assert state.concordance, f"{symbol} {state.label}: run python -m ectjax.embedding.report --store"
            if state.label == "0":
                assert state.concordance["rms"] < 0.05 * state.concordance["depth"]
    for row in state_reports(["Be"]):
        stored = load_element("Be").state(row.label).concordance
        assert stored["status"] == row.result.status
        for key, value in row.result.record().items():
            assert key == "status" or stored[key] == pytest.approx(value, rel=1e-5)


def test_storing_keeps_everything_else(tmp_path):
    shutil.copy(table_directory() / "H.h5", tmp_path)
    before = load_element("H", tmp_path)
    bare = dataclasses.replace(before, states=tuple(dataclasses.replace(s, concordance={}) for s in before.states))
    write_table(bare, tmp_path / "H.h5")
    assert load_element("H", tmp_path).state("0").concordance == {}
    store_concordance(state_reports(["H"], tmp_path), tmp_path)
    after = load_element("H", tmp_path)
    assert after.state("+1").concordance == {"status": "no minimum"}
    assert after.state("0").concordance["status"] == "agreed"
    for old, new in zip(before.states, after.states, strict=True):
        np.testing.assert_array_equal(old.coefficients, new.coefficients)
        assert old.fit == new.fit and old.energy == new.energy
    assert [p.name for p in tmp_path.iterdir()] == ["H.h5"]
