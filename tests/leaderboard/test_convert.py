"""Actors of other packages: the converted policy does what the original does, whatever order it reads in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from rlnet_bench.envs.registry import task_card
from rlnet_bench.errors import BadInput, StoreError
from rlnet_bench.leaderboard.convert import Declaration, check_pairs, convert, read_declaration, write_policy

HERE = Path(__file__).parent / "converted"
SPREAD, BALANCE = "mpe/simple_spread-discrete-v1", "vmas/balance-continuous-v1"
CARD = task_card(SPREAD)
N, WIDTH, A, T = CARD.num_agents, CARD.observation_size, 5, 40
ORDER = [int(x) for x in np.random.default_rng(3).permutation(WIDTH)]


def declared(**changes: Any) -> Declaration:
    return Declaration.model_validate(
        {"package": "epymarl", "task": SPREAD, "activation": "relu", "observation": list(range(WIDTH)), **changes}
    )


def pairs(file: Path, observation: torch.Tensor, action: torch.Tensor, **more: np.ndarray) -> Path:
    save_file({"observation": observation.numpy(), "action": action.numpy().copy(), **more}, file)
    return file


def seen(width: int = WIDTH) -> torch.Tensor:
    return torch.randn(T, N, width, generator=torch.Generator().manual_seed(1))


class RNNAgent(nn.Module):
    """What EPyMARL's agents compute: a layer, a recurrent cell, a readout; ``agents`` where each has its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.rnn, self.fc2 = nn.Linear(width, 16), nn.GRUCell(16, 16), nn.Linear(16, A)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.rnn(torch.relu(self.fc1(x)), h)
        return self.fc2(h), h


@torch.no_grad()
def acted(agents: list[RNNAgent], x: torch.Tensor, begins: np.ndarray) -> torch.Tensor:
    h = [torch.zeros(1, 16) for _ in range(N)]
    rows = []
    for t in range(len(x)):
        row = []
        for i, agent in enumerate(agents):
            h[i] = torch.zeros(1, 16) if begins[t] else h[i]
            logits, h[i] = agent(x[t, i : i + 1], h[i])
            row.append(int(logits.argmax()))
        rows.append(row)
    return torch.tensor(rows)


def test_epymarl_with_memory_and_the_agent_s_id(tmp_path: Path) -> None:
    """Inputs in another order, ids after them, one network for all: recorded in the package's own order."""
    torch.manual_seed(0)
    agent = RNNAgent(WIDTH + N)
    with torch.no_grad():
        for w in agent.parameters():  # so that what is remembered decides
            w.mul_(3)
    torch.save(agent.state_dict(), tmp_path / "agent.th")
    x = torch.cat((seen(), torch.eye(N).expand(T, N, N)), dim=-1)
    begins = np.zeros(T)
    begins[[0, 25]] = 1
    what = declared(memory="gru", observation=[*ORDER, *["agent"] * N])
    policy = convert(what, tmp_path / "agent.th")
    file = pairs(tmp_path / "p.safetensors", x, acted([agent] * N, x, begins), begins=begins)
    assert check_pairs(policy, what, file) == 1.0
    wrong = pairs(tmp_path / "w.safetensors", x, acted([agent] * N, x, np.zeros(T)), begins=begins)
    with pytest.raises(BadInput, match=r"expected to repeat at least 99.9% .*Look at\s+activation"):
        check_pairs(policy, what, wrong)


def test_epymarl_with_a_network_each(tmp_path: Path) -> None:
    torch.manual_seed(0)
    agents = nn.ModuleList(RNNAgent(WIDTH) for _ in range(N))
    torch.save({f"agents.{k}": v for k, v in agents.state_dict().items()}, tmp_path / "agent.th")
    what = declared(memory="gru", share_parameters=False, observation=ORDER)
    policy = convert(what, tmp_path / "agent.th")
    x, begins = seen(), np.zeros(T)
    file = pairs(tmp_path / "p.safetensors", x, acted(list(agents), x, begins))  # type: ignore[arg-type]
    assert check_pairs(policy, what, file) == 1.0


