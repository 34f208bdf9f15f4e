"""Table generation: the fit against known densities, the angular average, resuming, failures; PySCF where needed."""

import numpy as np
import pytest

from ectjax.generate import build, spin_orbit
from ectjax.generate.build import build_element, decay_exponent, measured_energy
from ectjax.generate.caged import BASIS, ONE_NEIGHBOUR, cage_distance
from ectjax.generate.d_shell import d_electrons, d_population
from ectjax.generate.fit import _LAYOUTS, fit_density
from ectjax.generate.levels import level_of_theory
from ectjax.generate.occupations import aufbau, d_block
from ectjax.generate.pyscf_atom import RADII, VOLUME_WEIGHTS, diffuse_name, spherical_density
from ectjax.generate.reference import Reference, compute
from ectjax.generate.states import recipes
from ectjax.tables import available_elements, load_element
from ectjax.tables.verify import count_error, cusp_error, evaluate, smallest
from ectjax.units import HARTREE_IN_EV

QUICK = {"trials": 1, "layouts": _LAYOUTS[2:3]}


def two_shells():
    """A normalised model of lithium: 1s² with exponent 5.4 and 2s-like r² e^{−1.26 r}."""
    inner = np.exp(-5.4 * RADII) * 5.4**3 / (8 * np.pi)
    outer = RADII**2 * np.exp(-1.26 * RADII) * 1.26**5 / (96 * np.pi)
    return 2 * inner + outer


def test_fit_meets_its_equalities_and_the_density():
    density = two_shells()
    fit = fit_density(density, 3, 3, 1.26, **QUICK)
    assert count_error(*fit.terms, 3) < 1e-10
    assert cusp_error(*fit.terms, 3) < 1e-10
    assert fit.exponents.min() == 1.26
    assert smallest(*fit.terms) >= 0
    assert np.sum(VOLUME_WEIGHTS * np.abs(evaluate(*fit.terms, RADII) - density)) < 0.02


def test_a_compact_ion_is_fitted():
    """Two electrons at the exponent of Be2+: e^{-ar} leaves the range of floating-point numbers within the grid."""
    density = 2 * np.exp(-7.4 * RADII) * 7.4**3 / (8 * np.pi)
    fit = fit_density(density, 4, 2, 6.7264, **QUICK)
    assert count_error(*fit.terms, 2) < 1e-10
    assert np.sum(VOLUME_WEIGHTS * np.abs(evaluate(*fit.terms, RADII) - density)) < 0.1


def test_fit_is_the_same_twice():
    first, second = (fit_density(two_shells(), 3, 3, 1.26, **QUICK) for _ in range(2))
    np.testing.assert_array_equal(first.coefficients, second.coefficients)


@pytest.mark.parametrize(
    ("electrons", "configuration", "term", "spin"),
    [(1, "1s", "2S", 1), (2, "1s2", "1S", 0), (8, "[He] 2s2 2p4", "3P", 2), (11, "[Ne] 3s", "2S", 1),
     (15, "[Ne] 3s2 3p3", "4S", 3), (20, "[Ar] 4s2", "1S", 0)],
)  # fmt: skip
def test_ground_configurations_follow_hund(electrons, configuration, term, spin):
    found = aufbau(electrons)
    assert found[:2] == (configuration, term)
    assert sum(a - b for a, b in found[2].values()) == spin
    assert sum(a + b for a, b in found[2].values()) == electrons


def test_every_recipe_has_the_right_number_of_electrons():
    from ectjax.tables import NUMBERS

    for symbol in list(NUMBERS)[:36]:
        for recipe in recipes(symbol).values():
            assert recipe.electrons == NUMBERS[symbol] - recipe.charge
            assert recipe.roots or recipe.term.startswith(str(recipe.spin + 1))
            if recipe.leaves:
                assert recipe.leaves.electrons == recipe.electrons - 1
                assert abs(recipe.leaves.spin - recipe.spin) == 1


