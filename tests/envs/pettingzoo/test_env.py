"""Any ParallelEnv as a task: the same numbers as by hand, deaths, resuming, crashes, bad input."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rlnet_bench import make_env, rng, task_card, task_ids
from rlnet_bench.envs.check import check_env
from rlnet_bench.errors import BadInput, UnknownName, WorkFailed
from rlnet_bench.runs.process import alive
from rlnet_bench.trust import typed

pytest.importorskip("pettingzoo")
torch.set_num_threads(1)

HERE = Path(__file__).parent
FOREIGN = str(HERE / "foreign_envs.py")
FADING, PUSHING = f"{FOREIGN}:Fading", f"{FOREIGN}:Pushing?horizon=5"
SPREAD = "mpe2.simple_spread_v3:parallel_env"


def random_actions(card, steps, num_envs, seed=0):
    generator = np.random.default_rng(seed)
    if card.action_kind == "discrete":
        shape = (steps, num_envs, card.num_agents)
        return torch.from_numpy(np.floor(generator.random(shape) * np.array(card.action_sizes)).astype(np.int64))
    return torch.from_numpy(generator.random((steps, num_envs, card.num_agents, card.action_size), np.float32))


# -- the same numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["", "?continuous_actions=true&N=2&max_cycles=11"])
def test_mpe2_through_the_door_is_mpe2_by_hand(options):
    module = pytest.importorskip("mpe2.simple_spread_v3")
    card = task_card(SPREAD + options)
    limit = 11 if options else 25
    assert (card.horizon, card.num_agents, card.faithful_to[:4]) == (limit, 2 if options else 3, "mpe2")
    arguments = {"continuous_actions": True, "N": 2, "max_cycles": 11} if options else {}
    env = make_env(card, 3, workers=2)
    keys = rng.env_keys([5], rng.Stream.USER, 3)
    start = env.reset(keys)
    actions = random_actions(card, 60, 3)
    transitions = [env.step(a) for a in actions]
    env.close()
    for i in range(3):
        hand = module.parallel_env(**arguments)
        episode, seen = 0, start.observation[i]
        for t, out in enumerate(transitions):
            if t % limit == 0:
                expected, _ = hand.reset(seed=rng.fold_int(int(keys[i]), episode) & 0x7FFFFFFF)
                assert np.array_equal(seen.numpy(), np.stack(list(expected.values())))
                episode += 1
            given = actions[t, i]
            chosen = {a: given[k].numpy() if options else int(given[k]) for k, a in enumerate(hand.agents)}
            expected, rewards, _, truncations, _ = hand.step(chosen)
            ended = all(truncations.values())
            seen = out.observation[i]
            shown = out.final_observation[i] if ended else seen
            assert np.array_equal(shown.numpy(), np.stack(list(expected.values())))
            assert np.array_equal(out.reward[i].numpy(), np.array(list(rewards.values()), np.float32))
            assert bool(out.truncated[i]) == ended and not bool(out.terminated[i])


@pytest.mark.parametrize("task", ["mpe/simple_speaker_listener-continuous-v1", "lbf/8x8-2p-2f-coop-masked-v1"])
def test_our_task_out_and_in_again_is_our_task(task):
    theirs = f"rlnet_bench.envs.pettingzoo.export:parallel_env?task_id={task}"
    ours, card = task_card(task), task_card(theirs)
    same = ("agents", "horizon", "action_sizes", "observation_sizes", "state_size", "action_kind", "masked")
    assert all(getattr(card, name) == getattr(ours, name) for name in same)
    there, here = make_env(card, 3, workers=0), make_env(ours, 3)
    keys = rng.env_keys([2], rng.Stream.USER, 3)
    a = there.reset(keys)
    seeds = [rng.fold_int(int(k), 0) & 0x7FFFFFFF for k in keys]
    b = here.reset(torch.tensor([rng.fold_int(s, int(rng.Stream.USER), 0) for s in seeds]))
    assert torch.equal(a.observation, b.observation) and torch.equal(a.state, b.state)
    actions = random_actions(ours, ours.horizon, 3)
    for row in actions:
        x, y = there.step(row), here.step(row)
        names = ("reward", "terminated", "truncated", "final_observation", "final_state", "success")
        ended = (y.terminated | y.truncated).any()
        for name in names if ended else (*names[:3], "observation", "state"):
            assert torch.equal(getattr(x, name), getattr(y, name)), name
    assert bool(y.truncated.all())


# -- unlike agents, deaths, ends -------------------------------------------------------------------------------


def test_card_of_unlike_agents():
    card = task_card(FADING)
    assert card.agents == ("a", "b", "c") and card.horizon == 6 and card.masked and card.can_terminate
    assert card.observation_sizes == (4, 3, 2) and card.action_sizes == (4, 3, 2) and card.state_size == 9
    assert card.faithful_to.startswith("foreign_envs.py sha256 ")
    assert task_card(PUSHING).action_lows == ((-1.0, -1.0), (0.0,))
    assert task_card(PUSHING).action_highs == ((1.0, 1.0), (5.0,))


def test_dead_agents_leave_the_mask_and_ends_are_kept_apart():
    env = make_env(FADING, 2, workers=0)
    first = env.reset(torch.tensor([1, 2]))
    assert first.alive_mask.all() and first.observation[0, 1].tolist() == [1, 0, 0, 0]  # one-hot of 0
    assert first.action_mask[0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]]
    # Environment 0 ends itself at step 5 (a chooses 1), environment 1 runs into the limit of 6.
    outs = [env.step(torch.tensor([[int(t == 5), 0, 0], [0, 0, 0]])) for t in range(1, 7)]
    alive = [out.alive_mask[1].tolist() for out in outs]
    assert alive[:5] == [
        [True] * 3,
        [True, True, False],
        [True, False, False],
        [True, False, False],
        [True, False, False],
    ]
    assert outs[1].agent_terminated[1].tolist() == [False, False, True]  # c died
    assert outs[2].agent_terminated[1].tolist() == [False, False, False]  # b was only cut off
    assert outs[2].observation[1, 1].tolist() == [1, 0, 0, 0]  # its last observation, one-hot of 3 % 3
    assert (outs[3].observation[1, 1:] == 0).all() and (outs[3].reward[1, 1:] == 0).all()
    assert outs[4].terminated.tolist() == [True, False] and outs[4].truncated.tolist() == [False, False]
    assert outs[4].final_alive_mask[0].tolist() == [False, False, False]
    assert outs[4].alive_mask[0].all() and outs[4].observation[0, 0, 1] == 0  # the next episode has begun
    assert outs[5].terminated.tolist() == [False, False] and outs[5].truncated.tolist() == [False, True]
    assert outs[5].final_alive_mask[1].tolist() == [True, False, False]  # a is bootstrapped
    assert outs[5].final_observation[1, 0, 1] == 6 and outs[5].success[1] == 0.5


def test_horizon_given_with_the_id_cuts_the_episode_and_bounds_clip():
    env = make_env(PUSHING, 1, workers=0)
    start = env.reset(torch.tensor([3]))
    for t in range(5):
        out = env.step(torch.tensor([[[9.0, 9.0], [9.0, 0.0]]]))
        assert bool(out.truncated) == (t == 4) and not bool(out.terminated)
    assert out.final_observation[0, 0, 0] == pytest.approx(float(start.observation[0, 0, 0]) + 5 * 7.0)
    assert out.final_alive_mask.all()


def test_full_state_is_the_environments_own():
    card = task_card(f"{FADING}?state=full")
    assert (card.state, card.state_size) == ("full", 2)
    env = make_env(card, 1, workers=0)
    env.reset(torch.tensor([1]))
    out = env.step(torch.tensor([[0, 0, 0]]))
    assert out.state[0, 0] == out.observation[0, 0, 0] and out.state[0, 1] == 1


# -- the contract --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [FADING, f"{FADING}?state=full", PUSHING])
def test_foreign_tasks_keep_the_contract(task):
    later = {FADING: f"{FADING}?max_cycles=7", PUSHING: PUSHING.replace("5", "6")}.get(task)

    def factory(name):
        return lambda num_envs, device: make_env(name, num_envs, device, workers=0)

    report = check_env(factory(task), steps=40, longer=factory(later) if later else None)
    assert report.ok, str(report)
    expected = {"host_copies", "cuda", "scene", "shared_reward", "concatenated_state", "masks", "padding"}
    assert {c.name for c in report if c.outcome == "skipped"} <= expected
    assert ("later time limit in" in report["final_observation"].sentence) == bool(later)


@pytest.mark.slow
def test_mpe2_in_worker_processes_keeps_the_contract():
    pytest.importorskip("mpe2")
    check_env(SPREAD).raise_if_failed()


def test_workers_and_this_process_agree_and_resume_each_other():
    apart, here = make_env(FADING, 5, workers=2), make_env(FADING, 5, workers=0)
    keys = rng.env_keys([1], rng.Stream.USER, 5)
    assert torch.equal(apart.reset(keys).observation, here.reset(keys).observation)
    card = apart.card
    for row in random_actions(card, 9, 5):
        x, y = apart.step(row.clamp(max=0)), here.step(row.clamp(max=0))
        assert all(torch.equal(a, b) for a, b in zip(x, y))
    here.reset(keys + 1)
    here.load_state_dict(apart.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(here.current(), apart.current()))
    nothing = torch.zeros(5, 3, dtype=torch.int64)
    assert all(torch.equal(a, b) for a, b in zip(apart.step(nothing), here.step(nothing)))
    apart.close()


def test_workers_start_without_torch_and_end_with_the_environment():
    env = make_env(f"{FOREIGN}:Pushing?horizon=5", 3, workers=2)
    processes = env._crew.processes
    assert len(processes) == 2 and all(p.poll() is None for p in processes)
    env.close()
    assert all(p.poll() is not None for p in processes)
    module = importlib.import_module("rlnet_bench.envs.pettingzoo.workers")
    card = task_card(PUSHING)
    crew = module.ProcessCrew(_replace_id(card, f"{FOREIGN}:needs_no_torch"), 1, 1)
    crew.close()


def test_workers_end_with_a_killed_parent_even_in_the_middle_of_a_step(tmp_path):
    """kill -9, while a worker is stuck in the user's code and the other waits for orders."""
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "from rlnet_bench import make_env\n"
        f"env = make_env('{FOREIGN}:Stuck?horizon=5', 2, workers=2)\n"
        "env.reset(torch.tensor([1, 2]))\n"
        "print(*(p.pid for p in env._crew.processes), flush=True)\n"
        "env._crew._pipes[0].send(('step', []))\n"
        "env._crew._pipes[0].recv()\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _replace_id(card, task):
    import dataclasses

    typed(task)
    return dataclasses.replace(card, id=task)


