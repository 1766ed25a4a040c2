"""Mutants of good files: bytes flipped, cut, repeated; values of other types, sizes and depths; chained again.

Everything is drawn from one ``random.Random``, so that a number names a mutant.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

CHAIN_START = "0" * 16
DEEP = {f"@@deep{n}@@": "[" * n + "]" * n for n in (30, 300, 30_000)}
RAW = {"@@nan@@": "NaN", "@@inf@@": "-Infinity", "@@big@@": "9" * 400, "@@huge@@": "9" * 5000, "@@e@@": "1e999", **DEEP}


def values(canary: str) -> list[Any]:
    """What no good file has in the place of a good value. ``canary`` is a folder with code that must never run."""
    return [
        None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 5e-324, 2**53, 2**63, -(2**70), "", " ", "0", "-1", "1e5", "nan",
        "..", ".", "../../../outside", "/etc/passwd", "a/../../b", "a\\b", "C:\\x", "x" * 300, "x" * 2_000_000, "\0",
        "a\x1b]0;owned\x07", "\x9b2J", "\u202egnp", "\u200b", "\ufeff", "\ud800", "\U0010ffff", "e\u0301", "=1+1",
        "@SUM(1)", "<script>alert(1)</script>", "[red]x[/]", "[/]", "{{ 7*7 }}", "%s%n", "$(touch x)", "null",
        "2020-01-01",
        [], {}, [[]], [None], [{}], {"": None}, [1] * 3000, {str(i): i for i in range(3000)}, *RAW,
        f"subprocess:getoutput?cmd=touch {canary}/shell", f"{canary}/evil.py:Evil", f"vmas:{canary}/evil.py",
        "os:system", "canary_module:Evil", f"{canary}/evil.py:make", "zoo/../../x", "ippo", "random",
        "lbf/8x8-2p-2f-coop-v1",
    ]  # fmt: skip


class Mutator:
    """Draws mutants of files by their kind."""

    def __init__(self, canary: str) -> None:
        self.values = values(canary)

    def of(self, kind: str, data: bytes, draw: Random) -> bytes:
        """A mutant of a file of this kind: json, lines, chained, gzip, yaml, csv or bytes."""
        if draw.random() < 0.3:
            return self.bytes(data, draw)
        changes: dict[str, Callable[[bytes, Random], bytes]] = {
            "json": self.json, "lines": self.lines, "chained": self.chained, "gzip": self.gzip, "yaml": self.text,
            "csv": self.text, "bytes": self.bytes,
        }  # fmt: skip
        return changes[kind](data, draw)

    def bytes(self, data: bytes, draw: Random) -> bytes:
        """Flips, cuts, repetitions, insertions."""
        out = bytearray(data)
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            at = draw.randrange(len(out) + 1)
            to = min(len(out), at + draw.choice((1, 2, 10, 100, len(out))))
            kind = draw.randrange(6)
            if kind == 0 and at < len(out):
                out[at] ^= 1 << draw.randrange(8)
            elif kind == 1:
                del out[at:]
            elif kind == 2:
                del out[at:to]
            elif kind == 3:
                out[at:at] = out[at:to]
            elif kind == 4:
                out[at:at] = draw.randbytes(draw.choice((1, 4, 50)))
            elif at < len(out):
                out[at] = draw.choice(b'\0\n\r\t"[]{},:-.eE019\xff\xed')
        return bytes(out)

    def value(self, data: Any, draw: Random) -> Any:
        """Plain data with something in it replaced, removed, doubled, renamed or wrapped."""
        places: list[tuple[Any, Any]] = []
        stack = [data]
        while stack:
            item = stack.pop()
            if isinstance(item, dict | list):
                for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
                    places.append((item, key))
                    stack.append(inner)
        if not places or draw.random() < 0.02:
            return draw.choice(self.values)
        owner, key = draw.choice(places)
        kind = draw.randrange(8)
        if kind <= 3:
            owner[key] = draw.choice(self.values)
        elif kind == 4:
            del owner[key]
        elif kind == 5:
            other, name = draw.choice(places)
            if _reaches(other, name):
                owner[key] = json.loads(json.dumps(other[name], default=str)) if not _holds(other[name], owner) else 0
        elif kind == 6 and isinstance(owner, dict):
            owner[str(draw.choice(self.values))[:50]] = owner.pop(key)
        elif isinstance(owner, list):
            owner += [owner[key]] * draw.choice((1, 1, 200))
        else:
            owner[key] = [owner[key]]
        return data

    def dumped(self, data: Any) -> bytes:
        """JSON text, with what JSON cannot say put in."""
        text = json.dumps(data)
        for sign, raw in RAW.items():
            text = text.replace(f'"{sign}"', raw)
        return text.encode("utf-8", "surrogatepass")

    def json(self, data: bytes, draw: Random) -> bytes:
        """A changed document; now and then a key twice."""
        out = self.dumped(self.value(json.loads(data), draw))
        return out.replace(b"{", b'{"seeds": 1, "seeds": 2, ', 1) if draw.random() < 0.03 else out

    def lines(self, data: bytes, draw: Random) -> bytes:
        """One line changed, removed, doubled or moved."""
        found = data.splitlines()
        at = draw.randrange(len(found))
        kind = draw.randrange(6)
        if kind == 0:
            del found[at]
        elif kind == 1:
            found.insert(draw.randrange(len(found)), found[at])
        elif kind == 2:
            found.append(found.pop(at))
        else:
            found[at] = self.json(found[at], draw)
        return b"\n".join(found) + draw.choice((b"\n", b"\n", b"\n", b""))

    def chained(self, data: bytes, draw: Random) -> bytes:
        """Lines changed and then chained again, as a forger does."""
        return rechained(self.lines(data, draw)) if draw.random() < 0.7 else self.lines(data, draw)

    def gzip(self, data: bytes, draw: Random) -> bytes:
        """The content changed and packed again, or a bomb."""
        if draw.random() < 0.02:
            engine = zlib.compressobj(9, wbits=31)
            return b"".join(engine.compress(b"[" * (1 << 20)) for _ in range(300)) + engine.flush()
        return gzip.compress(self.chained(gzip.decompress(data), draw), compresslevel=1, mtime=0)

    def text(self, data: bytes, draw: Random) -> bytes:
        """One word of YAML or CSV replaced, a line doubled, removed or moved in."""
        text = data.decode()
        words = [w for w in text.replace(",", " ").replace("[", " ").replace("]", " ").split() if len(w) < 60]
        kind = draw.randrange(6)
        if kind <= 2:
            found = draw.choice(self.values)
            new = found if isinstance(found, str) else self.dumped(found).decode("utf-8", "surrogatepass")
            new = RAW.get(new, new)
            new = new if draw.random() < 0.5 else json.dumps(new)
            word, count = draw.choice(words), draw.randrange(1, 4)
            return text.replace(word, new, count).encode("utf-8", "surrogatepass")
        lines = text.splitlines()
        at = draw.randrange(len(lines))
        if kind == 3:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif kind == 4:
            del lines[at]
        else:
            pad = draw.choice(
                ("", " ", "  ", "    ", "- ", "? ", "& ", "&a ", "*a ", "!!python/name:os.system ", "%", "<<: ")
            )
            lines[at] = pad + lines[at].lstrip()
        return "\n".join(lines).encode()


def _reaches(owner: Any, key: Any) -> bool:
    return key in owner if isinstance(owner, dict) else isinstance(key, int) and key < len(owner)


def _holds(item: Any, owner: Any) -> bool:
    return item is owner or (isinstance(item, dict | list) and len(json.dumps(item, default=str)) > 100_000)


def rechained(data: bytes) -> bytes:
    """Evaluation lines with the digests that belong to their bytes; other lines as they are."""
    heads: dict[str, str] = {}
    out = []
    for line in data.split(b"\n"):
        body, mark, _ = line.rpartition(b', "chain"')
        try:
            seed = str(json.loads(body + b"}")["seed"]) if mark else ""
        except (ValueError, KeyError, TypeError, RecursionError):
            mark = b""
        if mark:
            heads[seed] = hashlib.sha256(heads.get(seed, CHAIN_START).encode() + body + b"}").hexdigest()[:16]
            line = body + f', "chain": "{heads[seed]}"}}'.encode()
        out.append(line)
    return b"\n".join(out)
