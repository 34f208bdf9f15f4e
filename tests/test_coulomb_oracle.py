"""Ewald and PME with every derivative against jax-pme, which nobody here wrote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from coulomb_cases import CELLS, assert_all_close, derivatives, energy_function, random_system

from ectjax.coulomb import ewald_parameters, pme_parameters
from ectjax.units import COULOMB_EV_ANGSTROM

jaxpme = pytest.importorskip("jaxpme")

ORACLE_TOLERANCE = 1e-6
SUM_ACCURACY = 1e-9


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def oracle(positions, charges, cell):
    """The same energy by jax-pme's Ewald sum, with another splitting than ours."""
    cutoff, alpha = 6.5, 0.78
    atoms = Atoms(f"H{len(positions)}", positions=np.asarray(positions), cell=cell, pbc=True)
    calculator = jaxpme.Ewald(prefactor=COULOMB_EV_ANGSTROM)
    prepared = calculator.prepare(
        atoms, np.asarray(charges), cutoff, lr_wavelength=np.pi / 9.0, smearing=1 / (np.sqrt(2) * alpha)
    )
    _, box, _, i, j, shifts, grid, smearing, _ = prepared

    def energy(x, q, strain):
        return calculator.energy(
            q, box + box @ strain, x + x @ strain, i, j, jnp.asarray(shifts, float), grid, smearing
        )

    return energy


@pytest.mark.parametrize("shape", ["cubic", "orthorhombic", "triclinic"])
def test_energy_and_all_derivatives_agree_with_jax_pme(shape):
    cell = CELLS[shape]
    positions, charges = random_system(cell)
    want = derivatives(oracle(positions, charges, cell), positions, charges)
    for parameters in (
        ewald_parameters(cell, 6.0, SUM_ACCURACY),
        pme_parameters(cell, 6.0, SUM_ACCURACY, order=8),
    ):
        got = derivatives(energy_function(positions, cell, parameters), positions, charges)
        assert_all_close(got, want, ORACLE_TOLERANCE)
