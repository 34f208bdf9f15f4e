"""Weights fitted to a density: what went in comes out, constraints are exact, nothing else fits better."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io.cube import write_cube

from ectjax.analysis import (
    MolecularDensity,
    density_from_cube,
    density_from_pyscf,
    fit_weights,
    hirshfeld_charges,
    superpose,
)
from ectjax.units import BOHR_IN_ANGSTROM

needs_pyscf = pytest.mark.skipif(importlib.util.find_spec("pyscf") is None, reason="needs pyscf, extra `generate`")
RESULTS = Path(__file__).parent.parent / "benchmarks/results/density_weights.csv"


def grid(positions):
    """Points (G, 3) in Å and volumes (G,) in Å³: shells about every atom, space divided by inverse eighth powers."""
    x, wx = np.polynomial.legendre.leggauss(40)
    r, wr = (1 + x) / (1 - x) * 0.5, wx / (1 - x) ** 2  # half Å in the middle
    mu, wm = np.polynomial.legendre.leggauss(12)
    phi = np.arange(12) * np.pi / 6
    sin = np.sqrt(1 - mu**2)
    unit = np.stack(
        [np.outer(sin, np.cos(phi)), np.outer(sin, np.sin(phi)), np.repeat(mu[:, None], 12, axis=1)], axis=-1
    )
    shells = (r[:, None, None, None] * unit).reshape(-1, 3)
    volume = (wr * r**2)[:, None, None] * (wm[:, None] * np.full(12, np.pi / 6))
    points, volumes = [], []
    for own, place in enumerate(positions):
        here = shells + place
        distance = np.array([np.linalg.norm(here - other, axis=1) for other in positions])
        share = distance.min(axis=0) ** 8 / distance**8
        points.append(here)
        volumes.append(volume.reshape(-1) * share[own] / share.sum(axis=0))
    return np.concatenate(points), np.concatenate(volumes)


def superposition(numbers, positions, labels, weights):
    """A molecular density that is a superposition of tabulated states."""
    points, volumes = grid(np.array(positions, float))
    empty = MolecularDensity(numbers, positions, points, volumes, np.zeros(len(points)))
    return MolecularDensity(numbers, positions, points, volumes, superpose(empty, labels, weights))


CO = ([6, 8], [[0, 0, 0], [0, 0, 1.2]])


@pytest.fixture(scope="module")
def mixture():
    """CO with 0.3 C⁺ and 0.1 C⁻, 0.2 O⁻."""
    return superposition(*CO, [["0", "+1", "-1"], ["0", "-1", "+1"]], [[0.6, 0.3, 0.1], [0.8, 0.2, 0.0]])


def test_known_weights_are_found(mixture):
    fit = fit_weights(mixture, states=["-1", "0", "+1"])
    assert mixture.electrons == pytest.approx(14, abs=1e-3)  # the grid is good enough for what follows
    np.testing.assert_allclose(fit.charges, [0.2, -0.2], atol=1e-9)
    found = [dict(zip(row, w, strict=True)) for row, w in zip(fit.labels, fit.weights, strict=True)]
    assert found[0] == pytest.approx({"-1": 0.1, "0": 0.6, "+1": 0.3}, abs=1e-8)
    assert found[1] == pytest.approx({"-1": 0.2, "0": 0.8, "+1": 0.0}, abs=1e-8)
    assert fit.error < 1e-8 and fit.missing < 1e-7 and fit.converged


def test_constraints_hold_and_nothing_allowed_fits_better(mixture):
    rng = np.random.default_rng(0)
    noisy = MolecularDensity(
        *CO, mixture.points, mixture.volumes, mixture.density * (1 + 0.1 * np.sin(3 * mixture.points[:, 2]))
    )
    weight = rng.uniform(0.2, 1.0, len(noisy.points))
    fit = fit_weights(noisy, states=["-1", "0", "+1", "+2", "0*", "0**"], weight=weight)
    assert fit.converged and fit.weights.min() >= 0
    np.testing.assert_allclose(fit.weights.sum(axis=1), 1, atol=1e-12)
    assert fit.charges.sum() == pytest.approx(0, abs=1e-12) and fit.electrons == pytest.approx(14, abs=1e-11)
    charges = np.array([[float(x.strip("*")) for x in row] for row in fit.labels])
    for size in (1e-3, 1e-2, 0.3):  # feasible directions from the minimum
        for _ in range(5):
            other = rng.dirichlet(np.full(6, 0.4), 2)
            gap = np.sum(other * charges)
            ionic = np.array([fit.labels[1].index("+1"), fit.labels[1].index("-1")])[int(gap > 0)]
            share = abs(gap) / (1 + abs(np.sum(other[1] * charges[1]) - charges[1, ionic]) - 1 + 1e-300)
            if share > 1:
                continue
            other[1] = (1 - share) * other[1]
            other[1, ionic] += share
            trial = (1 - size) * fit.weights + size * other
            assert abs(np.sum(trial * charges)) < 1e-9
            off = noisy.density - superpose(noisy, fit.labels, trial)
            assert np.sqrt((weight * noisy.volumes) @ off**2) >= fit.error - 1e-12


def test_an_ion_keeps_its_charge():
    cation = superposition([3, 1], [[0, 0, 0], [0, 0, 3.0]], [["+1"], ["0"]], [[1.0], [1.0]])
    fit = fit_weights(cation, charge=1)
    np.testing.assert_allclose(fit.charges, [1, 0], atol=1e-9)
    assert hirshfeld_charges(cation).sum() == pytest.approx(cation.charge, abs=1e-9)


def test_cube_files(tmp_path):
    axis = np.linspace(-4, 4, 81)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    data = np.exp(-(x**2 + y**2 + z**2)) / np.pi**1.5 * BOHR_IN_ANGSTROM**3  # one smooth electron, e/bohr³
    atoms = Atoms("H", positions=[[4, 4, 4]], cell=np.diag([8 + 0.1] * 3))
    with open(tmp_path / "h.cube", "w") as handle:
        write_cube(handle, atoms, data=data)
    density = density_from_cube(tmp_path / "h.cube")
    assert density.electrons == pytest.approx(1, abs=2e-5)  # the format keeps six decimals of the spacing
    np.testing.assert_allclose(density.dipole(), 0, atol=1e-4)
    assert fit_weights(density).charges == pytest.approx([0.0])
    (tmp_path / "no.cube").write_text("not a cube\nfile\nat all\n")
    with pytest.raises(ValueError, match="not a readable cube file"):
        density_from_cube(tmp_path / "no.cube")


@needs_pyscf
def test_pyscf_density_count_dipole_and_sign_of_charges():
    from pyscf import gto, scf

    mol = gto.M(atom="Li 0 0 0; H 0 0 1.6", basis="def2-svp", verbose=0)
    mean_field = scf.RHF(mol).run()
    density = density_from_pyscf(mol, mean_field.make_rdm1(), level=3)
    assert density.electrons == pytest.approx(4, abs=1e-3)
    reference = mean_field.dip_moment(unit="AU", verbose=0) * BOHR_IN_ANGSTROM
    np.testing.assert_allclose(density.dipole(), reference, atol=2e-3)
    fit = fit_weights(density)
    assert fit.charges[0] > 0.1 and hirshfeld_charges(density)[0] > 0.1
    assert fit.missing < 1.0
    with pytest.raises(ValueError, match="basis functions"):
        density_from_pyscf(mol, np.eye(3))


def test_bad_input_is_refused(mixture):
    with pytest.raises(ValueError, match=r"14\.\d+ electrons, the nuclei and charge 1 e ask for 13"):
        fit_weights(mixture, charge=1)
    with pytest.raises(ValueError, match="no state"):
        fit_weights(mixture, states=["0", "+7"])
    with pytest.raises(ValueError, match="no states are given for O"):
        fit_weights(mixture, states={"C": ["0"], "O": []})
    with pytest.raises(ValueError, match="one per point"):
        fit_weights(mixture, weight=np.ones(3))
    with pytest.raises(ValueError, match="volumes has shape"):
        MolecularDensity(*CO, mixture.points, mixture.volumes[:-1], mixture.density)


def test_stored_results_say_what_the_page_says():
    rows = [row for row in csv.DictReader(RESULTS.open()) if row["molecule"] == "CO"]
    assert len(rows) == 50
    assert all(abs(float(row["electrons_missed"])) < 1e-10 for row in rows)
    assert all(float(row["error"]) <= float(row["error_published"]) for row in rows)
    assert abs(float(rows[-1]["q_density"])) < 0.03
