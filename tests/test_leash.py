"""A child follows its parent into death, and knows when it came too late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from rlnet_bench.leash import Leash, follow

PARENT = """
import subprocess, sys
from rlnet_bench.leash import Leash
leash = Leash()
child = "import os, signal, sys; from rlnet_bench.leash import follow; " \\
    "follow(int(sys.argv[1]), lambda: os._exit(7)); print('there', flush=True); signal.pause()"
subprocess.Popen([sys.executable, "-c", child, str(leash.end)], pass_fds=(leash.end,))
sys.stdin.read()
"""


def test_a_killed_parent_takes_its_child_along() -> None:
    """The child holds our pipe open: its end is the child's end."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "there\n"
    parent.send_signal(signal.SIGKILL)
    out, _ = parent.communicate(timeout=60)
    assert out == "" and parent.returncode == -signal.SIGKILL


def test_a_parent_that_lets_go_or_is_gone_already() -> None:
    for close_first in (False, True):
        leash, told = Leash(), threading.Event()
        copy = os.dup(leash.end)
        if close_first:
            leash.close()
        follow(copy, told.set)
        leash.close()
        assert told.wait(60)
        os.close(copy)


def test_nothing_else_that_the_parent_starts_holds_the_leash() -> None:
    leash = Leash()
    listing = "ls -L -i /proc/self/fd"
    done = subprocess.run(listing.split(), capture_output=True, text=True)
    assert done.stdout and str(os.fstat(leash.end).st_ino) not in done.stdout.split()
    leash.close()