def test_a_script_without_a_main_guard_can_use_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "from rlnet_bench import make_env\n"
        f"env = make_env({PUSHING!r}, 2, workers=1)\n"
        "print('shape', tuple(env.reset(torch.tensor([1, 2])).observation.shape))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "shape (2, 2, 2)\n" and done.stderr == ""


def test_the_catalogue_is_empty_and_its_module_does_not_import_torch():
    assert not any(":" in task for task in task_ids())
    code = "import rlnet_bench as r, sys; r.task_ids(); r.task_card({!r}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code.format(PUSHING)], check=True, timeout=60)


def test_the_module_does_not_shadow_the_package():
    ours, theirs = (importlib.import_module(n) for n in ("rlnet_bench.envs.pettingzoo.env", "pettingzoo"))
    assert hasattr(theirs, "ParallelEnv") and not hasattr(ours, "ParallelEnv")


# -- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_an_environment_that_raises_is_named(workers):
    env = make_env(f"{FOREIGN}:Raising?horizon=5", 3, workers=workers)
    env.reset(torch.tensor([1, 2, 3]))
    still = torch.zeros(3, 2, 2)
    env.step(still)
    env.step(still)
    with pytest.raises(WorkFailed, match=r"environment 0 raised in step after 2 steps .*ValueError: the spring broke"):
        env.step(still)
    env.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OldStep", r"expected step to return \(observations, .*, infos\), found 4 values"),
        ("Haunted", "agent c: terminated or truncated while others go on, and still in env.agents"),
    ],
)
def test_a_step_that_is_not_pettingzoo_s_is_named(name, message):
    task = f"{FOREIGN}:{name}?horizon=6"
    env = make_env(task, 1, workers=0)
    env.reset(torch.tensor([1]))
    still = torch.zeros(1, 3, dtype=torch.int64) if name == "Haunted" else torch.zeros(1, 2, 2)
    with pytest.raises(WorkFailed, match=message):
        for _ in range(2):
            env.step(still)


