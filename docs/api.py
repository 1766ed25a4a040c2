"""The API reference from the docstrings: ``python docs/api.py FOLDER`` (`make docs`). A warning is an error."""

import re
import sys
import warnings
from pathlib import Path

import pdoc

import rlnet_bench

# What a user's code names; the rooms behind it are read in the source.
MODULES = (
    "rlnet_bench",
    "rlnet_bench.analysis",
    "rlnet_bench.analysis.results",
    "rlnet_bench.envs.card",
    "rlnet_bench.envs.contract",
    "rlnet_bench.errors",
    "rlnet_bench.learning.actor",
    "rlnet_bench.learning.config",
    "rlnet_bench.learning.learner",
    "rlnet_bench.learning.off_policy",
    "rlnet_bench.learning.on_policy",
    "rlnet_bench.learning.policy",
    "rlnet_bench.learning.ppo",
    "rlnet_bench.learning.replay",
    "rlnet_bench.learning.stacked",
    "rlnet_bench.learning.targets",
    "rlnet_bench.learning.trainer",
    "rlnet_bench.methods",
    "rlnet_bench.networks.level_env",
    "rlnet_bench.networks.spec",
    "rlnet_bench.reports",
    "rlnet_bench.reports.plots",
    "rlnet_bench.rng",
    "rlnet_bench.runs.check_launcher",
    "rlnet_bench.runs.launch",
    "rlnet_bench.runs.suite",
    "rlnet_bench.stats",
)
ROLE = re.compile(r":\w+:`[~!]?([^`]+)`")  # :func:`~rlnet_bench.run`; pdoc links what stands between backticks


def main(folder: Path) -> None:
    """Write one page per module, and a search."""
    warnings.filterwarnings("error", module="pdoc")
    # The constructor of a NamedTuple is generated code, which knows none of its module's names: printed as written.
    warnings.filterwarnings("ignore", r"Error parsing type annotation ForwardRef\(.*\.__(init|new)__\.", UserWarning)
    for name in rlnet_bench.__all__:  # loaded when first used; pdoc looks at what is there
        setattr(rlnet_bench, name, getattr(rlnet_bench, name))
    convert = pdoc.docstrings.convert

    def as_markdown(text: str, *rest: object) -> str:
        return convert(re.sub(r"::$", ":", ROLE.sub(r"`\1`", text), flags=re.M), *rest)

    pdoc.docstrings.convert = as_markdown
    pdoc.render.configure(docformat="google", footer_text="rlnet_bench", show_source=False)
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
