"""safetensors files: the header is judged before anything is allocated, and nothing is ever unpickled.

The format is a length, a JSON header and raw bytes; whatever else is in the file (a pickle under another name, say)
has no valid header and is refused.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlnet_bench.errors import Malformed
from rlnet_bench.reading.files import MiB, read_bytes
from rlnet_bench.reading.plain import parse_json
from rlnet_bench.reading.shapes import check

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_WEIGHTS = 1024 * MiB
MAX_SAVED = 65536 * MiB  # of checkpoints: replay buffers are large, and a checkpoint is the user's own
MAX_HEADER = 8 * MiB
MAX_NPZ = 256 * MiB
_WIDTH = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4,
    "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_ENTRY = {"dtype": tuple(_WIDTH), "shape": [int], "data_offsets": [int]}


def read_tensors(file: Path, device: str = "cpu", most: int = MAX_WEIGHTS) -> dict[str, torch.Tensor]:
    """Tensors by name.

    Raises:
        Absent: when there is no such file.
        Malformed: when it is not safetensors to its last byte.
    """
    found = parse_tensors(read_bytes(file, most), str(file))
    return {name: tensor.to(device) for name, tensor in found.items()}


def parse_tensors(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """Tensors by name from the bytes of a file; raises Malformed."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(checked_tensors(data, where))
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise Malformed(where, "safetensors", f"a file that cannot be loaded ({error})") from None


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """As :func:`read_tensors`, as numpy arrays and without torch."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = checked_tensors(read_bytes(file, MAX_WEIGHTS), str(file))
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Malformed(str(file), "safetensors", f"a file that cannot be loaded ({error})") from None


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """Arrays by name from a file of ``numpy.savez``; objects, which would be unpickled, are refused.

    Raises:
        Absent, Malformed: when there is none, or it is anything else, or it unpacks to too much.
    """
    import numpy as np

    data = read_bytes(file, MAX_NPZ, links=True)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(e.file_size for e in archive.infolist()) > 2 * MAX_NPZ:
                raise Malformed(str(file), f"at most {2 * MAX_NPZ // MiB} MiB of arrays", "more")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Malformed:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError, MemoryError, NotImplementedError) as error:
        raise Malformed(str(file), "arrays of numpy.savez", f"another file ({str(error)[:120]})") from None


def checked_tensors(data: bytes, where: str) -> bytes:
    """The bytes of a safetensors file, if its header describes exactly what follows it; raises Malformed."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER, len(data) - 8):
        raise Malformed(where, "safetensors", "a file without its header")
    header: Any = parse_json(data[8 : 8 + length], f"{where}: header")
    check(header, dict, f"{where}: header")
    spans = []
    for name, entry in header.items():
        at = f"{where}: header: {name[:80]!r}"
        if name == "__metadata__":
            check(entry, dict, at)
            continue
        check(entry, _ENTRY, at)
        size = _WIDTH[entry["dtype"]] * math.prod(entry["shape"])
        if len(entry["data_offsets"]) != 2 or entry["data_offsets"][1] - entry["data_offsets"][0] != size:
            raise Malformed(at, f"offsets of {size} bytes", entry["data_offsets"])
        spans.append(tuple(entry["data_offsets"]))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise Malformed(where, "tensors one after the other", f"a gap or an overlap at byte {start}")
        end = stop
    if end != len(data) - 8 - length:
        raise Malformed(where, f"{end} bytes of tensors", f"a file with {len(data) - 8 - length}")
    return data
