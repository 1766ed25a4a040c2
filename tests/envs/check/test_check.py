"""check_env passes a good toy, and each check fails for the toy that breaks its obligation."""

import dataclasses
import doctest
import math
import random

import numpy as np
import pytest
import torch

from rlnet_bench import rng
from rlnet_bench.envs import check
from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.check import RULES, check_env
from rlnet_bench.envs.contract import Reset, Scene, Shape, Transition, VectorEnv
from rlnet_bench.envs.registry import task_card, task_ids
from rlnet_bench.errors import ContractViolation, MissingExtra, UnknownName

torch.set_num_threads(1)

CARD = TaskCard(
    id="toy/walk-discrete-v1",
    family="toy",
    faithful_to="itself",
    description="two agents walk on a line",
    constructor={},
    agents=("wide", "narrow"),
    horizon=7,
    action_kind="discrete",
    action_sizes=(4, 3),
    observation_sizes=(3, 2),
    state_size=5,
    state="concat",
    reward_scale="position",
    shared_reward=True,
    success_metric="progress",
    floor=-100.0,
    masked=True,
    can_terminate=True,
)


class Toy(VectorEnv):
    """A line walk that ends beyond 4 (terminated) or after the horizon; ``flaw`` breaks one obligation."""

    instances = 0

    def __init__(self, num_envs, device, flaw="", card=CARD):
        Toy.instances += 1
        self.card, self.num_envs, self.device, self.flaw = card, num_envs, torch.device(device), flaw
        self.episode = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        if flaw == "card: sizes":
            self.card = dataclasses.replace(card, state_size=4)
        if flaw == "card: batch":
            self.num_envs = 1

    def _start(self):
        x = rng.uniform32(rng.fold(self.seeds, self.episode))
        return x + 0.01 * Toy.instances if self.flaw == "determinism" else x

    def reset(self, seeds):
        self.seeds = seeds if self.flaw == "inputs: keeps seeds" else seeds.clone()
        if self.flaw == "inputs: writes seeds":
            seeds += 1
        if self.flaw == "global_streams: reset":
            random.random()
        if self.flaw != "reset_forgets":
            self.episode = torch.zeros_like(self.seeds)
        self.t = torch.zeros_like(self.seeds)
        self.x = self._start()
        return Reset(*self._observe(), self._mask(), None)

    def _observe(self):
        wide = torch.stack((self.x, -self.x, self.t / 10.0), dim=-1)
        narrow = torch.stack((self.x * 0.5, self.t / 10.0, torch.zeros_like(self.x)), dim=-1)
        if self.flaw == "padding":
            narrow = narrow + torch.tensor([0.0, 0.0, 1e-9])
        if self.flaw == "finite":
            wide = wide / (self.t != 3).float()[:, None]
        state = torch.cat((wide, narrow[:, :2]), dim=-1)
        if self.flaw == "concatenated_state":
            state = state.flip(-1)
        return torch.stack((wide, narrow), dim=1), state

    def _mask(self):
        last = (self.x < 2.0)[:, None]
        ok = torch.ones_like(last)
        wide = torch.cat((ok, ok, ok, last), dim=-1)
        narrow = torch.cat((ok, last, ok, ok if self.flaw == "masks: padding" else ~ok), dim=-1)
        mask = torch.stack((wide, narrow), dim=1)
        return mask & (self.t != 2)[:, None, None] if self.flaw == "masks: nothing legal" else mask

    def current(self):
        observation, state = self._observe()
        if self.flaw == "current":
            observation = observation * 0
        if self.flaw == "current: absent":
            return super().current()
        return Reset(observation, state, self._mask(), None)

    def step(self, actions):
        flaw = self.flaw
        if flaw == "raises":
            raise RuntimeError("no such physics")
        if flaw == "inputs: writes actions":
            actions.clamp_(max=1)
        if flaw == "global_streams: torch":
            torch.rand(1)
        if flaw == "global_streams: numpy":
            np.random.rand()  # noqa: NPY002
        before = self._observe()
        move = actions.float()
        self.x = self.x + 0.25 * move[:, 0] + 0.125 * move[:, 1]
        if flaw == "batch_invariance":
            self.x = self.x + self.x.mean() * 1e-3
        self.t = self.t + 1
        terminated = self.x > 4.0
        at_limit = self.t >= self.card.horizon + (flaw == "horizon")
        truncated = at_limit if flaw == "flags" else at_limit & ~terminated
        ended = terminated | truncated
        final = before if flaw == "final_observation: one step old" else self._observe()
        final_mask, reward = self._mask(), self.x[:, None].expand(-1, 2)
        if flaw == "shared_reward":
            reward = reward + torch.arange(2)
        if flaw == "tensors: dtype":
            reward = reward.double()
        if flaw == "tensors: shape":
            reward = reward[:, :1]
        success = (self.x / 10.0).clamp(0.0, 1.0) + (1.0 if flaw == "success" else 0.0)
        if self.at_end is not None and ended.any() and flaw != "scene: no end":
            self.at_end()
        self._host(ended)
        self.episode = self.episode + ended
        self.t = torch.where(ended, 0, self.t)
        start = self._start() + (self.x * 0.1 if flaw == "next_episode" else 0.0)
        self.x = torch.where(ended, start, self.x)
        observation, state = self._observe()
        if flaw == "final_observation: of the next episode":
            final = (observation, state)
        agents = ended[:, None].expand(-1, 2)
        mask = None if flaw == "tensors: None sometimes" else self._mask()
        flags = (terminated, truncated, agents)
        return Transition(observation, state, reward, *flags, mask, None, *final, final_mask, None, success)

    def _host(self, ended):
        match self.flaw:
            case "host_copies: branch":
                assert not ended.any() or True
            case "host_copies: item":
                ended[0].item()
            case "host_copies: mask":
                self.x[ended]
            case "host_copies: nonzero":
                torch.nonzero(ended)
            case "host_copies: numpy":
                self.x.numpy()
            case "host_copies: cpu":
                self.x.cpu()
            case "host_copies: tensor":
                torch.tensor([1.0])
            case "host_copies: sequence":
                self.x[[0, 1]]

    def state_dict(self):
        names = ("seeds", "episode", "t", "x")
        state = {k: getattr(self, k).clone() for k in names if (k, self.flaw) != ("t", "state_round_trip: forgets")}
        if self.flaw == "state_round_trip: leaf":
            state["history"] = (1, 2)
        return {"tensors": state, "note": None, "version": 1, "list": [1.5, True]}

    def load_state_dict(self, state):
        for k, v in state["tensors"].items():
            setattr(self, k, v)
        if "t" not in state["tensors"]:
            self.t = torch.zeros_like(self.seeds)

    def scene(self, index):
        if self.flaw == "scene: moves":
            self.x = self.x + 1e-3
        x = math.nan if self.flaw == "scene: nan" else float(self.x[index])
        return Scene((-1.0, -1.0, 5.0, 1.0), (Shape("circle", x, 0.0, 0.2),))


