"""The examples in the docstrings and in docs/statistics.md run and print what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import rlnet_bench.stats

MODULES = sorted(m.name for m in pkgutil.iter_modules(rlnet_bench.stats.__path__))
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(f"rlnet_bench.stats.{name}")
    assert doctest.testmod(module).failed == 0


def test_documentation_page():
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def test_public_names_are_exported_once_and_documented():
    names = rlnet_bench.stats.__all__
    assert len(names) == len(set(names))
    assert all(getattr(rlnet_bench.stats, n).__doc__ for n in names if n != "STANDARD_AGGREGATES")


def test_modules_stay_small():
    folder = Path(rlnet_bench.stats.__file__).parent
    assert {p.name: n for p in folder.glob("*.py") if (n := len(p.read_text().splitlines())) > 400} == {}
