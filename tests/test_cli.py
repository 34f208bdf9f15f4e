"""Commands of one structure, and what bad input looks like: exit code 2 and one line."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from ectjax import __version__
from ectjax.dynamics.plot import plot_scan
from ectjax.parameters.store import checksum
from ectjax.tables.store import table_directory


@pytest.fixture
def salt(tmp_path):
    file = tmp_path / "pair.extxyz"
    write(file, Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]]), columns=["symbols", "positions"])
    return file


def test_energy_prints_json_with_all_keys(cli, salt):
    done = cli("energy", salt, "--json")
    assert done.code == 0 and done.err == ""
    found = json.loads(done.out)
    assert {"energy", "charges", "forces", "weights", "states", "chemical_potential", "converged", "iterations"} <= set(
        found
    )
    assert found["units"]["energy"].startswith("eV") and found["converged"] is True
    assert abs(sum(found["charges"])) < 1e-9 and len(found["weights"][0]) == len(found["states"][0])


@pytest.mark.parametrize("command", ["energy", "relax", "scan", "md"])
def test_the_default_model_is_the_set_default(cli, command):
    text = " ".join(cli(command, "--help").out.split())
    assert "[default: default]" in text


def test_energy_prints_tables(cli, salt):
    done = cli("energy", salt, "--charge", "1")
    assert done.code == 0 and done.err == ""
    assert "+1 e" in done.out or "1 e" in done.out
    assert "0 Na" in done.out and "1 Cl" in done.out and "eV/atom" in done.out


def test_charge_of_the_file_counts(cli, tmp_path):
    file = tmp_path / "ion.extxyz"
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]])
    atoms.info["charge"] = 1
    write(file, atoms, columns=["symbols", "positions"])
    assert abs(sum(json.loads(cli("energy", file, "--json").out)["charges"]) - 1.0) < 1e-9
    assert abs(sum(json.loads(cli("energy", file, "--charge", 0, "--json").out)["charges"])) < 1e-9


def test_scan_writes_a_table_and_a_plot(cli, tmp_path):
    out = tmp_path / "curve"
    done = cli("scan", "Na", "Cl", "--from", 2, "--to", 30, "--points", 8, "--out", out)
    assert done.code == 0, done.err
    with (out / "scan.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["r", "energy", "q_Na", "q_Cl"] and len(rows) == 8
    assert abs(float(rows[-1]["q_Na"])) < 1e-3 and abs(float(rows[-1]["energy"])) < 1e-3
    assert (out / "scan.png").read_bytes().startswith(b"\x89PNG")
    again = cli("scan", "Na", "Cl", "--out", out)
    assert again.code == 2 and "holds" in again.err


def test_plot_of_an_ion_shows_its_curve(tmp_path, monkeypatch):
    import ectjax.dynamics.plot as plot

    drawn = []
    monkeypatch.setattr(plot, "_save", lambda figure, file: drawn.append(figure))
    distance, energy = np.array([1.0, 2.0, 3.0, 9.0]), np.array([80.0, 4.9, 5.1, 5.39])
    plot_scan(distance, energy, np.ones((4, 2)) / 2, ("Li", "H"), tmp_path / "scan.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 4.9 and 5.39 < high < 80.0


def test_a_terminal_without_all_letters(salt):
    code = f"import sys\nfrom ectjax.cli import main\nsys.exit(main(['energy', {str(salt)!r}, '--model', 'curves']))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "eV/?" in done.stdout, done.stderr


def test_relax_writes_the_relaxed_structure(cli, salt, tmp_path):
    out = tmp_path / "relaxed.extxyz"
    done = cli("relax", salt, "--out", out, "--fmax", 0.01)
    assert done.code == 0, done.err
    atoms = read(out)
    assert np.abs(atoms.get_forces()).max() < 0.01 and abs(atoms.get_charges().sum()) < 1e-6
    assert cli("relax", salt, "--out", out).code == 2


def test_a_relaxed_ion_keeps_its_charge(cli, tmp_path):
    file, out = tmp_path / "ion.xyz", tmp_path / "relaxed.extxyz"
    file.write_text("2\n\nO 0 0 0\nH 0 0 0.97\n")
    assert cli("relax", file, "--charge", -1, "--out", out).code == 0
    again = json.loads(cli("energy", out, "--json").out)
    assert again["charge"] == -1 and again["energy"] == pytest.approx(read(out).get_potential_energy(), abs=1e-6)


def test_relax_refuses_before_the_work_what_it_could_not_write(cli, salt, tmp_path):
    out = tmp_path / "relaxed.vasp"  # a format of cells, and there is none
    refused(cli("relax", salt, "--out", out), "relaxed.vasp", "cannot write")
    assert not out.exists()


@pytest.mark.parametrize("code", [1, 130])
def test_relax_that_is_stopped_leaves_its_last_step(cli, salt, tmp_path, monkeypatch, code):
    from ectjax.ase import ECTCalculator, NotConverged

    solve, out = ECTCalculator._solve, tmp_path / "relaxed.extxyz"
    calls = []

    def third(self, system):
        calls.append(1)
        if len(calls) == 3:
            raise NotConverged("the weights did not converge") if code == 1 else KeyboardInterrupt
        return solve(self, system)

    monkeypatch.setattr(ECTCalculator, "_solve", third)
    done = cli("relax", salt, "--out", out, "--fmax", 1e-4)
    assert done.code == code and str(out) in done.err and len(done.err.splitlines()) == 1
    assert np.abs(read(out).get_forces()).max() > 1e-4


def test_failed_weights_name_no_python_arguments(cli, salt, monkeypatch):
    from ectjax.ase import ECTCalculator, NotConverged

    def failing(self, system):
        raise NotConverged("the weights did not converge from a cold start")

    monkeypatch.setattr(ECTCalculator, "_solve", failing)
    done = cli("energy", salt)
    assert done.code == 1 and "geometry" in done.err and "ECTCalculator" not in done.err


@pytest.mark.slow
def test_relax_with_cell(cli, tmp_path):
    file, out = tmp_path / "crystal.extxyz", tmp_path / "relaxed.extxyz"
    write(file, bulk("NaCl", "rocksalt", a=5.5), columns=["symbols", "positions"])
    done = cli("relax", file, "--cell", "--out", out)
    assert done.code == 0 and "cell:" in done.out
    lattice = (4 * read(out).get_volume()) ** (1 / 3)
    assert abs(lattice / 5.64 - 1) < 0.03


def structure(tmp_path, atoms, name="bad.extxyz"):
    file = tmp_path / name
    write(file, atoms)
    return file


def refused(done, *words):
    assert done.code == 2, (done.code, done.err)
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.err
    for word in words:
        assert word in lines[0], lines[0]


def test_bad_structures_are_refused_in_one_line(cli, tmp_path):
    pair = [[0, 0, 0], [0, 0, 2.0]]
    box = np.eye(3) * 9.0
    cases = [
        (Atoms("XeCl", pair), "Xe"),
        (Atoms("NaCl", [[0, 0, 0], [0, 0, np.nan]]), "finite"),
        (Atoms("NaCl", [[0, 0, 0], [0, np.inf, 0]]), "finite"),
        (Atoms("NaCl", [[0, 0, 0], [0, 0, 0]]), "apart"),
        (Atoms("NaCl", pair, cell=box, pbc=[True, True, False]), "periodic directions"),
        (Atoms("NaCl", pair, cell=box, pbc=[False, False, True]), "periodic directions"),
        (Atoms("NaCl", pair, cell=[5000, 5000, 3], pbc=True), "vacuum"),
        (Atoms("NaCl", pair, cell=np.outer([1, 2, 3], [1, 1, 1.0]), pbc=True), "volume"),
    ]
    for number, (atoms, word) in enumerate(cases):
        file = structure(tmp_path, atoms, f"bad{number}.extxyz")
        refused(cli("energy", file), word)
        out = tmp_path / f"run{number}"
        refused(cli("md", file, "--steps", 1, "--out", out), word)
        assert not out.exists()
    empty = tmp_path / "empty.xyz"
    empty.write_text("0\n\n")
    refused(cli("energy", empty))
    garbage = tmp_path / "garbage.xyz"
    garbage.write_text("this is no structure\n")
    refused(cli("energy", garbage), "cannot read")
    refused(cli("energy", tmp_path / "absent.xyz"), "no such file")
    refused(cli("energy", tmp_path), "a folder")
    (misspelt := tmp_path / "misspelt.xyz").write_text("1\n\nHh 0 0 0\n")
    refused(cli("energy", misspelt), "spelling")


def test_unreachable_charge_states_the_range(cli, salt):
    refused(cli("energy", salt, "--charge", 7), "reach -2 to 2")
    refused(cli("md", salt, "--charge", "-7", "--out", salt.parent / "x"), "reach")


def test_bad_options_are_refused_in_one_line(cli, salt, tmp_path):
    run = ("md", salt, "--out", tmp_path / "run")
    refused(cli(*run, "--dt", 0), "--dt")
    refused(cli(*run, "--dt", "nan"), "--dt")
    refused(cli(*run, "--steps", 0), "--steps")
    refused(cli(*run, "--temperature", -1), "--temperature")
    refused(cli(*run, "--seed", -1), "--seed")
    refused(cli(*run, "--seed", 10**20), "--seed")
    refused(cli(*run, "--pressure", "nan"), "--pressure")
    refused(cli(*run, "--accuracy", "nan"), "accuracy")
    refused(cli(*run, "--ensemble", "nph"), "nph")
    refused(cli(*run, "--ensemble", "npt"), "periodic")
    refused(cli(*run, "--restart"), "no run to restart")
    refused(cli(*run, "--no-such-option"), "--no-such-option")
    refused(cli("md"), "structure")
    refused(cli("energy", salt, "--model", "nothing"), "no parameter set")
    refused(cli("scan", "Na", "Qq"), "Qq")
    refused(cli("scan", "Na", "Cl", "--from", 3, "--to", 2), "--to")
    refused(cli("relax", salt, "--out", tmp_path / "x.unknown"), "ending")
    refused(cli("relax", salt, "--cell", "--out", tmp_path / "x.extxyz"), "periodic")
    refused(cli("nonsense"), "nonsense")
    assert not (tmp_path / "run").exists()


def test_a_used_output_directory_is_refused(cli, salt, tmp_path):
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    refused(cli("md", salt, "--out", folder), "another run")
    (folder / "run.json").rename(folder / "notes.txt")
    refused(cli("md", salt, "--out", folder), "other files")
    refused(cli("md", salt, "--out", salt), "is a file")
    refused(cli("scan", "Na", "Cl", "--out", salt / "below"), "is a file", "--out")


def test_damaged_parameter_files_are_refused(cli, salt, tmp_path):
    file = tmp_path / "set.json"
    bare: dict = {"format": "ectjax-parameters", "version": 1}
    sealed = json.dumps(bare | {"checksum": checksum(bare)})  # and nothing in it
    for content in (
        b"not json",
        b"{}",
        b'{"format": "ectjax-parameters", "version": 99}',
        b"\xff\xfe",
        sealed.encode(),
    ):
        file.write_bytes(content)
        refused(cli("energy", salt, "--model", file), str(file))


def test_damaged_tables_are_refused(cli, salt, tmp_path, monkeypatch):
    import ectjax.load
    import ectjax.tables.store as store

    folder = tmp_path / "tables"
    shutil.copytree(table_directory(), folder)
    monkeypatch.setattr(store, "table_directory", lambda: folder)
    file = folder / "Na.h5"
    whole = file.read_bytes()
    for content, word in ((whole[: len(whole) // 2], "truncated"), (b"", "truncated"), (b"text", "truncated")):
        ectjax.load._cached_basis.cache_clear()
        file.write_bytes(content)
        refused(cli("energy", salt), word, "Na.h5")
    import h5py

    for attribute, value, word in (("schema_version", 99, "schema"), ("checksum", "0" * 64, "checksum")):
        file.write_bytes(whole)
        with h5py.File(file, "a") as handle:
            handle.attrs[attribute] = value
        ectjax.load._cached_basis.cache_clear()
        refused(cli("energy", salt), word)
    file.unlink()
    ectjax.load._cached_basis.cache_clear()
    refused(cli("energy", salt), "Na")
    ectjax.load._cached_basis.cache_clear()


def test_help_is_quick_and_light():
    code = (
        "import sys\nfrom ectjax.cli import main\ncode = main(['--help'])\n"
        "heavy = {'jax_md', 'pyscf', 'matplotlib', 'optimistix', 'ase.io'} & set(sys.modules)\n"
        "sys.exit(code or (3 if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("energy", "relax", "md", "scan", "tables", "fit"):
        assert command in done.stdout


def test_version(cli):
    done = cli("--version")
    assert done.code == 0 and done.out.strip() == f"ectjax {__version__}"
