"""A worker for tests in a process of its own: slowed down, checkpointing often, fast to kill."""

from __future__ import annotations

import sys
import time

from rlnet_bench.runs import loop, worker


def main() -> int:
    """``python worker_process.py STORE SUITE SECONDS_PER_ITERATION``."""
    root, suite, pause = sys.argv[1:]
    build = loop.build_learner

    def slowly(config):  # type: ignore[no-untyped-def]
        card, learner = build(config)
        iterate = learner.iterate

        def slow():  # type: ignore[no-untyped-def]
            time.sleep(float(pause))
            return iterate()

        learner.iterate = slow  # type: ignore[method-assign]
        return card, learner

    loop.build_learner = slowly
    loop.run_group.__kwdefaults__["checkpoint_seconds"] = 0.0
    return worker.main([root, suite])


if __name__ == "__main__":
    raise SystemExit(main())
