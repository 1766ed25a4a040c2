"""The manifest: what it takes, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlnet_bench.errors import BadInput, Malformed
from rlnet_bench.leaderboard.submission import MANIFEST, Submission, read_manifest

GOOD = """\
schema_version: 1
kind: frozen-policy
method: my-model
title: My model
submitter: {id: me, name: Ada Lovelace}
license: MIT
training: independent
tuning: {trials: 20, seeds: 3, tasks: [mpe/simple_spread-discrete-v1], space: "learning rate in {1e-4, 1e-3}"}
seeds: [0, 1]
tasks: [{id: mpe/simple_spread-discrete-v1, hash: HASH, frames: 1000}]
launches:
  - {run: 0123456789abcdef, task: mpe/simple_spread-discrete-v1, seed: 0, status: ok}
claims:
  - {task: mpe/simple_spread-discrete-v1, seed: 0, mean: -40.5, sd: 3.0, episodes: 320}
""".replace("HASH", "ab" * 32)


def read(folder: Path, text: str) -> Submission:
    (folder / MANIFEST).write_text(text)
    return read_manifest(folder)


def test_a_good_manifest(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert (found.row, found.kind, found.version, found.mode) == ("my-model@1", "frozen-policy", 1, "deterministic")
    assert found.task("mpe/simple_spread-discrete-v1").frames == 1000


MISTAKES = {
    "unknown key": ("license: MIT", "licence: MIT", "unknown key 'licence'. Did you mean 'license'?"),
    "line": ("license: MIT", "licence: MIT", "submission.yaml:6: unknown key"),
    "look-alike": ("My model", "My m\u043edel", "letters of one script in a word, found CYRILLIC, LATIN"),
    "right to left": ("My model", "My \u202eledom", "one line of visible characters"),
    "zero width": ("My model", "My\u200b model", "one line of visible characters"),
    "ligature": ("My model", "My \ufb01lm", "plain form (NFKC)"),
    "method": ("my-model", "My Model", "method: expected lower-case letters and digits, in words"),
    "path": ("my-model", "../my-model", "method: expected lower-case letters and digits, in words"),
    "bool": ("schema_version: 1", "schema_version: true", "schema_version: input should be a valid integer"),
    "nan": ("-40.5", ".nan", "expected a finite number"),
    "twice": ("seeds: [0, 1]\n", "seeds: [0, 0]\n", "seeds: expected distinct entries"),
    "other task": ("{run: 0123456789abcdef, task: mpe/simple_spread", "{task: mpe/other", "expected tasks of `tasks`"),
    "silent failure": ("status: ok", "status: failed", "a failed launch needs a `reason`"),
    "season": ("license: MIT", "license: MIT\nseason: s1", "`season` and `beacon_round` together"),
    "script": ("license: MIT", "license: MIT\npaper: 'javascript:alert(1)'", "starts with https://"),
    "alias": ("tuning: {", "tuning: &a {", "anchors and aliases"),
    "tag": ("title: My model", "title: !!python/object:os.system x", "the tag"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    old, new, sentence = MISTAKES[name]
    assert old in GOOD
    with pytest.raises((BadInput, Malformed)) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert sentence in str(error.value)


def test_the_manifest_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(GOOD)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / MANIFEST).symlink_to(tmp_path / "other.yaml")
    with pytest.raises(Malformed, match="found a link"):
        read_manifest(tmp_path / "sub")
