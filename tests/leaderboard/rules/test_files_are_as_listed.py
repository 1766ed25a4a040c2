"""Every file of a submission has its place, and is the one whose digest SHA256SUMS has.

Allowed: what `submit pack` wrote.
Disallowed: a file that was edited afterwards, one that no kind of submission has, a link, one that is missing.
"""

from __future__ import annotations

import pytest
from judged import Fresh, all_rules, says

from rlnet_bench.leaderboard.folder import write_sums


def test_allowed(fresh: Fresh) -> None:
    assert says("files_are_as_listed", fresh()) == ""


def test_an_edited_file(fresh: Fresh) -> None:
    folder = fresh()
    (folder / "README.md").write_text("better words")
    assert "README.md: is not the file whose digest SHA256SUMS has" in says("files_are_as_listed", folder)


@pytest.mark.parametrize("name", ["run.sh", "policies/extra.pt", "records/x.py", "algorithm/train.py", ".hidden"])
def test_a_file_without_a_place(fresh: Fresh, name: str) -> None:
    folder = fresh()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    write_sums(folder)
    assert f"{name}: has no place in a submission of kind 'frozen-policy'" in says("files_are_as_listed", folder)


def test_a_missing_and_an_unlisted_file(fresh: Fresh) -> None:
    folder = fresh()
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    (folder / "SHA256SUMS").write_text("\n".join([*sums[1:], f"{'0' * 64}  gone.yaml"]) + "\n")
    said = says("files_are_as_listed", folder)
    assert "README.md: is not in SHA256SUMS" in said and "lists 'gone.yaml', which is not there" in said


def test_a_link(fresh: Fresh) -> None:
    folder = fresh()
    (folder / "policies" / "passwd.json").symlink_to("/etc/passwd")
    assert all_rules(folder) == {"manifest_is_strict"}
