"""Molecules beside each other: the complexes of benchmarks/noncovalent.py and their stored reference."""

import csv
from pathlib import Path

import numpy as np
import pytest
from ase.data import covalent_radii
from benchmark_files import benchmark_file

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="benchmarks are not part of a source distribution")


@pytest.fixture(scope="module")
def noncovalent():
    return benchmark_file(FOLDER, "noncovalent")


def _rows(path) -> dict[tuple[str, float], float]:
    with path.open(encoding="utf-8") as file:
        return {(r["complex"], float(r["distance_angstrom"])): float(r["interaction_ev"]) for r in csv.DictReader(file)}


def test_fragments_face_each_other_and_stand_as_far_apart_as_said(noncovalent):
    """Heavy atoms (or ions) at the distance, the donor's hydrogen ahead, the acceptor's bonds away, no bond across."""
    for name, (donor_name, acceptor, distances) in noncovalent.COMPLEXES.items():
        for distance in distances:
            z, x, charge, donor = noncovalent.complex_of(name, distance)
            assert charge == sum({"+": 1, "-": -1}.get(part[-1], 0) for part in (donor_name, acceptor))
            count = len(donor)
            assert np.linalg.norm(x[count] - x[0]) == pytest.approx(distance)
            assert (x[count:, 0] >= x[count, 0] - 1e-9).all()
            if count > 1:
                np.testing.assert_allclose(x[1, 1:], 0.0, atol=1e-9)
                across = np.linalg.norm(x[:count, None] - x[None, count:], axis=-1)
                assert (across / (covalent_radii[z[:count]][:, None] + covalent_radii[z[count:]])).min() > 1.3


def test_the_reference_covers_all_points_and_binds_where_it_should(noncovalent):
    reference = _rows(noncovalent.REFERENCE)
    points = {(name, r) for name, (*_, distances) in noncovalent.COMPLEXES.items() for r in distances}
    assert set(reference) == points
    for name, (*_, distances) in noncovalent.COMPLEXES.items():
        energies = [reference[name, r] for r in distances]
        assert int(np.argmin(energies)) == 1 and energies[1] < -0.1 and energies[3] < 0


def test_the_reference_can_be_computed_again(noncovalent):
    pytest.importorskip("pyscf")
    reference = _rows(noncovalent.REFERENCE)["HF-HF", 2.75]
    assert noncovalent.coupled_cluster("HF-HF", 2.75) == pytest.approx(reference, abs=2e-4)


def test_the_stored_table_shows_the_reference(noncovalent):
    reference, lines = _rows(noncovalent.REFERENCE), noncovalent.RESULT.read_text(encoding="utf-8").splitlines()
    shown = {(p[0], float(p[1])): float(p[2]) for p in map(str.split, lines) if p and p[0] in noncovalent.COMPLEXES}
    assert shown == pytest.approx(reference, abs=6e-4)
