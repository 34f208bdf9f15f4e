"""Read and write parameter sets.

A file holds {"format": "ectjax-parameters", "version": 1, "name", "description", "options": {cutoff, energies, pair,
embedding, resonance, polarization}, "elements": {symbol: {"states": [labels], "a", "b", "sigma", "kappa", "m", "anion",
"pi", "tau"}}, "provenance": {…}, "checksum"}; a file without "anion" means 1, without "pi" 0, without "tau"
1.4, without "resonance" the spherical one, without "polarization" none; sigma in bohr, kappa in eV per (e/bohr³)^½, the
others without unit.
"""

import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from ectjax.files import read_utf8, replacing

FORMAT, VERSION = "ectjax-parameters", 1
FIELDS = ("a", "b", "sigma", "kappa", "m", "anion", "pi", "tau")
ABSENT = {"anion": 1.0, "pi": 0.0, "tau": 1.4}
OPTIONS = ("cutoff", "energies", "pair", "embedding", "resonance", "polarization")


@dataclass(frozen=True)
class ParameterSet:
    """Numbers and choices a model is built from. `elements` maps a symbol to its numbers, `states` to labels."""

    name: str
    elements: dict[str, dict[str, float]]
    states: dict[str, tuple[str, ...]]
    options: dict = field(default_factory=dict)
    description: str = ""
    provenance: dict = field(default_factory=dict)

    def content(self) -> dict:
        """The file's content without its checksum."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "description": self.description,
            "options": self.options,
            "elements": {
                symbol: {"states": list(self.states[symbol]), **{k: float(numbers[k]) for k in FIELDS}}
                for symbol, numbers in self.elements.items()
            },
            "provenance": self.provenance,
        }


def checksum(content: dict) -> str:
    """sha256 of the content written canonically (sorted keys, no spaces), without its own checksum."""
    bare = {k: v for k, v in content.items() if k != "checksum"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save_parameters(parameters: ParameterSet, path: str | Path) -> Path:
    """Write a set as JSON, first to a temporary name, then renamed."""
    path = Path(path)
    content = parameters.content()
    content["checksum"] = checksum(content)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    return path


def available_parameters() -> list[str]:
    """Names of the shipped sets."""
    folder = resources.files("ectjax.parameters")
    return sorted(x.name[: -len(".json")] for x in folder.iterdir() if x.name.endswith(".json"))


def load_parameters(name: str | Path = "default") -> ParameterSet:
    """A shipped set by name, or a file by path.

    Raises ValueError for a name that is neither, a file of another format or version, or a wrong checksum.
    """
    shipped = available_parameters()
    if str(name) in shipped:
        text, where = (resources.files("ectjax.parameters") / f"{name}.json").read_text(encoding="utf-8"), name
    elif Path(name).is_file():
        text, where = read_utf8(Path(name), "a parameter file (JSON)"), name
    else:
        raise ValueError(
            f"no parameter set {str(name)!r}; shipped are {', '.join(shipped) or 'none'}: name one or give a JSON file"
        )
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"parameter file {where} is not JSON ({error}); restore it or fit again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise ValueError(f"parameter file {where} is not of format {FORMAT} version {VERSION}; write it anew")
    if content.get("checksum") != checksum(content):
        raise ValueError(
            f"parameter file {where} has checksum {content.get('checksum')}, its content gives {checksum(content)}; "
            "restore it, or write an edited set with ectjax.parameters.save_parameters"
        )
    try:
        elements = content["elements"]
        return ParameterSet(
            name=content["name"],
            elements={s: {k: float((ABSENT | entry)[k]) for k in FIELDS} for s, entry in elements.items()},
            states={symbol: tuple(entry["states"]) for symbol, entry in elements.items()},
            options=content["options"],
            description=content["description"],
            provenance=content["provenance"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"parameter file {where} lacks an entry or holds a wrong one ({error}); write it with "
            "ectjax.parameters.save_parameters"
        ) from None
