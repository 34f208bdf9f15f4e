"""Programs compiled with less optimisation: the same numbers, and where they are used."""

import equinox as eqx
import jax
import numpy as np
import pytest
from ase import Atoms

import ectjax
import ectjax.ase as door
from ectjax.calculate import calculate, calculate_lightly
from ectjax.compilation import LIGHT, QUICK, compiled, compiler_options

LEVEL, EMITTERS = "xla_backend_optimization_level", "xla_cpu_use_fusion_emitters"
KNOWS_EMITTERS = jax.__version_info__ < (0, 12)


@pytest.fixture
def no_flags(monkeypatch):
    """As if nobody had chosen (the tests themselves do)."""
    monkeypatch.delenv("XLA_FLAGS")
    compiler_options.cache_clear()
    yield
    compiler_options.cache_clear()


@pytest.mark.parametrize("wanted", [LIGHT, QUICK], ids=["light", "quick"])
def test_this_xla_knows_the_options(no_flags, wanted):
    found = compiler_options(wanted)
    assert found.items() <= dict(wanted).items() and LEVEL in found
    assert (EMITTERS in found) is KNOWS_EMITTERS


def test_options_that_this_xla_does_not_know_are_left_out(no_flags):
    unknown = (("xla_no_such_option", 1),)
    assert compiler_options((*unknown, *LIGHT)) == compiler_options(LIGHT)
    assert compiled(unknown)(lambda x, y=0: x + y)(1.0, y=2.0) == 3.0


def test_what_the_user_set_stays(no_flags, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert LEVEL not in compiler_options(LIGHT)


def test_a_light_program_gives_the_same_numbers(x64):
    model = ectjax.load_model("curves", ["H", "F"])
    system = ectjax.build_system(model, [1, 9], [[0.0, 0.0, 0.0], [0.0, 0.1, 0.93]])
    light, full = {LEVEL: 1}, {LEVEL: 3}
    if KNOWS_EMITTERS:
        light[EMITTERS], full[EMITTERS] = False, True
    light, full = (eqx.filter_jit(calculate, compiler_options=x)(model, system) for x in (light, full))
    np.testing.assert_allclose(light.forces, full.forces, atol=1e-9)
    np.testing.assert_allclose(light.energy, full.energy, atol=1e-9)
    np.testing.assert_allclose(light.equilibration.weights, full.equilibration.weights, atol=1e-9)


def test_large_systems_with_a_warm_start_are_compiled_in_full(monkeypatch):
    used = []

    def noting(name):
        def call(*given, **options):
            used.append(name)
            return calculate_lightly(*given, **options)

        return call

    monkeypatch.setattr(door, "calculate_lightly", noting("light"))
    monkeypatch.setattr(door, "calculate_results", noting("full"))
    atoms = Atoms("HF", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.93]], calculator=door.ECTCalculator("curves"))
    for limit in (2, 1):
        monkeypatch.setattr(door, "FEW_ATOMS", limit)
        atoms.positions[1, 2] += 0.01
        atoms.get_potential_energy()
    assert used == ["light", "full"]  # cold with few atoms, then warm with more than few
    atoms.calc.reset()
    atoms.positions[1, 2] += 1.0  # too far for a warm start
    atoms.get_potential_energy()
    assert used[2:] == ["light"]
