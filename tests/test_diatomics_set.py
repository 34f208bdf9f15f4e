"""The shipped set `diatomics`, measured anew against the constants that it was trained on."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ectjax import load_model, load_parameters
from ectjax.ase import ECTCalculator
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.objective import curve_data, pair_energy
from ectjax.fitting.report.engines import ModelEngine
from ectjax.fitting.report.measure import measure_pair
from ectjax.load import basis_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Na-Cl"])
def test_polarised_ions_make_the_molecules(name):
    """Without resonance, measured R_e, D_e and dipole of the molecule; rigid ions miss half an eV and their dipole."""
    pair = next(p for p in read_diatomics() if f"{p.a}-{p.b}" == name)
    chosen = load_parameters("diatomics")
    ionic = replace(chosen, elements={s: x | {"kappa": 0.0} for s, x in chosen.elements.items()})

    def measured(form):
        engine = ModelEngine(form, load_model(ionic, [pair.a, pair.b], polarization=form))
        return measure_pair(engine, pair, [])

    with jax.enable_x64(True):
        polarised, rigid = measured("states"), measured("none")
    assert polarised.r_e == pytest.approx(pair.r_e, abs=0.1)
    assert polarised.d_e == pytest.approx(pair.d_e, abs=0.2) and rigid.d_e < pair.d_e - 0.3
    assert polarised.charge == pytest.approx(pair.charge_a, abs=0.1) and rigid.charge == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_curves_and_constants_are_within_their_bars():
    """10 % of D_e over the curves, 0.05 Å, 0.4 eV, 0.10 e; every pair comes apart into neutral atoms."""
    with jax.enable_x64(True):
        pairs, model = read_diatomics(), load_model("diatomics")
        data = curve_data(pairs, basis_of(load_parameters("diatomics")))
        steps, measured = np.linspace(0.8, 1.2, 41), np.array([x.r_e for x in pairs])
        around, apart = measured[:, None] * steps, np.full((len(pairs), 1), 30.0)
        points = np.concatenate([data.distances, around, apart], axis=1)
        over_points = jax.vmap(jax.vmap(lambda species, r: pair_energy(model, species, r), (None, 0)))
        energies, charges = map(np.asarray, jax.jit(over_points)(data.species, points))
    curves, well = energies[:, :8], energies[:, 8:-1]
    relative = (curves - data.energies) / data.depths[:, None]
    assert np.sqrt(np.mean(relative**2)) < 0.10
    assert np.sqrt(np.mean((charges[:, 8 + len(steps) // 2] - data.charges) ** 2)) < 0.10
    lowest = well.argmin(axis=1)
    assert np.all((lowest > 0) & (lowest < len(steps) - 1))
    parabolas = [np.polyfit(steps[n - 1 : n + 2], row[n - 1 : n + 2], 2) for n, row in zip(lowest, well, strict=True)]
    r_e = measured * np.array([-0.5 * p[1] / p[0] for p in parabolas])
    d_e = -np.array([p[2] - 0.25 * p[1] ** 2 / p[0] for p in parabolas])
    assert np.mean(np.abs(r_e - measured)) < 0.05
    assert np.mean(np.abs(d_e - [x.d_e for x in pairs])) < 0.4
    assert max(np.abs(energies[:, -1]).max(), np.abs(charges[:, -1]).max()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default"])
def test_a_salt_that_moves_stays_a_salt(name):
    """Eight ions of NaCl, 0.2 ps from 600 K on the sites: they oscillate, keep their charges and the energy."""
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    salt.calc = ECTCalculator(name)
    thermalize_momenta(salt, temperature_K=600.0, rng=np.random.default_rng(0))
    unlike = salt.numbers[:, None] != salt.numbers
    dynamics, energies, kinetic = VelocityVerlet(salt, 2.0 * units.fs), [], []
    for _ in range(20):
        dynamics.run(5)
        distances = salt.get_all_distances(mic=True)
        assert distances[unlike].min() > 2.3 and distances[~unlike & (distances > 0)].min() > 3.2
        assert np.all(np.abs(salt.get_charges()) > 0.85)
        energies.append(salt.get_total_energy())
        kinetic.append(salt.get_kinetic_energy())
    assert np.ptp(energies) < 0.02 * np.ptp(kinetic)
