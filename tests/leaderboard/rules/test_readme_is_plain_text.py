"""README.md is one page of text that every terminal and browser can show.

Allowed: words, in any language.
Disallowed: an empty page, terminal escapes, right-to-left and zero-width marks.
"""

from __future__ import annotations

import pytest
from judged import Fresh, says


def test_allowed(fresh: Fresh) -> None:
    folder = fresh()
    (folder / "README.md").write_text("IPPO avec un r\u00e9seau.\n\n<b>shown as it is written</b>\n")
    assert says("readme_is_plain_text", folder) == ""


@pytest.mark.parametrize("text", [" \n", "a\x1b]0;title\x07b", "safe \u202etxt.exe", "zero\u200bwidth"])
def test_disallowed(fresh: Fresh, text: str) -> None:
    folder = fresh()
    (folder / "README.md").write_text(text)
    assert says("readme_is_plain_text", folder).startswith("README.md")
