"""What a file shows of itself without being asked: how its text is stored, what stands between its cells, which of its
columns are ours under another name, and what the names of runs are made of. Every guess comes with a sentence."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rlnet_bench.errors import Malformed
from rlnet_bench.foreign.files import MAX_BYTES
from rlnet_bench.methods import method_ids
from rlnet_bench.reading.files import as_text, read_bytes

SYNONYMS: dict[str, tuple[str, ...]] = {
    "method": ("algo", "algorithm", "alg", "algo_name", "algorithm_name", "alg_name", "method_name",
               "model", "model_name"),
    "task": ("env", "environment", "env_name", "env_id", "environment_name", "task_name", "map", "map_name",
             "scenario"),
    "seed": ("run", "run_id", "random_seed"),
    "episode": ("ep", "eval_episode", "episode_id", "episode_number"),
    "frames": (
        "env_steps", "environment_steps", "env_step", "timesteps", "timestep", "total_timesteps", "timesteps_total",
        "num_steps", "total_steps", "global_step", "t_env", "frame", "step", "steps",
    ),
    "return": (
        "episode_return", "mean_return", "return_mean", "mean_episode_return", "episode_return_mean", "eval_return",
        "evaluation_return", "test_return", "test_return_mean", "episode_reward", "mean_reward", "mean_episode_reward",
        "episode_reward_mean", "reward", "score", "returns",
    ),
    "success": ("success_rate", "win_rate", "won", "battle_won"),
}  # fmt: skip
SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 50  # rows
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
_SEED = re.compile(r"(?:^|[-_/. ])(?:random_?)?(?:seed|s)[-_=: ]?(\d{1,18})(?=$|[-_/. ])", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"[-_/. #=]+(?:run|trial)?[-_= ]?(\d{1,18})$", re.IGNORECASE)


def decoded(path: Path) -> tuple[str, str]:
    """The text of a file and what to say about how it is stored: UTF-8, UTF-16 with its mark, else Windows' cp1252."""
    data = read_bytes(path, MAX_BYTES, links=True)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return as_text(data.decode("utf-16").encode(), str(path)), ""
        except UnicodeDecodeError:
            raise Malformed(str(path), "UTF-16 text behind its byte-order mark", "a file that was cut off") from None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if b"\0" not in data and data[error.start] >= 0xA0:  # a letter of western Europe
            text = data.decode("cp1252", errors="replace")
            return text, f"{path}: it is no UTF-8 text and is read as Windows-1252; check the names."
    return as_text(data, str(path)), ""


def separator_of(text: str) -> str:
    """What stands between the cells: the mark that cuts the header into most of them."""
    header = text.partition("\n")[0]
    return max(SEPARATORS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def decimal_of(text: str, separator: str) -> str:
    """A comma where the first rows hold numbers such as ``0,5``, and cells are not separated by it."""
    if separator == ",":
        return "."
    rows = csv.reader(islice(text.splitlines(), 1, LOOKED_AT), delimiter=separator)
    return "," if any(_DECIMAL_COMMA.fullmatch(cell.strip()) for row in rows for cell in row) else "."


def columns_of(header: Iterable[str], known: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our columns that stand in a header under another name: ours -> theirs, where only one can be meant."""
    names = [c.strip() for c in header]
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(name.lower().replace(" ", "_").replace("-", "_"), []).append(name)
    found: dict[str, str] = {}
    for column in known:
        if column in given or column in names:
            continue
        same = plain.get(column, [])
        like = same or [n for s in SYNONYMS.get(column, ()) for n in plain.get(s, [])]
        if column == "return" and not same:
            like = [n for n in like if n not in found.values()]
        if len(same) == 1 or (like and (column == "frames" or len(like) == 1)):
            found[column] = like[0]
    return found


def run_names(names: Sequence[str], method: str | None, task: str | None) -> dict[str, tuple[str, str, int]] | None:
    """Method, task and seed of every run, from names such as ``ippo-spread-seed3``; None where they do not show.

    The seed is what follows the word, or the number at the end. What is left is method and task when one and the same
    mark cuts every name into two; a name of a method that is in the catalogue says which of them comes first.
    """
    rests: dict[str, tuple[str, int]] = {}
    for name in names:
        match = _SEED.search(name) or _LAST_NUMBER.search(name)
        if match is None:
            return None
        rests[name] = ((name[: match.start()] + name[match.end() :]).strip("-_/. "), int(match[1]))
    if method is not None and task is not None:
        return {n: (method, task, seed) for n, (_, seed) in rests.items()}
    if not all(rest for rest, _ in rests.values()):
        return None
    if method is not None or task is not None:
        return {n: (method or rest, task or rest, seed) for n, (rest, seed) in rests.items()}
    for mark in ("__", "/", " ", "-", "_"):
        pairs = {n: [p for p in rest.split(mark) if p] for n, (rest, _) in rests.items()}
        if all(len(p) == 2 for p in pairs.values()):
            known = set(method_ids())
            is_turned = all(p[1].lower() in known and p[0].lower() not in known for p in pairs.values())
            return {n: (p[is_turned], p[not is_turned], rests[n][1]) for n, p in pairs.items()}
    return None


def said(found: Mapping[str, tuple[str, str, int]], remedy: str) -> str:
    """The guess in words, by its first run."""
    name, (method, task, seed) = next(iter(found.items()))
    return f"run names are read as method, task and seed: {name!r} is {method}, {task}, {seed}. {remedy}"
