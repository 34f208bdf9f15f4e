"""Particle mesh Ewald with compiled spreading and interpolation; transforms and influence as in `coulomb.pme`."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Scalar

from ectjax.coulomb.ewald import masked, self_and_background
from ectjax.coulomb.lattice import fractional_coordinates, reciprocal_cell
from ectjax.coulomb.pme import influence_function
from ectjax.coulomb.pme_parameters import PMEParameters
from ectjax.native.library import call


class NativeMesh(eqx.Module):
    """Potential, energy, forces and strain derivative of charges on a mesh, without the real-space part.

    scaled (N, 3), fractional coordinates times mesh points, in [0, points].
    """

    scaled: Float[Array, "N 3"]
    influence: Float[Array, "mx my mz_half"]
    self_coefficient: Float[Scalar, ""]
    background_coefficient: Float[Scalar, ""]
    atom_mask: Bool[Array, " N"]
    parameters: PMEParameters = eqx.field(static=True)

    @classmethod
    def prepare(cls, parameters: PMEParameters, positions, cell, atom_mask) -> "NativeMesh":
        """Positions (N, 3) and cell (3, 3) in Å."""
        reciprocal, volume = reciprocal_cell(cell)
        fractional = fractional_coordinates(positions, reciprocal)
        fractional = jnp.where(atom_mask[:, None], fractional - jnp.floor(fractional), 0.0)
        scaled = fractional * jnp.asarray(parameters.mesh, positions.dtype)
        influence = influence_function(reciprocal, volume, parameters.alpha, parameters.mesh, parameters.order)
        constants = self_and_background(parameters.alpha, volume)
        return cls(scaled, influence, *constants, atom_mask, parameters)

    def potential(self, charges: Float[Array, " N"]) -> Float[Array, " N"]:
        """Potential at every atom in eV/e."""
        charges = masked(charges, self.atom_mask)
        spectrum = jnp.fft.rfftn(_spread(self, charges))
        field = jnp.fft.irfftn(spectrum * self.influence.astype(spectrum.dtype), s=self.parameters.mesh, norm="forward")
        return self._whole(_gather(self, field), charges)

    def energy(self, charges: Float[Array, " N"]) -> Float[Scalar, ""]:
        """½ q·φ in eV."""
        return 0.5 * jnp.sum(charges * self.potential(charges))

    def with_forces(self, charges: Float[Array, " N"], cell: Float[Array, "3 3"]):
        """Potential (N,) in eV/e; −∂E/∂r (N, 3) in eV/Å and dE/dε (3, 3) in eV at fixed charges."""
        charges = masked(charges, self.atom_mask)
        reciprocal, _ = reciprocal_cell(cell)
        spectrum = jnp.fft.rfftn(_spread(self, charges))
        product, virial = call(
            "convolve",
            (jax.ShapeDtypeStruct(spectrum.shape, spectrum.dtype), jax.ShapeDtypeStruct((3, 3), charges.dtype)),
            spectrum,
            self.influence,
            reciprocal,
            alpha=self.parameters.alpha,
        )
        field = jnp.fft.irfftn(product, s=self.parameters.mesh, norm="forward")
        shapes = (
            jax.ShapeDtypeStruct(charges.shape, charges.dtype),
            jax.ShapeDtypeStruct(self.scaled.shape, charges.dtype),
        )
        potential, slopes = call("gather_with_slopes", shapes, self.scaled, field, order=self.parameters.order)
        slopes = slopes * jnp.asarray(self.parameters.mesh, charges.dtype) * charges[:, None]
        forces = -jnp.sum(slopes[:, :, None] * reciprocal[None, :, :], axis=1)
        # the energy of the background goes as 1/V
        background = 0.5 * self.background_coefficient * jnp.sum(charges) ** 2
        return self._whole(potential, charges), forces, virial - background * jnp.eye(3, dtype=charges.dtype)

    def _whole(self, potential, charges):
        """With what belongs to the charge itself and to the background."""
        constant = self.self_coefficient * charges + self.background_coefficient * jnp.sum(charges)
        return masked(potential + constant, self.atom_mask)


@eqx.filter_custom_jvp
def _spread(mesh: NativeMesh, charges):
    shape = jax.ShapeDtypeStruct(mesh.parameters.mesh, charges.dtype)
    return call("spread", shape, mesh.scaled, charges, order=mesh.parameters.order)


@_spread.def_jvp
def _spread_jvp(primals, tangents):
    return _spread(*primals), _spread(primals[0], tangents[1])


@eqx.filter_custom_jvp
def _gather(mesh: NativeMesh, field):
    shape = jax.ShapeDtypeStruct(mesh.scaled.shape[:1], field.dtype)
    return call("gather", shape, mesh.scaled, field, order=mesh.parameters.order)


@_gather.def_jvp
def _gather_jvp(primals, tangents):
    return _gather(*primals), _gather(primals[0], tangents[1])