def toy(flaw="", card=CARD):
    return lambda num_envs, device: Toy(num_envs, device, flaw, card)


LATER = dataclasses.replace(CARD, horizon=CARD.horizon + 1)


def test_a_good_environment_passes_every_check():
    report = check_env(toy(), steps=60, longer=toy(card=LATER))
    assert report.ok, str(report)
    skipped = {c.name for c in report if c.outcome == "skipped"}
    assert skipped <= {"cuda"}
    assert "twin with a later time limit" in report["final_observation"].sentence
    report.raise_if_failed()


FLAWS = {
    "card: sizes": "state_size: expected 5 (state is the concatenated observations), found 4",
    "card: batch": "num_envs: expected 8, found 1",
    "tensors: dtype": "reward: expected torch.float32 [8, 2], found torch.float64 [8, 2]",
    "tensors: shape": "reward: expected torch.float32 [8, 2], found torch.float32 [8, 1]",
    "tensors: None sometimes": "action_mask: expected None always or never",
    "flags": "expected at most one of terminated and truncated",
    "horizon": "expected the end after 7 steps, found none",
    "finite": "observation: not finite, first at step 2",
    "padding": "agent narrow: expected zeros from 2 on",
    "concatenated_state": "expected the state to be the concatenated observations",
    "masks: padding": "agent narrow: expected False from option 3 on",
    "masks: nothing legal": "at least one legal action",
    "shared_reward": "expected one shared number, found [",
    "success": "progress: expected numbers in [0, 1]",
    "determinism": "reset().observation: step 0, environment 0",
    "reset_forgets": "reset().observation: step 0",
    "global_streams: reset": "reset moved the global stream of random",
    "global_streams: torch": "step moved the global stream of torch",
    "global_streams: numpy": "step moved the global stream of numpy",
    "inputs: keeps seeds": "after the caller reused its seeds",
    "inputs: writes seeds": "reset modified the seeds",
    "inputs: writes actions": "modified the actions",
    "batch_invariance": "B=1: observation: step 0",
    "final_observation: of the next episode": "equal to observation at every episode end",
    "final_observation: one step old": "when its time limit is one step later",
    "next_episode": "the first observation of episode 1 changed with earlier actions",
    "state_round_trip: forgets": "continued from the same object",
    "state_round_trip: leaf": "expected a tensor, number, string, None, list or dict, found tuple",
    "current": "after step: observation is not what the last step returned",
    "scene: moves": "after scene(): observation",
    "scene: nan": "expected finite shapes",
    "scene: no end": "at_end: expected a call in each of the",
    "host_copies: branch": "test_check.py",
    "host_copies: item": "a number taken out of a tensor",
    "host_copies: mask": "boolean mask",
    "host_copies: nonzero": "nonzero",
    "host_copies: numpy": "Tensor.numpy()",
    "host_copies: cpu": "Tensor.cpu()",
    "host_copies: tensor": "torch.tensor, a copy from the host",
    "host_copies: sequence": "Python sequence",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_each_broken_obligation_is_named(flaw):
    report = check_env(toy(flaw), steps=30, longer=toy(flaw, LATER))
    check = report[flaw.partition(":")[0]]
    assert check.outcome == "failed", str(report)
    assert FLAWS[flaw] in check.sentence, check.sentence
    with pytest.raises(ContractViolation, match="breaks the environment contract") as caught:
        report.raise_if_failed()
    assert all(f"  {c.name}: " in str(caught.value) for c in report.failures)


def test_every_check_that_can_fail_on_the_cpu_has_a_broken_toy():
    assert {r.__name__ for r in RULES} == {f.partition(":")[0] for f in FLAWS} | {"cuda"}


def test_a_state_that_shares_memory_with_a_running_environment_is_caught():
    class Shares(Toy):
        def step(self, actions):
            kept, out = self.x, super().step(actions)
            self.x = kept.copy_(self.x)  # in place, in the memory that state_dict handed out
            return out

        def state_dict(self):
            state = super().state_dict()
            state["tensors"]["x"] = self.x
            return state

    report = check_env(lambda n, d: Shares(n, d), steps=30)
    assert "continued from the same object" in report["state_round_trip"].sentence


def test_an_exception_inside_the_environment_is_a_failed_check():
    report = check_env(toy("raises"), steps=30)
    assert "the environment raised RuntimeError: no such physics" in report["tensors"].sentence


def test_termination_without_leave_is_caught():
    card = dataclasses.replace(CARD, can_terminate=False)
    assert "can_terminate=False" in check_env(toy(card=card), steps=30)["horizon"].sentence


def test_a_missing_mask_is_caught():
    class Maskless(Toy):
        def _mask(self):
            return None

    assert "expected a mask, found None" in check_env(lambda n, d: Maskless(n, d), steps=30)["masks"].sentence


def test_what_the_card_disclaims_is_skipped_with_a_reason():
    card = dataclasses.replace(CARD, batch_invariant=False, resumable=False, shared_reward=False, family="vmas")
    report = check_env(toy("current: absent", card), steps=30)
    names = (
        "batch_invariance",
        "next_episode",
        "state_round_trip",
        "shared_reward",
        "host_copies",
        "current",
    )
    assert {report[n].outcome for n in names} == {"skipped"}
    assert "vmas" in report["host_copies"].sentence
    assert report.ok


def test_the_callers_random_streams_are_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    check_env(toy(), steps=30)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="expected at least 2"):
        check_env(toy(), num_envs=1)
    with pytest.raises(UnknownName):
        check_env("mpe/simple_spraed-discrete-v1")


