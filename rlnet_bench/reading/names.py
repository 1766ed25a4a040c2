"""Names that can be printed and stay in their folder, and text that a terminal shows and does not obey."""

from __future__ import annotations

import unicodedata

from rlnet_bench.errors import Malformed

MAX_NAME = 200
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format (bidirectional, zero-width), surrogates, ...


def is_seen(character: str) -> bool:
    """Whether a character only takes its own place on the screen."""
    return character.isprintable() or unicodedata.category(character) not in _UNSEEN


def checked_name(text: object, where: str, what: str = "a name", most: int = MAX_NAME) -> str:
    """A name: 1 to ``most`` characters, none of them a control, bidirectional or zero-width one.

    Raises:
        Malformed: for anything else.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > most or not all(map(is_seen, text)):
        raise Malformed(where, f"{what} of 1 to {most} printable characters", text)
    return text


def plain_part(text: str, where: str) -> str:
    """One part of a path, which cannot leave its folder: no separator, no ``..``, nothing unseen.

    Raises:
        Malformed: for anything else.
    """
    name = checked_name(text, where, "a file name")
    if name in (".", "..") or "/" in name or "\\" in name or len(name.encode()) > 255:
        raise Malformed(where, "a name that stays in its folder", text)
    return name


def harmless(text: str) -> str:
    r"""Text for a terminal: what would command it (escapes, bidirectional and zero-width marks) is written out.

    >>> harmless("a\x1b]0;title\x07b")
    'a\\x1b]0;title\\x07b'
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or is_seen(c) else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
