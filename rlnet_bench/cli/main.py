"""The command line. One thin file per verb; heavy imports happen inside the verbs."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rlnet_bench import cli
from rlnet_bench.cli.output import Harmless, damage_told
from rlnet_bench.errors import RlnetError, WorkFailed, said, their_line


class Verbs(TyperGroup):
    """Click would turn Ctrl-C into a silent exit, and a reader who left into an error: both are met before it hears."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            damage_told.clear()
            value = super().invoke(ctx)
            if damage_told:
                raise WorkFailed(
                    f"{len(damage_told)} groups (above) are not what was written, and count as failed; "
                    "`rlnet-bench store check` says what else is wrong."
                )
            return value
        except KeyboardInterrupt:
            print("rlnet-bench: interrupted; the store keeps what was done.", file=sys.stderr)
            raise SystemExit(130) from None
        except BrokenPipeError:  # the reader (head, less) has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


app = typer.Typer(
    cls=Verbs,
    name="rlnet-bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"rlnet-bench {version('rlnet-bench')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """A referee for collaborative multi-agent reinforcement learning."""


for _info in pkgutil.iter_modules(cli.__path__):
    if _info.name not in ("main", "output", "progress") and not _info.name.startswith("_"):
        importlib.import_module(f"rlnet_bench.cli.{_info.name}").add_to(app)


def main() -> None:
    """Entry point: a user's mistake is a sentence and exit code 2, never a traceback."""
    sys.stdout, sys.stderr = Harmless(sys.stdout), Harmless(sys.stderr)
    try:
        app(prog_name="rlnet-bench")
    except RlnetError as error:
        print(f"rlnet-bench: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(f"rlnet-bench: {error.filename}: cannot be read or written ({error.strerror}).", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception as error:
        if not their_line(error):  # a mistake of ours
            raise
        print(f"rlnet-bench: {said(error)}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
