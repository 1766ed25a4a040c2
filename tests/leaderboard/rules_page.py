"""``docs/rules.md`` from the docstrings of the rules' tests; run me to write it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from rlnet_bench.leaderboard.rules import BOARD_RULES, SUBMISSION_RULES

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "rules.md"
HEAD = """\
# The rules of the leaderboard

Every rule is a function, and this page is made of the docstrings of their tests, `tests/leaderboard/rules/`
(`python tests/leaderboard/rules_page.py` writes it). `rlnet-bench submit check FOLDER` holds a submission against the
first part; `rlnet-bench submit record` holds the board against the second, at the merge base and now. How to submit:
[submitting.md](submitting.md).

Code, rules and board have one version (`results/board.yaml`). An exemption is a line in that file, and its list can
only become shorter.
"""


def docstrings() -> dict[str, str]:
    """The docstring of every rule's tests, by rule."""
    names = ["manifest_is_strict", *SUBMISSION_RULES, *BOARD_RULES]
    files = {name: HERE / "rules" / f"test_{name}.py" for name in names}
    return {name: ast.get_docstring(ast.parse(file.read_text())) or "" for name, file in files.items()}


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    for title, names in (
        ("A submission", ["manifest_is_strict", *SUBMISSION_RULES]),
        ("The board", list(BOARD_RULES)),
    ):
        parts.append(f"## {title}\n")
        parts += [_rule(name, docstrings()[name]) for name in names]
    return "\n".join(parts)


def _rule(name: str, text: str) -> str:
    text = re.sub(r"^(Allowed|Disallowed): ", r"* *\1*: ", text.strip(), flags=re.MULTILINE)
    return f"### {name.replace('_', ' ').capitalize()}\n\n{text}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
