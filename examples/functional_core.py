"""Pure functions of arrays: energy, forces, and the response of a charge to the geometry, by JAX."""

import equinox as eqx
import jax

import ectjax

with jax.enable_x64(True):
    model = ectjax.load_model("default", elements=["Li", "H"])
    system = ectjax.build_system(model, numbers=[3, 1], positions=[[0, 0, 0], [0, 0, 1.6]])

    def energy(positions):
        moved = eqx.tree_at(lambda s: s.positions, system, positions)
        return ectjax.potential_energy(model, moved)  # eV, and the equilibration it belongs to

    def charge_of_lithium(positions):
        return energy(positions)[1].charges[0]

    (value, result), slope = jax.jit(jax.value_and_grad(energy, has_aux=True))(system.positions)
    response = jax.jit(jax.grad(charge_of_lithium))(system.positions)  # implicit differentiation
    print(f"energy {value:.4f} eV, charges {result.charges.round(3)} e, force on H {-slope[1, 2]:.4f} eV/Å")
    print(f"dq(Li)/dz(H) {response[1, 2]:.4f} e/Å, converged: {bool(result.converged)}")