def test_every_element_to_krypton_has_its_charge_states_and_excitations():
    from ectjax.tables import SYMBOLS

    for symbol in SYMBOLS[1:36]:
        labels = set(recipes(symbol))
        assert {"0", "+1", "+2", "0*"} <= labels
    for symbol in "B Al Si P Ga Sc Ti V Cr Fe Co".split():
        assert "+3" in recipes(symbol)
    assert recipes("Si")["+4"].configuration == recipes("Ne")["0"].configuration
    for symbol in ("O", "S"):
        assert not recipes(symbol)["-2"].bound


@pytest.mark.parametrize(
    ("counts", "configuration", "term"),
    [((2, 2), "[Ar] 3d2 4s2", "3F"), ((5, 1), "[Ar] 3d5 4s", "7S"), ((7, 0), "[Ar] 3d7", "4F"),
     ((6, 2), "[Ar] 3d6 4s2", "5D"), ((10, 1, 1), "[Ar] 3d10 4s 4p", "3P"), ((9, 0), "[Ar] 3d9", "2D")],
)  # fmt: skip
def test_transition_configurations_follow_hund(counts, configuration, term):
    found = d_block(*counts)
    assert found[:2] == (configuration, term)
    assert sum(a + b for a, b in found[2].values()) == 18 + sum(counts)


@pytest.mark.parametrize(
    ("d", "letter"), [(1, 2), (2, 3), (3, 3), (4, 2), (5, 0), (6, 2), (7, 3), (8, 3), (9, 2), (10, 0)]
)
def test_determinants_of_the_3d_row_are_pure_terms(d, letter):
    """⟨L²⟩ of the real-orbital determinant is L(L+1): no other term of dⁿ is mixed in."""
    from ectjax.generate.occupations import _HUND_D

    assert "SPDFG".index(_HUND_D[d][0]) == letter
    m = np.arange(-2, 3)
    plus = np.diag(np.sqrt(6 - m[:-1] * (m[:-1] + 1.0)), -1)  # l₊ in the basis m = −2 … 2
    ladder = {"x": (plus + plus.T) / 2, "y": (plus - plus.T) / 2j, "z": np.diag(m).astype(complex)}
    root = np.sqrt(0.5)
    orbitals = {
        "z2": [0, 0, 1, 0, 0],
        "x2": [root, 0, 0, 0, root],
        "xy": [1j * root, 0, 0, 0, -1j * root],
        "xz": [0, root, 0, -root, 0],
        "yz": [0, 1j * root, 0, 1j * root, 0],
    }
    total = 0.0
    for operator in ladder.values():
        mean = 0.0
        for names in _HUND_D[d][1:]:
            filled = np.array([orbitals[name] for name in names.split()], complex).reshape(-1, 5)
            inside = filled.conj() @ operator @ filled.T
            square = filled.conj() @ operator @ operator @ filled.T
            mean += np.trace(inside).real
            total += np.trace(square).real - np.trace(inside @ inside).real
        total += mean**2
    assert total == pytest.approx(letter * (letter + 1), abs=1e-12)


def test_measured_energies_add_up():
    lithium = recipes("Li")
    values = {label: measured_energy("Li", recipe)[0] * HARTREE_IN_EV for label, recipe in lithium.items()}
    assert values["0"] == 0
    assert values["-1"] == pytest.approx(-0.618, abs=1e-3)
    assert values["+1"] == pytest.approx(5.392, abs=1e-3)
    assert values["+2"] == pytest.approx(5.392 + 75.640, abs=1e-3)
    assert values["0*"] == pytest.approx(1.848, abs=1e-3)


def test_decay_of_an_unbound_state_is_refused():
    with pytest.raises(ValueError, match="not bound"):
        decay_exponent("Li", recipes("Li")["-1"], 0.02)


def fake_engine(symbol, recipe, neutral):
    if recipe.label == "-1":
        raise ValueError("SCF of Li -1 did not converge")
    density = two_shells()
    if recipe.label == "+1":
        density = 2 * np.exp(-5.4 * RADII) * 5.4**3 / (8 * np.pi)
    return Reference(density, -7.4 + 0.2 * recipe.charge, "model", "none", -0.2)


