"""``make gpu`` says what it cannot do, and runs on the CPU what it would run on a GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_script", HERE / "__main__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_cuda_a_sentence_and_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE)], capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "make gpu: there is no CUDA device here, so nothing was run.\n"


@pytest.mark.slow
def test_every_line_and_the_table_run_on_the_cpu(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    assert script.main("cpu", replicas=(1, 2), environments=(16,), seconds=0.0) == 0
    out = capsys.readouterr().out
    assert "FAILED" not in out and out.count("\nok ") + out.startswith("ok ") == 10
    assert len(out.splitlines()[-1].split()) == 3


def test_a_failure_is_named_and_the_rest_goes_on(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str:
        raise AssertionError("a metric is no number")

    monkeypatch.setattr(script, "smoke", lambda device: iter([("one", broken), ("two", lambda: "fine")]))
    assert script.main("cpu", replicas=(), environments=()) == 1
    assert "FAILED  one: AssertionError: a metric is no number\nok      two: fine" in capsys.readouterr().out
