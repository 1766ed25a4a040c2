"""How models of what a user writes are validated."""

from pydantic import ConfigDict

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
"""Frozen; unknown keys and values of other types are refused."""