def test_one_failure_does_not_stop_the_batch_and_a_rerun_keeps_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "fit_density", lambda *given, **_: fit_density(*given, **QUICK))
    first = build_element("Li", ["-1", "+1"], tmp_path, engine=fake_engine)
    assert [(o.label, o.status) for o in first] == [("0", "built"), ("-1", "failed"), ("+1", "built")]
    assert load_element("Li", tmp_path).labels == ("0", "+1")
    assert [p.name for p in tmp_path.iterdir()] == ["Li.h5"]
    again = build_element("Li", ["-1", "+1"], tmp_path, engine=fake_engine)
    assert [o.status for o in again] == ["kept", "failed", "kept"]


def test_force_builds_named_states_again_and_loses_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "fit_density", lambda *given, **_: fit_density(*given, **QUICK))
    asked = []

    def engine(symbol, recipe, neutral):
        asked.append(recipe.label)
        return fake_engine(symbol, recipe, neutral)

    build_element("Li", ["+1"], tmp_path, engine=engine)
    before = load_element("Li", tmp_path)
    outcomes = build_element("Li", ["+1"], tmp_path, force=True, engine=engine)
    assert [(o.label, o.status) for o in outcomes] == [("0", "kept"), ("+1", "built")]
    assert asked == ["0", "+1", "+1"]

    def broken(symbol, recipe, neutral):
        raise ValueError("SCF did not converge")

    outcomes = build_element("Li", ["+1"], tmp_path, force=True, engine=broken)
    assert [o.status for o in outcomes] == ["kept", "failed"]
    after = load_element("Li", tmp_path)
    assert after.labels == before.labels == ("0", "+1")
    np.testing.assert_array_equal(after.state("+1").coefficients, before.state("+1").coefficients)


def test_a_failed_neutral_state_leaves_no_file(tmp_path):
    def broken(symbol, recipe, neutral):
        raise ValueError("SCF did not converge")

    outcomes = build_element("Li", ["+1"], tmp_path, engine=broken)
    assert {o.status for o in outcomes} == {"failed"}
    assert not list(tmp_path.iterdir())


def test_unknown_state_is_refused_with_those_that_exist(tmp_path):
    with pytest.raises(ValueError, match=r"no recipe for state '\+5'.*allowed are 0, -1"):
        build_element("Li", ["+5"], tmp_path)


def test_angular_average_matches_an_average_over_directions():
    gto = pytest.importorskip("pyscf.gto")
    molecule = gto.M(atom="O 0 0 0", spin=2, basis="def2-tzvp", verbose=0)
    root = np.random.default_rng(1).normal(size=(molecule.nao, molecule.nao))
    matrix = root @ root.T
    r = np.array([0.01, 0.3, 1.0, 2.5])
    cosines, weights = np.polynomial.legendre.leggauss(16)
    angles = 2 * np.pi * np.arange(24) / 24
    expected = np.zeros_like(r)
    for cosine, weight in zip(cosines, weights, strict=True):
        sine = np.sqrt(1 - cosine**2)
        for angle in angles:
            direction = np.array([sine * np.cos(angle), sine * np.sin(angle), cosine])
            values = molecule.eval_gto("GTOval_sph", r[:, None] * direction)
            expected += 0.5 * weight / 24 * np.einsum("ri,ij,rj->r", values, matrix, values)
    np.testing.assert_allclose(spherical_density(molecule, matrix, r), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("symbol", "label", "count"), [("Mn", "0", 5), ("Sc", "0", 1), ("Ni", "+1", 9), ("Kr", "0", 10), ("Ar", "0", 0)]
)
def test_d_electrons_are_read_from_the_configuration(symbol, label, count):
    assert d_electrons(recipes(symbol)[label]) == count


def test_self_consistent_field_keeps_the_wanted_d_electrons():
    """Manganese falls to 3d6 4s when only the symmetry species are occupied."""
    pytest.importorskip("pyscf")
    pytest.importorskip("basis_set_exchange")
    from ectjax.generate.reference import _mean_field

    _, mean_field = _mean_field("Mn", recipes("Mn")["0"], "cc-pVDZ-DK", True, "Mn 0")
    assert d_population(mean_field) == pytest.approx(5, abs=1e-3)
    assert mean_field.spin_square()[0] == pytest.approx(8.75, abs=0.05)


