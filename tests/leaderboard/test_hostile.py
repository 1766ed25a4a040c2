"""What a stranger may send, by hand: each ends in a clear refusal, nothing runs, and nothing outside is touched."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rlnet_bench.errors import BadInput
from rlnet_bench.leaderboard.check import check_submission
from rlnet_bench.leaderboard.folder import write_sums
from rlnet_bench.leaderboard.verify import verify

Fresh = Callable[..., Path]


class Fire:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.flag}",)


def weights(folder: Path) -> Path:
    return next(folder.glob("policies/*/0.safetensors"))


def records(folder: Path) -> Path:
    return next(folder.glob("records/*/*task*.jsonl.gz"), next(folder.glob("records/*/mpe*1.jsonl.gz")))


def described(folder: Path, **changes: object) -> None:
    file = next(folder.glob("policies/*/policy.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def manifest(folder: Path, old: str, new: str) -> None:
    file = folder / "submission.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def header_of(length: int) -> bytes:
    return struct.pack("<Q", length) + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + b"\0" * 4


def not_a_number(folder: Path) -> None:
    found = load_file(weights(folder))
    name = next(iter(found))
    found[name][0, ...] = float("nan")
    save_file(found, weights(folder))


ATTACKS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a pickle as weights": (lambda f, c: weights(f).write_bytes(pickle.dumps(Fire(c))), "weights_fit"),
    "a pickle as records": (lambda f, c: records(f).write_bytes(pickle.dumps(Fire(c))), "records_are_whole"),
    "a pickle as manifest": (lambda f, c: (f / "submission.yaml").write_bytes(pickle.dumps(Fire(c))),
                             "manifest_is_strict"),
    "a header of 10^9": (lambda f, c: weights(f).write_bytes(header_of(10**9)), "weights_fit"),
    "a header of 2^63": (lambda f, c: weights(f).write_bytes(header_of(2**63)), "weights_fit"),
    "a zip bomb": (lambda f, c: records(f).write_bytes(gzip.compress(b"\0" * (64 << 20), 9, mtime=0)),
                   "records_are_whole"),
    "NaN weights": (lambda f, c: not_a_number(f), "weights_fit"),
    "a link out": (lambda f, c: (f / "policies" / "x").symlink_to("/etc"), "manifest_is_strict"),
    "a pipe": (lambda f, c: os.mkfifo(f / "policies" / "x"), "manifest_is_strict"),
    "a way up": (lambda f, c: manifest(f, "method: my-model", "method: ../../x"), "manifest_is_strict"),
    "a way up to a task": (lambda f, c: manifest(f, "{id: mpe/simple_spread-discrete-v1", "{id: ../../etc/passwd"),
                           "manifest_is_strict"),
    "code as a task": (lambda f, c: manifest(f, "{id: mpe/simple_spread-discrete-v1", "{id: canary_module:make"),
                       "manifest_is_strict"),
    "python tags": (lambda f, c: manifest(f, "My model", f"!!python/object/apply:os.system ['touch {c}']"),
                    "manifest_is_strict"),
    "laughs": (lambda f, c: manifest(f, "title: My model", "a: &a [x, x]\nb: [*a, *a]\ntitle: y"),
               "manifest_is_strict"),
    "a target": (lambda f, c: manifest(f, "license: MIT", "license: MIT\n_target_: os.system"), "manifest_is_strict"),
    "a script's address": (lambda f, c: manifest(f, "license: MIT", "license: MIT\ncode: 'javascript:alert(1)'"),
                           "manifest_is_strict"),
    "right to left": (lambda f, c: manifest(f, "My model", "My \u202eledom"), "manifest_is_strict"),
    "zero width": (lambda f, c: manifest(f, "My model", "My mo\u200bdel"), "manifest_is_strict"),
    "a look-alike": (lambda f, c: manifest(f, "My model", "\u041cy model"), "manifest_is_strict"),
    "an escape": (lambda f, c: manifest(f, "My model", '"My \\e]0;x\\a model"'), "manifest_is_strict"),
    "a method of code": (lambda f, c: described(f, method="canary_module.py:Evil"), "weights_fit"),
    "an architecture of 10^9": (lambda f, c: described(f, policy={"kind": "actor", "actor": {
        "hidden": [10**9], "activation": "tanh", "share_parameters": True}}), "weights_fit"),
    "a hundred thousand layers": (lambda f, c: described(f, policy={"kind": "actor", "actor": {
        "hidden": [8] * 100_000, "activation": "tanh", "share_parameters": True}}), "weights_fit"),
    "a hidden file": (lambda f, c: (f / ".bashrc").write_text(f"touch {c}"), "files_are_as_listed"),
    "a .pth": (lambda f, c: (f / "x.pth").write_bytes(pickle.dumps(Fire(c))), "files_are_as_listed"),
    "a module": (lambda f, c: (f / "numpy.py").write_text(f"open({str(c)!r}, 'w')"), "files_are_as_listed"),
    "many files": (lambda f, c: [(f / "policies" / f"{i}").touch() for i in range(10_001)], "manifest_is_strict"),
    "deep folders": (lambda f, c: (f / "a/b/c/d/e/f").mkdir(parents=True), "manifest_is_strict"),
    "twins by case": (lambda f, c: (f / "readme.md").write_text("x"), "manifest_is_strict"),
    "a large manifest": (lambda f, c: manifest(f, "My model", "x" * 300_000), "manifest_is_strict"),
    "sums that lead out": (lambda f, c: (f / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n"),
                           "files_are_as_listed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(name: str, fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, canary = fresh(), tmp_path / "fired"
    (tmp_path / "canary_module.py").write_text(f"open({str(canary)!r}, 'w')\nclass Evil: pass\nmake = Evil\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(folder)
    attack, rule = ATTACKS[name]
    attack(folder, canary)
    if name != "sums that lead out" and rule != "manifest_is_strict":
        write_sums(folder)
    outside = set(tmp_path.iterdir())
    findings = check_submission(folder)
    assert findings and findings[0].rule == rule, findings
    assert all(f.sentence.strip() and f.mend.strip() for f in findings)
    if findings[0].is_form:
        with pytest.raises(BadInput):
            verify(folder)
    else:
        assert verify(folder)[0].level == "V0"
    assert not canary.exists() and "canary_module" not in sys.modules and set(tmp_path.iterdir()) == outside


def test_words_are_words(fresh: Fresh) -> None:
    """Markup in a title is no attack on a reader that escapes: it is kept as it is written."""
    folder = fresh()
    manifest(folder, "title: My model", "title: '<script>alert(1)</script> [red]x[/] {{ 7*7 }}'")
    write_sums(folder)
    assert check_submission(folder) == []
    assert verify(folder, episodes=2)[0].row == "my-model@1"
