"""Size and time of the report of a full suite: 10 methods x 12 tasks x 10 seeds below 3 MB."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from rlnet_bench.reports import build_report

LIMIT = 3_000_000


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "report_builder", Path(__file__).parents[1] / "reports" / "conftest.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_full_suite(benchmark, tmp_path: Path) -> None:
    results = builder().build(
        {f"method{i}": 0.2 + 0.07 * i for i in range(10)},
        tuple(f"family{i // 4}/task_{i}-discrete-v1" for i in range(12)),
        seeds=tuple(range(10)),
        points=41,
        execution={"method9": "C", "method8": "D1"},
    )
    page = benchmark.pedantic(build_report, (results, tmp_path), {"pdf": False}, rounds=1)
    size = page.stat().st_size
    benchmark.extra_info["bytes"] = size
    print(f"report of 10 methods x 12 tasks x 10 seeds: {size / 1e6:.2f} MB")
    assert size < LIMIT
