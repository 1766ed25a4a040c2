"""Worker processes for :mod:`rlnet_bench.envs.pettingzoo.env`; this file is also their main program.

Workers are started as fresh interpreters (``python -m``), not forked and not through multiprocessing's
``spawn``: forking a process with torch threads may hang, and ``spawn`` runs the caller's script again
where it lacks a main guard. Arrays travel through one shared anonymous file, commands through a pipe. A worker
ends with its parent (:mod:`rlnet_bench.leash`), even in the middle of a user's step.
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection, Pipe
from typing import Any

from rlnet_bench.envs.card import TaskCard
from rlnet_bench.envs.pettingzoo.seats import Board, SeatError, Seats, board_on, board_size
from rlnet_bench.errors import RlnetError, WorkFailed
from rlnet_bench.leash import Leash, follow
from rlnet_bench.trust import accept, demand, search_path


class LocalCrew:
    """All environments in this process: no start-up time, for tests and for debugging."""

    def __init__(self, card: TaskCard, num_envs: int) -> None:
        self.task = card.id
        self.board: Board = board_on(card, num_envs, bytearray(board_size(card, num_envs)))
        self.seats = Seats(card, 0, num_envs, self.board)

    def call(self, command: str, *per_env: list[Any]) -> None:
        """Run ``reset``, ``step`` or ``replay``; each argument is a list with one entry per environment."""
        try:
            getattr(self.seats, command)(*per_env)
        except SeatError as error:
            raise WorkFailed(f"{self.task}: {error}") from error

    def close(self) -> None:
        """Close the environments."""
        self.seats.close()


class ProcessCrew:
    """Environments spread over worker processes in consecutive runs."""

    def __init__(self, card: TaskCard, num_envs: int, workers: int) -> None:
        self.task = card.id
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the crew
        self._file.truncate(board_size(card, num_envs))
        self._memory = mmap.mmap(self._file.fileno(), 0)
        self._leash = Leash()
        self.board: Board = board_on(card, num_envs, self._memory)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._pipes: list[Connection] = []
        edges = [num_envs * w // workers for w in range(workers + 1)]
        self._runs = [(a, b) for a, b in zip(edges, edges[1:])]
        try:
            for first, last in self._runs:
                self._start(card, num_envs, first, last)
            self._collect()
        except BaseException:
            self.close()
            raise

    def _start(self, card: TaskCard, num_envs: int, first: int, last: int) -> None:
        ours, theirs = Pipe()
        handles = (theirs.fileno(), self._file.fileno(), self._leash.end)
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment = {**os.environ, **threads, "PYTHONPATH": search_path()}
        command = [sys.executable, "-P", "-m", __name__, *map(str, handles)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=handles)
        theirs.close()  # so that the worker's death ends the pipe
        self.processes.append(process)
        self._pipes.append(ours)
        ours.send((demand(card.id), card, num_envs, first, last))

    def call(self, command: str, *per_env: list[Any]) -> None:
        """Run ``reset``, ``step`` or ``replay``; each argument is a list with one entry per environment."""
        for w, (first, last) in enumerate(self._runs):
            try:
                self._pipes[w].send((command, [values[first:last] for values in per_env]))
            except OSError as error:
                raise self._lost(w) from error
        self._collect()

    def _collect(self) -> None:
        """One answer from every worker, so that the pipes stay in step; then the first error, if any."""
        errors = []
        for w, pipe in enumerate(self._pipes):
            try:
                error = pipe.recv()
            except (EOFError, OSError):
                error = self._lost(w)
            if error is not None:
                errors.append(error if isinstance(error, RlnetError) else WorkFailed(f"{self.task}: {error}"))
        if errors:
            raise errors[0]

    def _lost(self, w: int) -> WorkFailed:
        try:
            code: int | None = self.processes[w].wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        first, last = self._runs[w]
        cause = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited ({code})"
        return WorkFailed(f"{self.task}: the worker process of environments {first} to {last - 1} {cause}.")

    def close(self) -> None:
        """End the workers; a worker that does not end within 5 seconds is killed."""
        for pipe in self._pipes:
            pipe.close()
        for process in self.processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._leash.close()
        self._file.close()


def main(pipe_handle: int, file_handle: int, leash: int) -> None:
    """A worker: build its environments, then obey until the pipe ends."""
    follow(leash, lambda: os._exit(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    with Connection(pipe_handle) as pipe:
        seats: Seats | None = None
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                break
            try:
                if seats is None:
                    code, card, num_envs, first, last = message
                    accept([code])
                    memory = mmap.mmap(file_handle, 0)
                    seats = Seats(card, first, last - first, board_on(card, num_envs, memory))
                else:
                    command, arguments = message
                    getattr(seats, command)(*arguments)
                answer: Any = None
            except (SeatError, RlnetError) as error:
                answer = str(error)
            except Exception:
                answer = traceback.format_exc()
            pipe.send(answer)
        if seats is not None:
            seats.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
