"""Who is compared with whom: methods that train, by execution class; controls apart."""

from __future__ import annotations

from rlnet_bench.analysis.results import MethodInfo, Results
from rlnet_bench.vocabulary import class_rank


def trained(results: Results) -> tuple[MethodInfo, ...]:
    """The methods that are compared, in suite order."""
    return tuple(m for m in results.methods if m.trains)


def untrained(results: Results) -> tuple[MethodInfo, ...]:
    """Controls and scripts: reference lines, never ranked."""
    return tuple(m for m in results.methods if not m.trains)


def classes(results: Results) -> dict[str, tuple[MethodInfo, ...]]:
    """Execution class -> its trained methods, weakest class first; classes without methods are left out."""
    found = {m.execution for m in trained(results)}
    return {c: tuple(m for m in trained(results) if m.execution == c) for c in sorted(found, key=class_rank)}
