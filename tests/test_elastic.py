"""Elastic constants and equation of state: against each other, against strained and relaxed cells, and on bad input."""

import numpy as np
import pytest
from ase.build import bulk
from ase.optimize import BFGS

from ectjax import build_system, load_model
from ectjax.analysis import elastic_constants, equation_of_state
from ectjax.ase import ECTCalculator

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def model():
    import jax

    with jax.enable_x64(True):
        return load_model("two_center", ["Na", "Cl"], dtype="float64")


def crystal(model, atoms):
    return build_system(model, atoms.numbers, atoms.positions, cell=atoms.cell[:])


def at_rest(model, structure, start):
    """The primitive cell at the lattice constant of its own equation of state, and that."""
    curve = equation_of_state(model, crystal(model, bulk("NaCl", structure, a=start)))
    return bulk("NaCl", structure, a=(4 * curve.volume) ** (1 / 3)), curve


def test_compression_by_the_curve_and_by_derivatives_agree(model):
    atoms, curve = at_rest(model, "rocksalt", 5.8)
    found = elastic_constants(model, crystal(model, atoms))
    c = np.asarray(found.stiffness)
    assert curve.energies.min() >= curve.energy - 1e-4
    assert float(found.bulk_modulus) == pytest.approx(curve.bulk_modulus, rel=1e-3)
    np.testing.assert_allclose(found.stress, 0.0, atol=2e-5)
    # cubic: three independent constants, ions at centres of symmetry follow the cell
    np.testing.assert_allclose(np.diag(c)[:3], c[0, 0], rtol=1e-6)
    np.testing.assert_allclose(np.diag(c)[3:], c[3, 3], rtol=1e-6)
    np.testing.assert_allclose(c[:3, 3:], 0.0, atol=1e-8)
    np.testing.assert_allclose(found.clamped, c, atol=1e-8)
    assert np.linalg.eigvalsh(c).min() > 0
    assert float(found.bulk_modulus) == pytest.approx((c[0, 0] + 2 * c[0, 1]) / 3, rel=1e-9)


def test_relaxing_ions_soften_zinc_blende_as_strained_cells_show(model):
    atoms, _ = at_rest(model, "zincblende", 6.3)
    found = elastic_constants(model, crystal(model, atoms))
    size = 2e-3
    ends, places = [], []
    for sign in (1, -1):
        strained = atoms.copy()
        shear = np.zeros((3, 3))
        shear[1, 2] = shear[2, 1] = 0.5 * sign * size
        strained.set_cell(atoms.cell[:] @ (np.eye(3) + shear), scale_atoms=True)
        affine = strained.positions.copy()
        strained.calc = ECTCalculator(model="two_center")
        BFGS(strained, logfile=None).run(fmax=1e-6, steps=60)
        ends.append(strained.get_stress()[3])
        moved = strained.positions - affine
        places.append(moved[1] - moved[0])
    c44 = (ends[0] - ends[1]) / (2 * size)
    assert float(found.stiffness[3, 3]) == pytest.approx(c44, rel=2e-3)
    assert float(found.clamped[3, 3]) > 1.1 * c44
    inner = np.asarray(found.internal_strain)
    np.testing.assert_allclose(inner[1, :, 3] - inner[0, :, 3], (places[0] - places[1]) / (2 * size), atol=2e-3)
    np.testing.assert_allclose(inner.sum(axis=0), 0.0, atol=1e-8)


def test_bad_input_says_what_to_do(model):
    atoms = bulk("NaCl", "rocksalt", a=5.8)
    cluster = build_system(model, [11, 17], [[0, 0, 0], [0, 0, 2.4]])
    with pytest.raises(ValueError, match="no cell"):
        elastic_constants(model, cluster)
    with pytest.raises(ValueError, match="no cell"):
        equation_of_state(model, cluster)
    system = crystal(model, atoms)
    with pytest.raises(ValueError, match=r"span is 0\.5"):
        equation_of_state(model, system, span=0.5)
    atoms.positions[1, 0] += 0.3
    with pytest.raises(ValueError, match="relax them first"):
        elastic_constants(model, crystal(model, atoms))
    with pytest.raises(ValueError, match="no minimum between"):
        equation_of_state(model, crystal(model, bulk("NaCl", "rocksalt", a=6.6)), span=0.02)
