"""LBF ids and cards: one id per task, impossible ones refused with the sentence that says why."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnet_bench.envs.cards.lbf import Parameters, card, ids
from rlnet_bench.errors import BadInput, UnknownName

STANDARD = (
    *("8x8-2p-2f-coop", "2s-8x8-2p-2f-coop", "10x10-3p-3f", "2s-10x10-3p-3f"),
    *("15x15-3p-5f", "15x15-4p-3f", "15x15-4p-5f"),
)


def test_the_seven_standard_tasks_are_published():
    assert ids() == [f"lbf/{name}-v1" for name in STANDARD]


@pytest.mark.parametrize("task", ids())
def test_published_cards_are_complete(task):
    c = card(task)
    assert c.id == task and c.horizon == 50 and not c.masked and c.can_terminate and c.floor == 0.0
    assert set(c.references) == {"random", "uncoordinated", "best"}
    random, own, best = (c.references[k] for k in ("random", "uncoordinated", "best"))
    assert 0 <= random.value < own.value < best.value <= 1
    assert all(r.n >= 1000 and task in r.command for r in c.references.values())


def test_sizes():
    assert card("lbf/15x15-4p-5f-v1").observation_sizes == (27,) * 4
    assert card("lbf/15x15-4p-5f-v1").state_size == 108
    assert card("lbf/2s-8x8-2p-2f-grid-v1").observation_sizes == (75, 75)


def test_the_constructor_is_the_originals():
    c = card("lbf/2s-8x9-3p-4f-pl1to3-fl2to6-pen0.1-h30-grid-masked-clean-v1")
    assert c.constructor["field_size"] == (8, 9) and c.constructor["sight"] == 2
    assert (c.constructor["min_food_level"], c.constructor["max_food_level"]) == (2, 6)
    assert c.masked and len(c.deviations) == 6
    assert c.floor == pytest.approx(-0.1 * 3 * 30)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("8x8-2p-2f-h50", "use 'lbf/8x8-2p-2f-v1'"),
        ("8s-8x8-2p-2f", "use 'lbf/8x8-2p-2f-v1'"),
        ("8x8-2p-2f-pen0.10", "use 'lbf/8x8-2p-2f-pen0.1-v1'"),
        ("8x8-2p-2f-pl1to2", "use 'lbf/8x8-2p-2f-v1'"),
        ("08x8-2p-2f", "use 'lbf/8x8-2p-2f-v1'"),
        ("2x8-2p-2f", "rows and columns are 3 to 64"),
        ("8x8-0p-2f", "1 to 16 players"),
        ("3x3-10p-1f", "10 players do not fit on 9 cells"),
        ("8x8-2p-0f", "1 to 32 foods"),
        ("9s-8x8-2p-2f", "sight is 1 to 8, found 9"),
        ("0s-8x8-2p-2f", "sight is 1 to 8, found 0"),
        ("8x8-2p-2f-pl2to1", "low end first, found 2 to 1"),
        ("8x8-2p-2f-fl3to2", "low end first, found 3 to 2"),
        ("8x8-2p-2f-coop-fl1to4", "leave -coop out and write -fl4to4"),
        ("8x8-2p-2f-fl3toauto", "may sum to 2, below the lowest food level 3"),
        ("8x8-2p-2f-h0", "time limit is 1 to 100000"),
    ],
)
def test_impossible_ids_are_refused_with_a_sentence(name, sentence):
    with pytest.raises(BadInput, match=sentence):
        card(f"lbf/{name}-v1")


def test_unknown_ids_name_the_nearest_and_the_grammar():
    with pytest.raises(UnknownName, match=r"Did you mean 'lbf/8x8-2p-2f-coop-v1'\? LBF ids are"):
        card("lbf/8x8-2p-2f-cop-v1")
    with pytest.raises(UnknownName):
        card("lbf/8x8-2p-2f-clean-grid-v1")  # wrong order


@given(
    st.builds(
        Parameters,
        rows=st.integers(5, 64),
        columns=st.integers(5, 64),
        players=st.integers(1, 16),
        foods=st.integers(1, 32),
        sight=st.none() | st.integers(1, 4),
        player_high=st.integers(1, 63),
        penalty=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
        horizon=st.integers(1, 500),
        coop=st.booleans(),
        grid=st.booleans(),
        masked=st.booleans(),
        clean=st.booleans(),
    )
)
def test_every_possible_task_has_one_id(parameters):
    assert card(parameters.id()).id == parameters.id()


def test_cards_do_not_import_torch():
    code = (
        "import sys; from rlnet_bench.envs.cards import lbf; lbf.card(lbf.ids()[0]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
