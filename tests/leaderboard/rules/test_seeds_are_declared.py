"""Seeds are declared before the first launch; all of them are launched on every task, and no others.

Allowed: seeds 0 to 4, one of which diverged and is listed so.
Disallowed: a declared seed that is not there, a seed that was added after a look at the results.
"""

from __future__ import annotations

from judged import Fresh, edit, says


def test_allowed(fresh: Fresh) -> None:
    assert says("seeds_are_declared", fresh()) == ""


def test_a_seed_that_is_not_there(fresh: Fresh) -> None:
    said = says("seeds_are_declared", edit(fresh(), "seeds:\n- 0\n", "seeds:\n- 7\n- 0\n"))
    assert "seed 7 is declared, and was never launched" in said


def test_a_seed_that_was_added(fresh: Fresh) -> None:
    said = says("seeds_are_declared", edit(fresh(), "seeds:\n- 0\n", "seeds:\n"))
    assert "seed 0 was launched" in said and "is not in `seeds`" in said
    assert "not those of the plan in the records" in said
