"""The `ectjax tables` commands."""

import shutil

import pytest
from typer.testing import CliRunner

from ectjax.cli.tables import tables_app
from ectjax.tables import load_element, table_directory

runner = CliRunner()


def run(*arguments):
    return runner.invoke(tables_app, [str(a) for a in arguments])


@pytest.fixture
def folder(tmp_path):
    shutil.copy(table_directory() / "H.h5", tmp_path / "H.h5")
    return tmp_path


def test_list_names_elements_and_states():
    result = run("list")
    assert result.exit_code == 0
    assert "Na" in result.output and "0*" in result.output


def test_show_prints_energies_beside_experiment():
    result = run("show", "H")
    assert result.exit_code == 0
    assert "13.598" in result.output and "-0.754" in result.output


def test_plot_writes_a_picture(tmp_path):
    target = tmp_path / "picture.png"
    assert run("plot", "H", "--out", target).exit_code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"
    assert list(tmp_path.iterdir()) == [target]


def test_plot_of_the_embedding_functions(tmp_path):
    result = run("plot", "H", "--embedding", "--out", tmp_path / "h.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "h.png").stat().st_size > 20_000


@pytest.mark.parametrize("name", ["picture.doc", "nowhere/picture.png"])
def test_plot_refuses_impossible_files(tmp_path, name):
    result = run("plot", "H", "--out", tmp_path / name)
    assert isinstance(result.exception, ValueError)
    assert not list(tmp_path.iterdir())


def test_verify_passes_and_fails(folder):
    assert run("verify", "--path", folder).exit_code == 0
    (folder / "C.h5").write_bytes((table_directory() / "C.h5").read_bytes()[:900])
    result = run("verify", "--path", folder)
    assert isinstance(result.exception, ValueError) and "C.h5" in str(result.exception)


def test_verify_takes_a_file_of_any_name(folder):
    (folder / "H.h5").rename(folder / "mine.h5")
    assert run("verify", "--path", folder / "mine.h5").exit_code == 0
    assert "does not exist" in str(run("verify", "--path", folder / "absent").exception)


def test_output_that_cannot_be_made_is_refused_by_name(folder):
    for arguments in (("page", "--out", folder / "nowhere" / "page.md"), ("build", "H", "--out", folder / "H.h5")):
        told = str(run(*arguments).exception)
        assert str(folder) in told and "name a" in told and ".part-" not in told


def test_build_makes_hydrogen_and_keeps_it(tmp_path):
    first = run("build", "H", "--states=0,+1,0*", "--out", tmp_path)
    assert first.exit_code == 0, first.output
    made = load_element("H", tmp_path)
    assert made.labels == ("0", "+1", "0*")
    stamp = (tmp_path / "H.h5").stat().st_mtime_ns
    assert load_element("H", tmp_path).state("0").concordance["status"] == "agreed"
    second = run("build", "H", "--states=0,+1,0*", "--out", tmp_path)
    assert second.exit_code == 0 and "kept" in second.output
    assert (tmp_path / "H.h5").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Xx",), "unknown element"),
        (("Xe",), "no recipes for Xe"),
        (("He", "--states=-1"), "no recipe for state '-1'"),
    ],
)
def test_build_refuses_what_it_cannot_make(tmp_path, arguments, message):
    result = run("build", *arguments, "--out", tmp_path)
    assert isinstance(result.exception, ValueError) and message in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_page_lists_every_element(tmp_path):
    assert run("page", "--out", tmp_path / "tables.md").exit_code == 0
    text = (tmp_path / "tables.md").read_text()
    assert "## Na" in text and "Goals and what misses them" in text


def test_one_element_without_recipes_does_not_stop_the_batch(tmp_path):
    result = run("build", "Xe", "H", "--states=0,+1", "--out", tmp_path)
    assert isinstance(result.exception, ValueError) and "Xe" in str(result.exception)
    assert "no recipes for Xe" in result.output
    assert load_element("H", tmp_path).labels == ("0", "+1")


def test_a_damaged_file_does_not_stop_the_batch(tmp_path):
    (tmp_path / "He.h5").write_text("broken")
    result = run("build", "He", "H", "--states=0,+1", "--out", tmp_path)
    assert isinstance(result.exception, ValueError) and "He all" in str(result.exception)
    assert load_element("H", tmp_path).labels == ("0", "+1")


def test_goals_are_printed_with_the_worst_figures(folder):
    result = run("goals", "--path", folder)
    assert result.exit_code == 0
    for goal in (
        "electron count",
        "nuclear cusp",
        "slowest exponent",
        "fit error",
        "self-repulsion",
        "ionisation step",
    ):
        assert goal in result.output


def test_goals_name_what_misses_and_why(tmp_path):
    import dataclasses

    from ectjax.tables import Element, write_table

    hydrogen = load_element("H")
    wrong = dataclasses.replace(hydrogen.state("+1"), energy_computed=0.6)
    write_table(Element("H", 1, (hydrogen.state("0"), wrong)), tmp_path / "H.h5")
    result = run("goals", "--path", tmp_path)
    assert "H +1  ionisation step" in result.output and "left out" in result.output
    nothing = run("goals", "--path", tmp_path / "nowhere")
    assert isinstance(nothing.exception, ValueError) and "no tables" in str(nothing.exception)


def test_compare_passes_and_fails(folder):
    import dataclasses

    from ectjax.tables import Element, write_table

    result = run("compare", folder)
    assert result.exit_code == 0, result.output
    assert "0 differ" in result.output
    assert run("compare", folder / "H.h5").exit_code == 0
    hydrogen = load_element("H")
    moved = dataclasses.replace(hydrogen.state("-1"), energy_computed=-0.03)
    write_table(Element("H", 1, (hydrogen.state("0"), moved)), folder / "H.h5")
    told = str(run("compare", folder).exception)
    assert "1 of 2 states differ" in told and "H -1" in told
    assert "no tables" in str(run("compare", folder / "nowhere").exception)
