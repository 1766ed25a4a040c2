"""A row is listed once, for ever, and its name does not look like somebody else's.

Allowed: version 2 of a row of one's own.
Disallowed: the same method and version again, `qm1x` beside `qmix`.
"""

from __future__ import annotations

import pytest
from judged import Fresh, MadeUp, entry, says


def test_allowed(fresh: Fresh) -> None:
    mine = MadeUp(entry("my-model", submitter="my-lab", version=2))
    assert says("names_are_their_own", fresh(), mine) == ""


def test_listed_already(fresh: Fresh) -> None:
    mine = MadeUp(entry("my-model", submitter="my-lab"))
    assert "my-model@1 is listed already" in says("names_are_their_own", fresh(), mine)


@pytest.mark.parametrize("name", ["my-model", "my.m0del", "my_rnodel", "mymodel"])
def test_looks_like_another(fresh: Fresh, name: str) -> None:
    assert f"looks like {name!r} of somebody" in says("names_are_their_own", fresh(), MadeUp(entry(name)))
