"""One step of a network: order, held instructions, delays, messages, controls."""

from __future__ import annotations

from typing import Any

import torch
from tiny import LBF, SMOOTH, SPREAD, learner

from rlnet_bench import rng
from rlnet_bench.envs.registry import make_env, task_card
from rlnet_bench.networks.build import Network, continuous, discrete
from rlnet_bench.networks.build import learned as learned_message


def taken(made: Any, memory: Any, observation: torch.Tensor, step: int = 0) -> tuple[Any, list[Any]]:
    """One step of a learner's network: (memory after, what every stack read and chose)."""
    draws = made.executor.draws(made.action_keys, torch.tensor([[step]]))[0]
    _, memory, notes = made.executor.step(observation, None, memory, draws, record=True)
    return memory, notes


def play(made: Any, steps: int, resets: dict[int, list[int]]) -> list[list[Any]]:
    """Steps on random observations; ``resets`` names the environments whose episode ends after a step."""
    out = []
    memory = made.executor.initial_memory(made.env.num_envs)
    shape = (made.env.num_envs, made.env.card.num_agents, made.env.card.observation_size)
    for t in range(steps):
        observation = torch.randn(shape, generator=torch.Generator().manual_seed(t))
        memory, notes = taken(made, memory, observation, t)
        out.append(notes)
        reset = torch.zeros(made.env.num_envs, dtype=torch.bool)
        reset[resets.get(t, [])] = True
        memory = made.executor.restarted(memory, reset)
    return out


def test_identity_messages_bring_each_observation_once_in_order() -> None:
    spec = (
        Network("diamond")
        .vertex("top", action=continuous(2))
        .vertex("left", action=continuous(2))
        .vertex("right", action=continuous(2))
        .motors("motor")
        .edge("top", "left")
        .edge("top", "right")
        .edge("left", "motor")
        .edge("right", "motor")
        .build()
    )
    made = learner(spec, SPREAD, (0,))
    notes = play(made, 1, {})[0]
    observation = torch.randn(4, 3, 18, generator=torch.Generator().manual_seed(0))
    assert torch.equal(notes[0].features[0, :, 0], observation.flatten(1))
    managers, motors = notes[1].features[0], notes[2].features[0]
    assert torch.equal(managers[:, 0, :54], observation.flatten(1))
    assert torch.equal(managers[:, 0, 54:], torch.tanh(notes[0].own)[0, :, 0])
    assert torch.equal(motors[..., :18], observation)
    for k in range(3):
        assert torch.equal(motors[:, k, 18:], torch.tanh(notes[1].own)[0].flatten(1))


def test_motors_read_the_action_that_was_just_sampled() -> None:
    made = learner("zoo/leader-follower", SPREAD, (0,))
    notes = play(made, 1, {})[0]
    (first,), (second,) = made.nets[0].stack.agents, made.nets[1].stack.agents
    assert (first, second) == (0, 1)
    assert torch.equal(notes[1].features[0, :, 0, 18:].argmax(-1), notes[0].env[0, :, 0])
    assert torch.equal(notes[2].features[0, :, 0, 18:].argmax(-1), notes[1].env[0, :, 0])


def test_instructions_are_held_with_a_counter_per_environment() -> None:
    spec = Network("slow").vertex("boss", action=continuous(2), period=3).motors("motor").edge("boss", "motor").build()
    made = learner(spec, LBF, (0,), num_envs=2)
    notes = play(made, 7, {3: [1]})  # the episode of environment 1 ends after step 3
    boss, motor = made.nets[0].stack.number, made.nets[1].stack.number
    heard = [n[motor].features[0, :, 0, -2:] for n in notes]
    due = [[t % 3 == 0 for t in range(7)], [True, False, False, True, True, False, False]]
    for b in (0, 1):
        for t in range(7):
            assert bool(notes[t][boss].due[0, b]) == due[b][t]
            if due[b][t]:
                assert torch.equal(heard[t][b], torch.tanh(notes[t][boss].own[0, b, 0]))
            else:
                assert torch.equal(heard[t][b], heard[t - 1][b])


