"""jax-md: twenty steps of constant-energy dynamics of rock salt in a cell smaller than the cutoff."""

import jax
import jax.numpy as jnp
from ase.build import bulk
from jax_md import simulate, space

from ectjax.jax_md import ect_neighbor_list
from ectjax.units import BOLTZMANN_EV_PER_K, FEMTOSECOND

with jax.enable_x64(True):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    box = jnp.asarray(atoms.cell[:].T)  # jax-md: lattice vectors are columns
    displacement, shift = space.periodic_general(box, fractional_coordinates=True)
    neighbor_fn, energy_fn = ect_neighbor_list(displacement, box, atoms.numbers, model="default")
    R = jnp.asarray(atoms.get_scaled_positions())
    neighbor = neighbor_fn.allocate(R)
    weights = energy_fn.equilibrate(R, neighbor).weights
    init, step = simulate.nve(energy_fn, shift, dt=1.0 * FEMTOSECOND)
    step, equilibrate = jax.jit(step), jax.jit(energy_fn.equilibrate)
    masses, kT = jnp.asarray(atoms.get_masses()), 300 * BOLTZMANN_EV_PER_K
    state = init(jax.random.PRNGKey(0), R, kT, mass=masses, neighbor=neighbor, weights=weights)
    for _ in range(20):
        neighbor = neighbor.update(state.position)
        weights = equilibrate(state.position, neighbor, weights=weights).weights
        state = step(state, neighbor=neighbor, weights=weights)
    energy = energy_fn(state.position, neighbor, weights=weights) + simulate.kinetic_energy(state)
    print(f"total energy {energy:.5f} eV after 20 fs")
