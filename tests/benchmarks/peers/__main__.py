"""``make peers``: how fast we train and step against JaxMARL, BenchMARL, Jumanji and ourselves, one thread each.

Builds every peer's environment once, outside ours (``.peers/NAME``, from ``NAME.txt`` beside this file). Both sides
of a row live side by side on one core, each waiting while the other trains; a ratio is the median over the rounds, so
that a machine that slows down slows both.
Usage: ``python tests/benchmarks/peers [--rounds N] [--seconds S] [ROW ...]``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homes import HERE, ONE_THREAD, python_of

SPREAD, SPREAD4, LBF, BALANCE = (
    "mpe/simple_spread-discrete-v1",
    "mpe/simple_spread-n4-discrete-v1",
    "lbf/8x8-2p-2f-coop-v1",
    "vmas/balance-continuous-v1",
)
IPPO = {"rollout_steps": 128, "epochs": 4, "minibatches": 4, "hidden": (64, 64), "critic_hidden": (64, 64)}
MAPPO = {
    "num_envs": 600, "rollout_steps": 100, "epochs": 3, "minibatches": 15, "hidden": (256, 256),
    "critic_hidden": (256, 256),
}  # fmt: skip


@dataclass(frozen=True)
class Side:
    """A process that trains when told to: a script beside this file, its arguments, and whose Python runs it."""

    script: str
    arguments: tuple[str, ...] = ()
    peer: str | None = None


@dataclass(frozen=True)
class Row:
    """One comparison: ``ours`` against ``other``; the goal is our speed over theirs, at least."""

    name: str
    ours: Side
    other: Side
    other_name: str
    goal: float
    efficiency: bool = field(default=False)  # also as a share of this machine's matrix products


def ours(method: str, task: str, seeds: int = 1, **settings: Any) -> Side:
    """A method of ours."""
    return Side("ours.py", (method, task, str(seeds), json.dumps(settings)))


def network(envs: int) -> Row:
    """A director, two captains and four motors against the four motors alone. Goal: at most 1.5 times the time."""
    settings = {"num_envs": envs, "rollout_steps": 25, "share_parameters": False}
    pair = ours("zoo/tag-3ppo", SPREAD4, **settings), ours("ippo", SPREAD4, **settings)
    return Row(f"network-{envs}", *pair, "flat IPPO", 1 / 1.5)


def jaxmarl(envs: int, seeds: int, goal: float, name: str) -> Row:
    """IPPO on simple_spread with the settings of JaxMARL's script."""
    theirs = Side("jaxmarl_ippo.py", (str(envs), str(seeds)), "jaxmarl")
    return Row(name, ours("ippo", SPREAD, seeds, num_envs=envs, **IPPO), theirs, "JaxMARL", goal, efficiency=True)


ROWS = (
    jaxmarl(256, 1, 1.0, "ippo-256"),
    jaxmarl(16, 1, 0.8, "ippo-16"),
    jaxmarl(16, 5, 1.2, "ippo-16x5"),
    Row("balance", ours("mappo", BALANCE, **MAPPO), Side("benchmarl_mappo.py", peer="benchmarl"), "BenchMARL", 1.6),
    network(64),
    network(1024),
    *(
        Row(f"lbf-steps-{n}", Side("ours_steps.py", (LBF, str(n))), Side("jumanji_lbf.py", (str(n),), "jumanji"),
            "Jumanji", 1.0)
        for n in (16, 256, 4096)
    ),
)  # fmt: skip


def processor() -> str:
    """What this machine computes with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Running:
    """A side that has warmed up."""

    def __init__(self, side: Side) -> None:
        self.process = subprocess.Popen(
            [python_of(side.peer), str(HERE / side.script), *side.arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | ONE_THREAD,
        )  # fmt: skip
        self.side = side
        self.hear("READY")

    def hear(self, word: str) -> str:
        """The rest of the next line that starts with a word."""
        assert self.process.stdout is not None and self.process.stderr is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line[len(word) :]
        raise SystemExit(
            f"{self.side.script} {' '.join(self.side.arguments)} ended:\n{self.process.stderr.read()[-2000:]}"
        )

    def rate(self, seconds: float) -> float:
        """Frames per second of at least so many seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.hear("RATE"))

    def stop(self) -> None:
        """The end of stdin ends it."""
        self.process.communicate()


def measure(row: Row, rounds: int, seconds: float) -> dict[str, Any]:
    """Medians over the rounds of both rates and of their ratio."""
    pair = [Running(side) for side in (row.ours, row.other)]
    rates = [[running.rate(seconds) for running in pair] for _ in range(rounds)]
    for running in pair:
        running.stop()
    mine, others = (statistics.median(column) for column in zip(*rates))
    ratio = statistics.median(a / b for a, b in rates)
    return {"row": row.name, "ours": mine, "other": others, "against": row.other_name, "ratio": ratio, "goal": row.goal}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="make peers", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(r.name for r in ROWS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one turn")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    known = {row.name: row for row in ROWS}
    if unknown := set(args.rows) - set(known):
        parser.error(f"unknown rows {sorted(unknown)}; known are {sorted(known)}")
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    from ours import learner_of

    from rlnet_bench.learning.yardstick import gemm_rate, products_per_frame

    found = []
    for row in (known[name] for name in args.rows or known):
        gemm = gemm_rate()
        line = measure(row, args.rounds, args.seconds)
        if row.efficiency:
            flop = products_per_frame(learner_of(*row.ours.arguments))
            line["efficiency"] = line["ours"] * flop / ((gemm + gemm_rate()) / 2)
        found.append(line)
        if args.json:
            print(json.dumps(line), flush=True)
            continue
        efficiency = f"   arithmetic efficiency {line['efficiency']:.2f} (goal 0.34)" if row.efficiency else ""
        print(f"{row.name:14s} ours {line['ours']:9,.0f} frames/s   {row.other_name:9s} {line['other']:9,.0f}   "
              f"ratio {line['ratio']:.2f} (goal {row.goal:.2f}){efficiency}", flush=True)  # fmt: skip
    if not args.json:
        print(f"one core of {processor()}, one thread each; matrix products "
              f"{gemm_rate() / 1e9:.0f} GFLOP/s")  # fmt: skip


if __name__ == "__main__":
    main()
