"""Small JSON files of a store: replaced in one step, read with a sentence when damaged. Imports without torch."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlnet_bench.errors import StoreError


class DiskRefused(StoreError):
    """Raised by what writes a store when the disk refuses: the fault of no run, which can go on later."""


@contextlib.contextmanager
def writing(path: Path, comfort: str = "nothing was damaged") -> Iterator[None]:
    """Make a sentence, DiskRefused, of an OSError: only of the store's own writing, never of a user's code."""
    try:
        yield
    except OSError as error:
        raise DiskRefused(f"{path}: cannot be written ({error.strerror or error}); {comfort}.") from error


def write_atomic(path: Path, text: str) -> None:
    """Replace a file in one step, so that readers see the old or the new content, never a mixture.

    Raises:
        DiskRefused: when the disk is full or read-only; the old content is untouched.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with writing(path):
        try:
            with temporary.open("w", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):  # a read-only disk refuses this, too
                temporary.unlink(missing_ok=True)
            raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file, empty when absent; raises StoreError when damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected a mapping, found {type(found).__name__}")
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: damaged or unreadable ({error}).") from None
