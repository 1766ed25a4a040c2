"""How what a user writes is validated, and how its mistakes are said. Imports without torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from rlnet_bench.methods import explain


class Strict(BaseModel):
    """Frozen; unknown keys and values of other types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def explained(
    error: ValidationError,
    where: Callable[[tuple[Any, ...]], str],
    model_at: Callable[[tuple[Any, ...]], type[BaseModel]],
) -> str:
    """A pydantic error as lines, each with where its value was written.

    Args:
        error: of a document.
        where: the place of a path into it.
        model_at: the model whose key a path names, for did-you-mean.
    """
    sentences = []
    for item in error.errors():
        path = tuple(p for p in item["loc"] if not (isinstance(p, str) and p.startswith(("function", "dict", "int"))))
        one = ValidationError.from_exception_data("document", [_line_error(item)])
        sentences.append(f"{where(path)}: {explain(one, model_at(path))}")
    return "\n".join(dict.fromkeys(sentences))


def _line_error(item: Any) -> Any:
    kept = {"type": item["type"], "loc": item["loc"], "input": item["input"]}
    return {**kept, "ctx": item["ctx"]} if "ctx" in item else kept
