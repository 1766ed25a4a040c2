"""Where there are records, the given weights are those that the records scored.

Allowed: the best weights of every run, as packed.
Disallowed: weights from elsewhere beside good records.
"""

from __future__ import annotations

from judged import Fresh, says
from safetensors.torch import load_file, save_file


def test_allowed(fresh: Fresh) -> None:
    assert says("policies_are_those_of_the_runs", fresh()) == ""


def test_disallowed(fresh: Fresh) -> None:
    folder = fresh()
    file = next(folder.glob("policies/*/1.safetensors"))
    save_file({name: tensor * 1.5 for name, tensor in load_file(file).items()}, file)
    said = says("policies_are_those_of_the_runs", folder)
    assert "1.safetensors: on mpe/simple_spread-discrete-v1: not the weights that run" in said
    assert "0.safetensors" not in said
