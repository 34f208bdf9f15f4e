"""`ectjax fit report`: measures a parameter set and other methods, and writes one page with figures."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from ectjax import __version__
from ectjax.fitting.molecules import Molecule, g2_molecule
from ectjax.fitting.objective import curve_data
from ectjax.fitting.report import figures
from ectjax.fitting.report.engines import Engine, ModelEngine, comparisons
from ectjax.fitting.report.measure import MoleculeResult, measure_crystal, measure_molecule, measure_pair
from ectjax.fitting.report.references import References, references_of
from ectjax.fitting.report.table import Findings, Row, rows_of
from ectjax.load import basis_of, load_model
from ectjax.parameters import ParameterSet, load_parameters
from ectjax.parameters.store import checksum

PBE_MOLECULES = ("H2O", "C2H4", "CF4", "NH3", "C2H2", "CO2", "HCN", "H2CO")
"""Molecules that density functional theory is computed for, a few of each group."""
PAGE = "report.md"


def write_report(
    model: str | Path,
    out: str | Path,
    *,
    xtb: bool | None = None,
    pbe: bool | None = None,
    quick: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> str:
    """Measure a parameter set and write the folder `out` with `report.md` and its figures; returns the table.

    Args:
        model: name of a shipped set or path of a parameter file.
        out: a folder that does not exist yet; it appears complete or not at all.
        xtb, pbe: whether to compute GFN2-xTB (tblite) and PBE (PySCF) too; None means where installed.
        quick: fewer molecules.
        progress: called with what is being measured.

    Raises:
        ValueError: no such set, or `out` exists or lies in a folder that does not.
        ImportError: a method was asked for whose package is not installed.
    """
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} exists already; remove it or name another folder with --out")
    if not out.parent.is_dir():
        raise ValueError(f"folder {out.parent} does not exist; make it or name another folder with --out")
    parameters = load_parameters(model)
    others = comparisons(xtb, pbe)
    references = references_of(parameters, quick)
    engines: list[Engine] = [ModelEngine(parameters.name, load_model(parameters, dtype="float64")), *others]
    basis = basis_of(parameters)
    curves = [curve_data(p, basis) if p else None for p in (references.pairs, references.held_out_pairs)]
    grids = [np.zeros((0, 0)) if c is None else c.distances for c in curves]
    energies = [np.zeros((0, 0)) if c is None else c.energies for c in curves]
    found = {engine.name: measure(engine, references, grids, progress) for engine in engines}
    rows = rows_of(references, energies[0])
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        names = _draw(part, references, grids, energies, found)
        table = _table(rows, found)
        (part / PAGE).write_text(_page(parameters, references, found, table, names), encoding="utf-8")
        part.chmod(0o755)
        os.rename(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return table


def measure(engine: Engine, references: References, grids: Sequence[np.ndarray], progress) -> Findings:
    """Everything that a method is asked for: all references, or the molecules of `PBE_MOLECULES` alone."""

    def molecules(entries: list[Molecule]) -> list[MoleculeResult]:
        results = []
        for m in entries:
            if engine.relaxes or m.name in PBE_MOLECULES:
                progress(f"{engine.name}: {m.name}")
                results.append(measure_molecule(engine, m))
            else:
                results.append(MoleculeResult(*(np.nan,) * 4, False))
        return results

    def pairs(entries, grid):
        results = []
        for p, distances in zip(entries, grid, strict=True):
            progress(f"{engine.name}: {p.a}-{p.b}")
            results.append(measure_pair(engine, p, distances))
        return results

    with jax.enable_x64(True):
        groups = {k: molecules(getattr(references, k)) for k in ("trained", "held_out", "larger")}
        if not engine.relaxes:
            return Findings(**groups)
        covered = {x.name for k in groups for x in getattr(references, k)}
        moments = {}
        for name in references.dipoles:
            entry = g2_molecule(name)
            if name in covered or set(entry.symbols) <= _elements(references):
                progress(f"{engine.name}: dipole of {name}")
                moments[name] = measure_molecule(engine, entry).dipole
        crystals = []
        for c in references.crystals:
            progress(f"{engine.name}: crystal {c.formula}")
            crystals.append(measure_crystal(engine, c))
        return Findings(
            pairs=pairs(references.pairs, grids[0]),
            held_out_pairs=pairs(references.held_out_pairs, grids[1]),
            dipoles=moments,
            crystals=crystals,
            **groups,
        )


def _elements(references: References) -> set[str]:
    return {s for p in (*references.pairs, *references.held_out_pairs) for s in (p.a, p.b)}


def _draw(folder: Path, references: References, grids, energies, found: dict[str, Findings]) -> list[str]:
    """The pictures there are data for; their file names."""
    names = []
    full = {k: f for k, f in found.items() if f.pairs}
    if references.pairs:
        names.append("curves.png")
        figures.plot_curves(
            references.pairs, grids[0], energies[0], {k: f.pairs for k, f in full.items()}, folder / names[-1]
        )
        names.append("charges.png")
        figures.plot_charges(
            references.pairs,
            {k: f.pairs for k, f in full.items()},
            references.dipoles,
            {k: f.dipoles for k, f in full.items()},
            folder / names[-1],
        )
    groups = {
        label: (
            np.array([m.atomisation for m in getattr(references, key)]),
            np.array([len(m.numbers) for m in getattr(references, key)]),
        )
        for label, key in (("training", "trained"), ("test", "held_out"), ("larger", "larger"))
        if getattr(references, key)
    }
    if groups:
        names.append("parity.png")
        keys = {"training": "trained", "test": "held_out", "larger": "larger"}
        results = {k: {g: getattr(f, keys[g]) for g in groups} for k, f in found.items()}
        figures.plot_parity(groups, results, folder / names[-1])
    if references.crystals:
        names.append("rock_salt.png")
        crystals = {k: f.crystals for k, f in found.items() if f.crystals}
        figures.plot_crystals(references.crystals, crystals, folder / names[-1])
    return names


def _table(rows: Sequence[Row], found: dict[str, Findings]) -> str:
    """Markdown; a value that misses its bar is marked with an asterisk, in the first column of methods only."""
    head = ["", "quantity", "unit", "bar", "goal", *found]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.part, row.quantity, row.unit, _number(row.bar), _number(row.goal)]
        for n, findings in enumerate(found.values()):
            value = row.value(findings)
            missed = n == 0 and np.isfinite(row.bar) and not value <= row.bar
            cells.append(_number(value) + ("*" if missed else ""))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"


def _page(parameters: ParameterSet, references: References, found: dict[str, Findings], table: str, names) -> str:
    first = next(iter(found.values()))
    sections = [
        f"# Parameter set `{parameters.name}` against references",
        f"{parameters.description}. Elements: {', '.join(parameters.elements)}. Checksum `"
        f"{checksum(parameters.content())[:16]}`, ectjax {__version__}.",
        "An asterisk marks what misses its bar. Errors are computed less measured; atomisation energies D_e without "
        "zero-point energies, of the G2 set. Training and held out by what the parameter file says it was trained on. "
        "GFN2-xTB: spin polarised, of a diatomic the lowest number of unpaired electrons at every distance, crystals "
        "in a cell of 64 atoms. PBE: def2-TZVP, a few molecules at the measured geometry.",
        table,
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in names),
        "## Diatomics",
        _pair_table(references.pairs, found, "pairs"),
    ]
    if references.held_out_pairs:
        sections += ["### Not trained on", _pair_table(references.held_out_pairs, found, "held_out_pairs")]
    for title, key in (("Training", "trained"), ("Test", "held_out"), ("Larger", "larger")):
        if getattr(references, key):
            sections += [f"## {title} molecules", _molecule_table(getattr(references, key), found, key)]
    if first.dipoles:
        sections += ["## Dipole moments in D", _dipole_table(references, found)]
    if first.crystals:
        sections += ["## Rock salt", _crystal_table(references, found)]
    covered = ", ".join(references.missing) or "nothing"
    lost = [
        m.name
        for key in ("trained", "held_out", "larger")
        for m, r in zip(getattr(references, key), getattr(first, key), strict=True)
        if not r.done
    ]
    sections += ["## Not covered", f"No parameters for: {covered}."]
    sections += [f"Not relaxed within the allowed steps: {', '.join(lost) or 'none'}."]
    return "\n\n".join(sections) + "\n"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _pair_table(pairs, found: dict[str, Findings], key: str) -> str:
    full = {k: getattr(f, key) for k, f in found.items() if f.pairs or f.held_out_pairs}
    head = ["pair", "R_e / Å", "D_e / eV", "charge / e"]
    for name in full:
        head += [f"R_e, {name}", f"D_e, {name}", f"charge, {name}"]
    lines = []
    for n, p in enumerate(pairs):
        line = [f"{p.a}-{p.b}", f"{p.r_e:.3f}", f"{p.d_e:.2f}", f"{p.charge_a:+.2f}"]
        for results in full.values():
            line += [f"{results[n].r_e:.3f}", f"{results[n].d_e:.2f}", f"{results[n].charge:+.2f}"]
        lines.append(line)
    return _grid(head, lines)


def _molecule_table(molecules, found: dict[str, Findings], key: str) -> str:
    head = ["molecule", "D_e / eV"]
    for name, f in found.items():
        head += [f"error per atom, {name}"] + ([f"bonds / Å, {name}"] if f.pairs or f.held_out_pairs else [])
    lines = []
    for n, m in enumerate(molecules):
        line = [m.name, f"{m.atomisation:.2f}"]
        for f in found.values():
            r = getattr(f, key)[n]
            energy = r.relaxed if f.pairs or f.held_out_pairs else r.fixed
            line.append("" if np.isnan(energy) else f"{(energy - m.atomisation) / len(m.numbers):+.3f}")
            if f.pairs or f.held_out_pairs:
                line.append("" if np.isnan(r.bonds) else f"{r.bonds:.3f}")
        lines.append(line)
    return _grid(head, lines)


def _dipole_table(references: References, found: dict[str, Findings]) -> str:
    full = {k: f.dipoles for k, f in found.items() if f.dipoles}
    names = list(next(iter(full.values())))
    lines = [[n, f"{references.dipoles[n]:.3f}", *(f"{x[n]:.3f}" for x in full.values())] for n in names]
    return _grid(["molecule", "measured", *full], lines)


def _crystal_table(references: References, found: dict[str, Findings]) -> str:
    full = {k: f.crystals for k, f in found.items() if f.crystals}
    head = ["crystal", "a / Å", "energy / eV"]
    for name in full:
        head += [f"a, {name}", f"energy, {name}"]
    lines = []
    for n, c in enumerate(references.crystals):
        line = [c.formula, f"{c.constant:.3f}", f"{c.energy:.2f}"]
        for results in full.values():
            line += [f"{results[n].constant:.3f}", f"{results[n].energy:.2f}"]
        lines.append(line)
    return _grid(head, lines)
