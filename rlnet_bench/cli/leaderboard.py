"""``rlnet-bench leaderboard build`` and ``leaderboard serve``: published results as a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlnet_bench.cli.output import JsonFlag, print_json

ResultsOption = Annotated[Path, typer.Option("--results", help="The folder of published results and submissions.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where the site is written.")]
leaderboard = typer.Typer(no_args_is_help=True, help="Published results as a site of plain files.")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(leaderboard, name="leaderboard")


@leaderboard.command()
def build(results: ResultsOption = Path("results"), out: OutOption = Path("site"), json: JsonFlag = False) -> None:
    """Make the site: boards, a page per method and task, comparisons, tables as CSV, JSON and LaTeX."""
    from rlnet_bench.leaderboard.site import build_site

    page = build_site(results, out)
    files = [p for p in out.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    if json:
        print_json({"page": str(page), "files": len(files), "bytes": size})
    else:
        print(f"{page}: {len(files)} files, {size / 2**20:.1f} MiB, first page {page.stat().st_size / 1024:.0f} KiB")


@leaderboard.command()
def serve(
    results: ResultsOption = Path("results"),
    out: OutOption = Path("site"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
) -> None:
    """Make the site and show it at home: to this machine only, until Ctrl-C. The files need no server."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from rlnet_bench.errors import BadInput
    from rlnet_bench.leaderboard.site import build_site

    build_site(results, out)
    handler = partial(SimpleHTTPRequestHandler, directory=str(out))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise BadInput(f"--port {port}: cannot be listened to ({error.strerror}); --port 0 takes a free one.") from None
    print(f"http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
    with server:
        server.serve_forever()
