"""How much XLA optimises: programs that run too seldom to pay for all of it.

Results agree to rounding; what it costs and gains is in `benchmarks/results/compilation.txt`.
"""

import os
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import equinox as eqx
import jax

LIGHT = (("xla_backend_optimization_level", 1), ("xla_cpu_use_fusion_emitters", False))
"""For programs that run tens to thousands of times."""
QUICK = (("xla_backend_optimization_level", 0), ("xla_cpu_use_fusion_emitters", False))
"""For programs that run once, or now and then."""


def compiled(wanted: tuple[tuple[str, int | bool], ...]) -> Callable[[Callable], Callable]:
    """Decorator: `equinox.filter_jit` with `LIGHT` or `QUICK` for its options."""

    def decorate(function: Callable) -> Callable:
        @lru_cache(maxsize=1)
        def program():
            options: dict[str, Any] = {"compiler_options": compiler_options(wanted)}
            return eqx.filter_jit(function, **options)

        @wraps(function)
        def call(*given, **options):
            return program()(*given, **options)

        return call

    return decorate


@lru_cache
def compiler_options(wanted: tuple[tuple[str, int | bool], ...]) -> dict[str, int | bool]:
    """The options as `jax.jit` takes them, less those that `XLA_FLAGS` sets and those that this XLA does not know."""
    chosen = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in wanted if name not in chosen and _known(name, value)}


def _known(name: str, value: int | bool) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
    except Exception:  # every XLA says so in its own way
        return False
    return True
