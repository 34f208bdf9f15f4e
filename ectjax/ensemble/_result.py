"""What an equilibration returns."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree


class Equilibration(eqx.Module):
    """Result of `equilibrate`: the weights and how far they can be trusted.

    weights: ω (N, S), each row on its simplex. amplitudes: √ω (N, S). corrected: amplitudes (N, S) one step
    further, which costs no gradient: not normalised, nearer to the minimum, for foreseeing other geometries' weights.
    charges: q_i = Σ_α ω_iα q_α in e, (N,). chemical_potential: μ = dE/dQ in eV/e, equal on all atoms; for
    integer charges the middle of the window between the last filled and the first empty transfer.
    energy: minimised energy in eV. residual: largest violation of the stationarity conditions, in eV.
    iterations: steps of the descent that ended here. evaluations: its energy gradients, the unit of cost. descents: how
    many there were. search_evaluations: the cost of all others and of finding moves.
    converged: whether residual ≤ tolerance. beside: what the caller's `slopes` gave besides, else empty.
    """

    weights: Float[Array, "N S"]
    amplitudes: Float[Array, "N S"]
    corrected: Float[Array, "N S"]
    charges: Float[Array, " N"]
    chemical_potential: Float[Array, ""]
    energy: Float[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    evaluations: Int[Array, ""]
    descents: Int[Array, ""]
    search_evaluations: Int[Array, ""]
    converged: Bool[Array, ""]
    beside: PyTree = ()