def test_order_of_observations_and_actions_is_folded_in(tmp_path: Path) -> None:
    """The policy reads our observation: input k of the network is our number order[k], our option a its answers[a]."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH + 1, 16), nn.Tanh(), nn.Linear(16, A))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    answers = [4, 2, 0, 1, 3]
    what = declared(package="benchmarl", activation="tanh", observation=[*ORDER, "zero"], actions=answers)
    policy = convert(what, tmp_path / "a.pt")
    ours = seen()
    chosen, _ = policy.act(ours, policy.initial_state(T))
    theirs = net(torch.cat((ours[..., ORDER], torch.zeros(T, N, 1)), dim=-1)).argmax(dim=-1)
    assert torch.equal(torch.tensor(answers)[chosen], theirs)


def flax_gru(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """flax.linen.GRUCell by hand: r, z, n; h = (1 - z) n + z h."""

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    r = sigmoid(x @ p["ir"] + p["ir_b"] + h @ p["hr"])
    z = sigmoid(x @ p["iz"] + p["iz_b"] + h @ p["hz"])
    n = np.tanh(x @ p["in"] + p["in_b"] + r * (h @ p["hn"] + p["hn_b"]))
    return (1 - z) * n + z * h


@pytest.mark.parametrize("sign", [",", "/"])
def test_jaxmarl_and_mava_kernels(tmp_path: Path, sign: str) -> None:
    """Names as flax flattens them, kernels [in, out], a recurrent cell by its equations."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32) * 0.4

    p = {"d0": draw(WIDTH, 8), "d0_b": draw(8), "d1": draw(8, A), "d1_b": draw(A)}
    p |= (
        {f"i{g}": draw(8, 8) for g in "rzn"}
        | {f"i{g}_b": draw(8) for g in "rzn"}
        | {f"h{g}": draw(8, 8) for g in "rzn"}
    )
    p["hn_b"] = draw(8)
    cell = sign.join(("params", "ScannedRNN_0", "GRUCell_0"))
    file = {sign.join((cell, k, "kernel")): p[k] for k in ("ir", "iz", "in", "hr", "hz", "hn")}
    file |= {sign.join((cell, k, "bias")): p[f"{k}_b"] for k in ("ir", "iz", "in", "hn")}
    for name, key in (("Dense_0", "d0"), ("Dense_1", "d1")):
        file |= {sign.join(("params", name, "kernel")): p[key], sign.join(("params", name, "bias")): p[f"{key}_b"]}
    what = declared(package="jaxmarl", memory="gru", observation=ORDER)
    if sign == ",":
        save_file(file, tmp_path / "a.safetensors")
        policy = convert(what, tmp_path / "a.safetensors")
    else:
        what = declared(package="mava", memory="gru", observation=ORDER)
        np.savez(tmp_path / "a.npz", **file)
        policy = convert(what, tmp_path / "a.npz")
    x, h, rows = seen().numpy(), np.zeros((N, 8), np.float32), []
    for t in range(T):
        h = flax_gru(np.maximum(x[t] @ p["d0"] + p["d0_b"], 0), h, p)
        rows.append((h @ p["d1"] + p["d1_b"]).argmax(-1))
    did = torch.tensor(np.array(rows))
    assert check_pairs(policy, what, pairs(tmp_path / "p.safetensors", torch.tensor(x), did)) == 1.0


def test_continuous_actions_are_squashed_means(tmp_path: Path) -> None:
    """A network of means and spreads, as BenchMARL's: the most likely action is the squashed mean in the task's box."""
    torch.manual_seed(0)
    card = task_card(BALANCE)
    n, width, a = card.num_agents, card.observation_size, card.action_size
    net = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 2 * a))
    torch.save({f"module.0.mlp.params.{k}": v for k, v in net.state_dict().items()}, tmp_path / "a.pt")
    what = declared(
        package="benchmarl", task=BALANCE, activation="tanh", prefix="module.0.", observation=list(range(width))
    )
    policy = convert(what, tmp_path / "a.pt")
    x = torch.randn(T, n, width)
    did = torch.tanh(net(x)[..., :a]).detach() * card.action_high
    assert check_pairs(policy, what, pairs(tmp_path / "p.safetensors", x, did)) == 1.0
    with pytest.raises(BadInput, match="expected to repeat"):
        check_pairs(policy, what, pairs(tmp_path / "q.safetensors", x, did * 0.99))


