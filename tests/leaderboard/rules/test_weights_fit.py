"""Weights are finite numbers with declared names, types and shapes, and go into modules that we build.

Allowed: safetensors of a policy whose class this package has.
Disallowed: a pickle under another name, NaN, a missing or extra tensor, an architecture larger than its weights.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from judged import Fresh, says
from safetensors.torch import load_file, save_file
from torch import Tensor, zeros


def weights(folder: Path) -> Path:
    return next(folder.glob("policies/*/0.safetensors"))


def test_allowed(fresh: Fresh) -> None:
    assert says("weights_fit", fresh()) == ""


def test_a_pickle(fresh: Fresh) -> None:
    folder = fresh()
    weights(folder).write_bytes(pickle.dumps({"a": 1}))
    assert "expected safetensors, found a file without its header" in says("weights_fit", folder)


@pytest.mark.parametrize("change, sentence", [
    (lambda x: x * math.nan, "expected finite numbers in rows"),
    (lambda x: x.double(), "expected float32, found 'float64'"),
    (lambda x: x[..., :-1].contiguous(), "expected tensors as of seed 0"),
])  # fmt: skip
def test_other_numbers(fresh: Fresh, change: Callable[[Tensor], Tensor], sentence: str) -> None:
    folder = fresh()
    found = load_file(weights(folder))
    name = next(iter(found))
    save_file({**found, name: change(found[name])}, weights(folder))
    assert sentence in says("weights_fit", folder)


def test_tensors_that_nobody_asked_for(fresh: Fresh) -> None:
    folder = fresh()
    for file in folder.glob("policies/*/*.safetensors"):
        save_file({**load_file(file), "extra": zeros(3)}, file)
    assert "extra is unexpected" in says("weights_fit", folder)


@pytest.mark.parametrize("hidden", [[10**9], [8, 10**9], [8] * 1000, "many", [0], [8.0]])
def test_an_architecture_larger_than_its_weights(fresh: Fresh, hidden: object) -> None:
    folder = fresh()
    file = next(folder.glob("policies/*/policy.json"))
    data = json.loads(file.read_text())
    data["policy"]["actor"]["hidden"] = hidden
    file.write_text(json.dumps(data))
    said = says("weights_fit", folder)
    assert "weights_fit" in said and ("layers need at least" in said or "hidden: expected" in said)


def test_a_method_that_is_code(fresh: Fresh) -> None:
    folder = fresh()
    file = next(folder.glob("policies/*/policy.json"))
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "method": "my.py:Mine"}))
    assert "expected a trained method of the catalogue, found 'my.py:Mine'" in says("weights_fit", folder)
