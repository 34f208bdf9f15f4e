"""Shipped structures and scripts."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("name, atoms", [("nacl", 64), ("water5", 15), ("lih", 2), ("hf", 2)])
def test_structures_can_be_read_and_have_room_between_atoms(name, atoms):
    structure = read(EXAMPLES / f"{name}.extxyz")
    assert len(structure) == atoms
    distances = structure.get_all_distances(mic=True) + 10 * np.eye(atoms)
    assert distances.min() > 0.7
    assert structure.pbc.all() == (name == "nacl")


@pytest.mark.parametrize("name", ["functional_core", "use_ase", "use_jax_md"])
def test_scripts_run(name, tmp_path, capsys):
    """With the set `curves`, whose programs compile in little time; start.md is tested with `default`."""
    script = tmp_path / f"{name}.py"
    text = (EXAMPLES / script.name).read_text()
    script.write_text(text.replace('"default"', '"curves"').replace("Calculator(charge", 'Calculator("curves", charge'))
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip()