def test_a_policy_that_benchmarl_trained() -> None:
    """IPPO on VMAS balance by BenchMARL 1.5.2, 4 iterations of 3,000 frames, 64-64.

    ``policy.state_dict()`` as torch saved it, and a hundred of its steps on VMAS, without sampling.
    """
    what = read_declaration(HERE / "benchmarl_balance.yaml")
    policy = convert(what, HERE / "benchmarl_balance.pt")
    assert check_pairs(policy, what, HERE / "benchmarl_balance.safetensors") == 1.0
    other = what.model_copy(update={"activation": "relu"})
    with pytest.raises(BadInput, match="expected to repeat"):
        check_pairs(convert(other, HERE / "benchmarl_balance.pt"), other, HERE / "benchmarl_balance.safetensors")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"observation": list(range(WIDTH - 1))},
            f"an entry for each of the network's {WIDTH} inputs, found",
        ),
        ({"observation": [0] * WIDTH}, "each once, found 0"),
        ({"observation": [*range(WIDTH - 1), WIDTH + 3]}, f"numbers below {WIDTH}, each once, found {WIDTH + 3}"),
        ({"observation": [*range(WIDTH - 1), "agent"]}, "no place of the agent's id or 3, found 1"),
        ({"actions": [0, 1, 2]}, "5 different numbers below 5"),
        ({"actions": [0, 1, 2, 3, 3]}, "5 different numbers below 5"),
        ({"prefix": "critic."}, "names begin with 'critic.', found none"),
        ({"layers": ["2", "0"]}, "expected 5 inputs"),
        ({"layers": ["0", "9"]}, "expected a tensor '9.weight', found 0.bias"),
        ({"memory": "gru"}, "expected a GRU cell"),
        ({"share_parameters": False}, "expected 3 x 2 axes"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, A))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    with pytest.raises(BadInput, match=sentence):
        convert(declared(package="benchmarl", **changes), tmp_path / "a.pt")


def test_what_comes_out_is_a_policy_of_ours(tmp_path: Path) -> None:
    from rlnet_bench.learning.policy import ActorPolicy
    from rlnet_bench.reading.plain import read_json
    from rlnet_bench.reading.tensors import read_tensors

    net = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, A))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    policy = convert(declared(package="benchmarl", activation="tanh"), tmp_path / "a.pt")
    described, weights = write_policy(policy, tmp_path / "s", 3, "benchmarl")
    assert weights.name == "3.safetensors" and read_json(described)["execution"] == "D0"
    again = ActorPolicy.rebuild(read_json(described)["policy"], CARD, (3,))
    again.load_state_dict(read_tensors(weights))
    x = seen()
    assert torch.equal(again.act(x, again.initial_state(T))[0], policy.act(x, policy.initial_state(T))[0])


def test_declarations_are_strict(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(f"package: epymarl\ntask: {SPREAD}\nactivation: gelu\nobservation: [0]\n")
    with pytest.raises(BadInput, match=r"d.yaml:3: .*'tanh' or 'relu'"):
        read_declaration(file)
    file.write_text(f"package: epymarl\ntask: {SPREAD}\nactivation: relu\nobservation: [0]\nhook: os.system\n")
    with pytest.raises(BadInput, match=r"d.yaml:5: unknown key 'hook'"):
        read_declaration(file)


def test_numpy_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([object()], dtype=object))
    with pytest.raises(StoreError, match=r"arrays of numpy\.savez"):
        convert(declared(package="mava"), tmp_path / "a.npz")
