"""An algorithm is code: it is listed at V0 or V1, nothing of it is run by a check, and what was run is what is shown.

Allowed: the file of the method whose digest the records carry.
Disallowed: another file than the one that was run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import small
from judged import edit, says
from packing import packed

from rlnet_bench import trust
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.verify import verify
from rlnet_bench.runs.worker import work

CODE = """
from rlnet_bench.methods import find_method, register

open({flag!r}, "a").write("ran ")


@register("mine", version=1, summary="of mine", Config=find_method("ippo").Config, training="independent")
class Mine(find_method("ippo")):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code, flag = tmp_path / "mine.py", tmp_path / "ran"
    code.write_text(CODE.format(flag=str(flag)))
    name = f"{code}:Mine"
    trust.typed(name)
    store, plan = small.store(tmp_path / "store", {"id": name, "set": small.TINY, "label": "mine"})
    work(store, plan.groups)
    assert flag.exists()
    flag.unlink()
    return packed(store, tmp_path / "submission", "mine", kind="algorithm")


def test_allowed(folder: Path, tmp_path: Path) -> None:
    assert check_submission(folder) == []
    assert verify(folder)[0].level == "V1"
    assert not (tmp_path / "ran").exists()
    assert (folder / "algorithm" / "mine.py").exists()


def test_other_code(folder: Path) -> None:
    edit(folder, "of mine", "of theirs", "algorithm/mine.py")
    assert "was made with code that is not in algorithm/" in says("code_is_never_run_by_readers", folder)
