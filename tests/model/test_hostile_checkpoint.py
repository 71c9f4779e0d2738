"""Checkpoints made to hang, to take all memory or to pass for weights; each is refused in one line, soon and small."""

import json
import os
import resource
import struct
import sys
import tarfile
import time

import pytest
import torch

from deepvit.model.weights import pickled, pickled_child
from deepvit.model.weights.checkpoint import read_checkpoint
from deepvit.model.weights.tensor_file import parse_tensors
from deepvit.runtime.errors import InputError, MissingError

SECONDS, MEMORY_KB = 60, 1 << 20  # the limit of computing is 5 s; the rest is PyTorch's start on a busy machine


def _tuple_bomb():
    """A dict whose key is a tuple of two of the same tuple, and so on 200 times: its hash takes 2²⁰⁰ steps."""
    layers = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(200))
    return b"\x80\x02})" + layers + b"K\x00s."


def _refusal(path):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, time.monotonic()
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert time.monotonic() - began < SECONDS
    # The peak of all children so far, those of other tests too; PyTorch takes 0.3 GB of it.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 1.5 * MEMORY_KB)
    text = str(caught.value)
    assert "\n" not in text
    assert "torch.load" not in text
    assert "weights_only" not in text
    return text


def test_a_key_that_cannot_be_hashed_is_given_up_on(tmp_path):
    path = tmp_path / "bomb.pth"
    path.write_bytes(_tuple_bomb())
    assert path.stat().st_size < 1200
    assert "is not read within 5 s of computing; weights do not need that" in _refusal(path)


def test_tensors_that_are_no_plain_weights_are_named(tmp_path):
    path = tmp_path / "odd.pth"
    floats = torch.ones(2, 2)
    state = {
        "a.weight": floats,
        "b.expanded": torch.ones(1).expand(5_000_000_000),
        "c.complex": torch.full((2,), complex(1, float("nan"))),
        "d.bool": torch.ones(2, dtype=torch.bool),
        "e.quantised": torch.quantize_per_tensor(floats, 0.1, 0, torch.qint8),
        "f.float8": floats.to(torch.float8_e4m3fn),
        "g.coo": floats.to_sparse(),
        "h.csr": floats.to_sparse_csr(),
        "i.meta": torch.ones(2, device="meta"),
        "j.int": torch.ones(2, dtype=torch.int64),
        "k.ndim": torch.ones((1,) * 9),
        "l.num_batches_tracked": torch.tensor(3),
    }
    shown = pickled_child.plain_tensors({k: state[k] for k in ("a.weight", "l.num_batches_tracked")}, 1 << 20)
    assert list(shown) == ["a.weight", "l.num_batches_tracked"]
    faults = {
        "b.expanded": "5000000000 values, more than the file holds",
        "c.complex": "complex64",
        "d.bool": "bool",
        "e.quantised": "qint8",
        "f.float8": "float8_e4m3fn",
        "g.coo": "sparse_coo",
        "h.csr": "sparse_csr",
        "i.meta": "on the meta device",
        "j.int": "int64",
        "k.ndim": "9 dimensions",
    }
    torch.save(state, path)
    text = _refusal(path)
    expected = [f"{name} ({why})" for name, why in faults.items()]
    assert f"entries that are no weights: {', '.join(expected[:8])} and 2 more; expected dense tensors" in text
    for name, why in faults.items():
        with pytest.raises(pickled_child.RefusedError, match=rf"{name} \({why}\)"):
            pickled_child.plain_tensors({name: state[name]}, 1 << 20)


def test_views_of_one_storage_do_not_add_up(tmp_path):
    path = tmp_path / "views.pth"
    storage = torch.ones(1000)
    torch.save({f"{i}.weight": storage[:] for i in range(1000)}, path)
    assert "has tensors of 4000000 bytes in all" in _refusal(path)


@pytest.mark.parametrize(("dtype", "shown"), [(torch.complex64, "complex64"), (torch.bool, "bool")])
def test_strange_weights_are_refused_from_the_file_on(tmp_path, dtype, shown):
    path = tmp_path / "odd.pth"
    torch.save({"state_dict": {"head.bias": torch.ones(2).to(dtype)}}, path)
    assert f"head.bias ({shown})" in _refusal(path)


def test_negative_variances_are_named(tmp_path):
    path = tmp_path / "odd.pth"
    torch.save({"b.running_var": torch.tensor([1, -1e-3]), "a.running_var": -torch.ones(1)}, path)
    assert "has negative variances in a.running_var, b.running_var; is the file damaged?" in _refusal(path)


