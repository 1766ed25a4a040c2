"""Files of torch.save read as data: the same tensors as torch's own, and nothing hostile in them ever runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlnet_bench.errors import StoreError
from rlnet_bench.reading.torch_file import read_torch


def test_the_tensors_are_those_that_torch_saved(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).view(4, 6)
    saved: dict[str, Any] = {
        "plain": base, "transposed": base.t(), "slice": base[1:3, ::2], "number": torch.tensor(3.5),
        "none": torch.zeros(0, 3), "whole": torch.tensor([1, -2], dtype=torch.int64), "half": base.half(),
        "flags": torch.tensor([True, False]),
        "inner": OrderedDict(a=torch.nn.Parameter(base + 1), b=[base, {"c": base}]), "text": "x", "count": 3,
    }  # fmt: skip
    file = tmp_path / "a.pt"
    torch.save(saved, file)
    found = read_torch(file)
    inner = saved.pop("inner")
    expected = {k: v for k, v in saved.items() if isinstance(v, torch.Tensor)}
    expected |= {"inner.a": inner["a"].detach(), "inner.b.0": base, "inner.b.1.c": base}
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.numpy().dtype and np.array_equal(found[name], tensor.numpy()), name


def test_a_module_s_state_is_read(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.GRUCell(4, 2))
    torch.save(net.state_dict(), tmp_path / "a.th")
    found = read_torch(tmp_path / "a.th")
    assert all(np.array_equal(found[k], v.numpy()) for k, v in net.state_dict().items()) and len(found) == 6


class Fires:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, canary: Path, call: Any = None) -> None:
        self.canary, self.call = canary, call

    def __reduce__(self) -> Any:
        return self.call or (os.system, (f"touch {self.canary}",))


def archive(file: Path, text: bytes, parts: dict[str, bytes] | None = None, packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", packing) as made:
        made.writestr("a/data.pkl", text)
        for name, data in (parts or {}).items():
            made.writestr(name, data)
    return file


def hostile(canary: Path) -> dict[str, bytes]:
    """Pickles, each with something that must not happen."""
    shell = f"touch {canary}"
    return {
        "os.system": pickle.dumps(Fires(canary)),
        "in a dictionary": pickle.dumps({"weight": Fires(canary)}),
        "builtins.exec": pickle.dumps(Fires(canary, (exec, (f"open({str(canary)!r}, 'w')",)))),
        "builtins.eval": pickle.dumps(Fires(canary, (eval, (f"open({str(canary)!r}, 'w')",)))),
        "builtins.getattr": pickle.dumps(Fires(canary, (getattr, ("x", "upper")))),
        "by hand": b"cos\nsystem\n(S'" + shell.encode() + b"'\ntR.",
        "nested name": b"\x80\x04\x8c\x0btorch._utils\x8c\x13os.system\x93\x8c\x04" + shell.encode()[:4] + b"\x85R.",
        "torch.load": b"ctorch\nload\n(S'" + str(canary).encode() + b"'\ntR.",
        "numpy": b"cnumpy\nload\n(S'x'\ntR.",
        "subprocess": b"csubprocess\ngetoutput\n(S'" + shell.encode() + b"'\ntR.",
        "ordered dict with a state": b"ccollections\nOrderedDict\n)R(S'x'\ncos\nsystem\ntb.",
        "importlib": b"cimportlib\nimport_module\n(S'antigravity'\ntR.",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(hostile(Path("x"))))
def test_nothing_fires(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    file = archive(tmp_path / "a.pt", hostile(canary)[name])
    with pytest.raises(StoreError, match="expected"):
        read_torch(file)
    assert not canary.exists()


def test_the_canary_is_alive(tmp_path: Path) -> None:
    """The same pickle does fire where it is unpickled as usual."""
    canary = tmp_path / "canary"
    pickle.loads(hostile(canary)["os.system"])
    assert canary.exists()


def tensor_pickle(offset: int, size: tuple[int, ...], stride: tuple[int, ...], key: str = "0") -> bytes:
    """A tensor with a layout of one's own."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", 4) if isinstance(obj, Storage) else None

    class Laid:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, OrderedDict())

    out = io.BytesIO()
    Pickler(out, protocol=2).dump({"w": Laid()})
    return out.getvalue()


NUMBERS = {"a/data/0": np.arange(4, dtype=np.float32).tobytes()}


def test_a_layout_inside_of_its_storage(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.pt", tensor_pickle(1, (3,), (1,)), NUMBERS)
    assert read_torch(file)["w"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("offset", "size", "stride", "key"),
    [(0, (5,), (1,), "0"), (3, (2,), (1,), "0"), (0, (2, 2), (4, 1), "0"), (-1, (2,), (1,), "0"), (0, (2,), (-1,), "0"),
     (0, (10**9,), (0,), "0"), (0, (2,), (1, 1), "0"), (0, (4,), (1,), "1"), (0, (1,) * 40, (1,) * 40, "0")],
)  # fmt: skip
def test_a_layout_outside_of_its_storage(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], key: str, tmp_path: Path
) -> None:
    file = archive(tmp_path / "a.pt", tensor_pickle(offset, size, stride, key), NUMBERS)
    with pytest.raises(StoreError, match="expected"):
        read_torch(file)


def test_other_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    good = io.BytesIO()
    torch.save({"w": torch.ones(3)}, good)
    data = good.getvalue()
    packed = tmp_path / "packed.pt"
    archive(packed, tensor_pickle(0, (4,), (1,)), {"a/data/0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    cases = {"cut.pt": data[: len(data) // 2], "plain.pt": pickle.dumps({"w": 1}), "empty.pt": b"", "text.pt": b"hello"}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    archive(tmp_path / "nothing.pt", pickle.dumps({"w": 1}))
    archive(tmp_path / "two.pt", pickle.dumps({}), {"b/data.pkl": pickle.dumps({})})
    for file in sorted(tmp_path.glob("*.pt")):
        with pytest.raises(StoreError, match=f"{file.name}: .*expected"):
            read_torch(file)


def test_every_changed_byte_is_tensors_or_a_sentence(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3), "b": [torch.zeros(2)]}, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            changed[at] = int(rng.integers(256))
        (tmp_path / "b.pt").write_bytes(bytes(changed))
        try:
            found = read_torch(tmp_path / "b.pt")
        except StoreError:
            continue
        assert all(isinstance(x, np.ndarray) for x in found.values())
