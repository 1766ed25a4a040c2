"""Tensors of a file that ``torch.save`` wrote, read as data: an unpickler that builds nothing but tensors.

The file is a zip of one pickle and raw storages. The pickle may name seven things: the two functions that lay a tensor
over a storage, the parameter around it, ordered dictionaries, shapes, and the types of storages, each of which is
replaced by something of ours. Every other name ends the reading, before anything of it is called; torch is not
imported.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.files import MiB, read_bytes

MAX_FILE = 512 * MiB
MAX_PICKLE = 16 * MiB
MAX_PARTS = 100_000
MAX_DEPTH = 40
_STORAGES = {
    "FloatStorage": np.float32, "DoubleStorage": np.float64, "HalfStorage": np.float16, "LongStorage": np.int64,
    "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8, "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}  # fmt: skip


_DAMAGE = (  # how a broken zip or pickle makes itself known
    zipfile.BadZipFile, pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, RecursionError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """The type of a storage."""

    dtype: Any


class _Unpickler(pickle.Unpickler):
    """Knows the names above and no other."""

    def __init__(self, data: bytes, storages: Mapping[str, bytes], where: str) -> None:
        super().__init__(io.BytesIO(data))
        self.storages, self.where = storages, where

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for; raises Malformed."""
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        known = {
            ("collections", "OrderedDict"): OrderedDict, ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor"): _tensor, ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }  # fmt: skip
        if (module, name) not in known:
            raise Malformed(self.where, "tensors and nothing else", f"{module[:80]}.{name[:80]}, which is not built",
                            "Save the actor's state_dict() alone.")  # fmt: skip
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """A storage: ("storage", its type, its name, a device, a count)."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _Kind)):
            raise Malformed(self.where, "storages of numbers", f"another reference {str(pid)[:80]!r}")
        data = self.storages.get(str(pid[2]))
        if data is None or len(data) % np.dtype(pid[1].dtype).itemsize:
            raise Malformed(self.where, f"a storage {str(pid[2])[:80]!r}", "none of that name and type")
        return np.frombuffer(data, pid[1].dtype)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A tensor over a storage; never more of it than there is."""
    if not isinstance(storage, np.ndarray):
        raise ValueError("a tensor without a storage")
    if len(size) > 8 or len(size) != len(stride) or not all(type(x) is int and x >= 0 for x in (*size, *stride)):
        raise ValueError("a tensor of no shape")
    if math.prod(size) == 0:
        return np.zeros(tuple(size) if max(size) <= MAX_PARTS else 0, storage.dtype)
    numbers = (offset, *size, *(s for n, s in zip(size, stride) if n > 1))
    if not all(type(x) is int and 0 <= x <= storage.size for x in numbers):
        raise ValueError("a tensor outside of its storage")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride))
    if math.prod(size) > storage.size or last >= storage.size:
        raise ValueError("a tensor outside of its storage")
    width = storage.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], tuple(size), tuple(s * width for s in stride), writeable=False
    )
    return np.array(view)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def read_torch(file: Path) -> dict[str, np.ndarray]:
    """Tensors of a file by name; the names of nested dictionaries joined by dots. Other plain values are left out.

    Raises:
        Absent: when there is no such file.
        Malformed: for anything that is not tensors in plain dictionaries and lists, to the last byte.
    """
    where = str(file)
    data = read_bytes(file, MAX_FILE, links=True)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text, storages = _parts(archive, where)
        found = _Unpickler(text, storages, where).load()
    except Malformed:
        raise
    except _DAMAGE as error:
        why = f"another file ({str(error)[:99]})"
        raise Malformed(where, "a zip of tensors, as torch.save writes", why) from None
    out: dict[str, np.ndarray] = {}
    _flatten(found, "", out, where, 0)
    if not out:
        raise Malformed(where, "tensors", "none")
    return out


def _parts(archive: zipfile.ZipFile, where: str) -> tuple[bytes, dict[str, bytes]]:
    """(the pickle, storages by name), bounded before anything is unpacked: torch stores, it does not compress."""
    entries = archive.infolist()
    if len(entries) > MAX_PARTS or any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
        raise Malformed(where, f"at most {MAX_PARTS:,} parts, none of them compressed", "another archive")
    pickles = [e for e in entries if e.filename.count("/") == 1 and e.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
        raise Malformed(where, f"one data.pkl of at most {MAX_PICKLE // MiB} MiB", f"{len(pickles)} of them")
    root = pickles[0].filename.removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise Malformed(where, "little-endian storages", "others")
    folder = f"{root}data/"
    storages = {e.filename.removeprefix(folder): e for e in entries if e.filename.startswith(folder)}
    return archive.read(pickles[0]), {name: archive.read(e) for name, e in storages.items()}


def _flatten(value: Any, name: str, out: dict[str, np.ndarray], where: str, depth: int) -> None:
    if depth > MAX_DEPTH or len(out) > MAX_PARTS:
        raise Malformed(where, f"at most {MAX_DEPTH} dictionaries in each other", "more")
    if isinstance(value, np.ndarray):
        out[name] = value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(item, f"{name}.{key}" if name else str(key), out, where, depth + 1)
    elif isinstance(value, (list, tuple)):
        for k, item in enumerate(value):
            _flatten(item, f"{name}.{k}" if name else str(k), out, where, depth + 1)
