"""The task hash stands in each submission, and is that of the catalogue: versions never share a column.

Allowed: runs on the tasks as they are now.
Disallowed: runs on an earlier version of a task under its present name, or on a task of one's own; they are run again.
"""

from __future__ import annotations

from judged import SPREAD_HASH, Fresh, edit, says


def test_allowed(fresh: Fresh) -> None:
    assert says("tasks_are_of_this_version", fresh()) == ""


def test_another_version(fresh: Fresh) -> None:
    said = says("tasks_are_of_this_version", edit(fresh(), SPREAD_HASH, "ab" * 32))
    assert "is not in the catalogue with the hash abab" in said
    assert "was made on another version" in said and "mend: run it again" in said


def test_other_frames(fresh: Fresh) -> None:
    said = says("tasks_are_of_this_version", edit(fresh(), "frames: 160", "frames: 80"))
    assert "had 160 frames, not those of `tasks`" in said