def test_the_process_cannot_start(tmp_path, monkeypatch):
    path = tmp_path / "good.pth"
    torch.save({"head.bias": torch.ones(2)}, path)
    broken = tmp_path / "broken.py"
    broken.write_text("raise MemoryError('no room for PyTorch')")
    monkeypatch.setattr(pickled.pickled_child, "__file__", str(broken))
    with pytest.raises(MissingError, match="does not run here: MemoryError: no room for PyTorch"):
        read_checkpoint(path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(MissingError, match="no process can be started"):
        read_checkpoint(path)


def _safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return bytearray(struct.pack("<Q", len(text)) + text + data)


def _entry(dtype="F32", shape=(1,), span=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(span)}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "a header of 0 bytes in 0"),
        (struct.pack("<Q", 2**63), "a header of 9223372036854775808 bytes"),
        (_safetensors(b"[1]"), "not a valid"),
        (_safetensors(b"[" * 100_000), "recursion"),
        (_safetensors(b'{"a": ' + b"1" * 5000 + b"}"), "integer string conversion"),
        (_safetensors(b'{"a": {}, "a": {}}'), "twice"),
        (_safetensors({"a": 1}), "no dtype, shape and data_offsets"),
        (_safetensors({"a": _entry(shape=[1] * 65)}, bytes(4)), "shape"),
        (_safetensors({"a": _entry(shape=[0, 2**62, 2**62], span=(0, 0))}), r"shape \[0, 46"),
        (_safetensors({"a": _entry(shape=[2**62, 2**62])}, bytes(4)), "shape"),
        (_safetensors({"a": _entry(shape=[True])}, bytes(4)), "shape"),
        (_safetensors({"a": _entry(shape=[-1])}, bytes(4)), "shape"),
        (_safetensors({"a": _entry(span=(0, 400))}, bytes(4)), "bytes at"),
        (_safetensors({"a": _entry(), "b": _entry()}, bytes(4)), "overlap"),
        (_safetensors({"a": _entry()}, bytes(8)), "overlap or leave gaps"),
        (_safetensors({"a": _entry("C64", span=(0, 8))}, bytes(8)), r"a \(C64\)"),
        (_safetensors({"a": _entry("BOOL", span=(0, 1))}, bytes(1)), r"a \(BOOL\)"),
        (_safetensors({"a": _entry("F8_E4M3", span=(0, 1))}, bytes(1)), r"a \(F8_E4M3\)"),
        (_safetensors({"a": _entry("I64", span=(0, 8))}, bytes(8)), r"a \(I64\)"),
        (_safetensors({"a": _entry(dtype=["F32"])}, bytes(4)), r"a \(\['F32'\]\)"),
    ],
)
def test_hostile_safetensors(tmp_path, content, why):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_safetensors_of_every_kind():
    header = {
        "a": _entry("F16", (1,), (0, 2)),
        "b": _entry("F32", (1, 1), (2, 6)),  # not aligned
        "c.num_batches_tracked": _entry("I64", (), (6, 14)),
        "d": _entry("BF16", (0, 3), (14, 14)),
    }
    data = torch.tensor([1.5]).half().numpy().tobytes() + struct.pack("<fq", 2.5, 7)
    tensors = parse_tensors(_safetensors({"__metadata__": {"format": "pt"}} | header, data), "a file")
    assert (tensors["a"].item(), tensors["b"].item(), tensors["c.num_batches_tracked"].item()) == (1.5, 2.5, 7)
    assert tensors["d"].shape == (0, 3)


@pytest.mark.parametrize("name", ["pipe.pth", "pipe.safetensors"])
def test_a_pipe_is_no_checkpoint(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is no regular file but a pipe"):
        read_checkpoint(tmp_path / name)


def test_archives_of_code_and_of_old_are_named(tmp_path):
    script, archive = tmp_path / "script.pt", tmp_path / "old.pth"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(script))
    assert "is a TorchScript archive, which holds code; save the module's state_dict() instead" in _refusal(script)
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "storages")
    assert "is a tar archive, as PyTorch 0.1 wrote them" in _refusal(archive)


def test_a_pickle_that_takes_all_memory_gets_none(tmp_path):
    """A legacy checkpoint whose one storage claims 6 GB, which its reader makes before it looks for the values."""
    path = tmp_path / "large.pth"
    torch.save({"head.bias": torch.ones(1234567)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    claimed, size = (b"J" + struct.pack("<i", count) for count in (1_500_000_000, 1234567))
    assert size in content[:1000]
    path.write_bytes(content[:1000].replace(size, claimed))
    assert "can't allocate memory" in _refusal(path)