@pytest.mark.slow
def test_helium_comes_out_right():
    pytest.importorskip("pyscf")
    made = {label: compute("He", recipes("He")[label]) for label in ("0", "+1")}
    ionisation = (made["+1"].energy - made["0"].energy) * HARTREE_IN_EV
    assert ionisation == pytest.approx(24.587, abs=0.05)
    exact = np.exp(-4 * RADII) * 8 / np.pi  # He⁺ is hydrogenic; Gaussians contracted for He miss it by 3e-3 e
    assert np.sum(VOLUME_WEIGHTS * np.abs(made["+1"].density - exact)) < 5e-3
    # <r²> of helium's ground state, two electrons, from Pekeris: 2 · 1.19348
    assert np.sum(VOLUME_WEIGHTS * made["0"].density * RADII**2) == pytest.approx(2.38697, rel=3e-3)


def test_core_functions_join_a_valence_basis():
    pytest.importorskip("pyscf")
    pytest.importorskip("basis_set_exchange")
    from ectjax.generate.pyscf_atom import atom

    sizes = {name: atom("Ge", 0, 2, name).nao for name in ("cc-pVTZ-PP", "cc-pwCVTZ-PP", "aug-cc-pVTZ-DK")}
    joined = atom("Ge", 0, 2, "aug-cc-pVTZ-DK + core of cc-pwCVTZ-PP").nao
    assert joined - sizes["aug-cc-pVTZ-DK"] == sizes["cc-pwCVTZ-PP"] - sizes["cc-pVTZ-PP"] > 0


def test_diffuse_functions_reach_a_basis_that_has_none():
    """5s of zinc needs them: its SCF energy is 0.8 eV too high in cc-pVTZ-DK alone."""
    pytest.importorskip("pyscf")
    pytest.importorskip("basis_set_exchange")
    from ectjax.generate.pyscf_atom import atom, diffuse_name

    plain, more = (atom("Zn", 0, 0, "cc-pVTZ-DK", extra) for extra in (0, 1))
    least = [
        min(molecule.bas_exp(shell).min() for shell in range(molecule.nbas) if molecule.bas_angular(shell) == 0)
        for molecule in (plain, more)
    ]
    assert more.nao - plain.nao == 1 + 3 + 5
    assert least[1] < 0.5 * least[0]
    assert diffuse_name("cc-pVTZ-DK", 1) == "cc-pVTZ-DK + s, p, d of aug-cc-pVTZ-DK"
    assert diffuse_name("aug-cc-pVTZ", 2) == "aug-cc-pVTZ + 2 diffuse shells"
    assert diffuse_name("cc-pVTZ-DK", 0) == "cc-pVTZ-DK"
    helium = [atom("He", 0, 0, "d-aug-cc-pVQZ", extra).nao for extra in (0, 1)]
    assert helium[1] - helium[0] == 1 + 3 + 5 + 7


def test_the_basis_limit_by_mp2_is_that_of_its_bases():
    """Of helium: X⁻³ from triple to quadruple zeta; nothing is added where MP2 is all there is."""
    pytest.importorskip("pyscf")
    pytest.importorskip("basis_set_exchange")
    from pyscf import mp

    from ectjax.generate.composite import basis_limit
    from ectjax.generate.levels import Level
    from ectjax.generate.reference import _mean_field

    level = Level("cc-pVDZ", 0, limit=("cc-pVTZ", "cc-pVQZ"))
    fields = [_mean_field("He", recipes("He")["0"], name, False, "He 0")[1] for name in (level.basis, *level.limit)]
    small, triple, quadruple = (mp.MP2(field).run().e_corr for field in fields)
    expected = fields[2].e_tot + (64 * quadruple - 27 * triple) / 37 - fields[0].e_tot - small
    assert basis_limit(fields[1:], fields[0], level) == pytest.approx(expected, abs=1e-10)


def test_a_rebuilt_ion_agrees_with_the_shipped_one(tmp_path):
    """He⁺ and the bare nucleus from scratch: as cheap as it gets, by the same command as the whole set."""
    pytest.importorskip("pyscf")
    pytest.importorskip("basis_set_exchange")
    from ectjax.tables.compare import compare_elements

    assert {o.status for o in build_element("He", ["+1", "+2"], tmp_path)} == {"built"}
    differences = compare_elements(load_element("He"), load_element("He", tmp_path))
    assert [x.label for x in differences] == ["0", "+1", "+2"]
    assert all(x.agree for x in differences), differences


