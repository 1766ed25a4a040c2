"""Bytes of regular files, folders and gzip, all bounded. A pipe, a device or a bomb is a sentence, never a wait."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.names import plain_part

KiB, MiB = 1 << 10, 1 << 20
MAX_BYTES = 128 * MiB  # of one file, before and after unpacking
MAX_RATIO = 400  # of unpacked to packed bytes; published records reach 70
FREE_BYTES = MiB  # unpacked bytes to which no ratio applies
MAX_ENTRIES = 200_000  # of one folder

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class Absent(Malformed):
    """Raised when there is no such file."""


def found_at(path: Path, lacks: str = "") -> str:
    """What is at a path where something else was expected, in words; a folder is said to be one without ``lacks``."""
    if path.is_dir():
        return f"a folder without {lacks}" if lacks else "a folder"
    return "a file" if os.path.lexists(path) else "nothing there"


@contextlib.contextmanager
def opened(path: Path, most: int | None = None, *, links: bool = False) -> Iterator[io.BufferedReader]:
    """A regular file, opened without waiting and looked at before it is read; arguments as of :func:`read_bytes`."""
    what = "a regular file"
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise Absent(str(path), what, "nothing there") from None
    except OSError as error:
        raise Malformed(str(path), what, _why(path, error)) from None
    except ValueError:  # a zero byte in the path
        raise Malformed(repr(str(path)), "the path of a file", "a path that no file can have") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Malformed(str(path), what, _KINDS.get(stat.S_IFMT(found.st_mode), "a special file"))
        if most is not None and found.st_size > most:
            raise Malformed(str(path), f"at most {_size(most)}", f"a file of {_size(found.st_size)}")
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise Malformed(str(path), what, _why(path, error)) from None
    finally:
        os.close(descriptor)


def read_bytes(path: Path, most: int = MAX_BYTES, *, links: bool = False) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file.
        most: bytes that it may have.
        links: whether the last part of the path may be a link: yes for a file that the user named.

    Raises:
        Absent: when there is none.
        Malformed: for anything but a readable regular file of at most ``most`` bytes.
    """
    with opened(path, most, links=links) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # what is appended meanwhile is for the next reader


def read_text(path: Path, most: int = MAX_BYTES, *, links: bool = False) -> str:
    """A regular file as UTF-8 text (a leading byte-order mark is dropped); raises as :func:`read_bytes`."""
    return as_text(read_bytes(path, most, links=links), str(path))


def as_text(data: bytes, where: str) -> str:
    """Bytes as UTF-8 text without zero bytes; raises Malformed."""
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(f"{where}, line {line}", "UTF-8 text", f"a byte {data[error.start]:#04x}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Malformed(f"{where}, line {line}", "text", "a zero byte")
    return text


def unpack(data: bytes, where: str, most: int = MAX_BYTES) -> bytes:
    """The content of one gzip member, checksum verified, and nothing after it.

    Raises:
        Malformed: when it is damaged, or unpacks to more than ``most`` bytes or :data:`MAX_RATIO` times its size.
    """
    limit = min(most, max(FREE_BYTES, MAX_RATIO * len(data)))
    engine = zlib.decompressobj(wbits=31)
    try:
        out = engine.decompress(data, limit + 1)
    except zlib.error as error:
        raise Malformed(where, "gzip data", f"a damaged file ({error})") from None
    if len(out) > limit:
        raise Malformed(where, f"at most {_size(limit)} unpacked ({_size(len(data))} packed)", "a file of more")
    if not engine.eof:
        raise Malformed(where, "gzip data to its end", "a file that was cut off")
    if engine.unused_data:
        raise Malformed(where, "one gzip member", "a file with bytes after it")
    return out


def inside(root: Path, *parts: str) -> Path:
    """``root/part/part``: parts are plain names, and no folder on the way is a link (the root itself may be one).

    Raises:
        Malformed: when it could be outside of ``root``.
    """
    path = root
    for part in parts:
        if path != root and os.path.islink(path):
            raise Malformed(str(path), "a folder", "a link")
        path = path / plain_part(part, str(path))
    return path


def listing(folder: Path, suffix: str = "") -> list[Path]:
    """The entries of a folder that end so, sorted, hidden ones left out; none where there is no folder.

    Raises:
        Malformed: when the folder cannot be read or has more than :data:`MAX_ENTRIES` entries.
    """
    try:
        found = sorted(n for n in _names(folder) if n.endswith(suffix) and not n.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Malformed(str(folder), "a folder", _why(folder, error)) from None
    return [folder / name for name in found]


def tree(root: Path, most_files: int, most_bytes: int, deepest: int = 4) -> dict[str, int]:
    """Sizes of all files below a folder, hidden ones included, by their paths from it (``a/b.json``), sorted.

    Raises:
        Malformed: for a link, a special file, a name that cannot be printed or leaves its folder, names that only
            differ in case, and for more files, bytes or levels than allowed.
    """
    found: dict[str, int] = {}
    level = [""]
    total = 0
    for depth in range(deepest + 1):
        below: list[str] = []
        for folder in level:
            here = root / folder
            try:
                entries = sorted(_entries(here, most_files), key=lambda e: e.name)
            except OSError as error:
                raise Malformed(str(here), "a folder", _why(here, error)) from None
            for entry in entries:
                path = f"{folder}/{plain_part(entry.name, str(here))}".lstrip("/")
                state = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(state.st_mode):
                    below.append(path)
                elif stat.S_ISREG(state.st_mode):
                    found[path], total = state.st_size, total + state.st_size
                else:
                    raise Malformed(str(root / path), "a file or a folder", _KINDS.get(stat.S_IFMT(state.st_mode), "?"))
                if len(found) + len(below) > most_files or total > most_bytes:
                    raise Malformed(str(root), f"at most {most_files} files of {_size(most_bytes)} in all", "more")
        if below and depth == deepest:
            raise Malformed(str(root / below[0]), f"at most {deepest} levels of folders", "a deeper one")
        level = below
    alike = {path.casefold(): path for path in found}
    if len(alike) < len(found):
        twin = next(path for path in found if alike[path.casefold()] != path)
        raise Malformed(str(root / twin), "names that differ in more than capitals", alike[twin.casefold()])
    return dict(sorted(found.items()))


def _entries(folder: Path, most: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= most:
                raise Malformed(str(folder), f"at most {most} entries", "a folder of more")
            yield entry


def _names(folder: Path) -> Iterator[str]:
    return (entry.name for entry in _entries(folder, MAX_ENTRIES))


def _why(path: Path, error: OSError) -> str:
    if os.path.islink(path):
        return "a link"
    return f"a thing that cannot be read ({error.strerror or error})"


def _size(count: int) -> str:
    return f"{count // MiB} MiB" if count >= MiB else f"{-(-count // KiB)} KiB" if count >= KiB else f"{count} bytes"
