"""Picture of one element's densities."""

from pathlib import Path

import numpy as np

from ..files import replacing
from ..tables import Element
from ..tables.verify import evaluate


def plot_element(element: Element, target: Path) -> None:
    """Left: 4πr²ρ with the reference as dots; right: ρ on a logarithmic scale. Written whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    radial, logarithmic = figure.subplots(1, 2)
    colours = ["tab:blue", "tab:red", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:pink"]
    far = 1.0
    for state, colour in zip([s for s in element.states if s.electrons], colours * 3, strict=False):
        terms = state.coefficients, state.powers, state.exponents
        r = np.geomspace(1e-3, 60, 1500)
        rho = evaluate(*terms, r)
        shells = 4 * np.pi * r**2 * rho
        far = max(far, float(r[np.cumsum(shells * r) <= 0.995 * np.sum(shells * r)][-1]))
        radial.plot(r, shells, color=colour, label=f"{state.label}  {state.configuration} {state.term}")
        dots = slice(None, None, 3)
        s, reference = state.reference_radii[dots], state.reference_density[dots]
        radial.plot(s, 4 * np.pi * s**2 * reference, ".", color=colour, markersize=3)
        logarithmic.semilogy(r, rho, color=colour)
        logarithmic.semilogy(s, reference, ".", color=colour, markersize=3)
    radial.set(xlim=(0, min(far, 15)), xlabel="r (bohr)", ylabel="4πr²ρ (electrons/bohr)")
    logarithmic.set(xlim=(0, 20), ylim=(1e-12, 3e3), xlabel="r (bohr)", ylabel="ρ (electrons/bohr³)")
    radial.legend(fontsize=8)
    figure.suptitle(f"{element.symbol}: Slater fits (lines) and reference densities (dots)")
    with replacing(target) as temporary:
        figure.savefig(temporary, dpi=150)
