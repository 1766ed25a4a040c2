"""A worker for tests in a process of its own: checkpointing often, slowed down, or killed at a chosen frame."""

from __future__ import annotations

import os
import signal
import sys
import time

from rlnet_bench.runs import loop, worker


def main() -> int:
    """``python worker_process.py STORE SUITE SECONDS_PER_ITERATION [KILLED_AT_FRAME]``."""
    root, suite, pause, *killed = sys.argv[1:]
    build = loop.build_learner

    def slowly(config):  # type: ignore[no-untyped-def]
        card, learner = build(config)
        iterate = learner.iterate

        def slow():  # type: ignore[no-untyped-def]
            if str(learner.frames) in killed:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(float(pause))
            return iterate()

        learner.iterate = slow  # type: ignore[method-assign]
        return card, learner

    loop.build_learner = slowly
    return worker.main([root, suite, "--checkpoint-every=0"])


if __name__ == "__main__":
    raise SystemExit(main())