def test_lowest_levels_follow_hund(monkeypatch):
    """In units of ζ: p¹ and p² −1, p⁴ and p⁵ −½, sp² ⁴P −5/6, nothing for S and D terms."""
    monkeypatch.setattr(spin_orbit, "coupling_constant", lambda mean_field: 1.0)
    expected = {
        ("Ge", "+1"): -1.0, ("As", "+1"): -1.0, ("As", "0"): 0.0, ("Se", "0"): -0.5, ("Br", "0"): -0.5,
        ("Br", "-1"): 0.0, ("Br", "0*"): -0.5, ("Ge", "0"): -1.0, ("Ga", "0*"): -5 / 6, ("Ge", "0**"): 0.0,
    }  # fmt: skip
    for (symbol, label), value in expected.items():
        assert spin_orbit.lowest_level(None, recipes(symbol)[label]) == pytest.approx(value, abs=1e-12), symbol


def test_the_coupling_constant_of_hydrogen_is_exact():
    pytest.importorskip("pyscf")
    pytest.importorskip("basis_set_exchange")
    from pyscf.lib import param

    from ectjax.generate.reference import _mean_field

    _, mean_field = _mean_field("H", recipes("H")["0*"], "d-aug-cc-pVQZ", False, "H 0*")
    exact = param.LIGHT_SPEED**-2 / 48  # α² Z⁴ / 2n³l(l+½)(l+1)
    assert spin_orbit.coupling_constant(mean_field) == pytest.approx(exact, rel=0.03)


def test_a_fit_above_its_goal_is_repeated():
    def error(**more):
        fit = fit_density(two_shells(), 3, 3, 1.26, **QUICK, **more)
        assert count_error(*fit.terms, 3) < 1e-10 and smallest(*fit.terms) >= 0
        return np.sum(VOLUME_WEIGHTS * np.abs(evaluate(*fit.terms, RADII) - two_shells()))

    plain = error()
    assert error(goal=plain) == plain
    assert error(goal=0.8 * plain) < plain


@pytest.mark.parametrize("symbol", available_elements())
def test_the_shipped_states_are_those_of_the_recipes(symbol):
    """Term, configuration, basis and the parts of the method are what 'ectjax tables build' would make today."""
    known, level = recipes(symbol), level_of_theory(symbol)
    for state in load_element(symbol).states:
        recipe = known[state.label]
        assert (state.term, state.electrons) == (recipe.term, recipe.electrons)
        assert state.configuration == (recipe.configuration or "bare nucleus")
        if not recipe.electrons or recipe.exact:
            continue
        if recipe.molecule_distance:
            basis, diffuse, _ = BASIS[symbol]
            assert state.basis == diffuse_name(basis, diffuse)
            cores = "core" if symbol in ONE_NEIGHBOUR else "cores"
            assert f"Na+ (effective {cores}) at {cage_distance(symbol, recipe):.3f} Å" in state.method
            continue
        assert state.basis.split(" + ")[0] == level.basis
        for named, wanted in (
            ("basis limit by MP2", bool(level.limit[0])),
            (
                f"core down to {level.core[1]} frozen orbitals by {level.core_by} in {level.core[0]}",
                bool(level.core[0]),
            ),
            ("spin-orbit", level.spin_orbit),
            ("X2C", level.relativistic),
            (f"{level.frozen} frozen core orbitals", "UCCSD" in state.method.split(",")[0] and level.frozen > 0),
        ):
            assert (named in state.method) == wanted, f"{symbol} {state.label}: {named}"


def test_a_compressed_anion_has_the_free_one_s_energy_and_tail_and_the_cost_of_its_cage():
    free, caged = recipes("F")["-1"], recipes("F")["-1*"]
    assert not caged.bound and caged.electrons == free.electrons
    (energy, _), (above, source) = measured_energy("F", free), measured_energy("F", caged, 0.02)
    assert above == pytest.approx(energy + 0.02) and "cage" in source
    assert decay_exponent("F", caged, above)[0] == decay_exponent("F", free, energy)[0]
