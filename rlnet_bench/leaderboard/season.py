"""Hidden evaluation seeds: nobody, maintainers included, knows beforehand which episodes score a submission.

A season opens with the sha256 of a secret, and ends with the secret. Key i of a policy on a task is the beginning of
HMAC-SHA256(secret, beacon value, digest, task, i): the *digest* is of weights and network alone, so that a changed
README draws nothing again; the *beacon*'s round is named before the submission freezes, so that our own choice draws
nothing again; and a digest that was frozen in a season keeps the round of its first time, so that equal weights
replay equal episodes. A log, chained and written before each evaluation, says what was drawn.

Without a season the keys come from a public secret: practice, which ranks nothing. Imports without torch.

``results/seasons/``: ``<name>.json`` (what is public), ``<name>.log.jsonl`` (the log).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.leaderboard.submission import Submission
from rlnet_bench.reading.files import KiB, read_bytes
from rlnet_bench.reading.plain import parse_json, parse_signed, read_json, signed
from rlnet_bench.reading.shapes import Maybe, check
from rlnet_bench.runs.files import write_atomic, writing

PRACTICE = b"practice: anyone can draw these"
CONTROL = "control "  # before the name of a control, where others have a digest
SECRET_BYTES = 32
SEASONS = "seasons"
START = "0" * 16  # what the first line of a log has before it


def draw(secret: bytes, beacon: bytes, digest: str, task: str, episodes: int) -> list[int]:
    """Environment seeds of one policy on one task, as signed 64-bit numbers.

    Args:
        secret: of the season.
        beacon: the value of its round.
        digest: of weights and network, see :func:`rlnet_bench.leaderboard.policies.digest_of`.
        task: its id.
        episodes: how many.
    """
    head = hmac.new(secret, _message(beacon, digest.encode(), task.encode()), hashlib.sha256)
    keys = []
    for i in range(episodes):
        total = head.copy()
        total.update(_message(str(i).encode()))
        keys.append(int.from_bytes(total.digest()[:8], "big", signed=True))
    return keys


def _message(*parts: bytes) -> bytes:
    """Parts, each after its length: no two lists of parts make one message."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def practice(digest: str, task: str, episodes: int) -> list[int]:
    """Environment seeds that anybody can draw."""
    return draw(PRACTICE, b"", digest, task, episodes)


# -- what is public ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Season:
    """What is known of a season."""

    name: str
    commitment: str  # sha256 of the secret
    beacon: str  # whose rounds are used, in words or an address
    board: int  # version of the board
    opened: str
    secret: str | None = None  # hex, once it is over


SEASON = {"name": str, "commitment": str, "beacon": str, "board": int, "opened": str, "secret": Maybe(str)}


def open_season(results: Path, name: str, beacon: str, board: int, secret_file: Path) -> Season:
    """Begin a season: a new secret into a file that nobody may see, its commitment into the folder of results.

    Raises:
        BadInput: when there is such a season or such a file.
    """
    file = results / SEASONS / f"{name}.json"
    for path in (file, secret_file):
        if path.exists():
            raise BadInput(f"{path}: is there already; a season is opened once.")
    secret = secrets.token_bytes(SECRET_BYTES)
    season = Season(name, hashlib.sha256(secret).hexdigest(), beacon, board, _now())
    with writing(secret_file):
        descriptor = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, secret.hex().encode() + b"\n")
        os.close(descriptor)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(season), indent=1) + "\n")
    return season


def read_season(results: Path, name: str) -> Season:
    """A season by name; raises Absent or Malformed, and for a revealed secret that is not the committed one."""
    file = results / SEASONS / f"{name}.json"
    data = read_json(file, shape=SEASON)
    season = Season(**{k: data[k] for k in SEASON})
    if season.secret is not None:
        committed(season, _hex(season.secret, str(file)))
    return season


def committed(season: Season, secret: bytes) -> bytes:
    """The secret, if it is the one whose digest was published; raises Malformed."""
    found = hashlib.sha256(secret).hexdigest()
    if found != season.commitment:
        raise Malformed(f"the secret of season {season.name}", f"the one with sha256 {season.commitment}", found)
    return secret


def read_secret(file: Path) -> bytes:
    """A secret from its file; raises Malformed."""
    return _hex(read_bytes(file, KiB, links=True).decode("ascii", "replace").strip(), str(file))


def close_season(results: Path, name: str, secret_file: Path) -> Season:
    """Reveal the secret: from now on anybody can draw what was drawn."""
    season = read_season(results, name)
    secret = committed(season, read_secret(secret_file))
    season = replace(season, secret=secret.hex())
    write_atomic(results / SEASONS / f"{name}.json", json.dumps(asdict(season), indent=1) + "\n")
    return season


def read_beacon(file: Path) -> dict[int, bytes]:
    """Values of a beacon by round, from a file with one object or a list: ``{"round": 1, "randomness": "hex"}``.

    Where a ``signature`` is given, the value must be its sha256, as drand's is.

    Raises:
        Malformed: for anything else.
    """
    data = parse_json(read_bytes(file, 1024 * KiB, links=True), str(file))
    found: dict[int, bytes] = {}
    for item in data if isinstance(data, list) else [data]:
        check(item, {"round": int, "randomness": str, "signature?": str}, str(file))
        value = _hex(item["randomness"], str(file))
        if "signature" in item and hashlib.sha256(_hex(item["signature"], str(file))).digest() != value:
            raise Malformed(f"{file}: round {item['round']}", "the sha256 of its signature", item["randomness"])
        found[item["round"]] = value
    return found


