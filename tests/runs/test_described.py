"""Descriptions: cards as data, their digests, and what readers make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlnet_bench.envs.card import TaskCard, unknown_card
from rlnet_bench.envs.registry import is_catalogued, task_card, task_ids
from rlnet_bench.errors import Malformed
from rlnet_bench.runs.described import card_of, check_described, code_of, facts_of, other_task
from rlnet_bench.trust import Wanted

ROOT = Path(__file__).parent.parent.parent
SPREAD = "mpe/simple_spread-discrete-v1"
CONFIG = {"task": "canary:make", "method": "ippo", "settings": {}, "frames": 10, "method_source": ""}


def test_every_card_survives_as_data_with_its_digest() -> None:
    for task in task_ids():
        card = task_card(task)
        again = TaskCard.from_json(json.loads(json.dumps(card.to_json())))
        assert again.hash() == card.hash() and not again.references
        assert again.agents == card.agents and again.action_lows == card.action_lows


def test_every_published_record_has_the_digest_of_its_card_today() -> None:
    """A new field of cards, or another default, must not make another task of what was published."""
    found = {
        (g["config"]["task"], g["config"]["task_hash"])
        for file in ROOT.glob("results/*/suite.json")
        for g in json.loads(file.read_text())["groups"]
    }
    assert len(found) > 5
    assert [task for task, digest in found if task_card(task).hash() != digest] == []


def test_a_described_card_is_bound_to_the_configuration() -> None:
    card = task_card(SPREAD).to_json() | {"id": "canary:make"}
    config = {**CONFIG, "task_hash": TaskCard.from_json(card).hash()}
    check_described({"task": card}, config, "x")
    found = card_of(config, {"task": card})
    assert found is not None and found.floor == task_card(SPREAD).floor and other_task(config, found) is None
    for change in (
        {"floor": 0.0},
        {"id": "other:make"},
        {"agents": []},
        {"horizon": "long"},
        {"constructor": {"n": 9}},
    ):
        with pytest.raises(Malformed):
            check_described({"task": card | change}, config, "x")
    check_described({"task": card | {"description": "words are not part of it"}}, config, "x")
    assert card_of(config, {}) is None


def test_the_catalogue_wins() -> None:
    config = {**CONFIG, "task": SPREAD, "task_hash": task_card(SPREAD).hash()}
    described = {"task": task_card(SPREAD).to_json(), "method": {"id": "mappo", "summary": "", "training": "none",
                                                                 "trains": False, "citation": ""}}  # fmt: skip
    card = card_of(config, described)
    assert card is not None and card.references
    assert facts_of(config, described).id == "ippo" and facts_of(config, described).trains
    assert "another version of" in str(other_task({**config, "task_hash": "0" * 64}, card))


def test_code_of_a_record_has_the_digest_that_its_configuration_begins() -> None:
    config = {**CONFIG, "task": SPREAD, "method": "my.py:Mine", "method_source": "ab" * 8}
    described = {"code": [{"name": "my.py:Mine", "file": "there/my.py", "sha256": "ab" * 32}]}
    check_described(described, config, "x")
    assert code_of(config, described) == [Wanted("my.py:Mine", "ab" * 32, "there/my.py")]
    assert code_of(config) == [Wanted("my.py:Mine", "ab" * 8)]
    described["code"][0]["sha256"] = "cd" * 32
    with pytest.raises(Malformed, match="sha256"):
        check_described(described, config, "x")


def test_an_unknown_task_is_none_of_the_catalogue() -> None:
    assert is_catalogued(SPREAD) and not is_catalogued("vmas:football") and not is_catalogued("nobodys/task-v1")
    assert unknown_card("a:b", agents=3).num_agents == 3
