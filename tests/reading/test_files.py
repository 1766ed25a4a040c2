"""Bytes, folders and gzip: whatever lies there, it is read or refused with a sentence, at once."""

from __future__ import annotations

import gzip
import os
import socket
import zlib
from pathlib import Path

import pytest

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.files import MAX_RATIO, Absent, MiB, inside, listing, read_bytes, read_text, unpack


def special(folder: Path) -> dict[str, Path]:
    """One of everything that is no regular file."""
    found = {name: folder / name for name in ("pipe", "socket", "link", "loop", "folder")}
    os.mkfifo(found["pipe"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(found["socket"]))
    (folder / "target").write_text("content")
    found["link"].symlink_to(folder / "target")
    found["loop"].symlink_to(found["loop"])
    found["folder"].mkdir()
    return {**found, "device": Path("/dev/zero")}


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "loop", "folder", "device"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = special(tmp_path)[kind]
    with pytest.raises(Malformed, match="expected a regular file, found a") as caught:
        read_bytes(path)
    assert str(path) in str(caught.value)


def test_a_file_that_the_user_named_may_be_a_link(tmp_path: Path) -> None:
    paths = special(tmp_path)
    assert read_bytes(paths["link"], links=True) == b"content"
    for kind in ("loop", "pipe", "device"):
        with pytest.raises(Malformed):
            read_bytes(paths[kind], links=True)


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "no", tmp_path / "file" / "below", tmp_path / "no" / "no"):
        with pytest.raises(Absent, match="found nothing there"):
            read_bytes(path)
    with pytest.raises(Malformed, match="a path that no file can have"):
        read_bytes(tmp_path / "a\0b")
    with pytest.raises(Malformed):
        read_bytes(tmp_path / ("x" * 5000))


def test_sizes_and_encodings(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"12345")
    assert read_bytes(file, 5) == b"12345"
    with pytest.raises(Malformed, match="expected at most 4 bytes, found a file of 5 bytes"):
        read_bytes(file, 4)
    with file.open("r+b") as handle:
        handle.truncate(1 << 40)  # it takes no room on the disk
    with pytest.raises(Malformed, match="expected at most 128 MiB, found a file of 1048576 MiB"):
        read_bytes(file)
    file.write_bytes(b"\xef\xbb\xbfa\n\xff")
    with pytest.raises(Malformed, match=r"f, line 2: expected UTF-8 text, found a byte 0xff"):
        read_text(file)
    file.write_bytes(b"a\n\nb\0")
    with pytest.raises(Malformed, match=r"f, line 3: expected text, found a zero byte"):
        read_text(file)


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def test_gzip_is_unpacked_once_and_to_its_end() -> None:
    assert unpack(packed(b"abc"), "f") == b"abc" and unpack(packed(b""), "f") == b""
    whole = packed(b"abc" * 1000)
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # of the checksum
    for data, complaint in (
        (b"", "gzip data to its end"), (b"plain", "gzip data"), (whole[:-1], "gzip data to its end"),
        (whole + b"x", "one gzip member"), (whole + whole, "one gzip member"), (bytes(flipped), "gzip data"),
        (zlib.compress(b"abc"), "gzip data"),
    ):  # fmt: skip
        with pytest.raises(Malformed, match=f"f: expected {complaint}"):
            unpack(data, "f")


@pytest.mark.parametrize("mebibytes", [2, 64, 1024])
def test_bombs_are_refused_before_they_are_unpacked(mebibytes: int) -> None:
    import tracemalloc

    engine = zlib.compressobj(9, wbits=31)
    bomb = b"".join(engine.compress(b"\0" * MiB) for _ in range(mebibytes)) + engine.flush()
    tracemalloc.start()
    with pytest.raises(Malformed, match=r"expected at most .* unpacked \(.* packed\), found a file of more"):
        unpack(bomb, "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * max(MiB, min(128 * MiB, MAX_RATIO * len(bomb))) + 4 * MiB


OUT = ["..", ".", "a/b", "/etc", "a\\b", "", "a\0", "\u202ea", "x" * 300, "a\x1b[0m", "\u200b"]


@pytest.mark.parametrize("part", OUT)
def test_a_part_of_a_path_stays_in_its_folder(tmp_path: Path, part: str) -> None:
    with pytest.raises(Malformed):
        inside(tmp_path, part)
    with pytest.raises(Malformed):
        inside(tmp_path, "good", part)


def test_folders_on_the_way_are_no_links_but_the_root_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "out").symlink_to("/")
    assert inside(tmp_path / "root", "in", "file") == tmp_path / "root" / "in" / "file"
    with pytest.raises(Malformed, match="out: expected a folder, found a link"):
        inside(tmp_path / "root", "out", "etc", "passwd")


def test_a_listing_is_sorted_and_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", ".c.json", "d.txt"):
        (tmp_path / name).write_text("")
    assert [p.name for p in listing(tmp_path, ".json")] == ["a.json", "b.json"]
    assert listing(tmp_path / "no") == [] and listing(tmp_path / "d.txt") == []
