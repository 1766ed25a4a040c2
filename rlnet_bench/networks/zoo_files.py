"""The files of the zoo, which come with the package."""

from __future__ import annotations

from importlib import resources

FOLDER = resources.files("rlnet_bench.networks") / "zoo"


def zoo_text(short: str) -> str:
    """The YAML of ``zoo/SHORT``."""
    return (FOLDER / f"{short}.yaml").read_text(encoding="utf-8")
