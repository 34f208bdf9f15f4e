"""Radial functions: Slater expansions in closed form, C² splines, switching. Atomic units."""

from ectjax.radial.spline import CubicSpline as CubicSpline
from ectjax.radial.spline import spline_coefficients as spline_coefficients
from ectjax.radial.switching import smoothstep as smoothstep
