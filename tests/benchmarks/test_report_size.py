"""Size and time of the report of a full suite: 10 methods x 12 tasks x 10 seeds below 3 MB."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import build

from rlnet_bench.reports import build_report

LIMIT = 3_000_000


@pytest.mark.slow
def test_full_suite(benchmark, tmp_path: Path) -> None:
    results = build(
        {f"method{i}": 0.2 + 0.07 * i for i in range(10)},
        tuple(f"family{i // 4}/task_{i}-discrete-v1" for i in range(12)),
        seeds=tuple(range(10)),
        points=41,
        execution={"method9": "C", "method8": "D1"},
    )
    page = benchmark.pedantic(build_report, (results, tmp_path), {"pdf": False}, rounds=1)
    size = page.stat().st_size
    benchmark.extra_info["bytes"] = size
    seconds = benchmark.stats.stats.mean
    print(f"report of 10 methods x 12 tasks x 10 seeds: {size / 1e6:.2f} MB in {seconds:.1f} s")
    assert size < LIMIT
