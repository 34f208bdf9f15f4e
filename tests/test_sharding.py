"""A system over eight devices and over two processes has the numbers it has on one device."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sharding_cases
from jax.sharding import Mesh

from ectjax import System
from ectjax.neighbors import all_pairs
from ectjax.sharding import device_mesh, shard_system
from ectjax.system import open_system

DEVICES = 8
TOLERANCES = {  # as floating point allows, where sums are taken in another order
    "energy": 1e-10,  # eV
    "forces": 1e-10,  # eV/Å
    "stress": 1e-12,  # eV/Å³
    "weights": 1e-10,
    "charges": 1e-10,  # e
    "chemical_potential": 1e-9,  # eV/e
    "later_forces": 1e-10,
}
SECONDS = 240  # a process that hangs is ended then


def program(devices: int, *arguments) -> subprocess.Popen:
    """sharding_cases.py with so many devices, compiled as this process compiles."""
    kept = re.sub(r"--xla_force_host_platform_device_count=\S+", "", os.environ.get("XLA_FLAGS", ""))
    flags = f"{kept} --xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, sharding_cases.__file__, *map(str, arguments)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen) -> None:
    """Wait for all; end them and fail when one fails or takes too long."""
    try:
        for process in processes:
            output, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, output[-4000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(case: str, *files: Path) -> list[dict]:
    """Every file's numbers with those of this process on its one device; returns the files' contents."""
    with jax.enable_x64(True):
        expected = sharding_cases.numbers_of(case, *sharding_cases.CASES[case]())
    assert expected["converged"] and np.abs(expected["forces"]).max() > 0.1
    contents = []
    for file in files:
        found = np.load(file)
        for name, tolerance in TOLERANCES.items():
            assert found[name].shape == expected[name].shape
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance, err_msg=name)
        assert found["converged"]
        contents.append(dict(found))
    return contents


@pytest.mark.slow
@pytest.mark.parametrize("case", ["salt", "waters", "cell"])
def test_eight_devices_share_the_pairs_and_give_the_numbers_of_one(case, tmp_path):
    file = tmp_path / "found.npz"
    finish(program(DEVICES, case, file))
    (found,) = compare(case, file)
    sizes = json.loads(str(found["program"]))
    assert found["devices"].tolist() == [DEVICES, DEVICES, 1]
    assert found["parts"].tolist() == [sizes["slots"] // DEVICES] * DEVICES
    # nothing along all pairs anywhere in the program of a device; what the shares add up to is summed over the devices
    assert sizes["whole"] == 0 and sizes["shared"] > 100 and sizes["sums"] > 0
    if case != "cell":  # where an Ewald sum of few atoms gathers its phases
        assert 0 < sizes["largest_gathered"] < sizes["slots"]
    assert found["compiled_later"] == 0


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    files = [tmp_path / f"{index}.npz" for index in range(2)]
    finish(*(program(1, "meshed_cell", file, address, 2, index) for index, file in enumerate(files)))
    first, second = compare("meshed_cell", *files)
    assert first["devices"].tolist() == second["devices"].tolist() == [2, 1, 2]
    assert first["parts"] == second["parts"] > 0


def two_atoms() -> System:
    return open_system(np.array([0, 1]), jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.4]]))


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([], r"devices are \[\].*pass a part of jax.devices\(\)"),
        (8, r"devices are 8; allowed are a mesh or a list"),
        (["cpu:0"], r"devices are \['cpu:0'\]; allowed are"),
        (jax.devices()[:1] * 2, "twice; give each device once"),
    ],
)
def test_what_is_no_row_of_devices_is_refused(devices, message):
    with pytest.raises(ValueError, match=message):
        shard_system(two_atoms(), devices)


def test_a_batch_is_refused():
    one = two_atoms()
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), one)
    with pytest.raises(ValueError, match=r"positions have shape \(2, 2, 3\) and pairs \(2, 1\); one system"):
        shard_system(batch)


def test_traced_arrays_are_refused():
    def moved(positions):
        return shard_system(eqx.tree_at(lambda s: s.positions, two_atoms(), positions)).positions

    with pytest.raises(ValueError, match=r"traced arrays.*call it before"):
        jax.jit(moved)(jnp.zeros((2, 3)))


def test_a_mesh_of_any_shape_is_put_in_a_row_and_a_list_keeps_its_pairs():
    grid = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("a", "b"))
    assert device_mesh(grid) == device_mesh(jax.devices()[:1])
    system = eqx.tree_at(lambda s: s.neighbors, two_atoms(), all_pairs(2).padded(5))
    once = shard_system(system, grid)
    again = shard_system(once, jax.devices()[:1])
    assert jax.tree.structure(once) == jax.tree.structure(again)
    for left, right in zip(jax.tree.leaves(once.neighbors), jax.tree.leaves(system.neighbors), strict=True):
        np.testing.assert_array_equal(left, right)
    for left, right in zip(jax.tree.leaves(once), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(left, right)
