"""How a submission is packed in tests."""

from __future__ import annotations

from pathlib import Path

from rlnet_bench.leaderboard.pack import pack
from rlnet_bench.runs.store import Store

WORDS = """\
method: my-model
title: My model
submitter: {id: my-lab, name: My Lab}
license: MIT
tuning: untuned
"""


def packed(store: Store, folder: Path, method: str, **options: str) -> Path:
    """A folder with everything."""
    folder.mkdir()
    (folder / "submission.yaml").write_text(WORDS)
    pack(store, folder, method=method, **options)  # type: ignore[arg-type]
    return folder
