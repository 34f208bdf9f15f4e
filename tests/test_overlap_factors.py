"""Overlap repulsion of rigid ions with a closed shell: PySCF's energies, and what the model makes of the factors."""

import importlib.util

import jax
import numpy as np
import pytest

from ectjax.basis import build_basis
from ectjax.pairs.closed_shells import EXPONENT
from ectjax.tables.overlap_factors import overlap_factor, read_rows

needs_pyscf = pytest.mark.skipif(
    importlib.util.find_spec("pyscf") is None or importlib.util.find_spec("basis_set_exchange") is None,
    reason="generation needs pyscf and basis_set_exchange",
)
LITHIUM, HYDRIDE = ("Li", "+1"), ("H", "-1")


@pytest.fixture(scope="module")
def ions():
    pytest.importorskip("pyscf")
    from ectjax.generate.heitler_london import ion
    from ectjax.generate.states import recipes

    return lambda symbol, label: ion(symbol, recipes(symbol)[label])


@needs_pyscf
def test_overlap_energy_and_coulomb_energy_are_pyscf_s_energy_of_the_product(ions):
    """E_AB of the orthogonalised orbitals by PySCF's RHF, less both ions and φ of the two densities."""
    from pyscf import gto, scf

    from ectjax.generate.heitler_london import overlap_energy

    a, b, distance = ions("Li", "+1"), ions("F", "-1"), 3.0
    molecule = gto.M(
        atom=[["Li", (0, 0, 0)], ["F", (0, 0, distance)]],
        basis={"Li": a.basis, "F": b.basis},
        unit="Bohr",
        verbose=0,
    )
    size, total = a.orbitals[0].shape[0], molecule.nao
    orbitals = np.zeros((total, 6))
    orbitals[:size, :1], orbitals[size:, 1:] = a.orbitals[0], b.orbitals[0]
    overlap = molecule.intor("int1e_ovlp")
    values, vectors = np.linalg.eigh(orbitals.T @ overlap @ orbitals)
    lowdin = orbitals @ (vectors / np.sqrt(values)) @ vectors.T
    together = scf.RHF(molecule).energy_tot(2.0 * lowdin @ lowdin.T) - a.energy - b.energy

    density_a = np.zeros((total, total))
    density_a[:size, :size] = 2.0 * a.orbitals[0] @ a.orbitals[0].T
    density_b = 2.0 * b.orbitals[0] @ b.orbitals[0].T
    with molecule.with_rinv_origin((0, 0, distance)):
        at_b = np.einsum("ij,ji->", density_a, molecule.intor("int1e_rinv"))
    with molecule.with_rinv_origin((0, 0, 0)):
        at_a = np.einsum("ij,ji->", density_b, molecule.intor("int1e_rinv")[size:, size:])
    repulsion = np.einsum("ij,ji->", density_b, scf.hf.get_jk(molecule, density_a)[0][size:, size:])
    phi = 27.0 / distance - 9.0 * at_b - 3.0 * at_a + repulsion
    assert overlap_energy(a, b, distance) == pytest.approx(together - phi, abs=1e-7)


@needs_pyscf
def test_the_thomas_fermi_energy_is_that_of_exact_hydrogen(ions):
    """Theory, section 3: two exact 1s densities at 3 bohr, 0.0272737 Hartree."""
    from ectjax.generate.heitler_london import density_functionals

    hydrogen = ions("H", "0")
    assert density_functionals(hydrogen, hydrogen, 3.0)[0] == pytest.approx(0.0272737, rel=2e-3)


@needs_pyscf
@pytest.mark.parametrize(("a", "b"), [(LITHIUM, HYDRIDE), (("C", "+1"), ("F", "-1"))])
def test_the_stored_factor_comes_out_again(ions, a, b):
    from ectjax.generate.heitler_london import factor

    assert factor(ions(*a), ions(*b))[0] == pytest.approx(overlap_factor(a, b), abs=1e-3)


@needs_pyscf
def test_the_factor_hardly_depends_on_the_distance(ions):
    from ectjax.generate.heitler_london import density_functionals, overlap_energy

    a, b = ions("Li", "+1"), ions("Cl", "-1")
    found = []
    for distance in (3.0, 3.6, 4.4):
        kinetic, exchange = density_functionals(a, b, distance)
        found.append((overlap_energy(a, b, distance) - exchange) / kinetic)
    assert max(found) / min(found) < 1.1


@needs_pyscf
def test_a_table_is_continued(tmp_path, capsys):
    """Only what is missing is computed; the lines are those of the package."""
    from ectjax.generate.heitler_london import main

    path = tmp_path / "factors.csv"
    wanted = {key: value for key, value in read_rows().items() if {key[0], key[2]} == {"H"}}
    for lines in (len(wanted), 1, 0):
        main(["H", "--output", str(path)])
        assert len(capsys.readouterr().out.splitlines()) == lines
        for key, (factor, distance) in read_rows(path).items():
            assert (factor, distance) == pytest.approx(wanted[key], abs=2e-3)
        assert len(read_rows(path)) == len(wanted) > 1
        if lines > 1:
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def test_factors_are_symmetric_and_1_for_two_open_shells():
    assert overlap_factor(LITHIUM, HYDRIDE) == overlap_factor(HYDRIDE, LITHIUM) > 1.5
    assert overlap_factor(("C", "0"), ("O", "0")) == 1.0
    assert overlap_factor(("H", "+1"), ("F", "-1")) == 1.0
    assert overlap_factor(("Cu", "0"), ("F", "-1")) == 1.0


def test_the_model_scales_the_thomas_fermi_energy_of_closed_shells():
    with jax.enable_x64(True):
        basis, scaled = (build_basis(["H", "Li"], pair=pair) for pair in ("two_center", "heitler_london"))
    ratio = scaled.two_center / np.where(basis.two_center == 0.0, 1.0, basis.two_center)
    labels, knots = basis.labels, slice(20, 120)
    i, j = labels[1].index("+1"), labels[0].index("-1")
    assert ratio[1, 0, i, j, 0, knots] == pytest.approx(overlap_factor(LITHIUM, HYDRIDE) ** EXPONENT)
    assert ratio[1, 0, i, j, 1:, knots] == pytest.approx(1.0)
    neutral = labels[1].index("0"), labels[0].index("0")
    assert ratio[1, 0, *neutral, 0, knots] == pytest.approx(1.0)
