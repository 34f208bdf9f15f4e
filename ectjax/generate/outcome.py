"""What a build reports about each state."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What became of one state: "built", "kept" from an earlier run, or "failed" with the reason."""

    symbol: str
    label: str
    status: str
    message: str = ""
