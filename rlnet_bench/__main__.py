"""``python -m rlnet_bench`` is the command line."""

from rlnet_bench.cli.main import main

main()