def test_spaces_in_dictionaries_work_without_a_warning(recwarn):
    make_env(f"{FOREIGN}:Kept?horizon=5", 3, workers=0)
    assert not [w for w in recwarn if "pettingzoo" in w.filename]


def test_a_module_that_is_a_file_here_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_lonely_game.py").write_text("")
    with pytest.raises(BadInput, match=r"did you mean the file my_lonely_game\.py:make\?"):
        task_card("my_lonely_game:make")


def test_a_worker_that_is_killed_is_named():
    env = make_env(f"{FOREIGN}:Dying?horizon=5", 3, workers=2)
    env.reset(torch.tensor([1, 2, 3]))
    with pytest.raises(WorkFailed, match=r"worker process of environments 0 to 0 was killed by SIGKILL"):
        for _ in range(3):
            env.step(torch.zeros(3, 2, 2))
    env.close()


def test_an_action_out_of_range_is_the_environments_to_refuse():
    env = make_env(FADING, 1, workers=0)
    env.reset(torch.tensor([1]))
    with pytest.raises(WorkFailed, match="environment 0 raised in step"):
        env.step(torch.tensor([[7, 0, 0]]))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("no_such_module_here:parallel_env", "no module named 'no_such_module_here'"),
        (f"{HERE}/absent.py:make", r"there is no file .*absent.py"),
        (f"{FOREIGN}:Fadng", "has no 'Fadng'. Did you mean 'Fading'"),
        (f"{FOREIGN}:not_callable", "expected not_callable to be callable, found int"),
        (f"{FOREIGN}:something_else", "expected something_else to make a ParallelEnv, found builtins.int"),
        (f"{FOREIGN}:turn_based", "found a turn-based AECEnv"),
        (f"{FOREIGN}:Fading?colour=red", "refused its arguments: .*colour"),
        (f"{FOREIGN}:Pushing", r"time limit is unknown.*Pushing\?horizon=100"),
        (f"{FOREIGN}:Absent?horizon=5", "expected Absent to define step, found no such method"),
        (
            f"{FOREIGN}:Spaceless?horizon=5",
            "expected observation_space.agent. and .*AttributeError: .*action_spaces|obs",
        ),
        (f"{FOREIGN}:OldReset?horizon=5", r"expected reset to return \(observations, infos\).* found \{'p': array"),
        (f"{FOREIGN}:Narrow?horizon=5", r"agent p: expected an observation of 2 numbers, as its space says.* found 1"),
        (f"{FOREIGN}:Wordless?horizon=5", r"raised in reset: NotImplementedError \(.*foreign_envs.py, line \d+, in"),
        (f"{FOREIGN}:unbounded?horizon=5", "agent q: expected bounded actions"),
        (f"{FOREIGN}:Helpless", "agent c: expected at least one legal action at the start of an episode, found none"),
        (f"{FOREIGN}:mixed?horizon=5", "expected one kind of action .* p: continuous, q: discrete"),
        (f"{FOREIGN}:binary?horizon=5", "agent q: expected Discrete or floating-point Box actions, found MultiBinary"),
        (f"{FOREIGN}:growing?horizon=5", "agent p: expected an observation space of a fixed size"),
        (f"{PUSHING}&state=full", "the environment offers no state"),
        (f"{FOREIGN}:Fading?horizon=soon", "horizon: expected a positive integer, found 'soon'"),
        (f"{FOREIGN}:Fading?floor=.nan", "floor:1: expected a finite number"),
        (f"{FOREIGN}:Fading?state=half", "state: expected 'concat' or 'full'"),
        (f"{FOREIGN}:Fading?horizon", "found 'horizon'"),
        ("my_env:", "expected 'module:factory'"),
        ("my_env.py", "unknown task 'my_env.py'.*a task of yours is FILE.py:FACTORY"),
        ("lbf/9x9", "unknown task 'lbf/9x9'.* LBF ids are lbf/"),
    ],
)
def test_bad_ids_are_refused_with_a_sentence(task, message):
    with pytest.raises((BadInput, UnknownName), match=message):
        task_card(task)


def test_bad_arguments_are_refused():
    with pytest.raises(BadInput, match="workers: expected 0 or more"):
        make_env(PUSHING, 1, workers=-1)
    env = make_env(PUSHING, 2, workers=0)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match=r"seeds: expected shape \(2,\)"):
        env.reset(torch.tensor([1]))
    env.reset(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"actions: expected shape \(2, 2, 2\), found \(2, 2\)"):
        env.step(torch.zeros(2, 2))