def test_without_a_gpu_the_cuda_check_is_skipped_by_name():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    check = check_env(toy(), steps=30)["cuda"]
    assert (check.outcome, check.sentence) == ("skipped", "no CUDA device")


FAST = {"mpe/simple_spread-discrete-v1", "mpe/simple_speaker_listener-continuous-v1", "lbf/8x8-2p-2f-coop-v1"}
# Unpublished ids of the parametrised families: other sizes, masks, grids, terminations.
MORE = ["mpe/simple_spread-n6-continuous-v1", "lbf/5x5-2p-1f-masked-v1", "lbf/6x6-3p-2f-pen0.1-h20-grid-clean-v1"]
# VMAS has a sweep of its own in test_vmas.py.
OURS = [t for t in (*task_ids(), *MORE) if not t.startswith("vmas/")]
SWEEP = [pytest.param(t, marks=() if t in FAST else pytest.mark.slow) for t in OURS]


@pytest.mark.parametrize("task", SWEEP)
def test_every_registered_task_keeps_the_contract(task):
    try:
        report = check_env(task_card(task))
    except MissingExtra as missing:
        pytest.skip(str(missing))
    report.raise_if_failed()
    card = task_card(task)
    expected = {"cuda"} if not torch.cuda.is_available() else set()
    expected |= {"padding"} if len(set(card.observation_sizes)) == 1 else set()
    expected |= {"concatenated_state"} if card.state != "concat" else set()
    expected |= {"masks"} if not card.masked else set()
    expected |= {"shared_reward"} if not card.shared_reward else set()
    expected |= {"batch_invariance", "next_episode"} if not card.batch_invariant else set()
    expected |= {"host_copies", "cuda"} if card.family == "vmas" else set()
    assert {c.name for c in report if c.outcome == "skipped"} <= expected, str(report)


def test_documented_example_runs():
    assert doctest.testmod(check).failed == 0
