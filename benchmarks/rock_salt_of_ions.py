"""Rock salt of full ions, without a single fitted number: no resonance, the functional's own kinetic energy (a = 1).

`python benchmarks/rock_salt_of_ions.py` prints lattice constants and atomisation energies against measurement, of rigid
ions and of anions that give way (docs/concepts/compression.md), and stores them.
"""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk

from ectjax import build_system, load_model, load_parameters
from ectjax.files import replacing
from ectjax.fitting.crystals import SKIN, RockSalt, read_crystals
from ectjax.potential import compressed, ensemble_energy, geometry_terms

SCALES = np.linspace(0.92, 1.08, 17)
RESULT = Path(__file__).parent / "results" / "rock_salt_of_ions.txt"


def of_ions(salt: RockSalt, form: str):
    """Lattice constant and energy in units of the measured ones, and x of the anion, of a form of `polarization`."""
    chosen = load_parameters("default")
    ions = replace(chosen, elements={s: x | {"a": 1.0, "kappa": 0.0} for s, x in chosen.elements.items()})
    model = load_model(ions, list(salt.symbols), polarization=form)
    energies, shrunk = zip(*(_of_cell(model, salt, scale * salt.constant) for scale in SCALES), strict=True)
    lowest = int(np.argmin(energies))
    assert 0 < lowest < len(SCALES) - 1, f"{salt.formula} has no minimum between {SCALES[0]} and {SCALES[-1]}"
    near = slice(lowest - 1, lowest + 2)
    curve = np.polynomial.Polynomial.fit(SCALES[near], energies[near], 2)
    best = float(curve.deriv().roots()[0])
    return best, -curve(best) / salt.energy, shrunk[lowest]


def _of_cell(model, salt: RockSalt, constant: float) -> tuple[float, float]:
    """Energy of cation and anion in eV from free atoms, and x of the anion (0 if rigid)."""
    cell = bulk(salt.formula, "rocksalt", a=constant)
    system = build_system(model, cell.numbers, cell.positions, cell=cell.cell[:], skin=SKIN)
    terms = geometry_terms(model, system)
    ions = [model.labels[row].index(label) for row, label in zip(system.species, ("+1", "-1"), strict=True)]
    weights = jax.nn.one_hot(np.array(ions), model.state_mask.shape[1])
    return float(ensemble_energy(weights, jnp.sqrt(weights), terms)), float(compressed(weights, terms)[1])


def main() -> None:
    """Print and store the table."""
    columns = "   ".join(f"{name:>8s}" for name in ("a", "energy", "a", "energy"))
    lines = [f"{'':10s} {'rigid ions':>19s}   anions that give way", f"{'':10s} {columns}      x"]
    print("\n".join(lines))
    covered = set(load_parameters("default").elements)
    for salt in (x for x in read_crystals() if covered.issuperset(x.symbols)):
        (a, energy, _), (b, other, x) = (of_ions(salt, form) for form in ("none", "breathing"))
        errors = "   ".join(f"{100 * (value - 1):+6.1f} %" for value in (a, energy, b, other))
        lines.append(f"{salt.formula:10s} {errors}   {x:.2f}")
        print(lines[-1], flush=True)
    with replacing(RESULT) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
