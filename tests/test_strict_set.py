"""The shipped set `strict`, without resonance: what its model card says of the curves that it was trained on."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ectjax import load_model, load_parameters
from ectjax.fitting.curves import read_diatomics
from ectjax.fitting.objective import curve_data, pair_energy
from ectjax.load import basis_of

CONSTANTS = {"O-O": (0.05, 0.1), "H-Cl": (0.03, 0.15), "C-N": (0.05, 0.2)}
"""Pairs whose R_e and D_e are right, and to how many Å and eV."""
AROUND = np.linspace(0.92, 1.08, 9)
"""Distances in units of R_e among which their minimum is looked for."""
FAR = (9.3, 9.55, 30.0)
"""Å: on either side of the crossing of NaCl, where nothing overlaps, and apart."""


@pytest.fixture(scope="module")
def measured():
    """Energies and charges of all pairs at the eight points of their curves, at R_e and far apart (22, 12), and
    energies (3, 9) of some around R_e."""
    pairs = read_diatomics()
    names = [f"{p.a}-{p.b}" for p in pairs]
    some = [names.index(x) for x in CONSTANTS]
    with jax.enable_x64(True):
        model = load_model("strict")
        data = curve_data(pairs, basis_of(load_parameters("strict")))
        whole = np.concatenate([data.distances, data.equilibrium[:, None], np.tile(FAR, (len(pairs), 1))], axis=1)
        near = data.equilibrium[some, None] * AROUND
        species = np.concatenate([np.repeat(data.species, 12, axis=0), np.repeat(data.species[some], 9, axis=0)])
        distances = np.concatenate([whole.ravel(), near.ravel()])
        energy = jax.jit(jax.vmap(pair_energy, (None, 0, 0)))  # one program for all
        energies, charges = map(np.asarray, energy(model, jnp.asarray(species), jnp.asarray(distances)))
    return SimpleNamespace(
        names=names,
        data=data,
        energies=energies[: whole.size].reshape(whole.shape),
        charges=charges[: whole.size].reshape(whole.shape),
        wells=energies[whole.size :].reshape(near.shape),
    )


def test_it_is_the_published_method():
    chosen = load_parameters("strict")
    assert {x["kappa"] for x in chosen.elements.values()} == {0.0}
    wanted = {"pair": "coulomb", "embedding": "dft", "resonance": "spherical", "polarization": "none"}
    assert wanted.items() <= chosen.options.items()
    assert len(chosen.provenance["pairs"]) == 22 and not {"molecules", "crystals"} & set(chosen.provenance)


def test_curves_are_within_their_bar(measured):
    relative = (measured.energies[:, :8] - measured.data.energies) / measured.data.depths[:, None]
    rms = np.sqrt(np.mean(relative**2))
    assert rms < 0.12 and rms == pytest.approx(load_parameters("strict").provenance["curve_rms_in_depths"], abs=1e-4)
    by_pair = dict(zip(measured.names, np.sqrt(np.mean(relative**2, axis=1)), strict=True))
    assert max(by_pair.values()) < 0.22 and max(by_pair[x] for x in ("O-O", "Na-Cl", "Li-Cl", "C-C")) < 0.05


def test_pairs_come_apart_neutral(measured):
    assert np.abs(measured.energies[:, -1]).max() < 1e-6 and np.abs(measured.charges[:, -1]).max() < 1e-6


def test_charges_are_integers(measured):
    """But for the hydrides of metals, to 0.02 e: embedding is no linear function of the weights of the neighbour."""
    off = dict(zip(measured.names, np.abs(measured.charges - np.round(measured.charges)).max(axis=1), strict=True))
    assert off.pop("Li-H") < 0.02 and off.pop("Na-H") < 0.01 and max(off.values()) < 1e-6
    ionic = {"Li-H", "Li-F", "Li-Cl", "Na-H", "Na-F", "Na-Cl"}
    assert {n for n, q in zip(measured.names, measured.charges[:, 8], strict=True) if q > 0.5} == ionic
    assert measured.charges.min() > -1e-6


def test_sodium_chloride_crosses_where_ionisation_meets_attraction(measured):
    """At 14.3996/(5.1391 − 3.6127) = 9.434 Å: ions at 9.3 Å, atoms at 9.55 Å."""
    charges = measured.charges[measured.names.index("Na-Cl"), 9:11]
    np.testing.assert_allclose(charges, [1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("name", CONSTANTS)
def test_measured_constants_of_some_pairs(measured, name):
    well, n = measured.wells[list(CONSTANTS).index(name)], measured.names.index(name)
    k = int(well.argmin())
    assert 0 < k < len(well) - 1
    r_e, (distance, depth) = measured.data.equilibrium[n], CONSTANTS[name]
    bend, slope, _ = np.polyfit(AROUND[k - 1 : k + 2], well[k - 1 : k + 2], 2)
    assert -0.5 * slope / bend * r_e == pytest.approx(r_e, abs=distance)
    assert -well[k] == pytest.approx(measured.data.depths[n], abs=depth)
