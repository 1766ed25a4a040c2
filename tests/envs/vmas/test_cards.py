"""VMAS cards without the package: ids, sentences for what is not offered, no heavy imports."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from rlnet_bench import make_env, task_card, task_ids
from rlnet_bench.envs.cards.vmas import ids
from rlnet_bench.envs.vmas.tasks import KNOWN_WRONG
from rlnet_bench.errors import BadInput, MissingExtra, UnknownName

SCENARIOS = {
    "balance", "transport", "reverse_transport", "wheel", "dispersion", "discovery", "give_way", "navigation",
    "sampling", "dropout", "ball_passage", "joint_passage",
}  # fmt: skip


def test_every_scenario_of_the_suite_is_published_in_both_action_kinds():
    cards = [task_card(i) for i in ids()]
    assert set(ids()) <= set(task_ids())
    assert {c.constructor["scenario"] for c in cards} == SCENARIOS
    assert len(cards) == 2 * 14
    assert {c.action_kind for c in cards} == {"continuous", "discrete"}


def test_cards_are_complete():
    for task in ids():
        card = task_card(task)
        assert card.id == task
        assert card.faithful_to == "vmas 1.5.2"
        assert card.horizon == (500 if "passage" in task else 100)
        assert card.success_metric and card.success_description and card.reward_scale
        assert not card.batch_invariant
        assert card.references["random"].n >= 1000, task
        assert card.floor <= card.references["random"].value, task
        assert task in card.references["random"].command


def test_listing_imports_neither_torch_nor_vmas():
    code = (
        "import sys; from rlnet_bench.envs.registry import task_ids, task_card; "
        "[task_card(i) for i in task_ids() if i.startswith('vmas/')]; "
        "print([m for m in ('torch', 'vmas', 'gym') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("scenario", sorted(KNOWN_WRONG))
@pytest.mark.parametrize("form", ["vmas/{}-continuous-v1", "vmas/{}", "vmas:{}", "vmas:{}.py", "vmas:mpe/{}"])
def test_known_wrong_scenarios_are_refused_with_the_reason(scenario, form):
    with pytest.raises(BadInput, match="is not offered: ") as refusal:
        task_card(form.format(scenario))
    assert KNOWN_WRONG[scenario] in str(refusal.value)


def test_a_misspelt_id_gets_the_nearest_one():
    with pytest.raises(UnknownName, match="Did you mean 'vmas/balance-continuous-v1'"):
        task_card("vmas/balence-continuous-v1")


def test_navigation_asks_which_of_its_variants():
    with pytest.raises(BadInput, match=r"navigation-shared-discrete-v1 and vmas/navigation-individual-discrete-v1"):
        task_card("vmas/navigation-discrete-v1")


def test_without_the_package_the_install_command_is_named(monkeypatch):
    for name in [m for m in sys.modules if m.partition(".")[0] == "vmas"]:
        monkeypatch.delitem(sys.modules, name)

    class Nowhere:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "vmas":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Nowhere(), *sys.meta_path])
    with pytest.raises(MissingExtra, match=r'pip install "rlnet-bench\[vmas\]"'):
        make_env("vmas/balance-continuous-v1", 1)
    monkeypatch.undo()
    assert find_spec("rlnet_bench.envs.vmas.env") is not None
