"""Run a tiny suite from Python, look at its numbers, and let a trained policy act.

python examples/python_api.py
"""

import tempfile
from pathlib import Path

import rlnet_bench as rb
from rlnet_bench import rng


def main() -> None:
    store = Path(tempfile.mkdtemp()) / "store"
    results = rb.run("quick", store, overrides=["budget.frames=6400", "seeds=2", "methods=[random, ippo]"])
    frame = results.frame()
    print(frame[frame.kind == "absolute"].groupby(["task", "method", "mode"])["return"].mean())

    record = results.find("ippo", "mpe/simple_spread-discrete-v1")[0]
    policy = rb.load_policy(store / "runs" / record.run_id, seed=0)
    env = rb.make_env(record.task, num_envs=1)
    now = env.reset(rng.env_keys((0,), rng.Stream.USER, 1))
    state = policy.initial_state(1)
    for _ in range(3):
        actions, state = policy.act(now.observation, state)
        now = env.step(actions)
        print("actions", actions.tolist(), "reward", [round(x, 3) for x in now.reward[0].tolist()])


if __name__ == "__main__":
    main()
