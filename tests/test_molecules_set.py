"""The shipped sets for molecules: what their model cards say of pairs far apart and of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax import load_model, load_parameters
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.molecules import read_molecules
from ectjax.fitting.objective import curve_data, pair_energy
from ectjax.load import basis_of

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("name", ["molecules", "default"])
def test_pairs_come_apart_neutral(name):
    model = load_model(name)
    species = jnp.asarray(curve_data(read_diatomics(), basis_of(load_parameters(name))).species)
    energies, charges = jax.jit(jax.vmap(lambda rows: pair_energy(model, rows, 30.0)))(species)
    assert len(energies) == 22 and np.abs(energies).max() < 1e-3 and np.abs(charges).max() < 1e-3


@pytest.mark.parametrize("name", ["molecules", "default"])
def test_no_test_molecule_was_trained_on(name):
    trained = set(load_parameters(name).provenance["molecules"])
    assert trained == {m.name for m in read_molecules() if m.use == "train"}
