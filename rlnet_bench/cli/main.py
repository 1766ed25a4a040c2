"""The command line. One thin file per verb; heavy imports happen inside the verbs."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import typer

from rlnet_bench import cli
from rlnet_bench.errors import RlnetError

app = typer.Typer(
    name="rlnet-bench",
    help="A referee for collaborative multi-agent reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _info in pkgutil.iter_modules(cli.__path__):
    if _info.name not in ("main", "output", "progress"):
        importlib.import_module(f"rlnet_bench.cli.{_info.name}").add_to(app)


def main() -> None:
    """Entry point: a user's mistake is a sentence and exit code 2, never a traceback."""
    try:
        app()
    except RlnetError as error:
        print(f"rlnet-bench: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # the reader (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        print("rlnet-bench: interrupted; the store keeps what was done.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
