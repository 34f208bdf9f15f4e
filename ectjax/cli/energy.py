"""`ectjax energy`: one structure."""

from __future__ import annotations

from typing import Annotated

import typer

from ectjax.cli.structure import Charge, ModelName, Structure, read_structure, total_charge


def energy(
    structure: Structure,
    charge: Charge = None,
    model: ModelName = "default",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Energy, charges, forces and weights of a structure."""
    atoms = read_structure(structure)
    charge = total_charge(atoms, charge)
    from ectjax.ase import ECTCalculator

    atoms.calc = ECTCalculator(model, charge=charge, warm_start=0.0)
    atoms.get_potential_energy()
    results, states = atoms.calc.results, atoms.calc.states
    if json:
        _print_json(atoms, charge, model, results, states)
    else:
        _print_tables(structure, atoms, charge, model, results, states)


def _print_json(atoms, charge, model, results, states) -> None:
    import json

    weights = [row[: len(labels)].tolist() for row, labels in zip(results["weights"], states, strict=True)]
    content = {
        "units": {
            "energy": "eV, from neutral ground-state atoms",
            "charges": "e",
            "forces": "eV/Å",
            "chemical_potential": "eV/e",
            "residual": "eV",
            "stress": "eV/Å³, xx yy zz yz xz xy",
            "dipole": "e Å",
        },
        "model": model,
        "charge": charge,
        "symbols": atoms.get_chemical_symbols(),
        "energy": results["energy"],
        "charges": results["charges"].tolist(),
        "forces": results["forces"].tolist(),
        "weights": weights,
        "states": [list(labels) for labels in states],
        "chemical_potential": results["chemical_potential"],
        "converged": results["converged"],
        "iterations": results["iterations"],
        "residual": results["residual"],
    }
    for key in ("stress", "dipole"):
        if key in results:
            content[key] = results[key].tolist()
    print(json.dumps(content, ensure_ascii=False))


def _print_tables(structure, atoms, charge, model, results, states) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    count = len(atoms)
    summary = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = [
        ("structure", f"{structure} ({atoms.get_chemical_formula()}{', periodic' if atoms.pbc.all() else ''})"),
        ("model", model),
        ("total charge", f"{charge:g} e"),
        ("energy", f"{results['energy']:.6f} eV ({results['energy'] / count:.6f} eV/atom, neutral atoms: 0)"),
        ("chemical potential", f"{results['chemical_potential']:.4f} eV/e"),
        ("largest force", f"{np.linalg.norm(results['forces'], axis=1).max():.4f} eV/Å"),
    ]
    if "dipole" in results:
        rows.append(("dipole", " ".join(f"{x:z.4f}" for x in results["dipole"]) + " e Å"))
    if "stress" in results:
        rows.append(("stress", " ".join(f"{x:z.5f}" for x in results["stress"]) + " eV/Å³ (xx yy zz yz xz xy)"))
    rows.append(("equilibration", f"converged, {results['iterations']} steps, residual {results['residual']:.1e} eV"))
    for row in rows:
        summary.add_row(*row)
    console.print(summary)
    columns = sorted({labels for labels in states}, key=len)[-1]
    alike = all(labels == columns for labels in states)
    table = Table(header_style="bold")
    table.add_column("atom", no_wrap=True)
    for name in ("charge, e", "force, eV/Å (x y z)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"weights of {'  '.join(columns)}" if alike else "weights of states")
    shown = min(count, 40)
    for k in range(shown):
        pairs = zip(states[k], results["weights"][k], strict=False)
        weights = " ".join(f"{w:.3f}" if alike else f"{label}: {w:.3f} " for label, w in pairs)
        force = " ".join(f"{x:z8.3f}" for x in results["forces"][k])
        table.add_row(f"{k} {atoms[k].symbol}", f"{results['charges'][k]:+z.4f}", force, weights)
    console.print(table)
    if shown < count:
        console.print(f"… and {count - shown} more atoms: --json prints all of them")
