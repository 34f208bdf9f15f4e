"""Molecular dynamics with equilibrated weights: integrators of jax-md, one solve per step, files that survive."""