def test_delays_bring_what_was_sent_k_steps_ago_and_zeros_before() -> None:
    spec = (
        Network("late")
        .vertex("boss", action=continuous(2), message="none")
        .motors("motor", message=learned_message(3))
        .edge("boss", "motor", delay=2)
        .build()
    )
    made = learner(spec, LBF, (0,), num_envs=2)
    notes = play(made, 8, {4: [1]})
    boss = next(n.stack.number for n in made.nets if not n.stack.is_motor)
    motor = 1 - boss
    for b, starts in ((0, [0]), (1, [0, 5])):
        for t in range(8):
            age = t - max(s for s in starts if s <= t)
            heard = notes[t][motor].features[0, b, 0, -2:]
            expected = torch.tanh(notes[t - 2][boss].own[0, b, 0]) if age >= 2 else torch.zeros(2)
            assert torch.equal(heard, expected)
            told = notes[t][boss].features[0, b, 0]  # messages over the same edge are late as well
            if age < 2:
                assert torch.equal(told, torch.zeros(6))
            else:
                reported = made.nets[motor].messages(notes[t - 2][motor].reported)[0, b]
                assert torch.allclose(told, reported.flatten(), atol=1e-6)


def test_mean_messages_and_own_instructions_of_a_motor() -> None:
    spec = (
        Network("mixed")
        .vertex("top", action=discrete(4, per_subordinate=True), message="mean")
        .vertex("low", count=2, action=continuous(2), message="mean")
        .motors("motor", instruction=continuous(3))
        .edge("top", "low")
        .edge("low", "motor")
        .edge("motor", "motor", deal="chain", carry="instructions")
        .build()
    )
    made = learner(spec, SMOOTH, (0,))
    notes = play(made, 1, {})[0]
    observation = torch.randn(4, 3, 18, generator=torch.Generator().manual_seed(0))
    top, low = notes[0], notes[1]
    assert torch.allclose(top.features[0, :, 0], observation.mean(dim=1).repeat(1, 2), atol=1e-6)
    assert top.own.shape == (1, 4, 1, 2)
    told = low.features[0, :, :, -4:]
    assert torch.equal(told.argmax(-1), top.own[0, :, 0])
    follower = notes[3].features[0, :, 0]
    assert torch.equal(follower[:, -3:], torch.tanh(notes[2].own[0, :, 0]))
    made.iterate()


def test_noise_and_frozen_and_shuffled_are_controls() -> None:
    noise = learner("zoo/noise-director", SPREAD, (0,))
    assert noise.nets[0].policy is None
    notes = play(noise, 2, {})
    heard = [n[1].features[0, :, 0, -8:] for n in notes]
    assert not torch.equal(heard[0], heard[1])
    assert bool((heard[0].abs() <= 1).all())
    frozen = learner("zoo/frozen-director", SPREAD, (0,))
    before = {k: v.clone() for k, v in frozen.nets[0].state_dict().items()}
    frozen.iterate()
    assert all(torch.equal(before[k], v) for k, v in frozen.nets[0].state_dict().items())
    straight, shuffled = learner("zoo/tag-2ppo", SMOOTH, (0,)), learner("zoo/shuffled-director", SMOOTH, (0,))
    observation = torch.randn(4, 3, 18)
    for made in (straight, shuffled):
        assert torch.equal(*(w.state_dict()["0.weight.0"] for w in (made.policy(), straight.policy())))
    a, b = straight.policy(), shuffled.policy()
    changed = a.act(observation, a.initial_state(4))[0] != b.act(observation, b.initial_state(4))[0]
    assert bool(changed.any())


def test_a_policy_acts_the_same_step_by_step_as_in_training() -> None:
    made = learner("zoo/tag-3ppo", LBF, (0, 1))
    policy, card = made.policy(), task_card(LBF)
    env = make_env(card, 8)
    now = env.reset(rng.env_keys((0, 1), rng.Stream.TRAINING_ENV, 4))
    state = policy.initial_state(8, made.action_keys)
    made.collect()
    motors = next(b for b in made.rollout.stacks if b.net.stack.is_motor)
    assert motors.env is not None
    reset = torch.ones(8, dtype=torch.bool)
    for t in range(12):
        action, state = policy.act(now.observation, state, now.action_mask, reset, deterministic=False)
        assert torch.equal(action.view(2, 4, -1), motors.env[t])
        step = env.step(action)
        reset, now = step.terminated | step.truncated, step
