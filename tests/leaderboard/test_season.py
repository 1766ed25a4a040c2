"""Hidden seeds: committed, bound, logged, drawn, revealed; and the way onto the board."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import small

from rlnet_bench.errors import BadInput, Malformed, WorkFailed
from rlnet_bench.leaderboard import verify as verifying
from rlnet_bench.leaderboard.accept import accept, record
from rlnet_bench.leaderboard.audit import audit
from rlnet_bench.leaderboard.check import check_board
from rlnet_bench.leaderboard.entries import entries
from rlnet_bench.leaderboard.evidence import Control, write_evidence
from rlnet_bench.leaderboard.folder import Folder, write_sums
from rlnet_bench.leaderboard.policies import digests
from rlnet_bench.leaderboard.season import (
    Drawing,
    Log,
    close_season,
    committed,
    draw,
    freeze,
    open_season,
    practice,
    read_beacon,
    read_season,
    read_secret,
)

Fresh = Callable[..., Path]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """An empty board with an open season."""
    results = tmp_path / "results"
    results.mkdir()
    (results / "board.yaml").write_text("version: 1\nmaintainers: [rlnet-bench]\nseason: s1\n")
    open_season(results, "s1", "drand quicknet", 1, tmp_path / "secret")
    (tmp_path / "beacon.json").write_text(json.dumps([{"round": n, "randomness": f"{n:064x}"} for n in (7, 8)]))
    return results


def entered(folder: Path, number: int = 7) -> Folder:
    """The folder, with a season and a round."""
    file = folder / "submission.yaml"
    file.write_text(file.read_text() + f"season: s1\nbeacon_round: {number}\n")
    write_sums(folder)
    return Folder.at(folder)


def frozen(results: Path, folder: Folder) -> int:
    return freeze(results, folder.manifest, {t: list(digests(folder, t).values()) for t in folder.seeds})


def drawing(results: Path) -> Drawing:
    season, root = read_season(results, "s1"), results.parent
    secret = committed(season, read_secret(root / "secret"))
    return Drawing(season, secret, read_beacon(root / "beacon.json"), Log.read(results, "s1"))


def test_keys_are_the_hmac() -> None:
    def part(x: bytes) -> bytes:
        return len(x).to_bytes(4, "big") + x

    message = b"".join(map(part, (b"value", b"ab12", b"mpe/x-v1", b"3")))
    expected = int.from_bytes(hmac.new(b"secret", message, hashlib.sha256).digest()[:8], "big", signed=True)
    assert draw(b"secret", b"value", "ab12", "mpe/x-v1", 5)[3] == expected
    assert len(set(draw(b"secret", b"value", "ab12", "mpe/x-v1", 500))) == 500
    one = draw(b"s", b"b", "d", "t", 4)
    assert one == draw(b"s", b"b", "d", "t", 8)[:4]
    for other in (draw(b"S", b"b", "d", "t", 4), draw(b"s", b"B", "d", "t", 4), draw(b"s", b"b", "D", "t", 4),
                  draw(b"s", b"b", "d", "T", 4), practice("d", "t", 4)):  # fmt: skip
        assert not set(one) & set(other)


def test_words_draw_nothing_again_and_weights_do(fresh: Fresh) -> None:
    folder = fresh("network")
    before = digests(Folder.at(folder), small.SPREAD)
    (folder / "README.md").write_text("other words")
    file = folder / "network.yaml"
    file.write_text(file.read_text().replace("name: tag-3ppo", "name: tag-4ppo"))
    assert digests(Folder.at(folder), small.SPREAD) == before
    assert "period: 2" in file.read_text()
    file.write_text(file.read_text().replace("period: 2", "period: 3"))
    assert digests(Folder.at(folder), small.SPREAD) != before


def test_the_whole_way(fresh: Fresh, board: Path, tmp_path: Path) -> None:
    folder = entered(fresh())
    with pytest.raises(BadInput, match="were not frozen in season s1"):
        verifying.verify(folder.path, board, drawing=drawing(board), episodes=3)
    assert Log.read(board, "s1").lines == ()  # nothing was drawn
    assert frozen(board, folder) == 7
    found, lines = verifying.verify(folder.path, board, drawing=drawing(board), episodes=3)
    assert (found.level, found.season, found.reasons) == ("V2", "s1", ())
    assert [c.name for c in found.controls] == ["random", "uncoordinated"]
    assert [x["event"] for x in Log.read(board, "s1").lines] == ["frozen", "evaluation"]
    write_evidence(tmp_path / "evidence", found, lines)
    listed = accept(folder.path, tmp_path / "evidence", board)
    policies, algorithms = sorted(listed, key=lambda e: e.division, reverse=True)
    assert (policies.division, policies.level, policies.is_ranked) == ("policies", "V2", True)
    assert (algorithms.division, algorithms.level, algorithms.is_ranked) == ("algorithms", "V1", False)
    assert policies.score == pytest.approx(sum(p.mean or 0 for p in found.tasks[0].policies) / 2)
    assert check_board(board) == []

    # A new season re-scores all.
    settings = board / "board.yaml"
    settings.write_text(settings.read_text().replace("season: s1", "season: s2"))
    assert not any(e.is_ranked for e in entries(board))
    assert next(e for e in entries(board) if e.division == "policies").needs_rerun
    rescored(board, tmp_path)
    assert next(e for e in entries(board) if e.division == "policies").is_ranked
    assert check_board(board) == []
    with pytest.raises(BadInput, match="season s2 is open"):
        audit(board, "s2", tmp_path / "beacon.json")
    close_season(board, "s2", tmp_path / "secret2")
    close_season(board, "s1", tmp_path / "secret")
    done = audit(board, "s2", tmp_path / "beacon.json")
    assert (done.tasks, done.policies, done.differences) == (1, 2, ())
    with pytest.raises(BadInput, match="season s1 is closed"):
        frozen(board, folder)


def rescored(board: Path, root: Path) -> None:
    """What is listed, scored again in a second season."""
    open_season(board, "s2", "drand quicknet", 1, root / "secret2")
    listed = Folder.at(board / "submissions" / "my-model@1")
    found = {t: list(digests(listed, t).values()) for t in listed.seeds}
    assert freeze(board, listed.manifest, found, "s2", 8) == 8
    season, secret = read_season(board, "s2"), read_secret(root / "secret2")
    later = Drawing(season, secret, read_beacon(root / "beacon.json"), Log.read(board, "s2"))
    evidence, lines = verifying.verify(listed.path, board, drawing=later, episodes=3)
    write_evidence(root / "later", evidence, lines)
    accept(listed.path, root / "later", board)


def test_an_audit_finds_a_number_that_was_not_drawn(fresh: Fresh, board: Path, tmp_path: Path) -> None:
    folder = entered(fresh())
    frozen(board, folder)
    luckier = replace(drawing(board), secret=b"another secret")
    found, lines = verifying.verify(folder.path, board, drawing=luckier, episodes=3)
    write_evidence(tmp_path / "evidence", found, lines)
    accept(folder.path, tmp_path / "evidence", board)
    close_season(board, "s1", tmp_path / "secret")
    assert len(audit(board, "s1", tmp_path / "beacon.json").differences) == 2


def test_equal_weights_keep_their_first_round(fresh: Fresh, board: Path) -> None:
    first = entered(fresh(), 7)
    assert frozen(board, first) == 7
    again = replace(first, manifest=first.manifest.model_copy(update={"beacon_round": 8, "version": 2}))
    assert frozen(board, again) == 7
    digest = digests(first, small.SPREAD)[0]
    secret = read_secret(board.parent / "secret")
    assert drawing(board)(digest, small.SPREAD, 2) == draw(secret, bytes.fromhex(f"{7:064x}"), digest, small.SPREAD, 2)


def test_a_beacon_without_the_round_draws_nothing(fresh: Fresh, board: Path) -> None:
    folder = entered(fresh(), 9)
    frozen(board, folder)
    with pytest.raises(BadInput, match="expected the beacon's round 9"):
        verifying.verify(folder.path, board, drawing=drawing(board), episodes=2)
    assert [x["event"] for x in Log.read(board, "s1").lines] == ["frozen"]


def test_controls_that_moved_refuse_the_batch(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = [Control(small.SPREAD, "random", -79.5, 0.1, -70.0, 0.5, 1e-9)]
    monkeypatch.setattr(verifying, "play_controls", lambda tasks, draw: moved)
    with pytest.raises(WorkFailed, match=r"the controls moved.*random on mpe/simple_spread-discrete-v1 -70"):
        verifying.verify(fresh(), episodes=2)


def test_a_season_is_opened_once_and_its_secret_is_private(board: Path, tmp_path: Path) -> None:
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0
    assert read_secret(tmp_path / "secret").hex() not in (board / "seasons" / "s1.json").read_text()
    with pytest.raises(BadInput, match="is there already"):
        open_season(board, "s1", "drand", 1, tmp_path / "other")
    (tmp_path / "wrong").write_text("00" * 32)
    with pytest.raises(Malformed, match="the secret of season s1: expected the one with sha256"):
        close_season(board, "s1", tmp_path / "wrong")


@pytest.mark.parametrize("change", ["swap", "drop", "edit"])
def test_a_changed_log_is_found(fresh: Fresh, board: Path, change: str) -> None:
    log = Log.read(board, "s1")
    for n in range(3):
        log = log.written("frozen", f"m@{n}", {small.SPREAD: [f"{n:064x}"]}, n)
    lines = log.file.read_text().splitlines(keepends=True)
    lines = {"swap": [lines[1], lines[0], lines[2]], "drop": [lines[0], lines[2]],
             "edit": [lines[0], lines[1].replace("m@1", "m@9"), lines[2]]}[change]  # fmt: skip
    log.file.write_text("".join(lines))
    with pytest.raises(Malformed, match=r"s1\.log\.jsonl: line [12]"):
        Log.read(board, "s1")


def test_a_beacon_is_the_digest_of_its_signature(tmp_path: Path) -> None:
    signature = "ab" * 48
    value = hashlib.sha256(bytes.fromhex(signature)).hexdigest()
    (tmp_path / "good.json").write_text(json.dumps({"round": 3, "randomness": value, "signature": signature}))
    assert read_beacon(tmp_path / "good.json") == {3: bytes.fromhex(value)}
    (tmp_path / "bad.json").write_text(json.dumps({"round": 3, "randomness": "00" * 32, "signature": signature}))
    with pytest.raises(Malformed, match="the sha256 of its signature"):
        read_beacon(tmp_path / "bad.json")


def test_acceptance_refuses_evidence_of_other_weights(fresh: Fresh, board: Path, tmp_path: Path) -> None:
    folder = fresh()
    found, lines = verifying.verify(folder, episodes=2)
    write_evidence(tmp_path / "evidence", replace(found, row="other@1"), lines)
    with pytest.raises(BadInput, match=r"expected evidence of my-model@1, found that of other@1"):
        accept(folder, tmp_path / "evidence", board)
    (task,) = found.tasks
    forged = replace(found, tasks=(replace(task, digests=tuple(reversed(task.digests))),))
    write_evidence(tmp_path / "evidence", forged, lines)
    with pytest.raises(BadInput, match="other weights were scored"):
        accept(folder, tmp_path / "evidence", board)
    assert record(board) == []