def _hex(text: str, where: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) < 16:
        raise Malformed(where, "at least 16 bytes in hex digits", text)
    return value


# -- the log -------------------------------------------------------------------------------------------------

LINE = {"event": ("frozen", "evaluation"), "row": str, "digests": dict, "round": int, "at": str, "previous": str}


@dataclass(frozen=True)
class Log:
    """What was frozen and drawn in a season, in order."""

    file: Path
    lines: tuple[Mapping[str, Any], ...] = ()
    last: str = START

    @classmethod
    def read(cls, results: Path, name: str) -> Log:
        """The log of a season, its chain checked.

        Raises:
            Malformed: naming the first line that is not what was written after the one before.
        """
        file = results / SEASONS / f"{name}.log.jsonl"
        data = read_bytes(file) if file.exists() else b""
        found, last = [], START
        for number, text in enumerate(data.splitlines(), 1):
            where = f"{file}: line {number}"
            line = parse_signed(text, where)
            check(line, LINE, where)
            if line["previous"] != last:
                raise Malformed(where, f"the line after {last}", f"a line after {line['previous'][:16]}")
            found.append(line)
            last = _check_of(text)
        return cls(file, tuple(found), last)

    def written(self, event: str, row: str, digests: Mapping[str, list[str]], beacon_round: int) -> Log:
        """The log with one more line, which is on disk when this returns."""
        line = {"event": event, "row": row, "digests": dict(digests), "round": beacon_round, "at": _now(),
                "previous": self.last}  # fmt: skip
        text = signed(line)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.file), self.file.open("ab") as out:
            out.write(text.encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        return Log(self.file, (*self.lines, line), _check_of(text.encode()))

    def round_of(self, digest: str) -> int | None:
        """The round that a digest was frozen with the first time; None: it never was."""
        for line in self.lines:
            if line["event"] == "frozen" and any(digest in found for found in line["digests"].values()):
                return int(line["round"])
        return None

    def has(self, event: str, row: str, task: str, digest: str) -> bool:
        """Whether a line says that."""
        return any(
            line["event"] == event and line["row"] == row and digest in line["digests"].get(task, ())
            for line in self.lines
        )


def freeze(
    results: Path,
    manifest: Submission,
    digests: Mapping[str, list[str]],
    name: str | None = None,
    number: int | None = None,
) -> int:
    """Bind digests to a round, in a season's log; returns the round that holds.

    A digest that was frozen before in that season keeps the round of that time.

    Args:
        results: the board.
        manifest: names season and round, unless they are given: a later season re-scores what is listed.
        digests: of its policies, by task.
        name: of the season.
        number: of the round.

    Raises:
        BadInput: for a manifest without a season, or one that is closed.
    """
    name, number = name or manifest.season, number or manifest.beacon_round
    if name is None or number is None:
        raise BadInput(f"{manifest.row}: expected `season` and `beacon_round` in its manifest, found neither; name "
                       "an open season, and a round of its beacon that lies in the future.")  # fmt: skip
    season = read_season(results, name)
    if season.secret is not None:
        raise BadInput(f"season {season.name} is closed, and its secret is known; name an open one.")
    log = Log.read(results, season.name)
    new = {t: [d for d in found if log.round_of(d) is None] for t, found in digests.items()}
    if any(new.values()):
        log = log.written("frozen", manifest.row, new, number)
    first = next(iter(digests.values()))[0]
    found = log.round_of(first)
    assert found is not None
    return found


def _check_of(text: bytes) -> str:
    return text.rstrip(b"\n")[-len('0123456789abcdef"}') : -len('"}')].decode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# -- drawing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawing:
    """A season's seeds: secret, values of the beacon, and the log that binds digests to rounds."""

    season: Season
    secret: bytes
    beacon: Mapping[int, bytes]
    log: Log

    def __call__(self, digest: str, task: str, episodes: int) -> list[int]:
        """As :func:`draw`; raises BadInput for a digest that was not frozen, or a round of which nothing is known."""
        if digest.startswith(CONTROL):
            return draw(self.secret, b"", digest, task, episodes)
        number = self.log.round_of(digest)
        if number is None:
            raise BadInput(f"{task}: weights {digest[:16]} were not frozen in season {self.season.name}; "
                           "`rlnet-bench season freeze FOLDER` comes first, before the beacon's round.")  # fmt: skip
        if number not in self.beacon:
            raise BadInput(f"{task}: expected the beacon's round {number}, with which weights {digest[:16]} were "
                           f"frozen first, found the rounds {sorted(self.beacon)}.")  # fmt: skip
        return draw(self.secret, self.beacon[number], digest, task, episodes)

    def logged(self, row: str, digests: Mapping[str, list[str]]) -> Drawing:
        """With a line that says what is about to be evaluated, on disk when this returns.

        Raises:
            BadInput: for a digest that was not frozen; nothing is written then.
        """
        rounds = [self.log.round_of(d) for found in digests.values() for d in found]
        for task, found in digests.items():
            for digest in found:
                self(digest, task, 1)
        return replace(self, log=self.log.written("evaluation", row, digests, max(r for r in rounds if r is not None)))
