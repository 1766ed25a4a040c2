"""The door for results that came from elsewhere: readers of foreign formats. Imports without torch."""

from rlnet_bench.errors import Malformed
from rlnet_bench.foreign.csv import parse_csv, read_csv, write_csv
from rlnet_bench.foreign.door import FORMATS, Options, read_foreign
from rlnet_bench.foreign.table import CellFacts, Evaluation, ForeignTable, merged

__all__ = [
    "FORMATS",
    "CellFacts",
    "Evaluation",
    "ForeignTable",
    "Malformed",
    "Options",
    "merged",
    "parse_csv",
    "read_csv",
    "read_foreign",
    "write_csv",
]
