"""A manifest is plain YAML of one schema, and nothing in it is anything but data.

Allowed: `license: MIT`; a title in any one script.
Disallowed: a key that the schema does not have, an alias, a tag, a title that mixes scripts to look like another.
"""

from __future__ import annotations

import pytest
from judged import Fresh, edit

from rlnet_bench.leaderboard.check import check_submission


def test_allowed(fresh: Fresh) -> None:
    assert check_submission(edit(fresh(), "title: My model", "title: 我的模型")) == []


@pytest.mark.parametrize(
    "line", ["licence: MIT", "title: My m\u043edel", "title: &a x", "title: !!python/name:os.system"]
)
def test_disallowed(fresh: Fresh, line: str) -> None:
    (finding,) = check_submission(edit(fresh(), "title: My model", line))[:1]
    assert finding.rule == "manifest_is_strict" and finding.is_form and "docs/submitting.md" in finding.mend
