"""`ectjax md`: files, restart bit for bit, ensembles, and errors that leave what was computed."""

import json

import jax
import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import read, write

from ectjax.dynamics.integrators import make_integrator
from ectjax.dynamics.records import read_log
from ectjax.units import FEMTOSECOND


@pytest.fixture(scope="module")
def crystal(tmp_path_factory):
    """Eight atoms: the cell is smaller than the cutoff."""
    file = tmp_path_factory.mktemp("md") / "nacl.extxyz"
    write(file, bulk("NaCl", "rocksalt", a=5.64, cubic=True), columns=["symbols", "positions"])
    return file


def test_files_of_a_run_and_restart_bit_for_bit(cli, crystal, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = ("--ensemble", "nvt", "--temperature", 1200, "--every", 5, "--skin", 0.3)
    assert cli("md", crystal, *common, "--steps", 40, "--out", whole).code == 0
    log = read_log(whole / "log.csv")
    assert log["step"].tolist() == list(range(0, 41, 5))
    assert log["temperature_K"][0] == pytest.approx(1200)
    assert (log["residual_eV"] <= 1e-7).all() and np.isfinite(log["conserved_eV"]).all()
    images = read(whole / "trajectory.extxyz", ":")
    assert len(images) == 9 and images[0].pbc.all()
    assert images[3].get_potential_energy() == pytest.approx(log["potential_eV"][3], abs=1e-6)
    assert np.abs(images[3].get_charges()).max() == pytest.approx(log["max_abs_charge_e"][3], abs=1e-6)
    assert images[3].get_temperature() * 24 / 21 == pytest.approx(log["temperature_K"][3], rel=1e-4)
    assert (whole / "energies_charges.png").read_bytes().startswith(b"\x89PNG")

    assert cli("md", crystal, *common, "--steps", 20, "--out", parts).code == 0
    with (parts / "trajectory.extxyz").open("a") as tail:
        tail.write("8\nhalf a fra")  # as if the machine had gone down while it wrote
    with (parts / "log.csv").open("a") as tail:
        tail.write("25,25,-1")
    other = cli("md", crystal, *common, "--dt", 2, "--steps", 40, "--out", parts, "--restart")
    assert other.code == 2 and "dt_fs" in other.err
    done = cli("md", crystal, *common, "--steps", 40, "--out", parts, "--restart")
    assert done.code == 0 and "continued from step 20" in done.out
    for name in ("log.csv", "trajectory.extxyz"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    assert json.loads((parts / "run.json").read_text())["steps"] == 40
    assert cli("md", crystal, *common, "--steps", 40, "--out", parts).code == 2


def test_nve_conserves_energy(cli, crystal, tmp_path):
    assert cli("md", crystal, "--ensemble", "nve", "--steps", 100, "--every", 10, "--out", tmp_path / "run").code == 0
    log = read_log(tmp_path / "run" / "log.csv")
    assert np.ptp(log["total_eV"]) / 8 < 5e-5
    assert np.ptp(log["kinetic_eV"]) / 8 > 1e-3
    assert log["cold_starts"].max() == 0


@pytest.mark.slow
def test_npt_conserves_its_invariant_and_changes_the_volume(cli, crystal, tmp_path):
    options = ("--ensemble", "npt", "--pressure", 2.0, "--barostat-tau", 500, "--steps", 60, "--dt", 0.5)
    assert cli("md", crystal, *options, "--out", tmp_path / "run").code == 0
    log = read_log(tmp_path / "run" / "log.csv")
    assert np.ptp(log["volume_A3"]) > 0.5
    assert np.ptp(log["conserved_eV"]) < 0.02 * np.ptp(log["potential_eV"]) + 1e-3
    frames = read(tmp_path / "run" / "trajectory.extxyz", ":")
    assert frames[-1].get_volume() == pytest.approx(log["volume_A3"][-1], rel=1e-6)


def test_a_run_that_cannot_go_on_names_the_step_and_keeps_its_files(cli, crystal, tmp_path, monkeypatch):
    import ectjax.dynamics.run as run

    advance = run.Simulation.advance

    def failing(self, until):
        if until > 10:
            raise run.NotConverged("the weights of step 11 did not converge from a cold start")
        return advance(self, until)

    monkeypatch.setattr(run.Simulation, "advance", failing)
    out = tmp_path / "run"
    done = cli("md", crystal, "--ensemble", "nve", "--steps", 30, "--out", out)
    assert done.code == 1
    assert done.err.count("\n") == 1 and "step 11" in done.err and "restart" in done.err
    assert len(read(out / "trajectory.extxyz", ":")) == 2 and len(read_log(out / "log.csv")["step"]) == 2

    def stopped(self, until):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Simulation, "advance", stopped)
    done = cli("md", crystal, "--ensemble", "nve", "--steps", 30, "--out", tmp_path / "other")
    assert done.code == 130 and "--restart" in done.err
    assert len(read_log(tmp_path / "other" / "log.csv")["step"]) == 1


def test_velocities_and_constraints_are_not_ignored(cli, tmp_path):
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    held, wild, out = tmp_path / "held.extxyz", tmp_path / "wild.extxyz", tmp_path / "run"
    salt.set_constraint(FixAtoms([0]))
    write(held, salt)
    salt.set_constraint()
    salt.set_momenta(np.full((8, 3), np.nan))
    write(wild, salt)
    for file, word in ((held, "FixAtoms"), (wild, "momentum of atom 0")):
        done = cli("md", file, "--steps", 2, "--out", out)
        assert done.code == 2 and word in done.err and done.err.count("\n") == 1 and not out.exists()


def test_one_process_at_a_time_in_a_folder(cli, crystal, tmp_path):
    from ectjax.dynamics.records import RunDirectory

    pytest.importorskip("fcntl")
    out = tmp_path / "run"
    run = ("md", crystal, "--steps", 2, "--ensemble", "nve", "--out", out)
    assert cli(*run).code == 0
    first = RunDirectory.reopen(out, {})
    log = (out / "log.csv").read_bytes()
    done = cli(*run, "--restart")
    assert done.code == 2 and "another process" in done.err and (out / "log.csv").read_bytes() == log
    first.close()
    assert cli(*run, "--restart").code == 0


def test_a_damaged_checkpoint_is_named(cli, crystal, tmp_path):
    out = tmp_path / "run"
    run = ("md", crystal, "--steps", 2, "--ensemble", "nve", "--out", out)
    assert cli(*run).code == 0
    content = bytearray((out / "checkpoint.npz").read_bytes())
    content[5000:5200] = bytes(200)
    for damaged in (bytes(content), bytes(content[:500]), b""):
        (out / "checkpoint.npz").write_bytes(damaged)
        log = (out / "log.csv").read_bytes()
        done = cli(*run, "--restart")
        assert done.code == 2 and "checkpoint.npz is damaged" in done.err and (out / "log.csv").read_bytes() == log


def test_a_run_that_explodes_ends_and_says_why(cli, crystal, tmp_path, monkeypatch):
    monkeypatch.setattr("ectjax.dynamics.session.HOTTEST", 100.0)
    out = tmp_path / "run"
    end = cli("md", crystal, "--ensemble", "nve", "--steps", 30, "--dt", 2, "--temperature", 600, "--out", out)
    assert end.code == 1 and "2 fs are too long" in end.err and "shorter --dt" in end.err
    assert len(read_log(out / "log.csv")["step"]) == 2


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_integrators_conserve_a_harmonic_crystal(ensemble, x64):
    """The three-part step against an energy that is known: springs to lattice sites that scale with the cell."""
    jnp = jax.numpy
    generator = np.random.default_rng(0)
    sites = jnp.asarray(generator.uniform(size=(6, 3)))
    cell = jnp.eye(3) * 8.0

    def energy(positions, cell):
        strain = jnp.linalg.det(cell) / 512.0 - 1.0
        return 0.5 * 2.0 * jnp.sum((positions - sites @ cell) ** 2) + 3.0 * strain**2

    def forces_and_virial(positions, cell):
        forces = -jax.grad(energy)(positions, cell)
        return forces, jax.grad(lambda e: energy((1 + e) * positions, (1 + e) * cell))(0.0)

    integrator = make_integrator(
        ensemble,
        0.5 * FEMTOSECOND,
        temperature=300.0,
        tau=20 * FEMTOSECOND,
        barostat_tau=100 * FEMTOSECOND,
        cell=tuple(map(tuple, cell.tolist())),
        atoms=6,
    )
    positions = sites @ cell
    momenta = jnp.asarray(generator.normal(size=(6, 3)) * 0.7)
    momenta = momenta - momenta.mean(axis=0)
    forces, virial = forces_and_virial(positions, cell)
    state = integrator.start(jax.random.PRNGKey(0), positions, cell, jnp.full(6, 20.0), momenta, forces, virial)

    @jax.jit
    def step(state, virial):
        zero = jnp.zeros_like(state.position)
        ahead = integrator.step(state, zero, virial, 0.0 * virial)
        forces, new = forces_and_virial(ahead.position, integrator.cell(ahead))
        return integrator.step(state, forces, virial, new), new

    invariant = [float(integrator.conserved(state, energy(positions, cell)))]
    volumes = []
    for _ in range(400):
        state, virial = step(state, virial)
        invariant.append(float(integrator.conserved(state, energy(state.position, integrator.cell(state)))))
        volumes.append(float(jnp.linalg.det(integrator.cell(state))))
    assert np.ptp(invariant) < 2e-4 * abs(invariant[0]) + 2e-4
    assert (np.ptp(volumes) > 1.0) == (ensemble == "npt")
