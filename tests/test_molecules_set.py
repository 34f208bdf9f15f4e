"""The shipped sets for molecules: what their model cards say of pairs far apart and of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.data import atomic_numbers

from ectjax import load_model, load_parameters
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.molecules import read_molecules
from ectjax.fitting.objective import pair_energy

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("name", ["molecules", "default"])
def test_pairs_come_apart_neutral(name):
    pairs = read_diatomics()
    model = load_model(name, sorted({symbol for pair in pairs for symbol in (pair.a, pair.b)}))
    species = jnp.asarray([model.species_of([atomic_numbers[pair.a], atomic_numbers[pair.b]]) for pair in pairs])
    energies, charges = jax.jit(jax.vmap(lambda rows: pair_energy(model, rows, 30.0)))(species)
    assert len(energies) == 22 and np.abs(energies).max() < 1e-3 and np.abs(charges).max() < 1e-3


@pytest.mark.parametrize("name", ["molecules", "default"])
def test_no_test_molecule_was_trained_on(name):
    trained = set(load_parameters(name).provenance["molecules"])
    assert trained == {m.name for m in read_molecules() if m.use == "train"}
