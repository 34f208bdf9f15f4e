"""The shipped set with the two-centre functional: what its model card says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from ectjax import build_system, calculate, load_model, load_parameters
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.objective import Data, curve_data, pair_energy, summary
from ectjax.load import basis_of

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def two_center():
    with jax.enable_x64(True):
        return load_model("two_center")


def test_errors_are_those_of_the_card_and_pairs_come_apart_neutral(two_center):
    pairs = read_diatomics()
    data = curve_data(pairs, basis_of(load_parameters("two_center")))
    found = summary(two_center, Data(data))
    assert found["curves"] == pytest.approx(0.113, abs=2e-3) and found["charges"] == pytest.approx(0.113, abs=2e-3)
    apart = jax.jit(jax.vmap(lambda model, rows: pair_energy(model, rows, 30.0), (None, 0)))
    energies, charges = apart(two_center, jnp.asarray(data.species))
    assert np.abs(energies).max() < 1e-3 and np.abs(charges).max() < 1e-3


def test_chlorides_repel_in_rock_salt():
    """Two chlorides of the crystal pushed to 2.6 Å cost more than 2 eV; charges stay those of ions."""
    chosen = load_model("two_center", ["Na", "Cl"])
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((2, 1, 1))
    rest = calculate(chosen, build_system(chosen, atoms.numbers, atoms.positions, cell=atoms.cell[:]))
    chlorides = np.flatnonzero(atoms.numbers == 17)
    distances = atoms.get_all_distances(mic=True)
    i = chlorides[0]
    j = next(k for k in chlorides[1:] if distances[i, k] < 4.1)
    step = atoms.get_distance(i, j, mic=True, vector=True) * (1 - 2.6 / distances[i, j]) / 2
    atoms.positions[i] += step
    atoms.positions[j] -= step
    pushed = calculate(chosen, build_system(chosen, atoms.numbers, atoms.positions, cell=atoms.cell[:]))
    assert float(pushed.energy - rest.energy) > 2.0
    assert 0.8 < float(rest.equilibration.charges[atoms.numbers == 11].min()) < 1.0
