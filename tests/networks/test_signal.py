"""Controls are what they say, and what an instruction tells is told from its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LBF, SPREAD, differing, learner, trained, weights

from rlnet_bench.envs.registry import task_card
from rlnet_bench.networks import pages
from rlnet_bench.networks.build import Network, continuous, zoo_ids
from rlnet_bench.networks.signal import _parts, signals
from rlnet_bench.runs.checkpoint import flatten, unflatten

PAGES = Path(__file__).parents[2] / "docs" / "networks"


def measured(name: Any, task: str = SPREAD, **settings: Any) -> tuple[Any, Any]:
    """(in training, in evaluation) of the only vertex that instructs."""
    made = learner(name, task, hidden=(64, 64), **settings)
    one, other = signals(made.policy(), task_card(task))
    assert one.trains and not other.trains
    return one, other


def test_parts_by_hand() -> None:
    """Situations say -1 or 1; every repetition adds the same to all."""
    signal = torch.tensor([-1.0, 1.0]).repeat(8)[None, None, :, None].double()
    noise = torch.tensor([-3.0, 3.0]).repeat(4)[:, None, None, None].double()
    found = _parts("x", True, signal + noise)
    assert found.signal == pytest.approx((16 / 15) ** 0.5) and found.noise == pytest.approx((9 * 8 / 7) ** 0.5)
    assert found.ratio == pytest.approx(16 / 15 / (9 * 8 / 7))
    assert _parts("x", True, signal.expand(8, 1, 16, 1)).words == "no noise"
    assert _parts("x", True, noise.expand(8, 1, 16, 1)).ratio == 0.0


def test_a_learning_director_starts_as_noise_and_the_controls_do_not() -> None:
    train, play = measured("zoo/tag-2ppo")
    assert 0 < train.ratio < 1e-2 and play.noise == 0 and play.signal < 0.1
    train, play = measured("zoo/control-features")
    assert train.noise == play.noise == 0 and train.signal == pytest.approx(play.signal) and play.signal > 0.2


def test_noise_is_as_loud_as_a_learner_and_silent_when_play_is_deterministic() -> None:
    train, play = measured("zoo/control-noise")
    loud, _ = measured("zoo/tag-2ppo")
    assert train.noise == pytest.approx(loud.noise, rel=0.03)
    assert train.signal == play.signal == play.noise == 0
    quiet, _ = measured(
        Network("q").vertex("boss", action=continuous(8), learner="jitter", log_std=-3.0).motors("motor")
        .edge("boss", "motor").build()
    )  # fmt: skip
    assert quiet.noise == pytest.approx(torch.tensor(-3.0).exp().item(), rel=0.05)


@pytest.mark.parametrize("name", ["zoo/control-shuffled", "zoo/control-constant"])
def test_what_is_delivered_tells_nothing(name: str) -> None:
    made = trained(2, name, LBF, hidden=(64, 64))
    for found in signals(made.policy(), task_card(LBF)):
        assert found.signal == 0.0
    straight = trained(2, "zoo/tag-2ppo", LBF, hidden=(64, 64))
    assert signals(straight.policy(), task_card(LBF))[1].signal > 0.0


def test_shuffled_in_training_is_the_neighbour() -> None:
    plain, shuffled = learner("zoo/tag-2ppo"), learner("zoo/control-shuffled")
    for made in (plain, shuffled):
        made.collect()
    heard, other = (m.rollout.stacks[1].features[0, ..., -8:] for m in (plain, shuffled))  # [R, B, K, 8]
    assert torch.equal(heard.roll(1, dims=1), other) and not torch.equal(heard, other)


def test_constant_is_the_mean_of_what_was_said() -> None:
    made = learner("zoo/control-constant")
    made.collect()
    said = torch.tanh(made.rollout.stacks[0].own).mean(dim=(0, 2)).clone()
    assert not made.nets[0].usual.any()
    made.learn()
    assert torch.allclose(made.nets[0].usual, said, atol=1e-6)
    first = made.nets[0].usual.clone()
    made.collect()
    heard = made.rollout.stacks[1].features[..., -8:]
    assert torch.equal(heard[1:-1], first.view(1, 2, 1, 1, 8).expand_as(heard[1:-1]))
    said = torch.tanh(made.rollout.stacks[0].own).mean(dim=(0, 2))
    made.learn()
    assert torch.allclose(made.nets[0].usual, (first + said) / 2, atol=1e-6)


def test_self_hears_itself_and_a_relay_passes_on_everything() -> None:
    made = learner("zoo/control-broadcast", seeds=(0,))
    made.collect()
    rows = made.rollout.stacks[-1].features[0, 0]  # [B, N, own 18 + all 54]
    assert torch.equal(rows[..., 18:], rows[..., :18].flatten(1)[:, None].expand(-1, 3, -1))
    graph = learner("zoo/control-self", seeds=(0,)).graph
    assert [graph.nodes[graph.nodes[i].superiors[0]].reach for i in graph.motors] == [(0,), (1,), (2,)]
    assert graph.bits_up == graph.bits_down == 0


@pytest.mark.parametrize("name", ["constant", "shuffled", "noise", "features", "broadcast"])
def test_controls_resume_to_the_bit(name: str) -> None:
    one, two = trained(2, f"zoo/control-{name}"), learner(f"zoo/control-{name}")
    two.load_state_dict(unflatten(*flatten(one.state_dict())))
    for made in (one, two):
        made.iterate()
    assert differing(weights(one), weights(two)) == []


def test_the_index_lists_every_page() -> None:
    assert (PAGES / "index.md").read_text(encoding="utf-8") == pages.index()


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_ids())
def test_pages_are_what_the_generator_writes(name: str) -> None:
    """But for the last digits of what was measured."""
    text = (PAGES / f"{name.removeprefix('zoo/')}.md").read_text(encoding="utf-8")
    made = pages.page(name, text)
    assert "To be said by hand" not in text
    tables = [[line for line in x.splitlines() if "signal" not in line and not line.endswith("noise |")]
              for x in (text, made)]  # fmt: skip
    plain = [[line for line in x if line.count("|") != 8 or line.startswith(("| a", "| 2", "| 3", "| 4", "| 5"))]
             for x in tables]  # fmt: skip
    assert plain[0] == plain[1]
