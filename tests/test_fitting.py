"""Reference data of the fit, derivatives of its objective, and what the configuration refuses."""

import equinox as eqx
import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ectjax.fitting.config import read_config
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.molecules import g2_molecule, read_molecules
from ectjax.fitting.objective import Data, Weights, curve_data, molecule_data, molecule_predictions
from ectjax.fitting.train import _value_and_jacobian
from ectjax.model import Parameters, assemble, build_basis
from ectjax.parameters.store import FIELDS


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("name", "energy"), [("H2O", 10.086), ("CO2", 16.881), ("CH4", 18.221)])
def test_atomisation_energies(name, energy):
    """Values of the literature, from enthalpies, thermal corrections and zero-point energies."""
    assert g2_molecule(name).atomisation == pytest.approx(energy, abs=1e-3)


def test_shipped_molecules():
    molecules = read_molecules()
    assert len(molecules) == 59 and sum(m.use == "train" for m in molecules) == 30
    assert max(len(m.numbers) for m in molecules) == 7


def test_ionic_tails_follow_coulomb():
    """Sodium chloride at 5.2 Å: I − A − 1/R is −1.24 eV, Morse says −0.65 eV."""
    salt = next(p for p in read_diatomics() if (p.a, p.b) == ("Na", "Cl"))
    assert float(salt.morse(5.2)) == pytest.approx(-0.65, abs=0.02)
    assert float(salt.reference(5.2, 5.1391 - 3.6127)) == pytest.approx(-1.243, abs=2e-3)
    assert float(salt.reference(2.5, 5.1391 - 3.6127)) == float(salt.morse(2.5))
    basis = build_basis(["Na", "Cl"])
    np.testing.assert_allclose(
        curve_data([salt], basis).energies[0], salt.reference(salt.r_e * np.linspace(0.85, 2.2, 8), 1.5264), atol=2e-3
    )


@pytest.mark.slow
def test_gradient_of_the_objective():
    """Curves, charges, molecules and priors against differences in every parameter."""
    basis = build_basis(["H", "O"], pair="two_center")
    pairs = [p for p in read_diatomics() if {p.a, p.b} in ({"H"}, {"H", "O"})]
    data = Data(curve_data(pairs, basis), molecule_data([g2_molecule("H2O")], basis))
    start = Parameters.uniform(2, a=0.8, b=0.1, sigma=0.8, kappa=25.0, m=0.7)
    flat, _ = ravel_pytree({name: getattr(start, name) for name in FIELDS})

    def blocks(x):  # residuals and their derivatives, one compilation
        return _value_and_jacobian(x, basis, data, start, Weights(prior=0.01), FIELDS)

    slope = blocks(flat)[1]
    for n in range(flat.size):
        step = 1e-4 * max(1.0, abs(float(flat[n])))
        forward, back = (blocks(flat.at[n].add(x))[0] for x in (step, -step))
        # solutions are converged to 1e-7
        np.testing.assert_allclose(slope[:, n], (forward - back) / (2 * step), rtol=1e-5, atol=5e-6)


def test_padding_does_not_change_a_molecule():
    basis = build_basis(["H", "O"])
    model = eqx.filter_jit(assemble)(basis, Parameters.uniform(2, a=0.5, b=-0.1, kappa=20.0))
    together = molecule_data([g2_molecule("H2O"), g2_molecule("H2O2")], basis)
    alone = molecule_data([g2_molecule("H2O")], basis)
    assert together.species.shape == (2, 4) and alone.species.shape == (1, 3)
    predict = eqx.filter_jit(molecule_predictions)
    np.testing.assert_allclose(predict(model, together)[0], predict(model, alone)[0], atol=1e-9)


CONFIG = '[model]\nname = "x"\nelements = ["H", "O"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONFIG + 'pair = "triple"\n', "two_center"),
        (CONFIG + 'embedding = "own"\n', "baskes"),
        (CONFIG + "speed = 3\n", "unknown key 'speed'"),
        (CONFIG + '[data]\nmolecules = "list.csv"\n', "CH4 has an element outside"),
        (CONFIG + '[data]\nmolecules = "wrong.csv"\n', "no molecule of ASE's G2 set"),
        (CONFIG + '[data]\nmolecules = "use.csv"\n', "allowed are train and test"),
        (CONFIG + "[train]\nsteps = true\n", "wrong type"),
    ],
)
def test_configuration_is_checked(tmp_path, text, message):
    (tmp_path / "list.csv").write_text("name,use\nH2O,train\nCH4,train\n")
    (tmp_path / "wrong.csv").write_text("name,use\nXYZ,train\n")
    (tmp_path / "use.csv").write_text("name,use\nH2O,learn\n")
    (tmp_path / "fit.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / "fit.toml")


def test_molecules_of_the_configuration(tmp_path):
    (tmp_path / "fit.toml").write_text(CONFIG + "[data]\nmolecules = true\n")
    config = read_config(tmp_path / "fit.toml")
    assert {m.name for m in config.molecules} == {"H2O", "H2O2", "O3"}
    assert all(m.use == "train" for m in config.molecules)
