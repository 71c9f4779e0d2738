"""Checkpoints as the original training code writes them, and hostile ones."""

import argparse
import collections
import contextlib
import errno
import hashlib
import io
import pathlib
import pickle
import random
import re
import sys
import types
import zipfile

import pytest
import torch
from safetensors.torch import save_file

import deepvit.model
from deepvit.model.architecture import Stem
from deepvit.model.attention import MixNorm
from deepvit.model.weights import pickled_child
from deepvit.model.weights import published as pretrained
from deepvit.model.weights.checkpoint import EmaChoice, model_from_checkpoint, read_checkpoint
from deepvit.model.weights.random import randomize
from deepvit.runtime.errors import InputError, MissingError
from tests.doubles.tiny_models import TINY

ROW = TINY[Stem.CNN]


def _state(seed=0, **options):
    return randomize(deepvit.model.create_deepvit(ROW, **options), seed).state_dict()


def _training_checkpoint(state, ema=None):
    """What the original's CheckpointSaver._save writes."""
    saved = {
        "epoch": 299,
        "arch": "deepvit_S",
        "state_dict": collections.OrderedDict(state),
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-5}]},
        "version": 2,
        "args": argparse.Namespace(model="deepvit_S", lr=0.0005, ratio=[0.75, 1.33], amp=False),
        "metric": 82.3,
    }
    if ema is not None:
        saved["state_dict_ema"] = collections.OrderedDict(ema)
    return saved


def _equal(model, state):
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_training_checkpoint_with_namespace_and_ema(tmp_path):
    path = tmp_path / "last.pth.tar"
    plain, ema = _state(1), {f"module.{key}": value for key, value in _state(2).items()}
    torch.save(_training_checkpoint(plain, ema), path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.entry == "state_dict_ema"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert _equal(model_from_checkpoint(ROW, checkpoint), _state(2))
    refused = read_checkpoint(path, EmaChoice.REFUSE)
    assert refused.entry == "state_dict"
    assert _equal(model_from_checkpoint(ROW, refused), plain)


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "_fsdp_wrapped_module."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("is_zip", [True, False])
def test_plain_state_dicts(tmp_path, prefix, is_zip):
    path = tmp_path / "weights.pth"
    state = collections.OrderedDict((prefix + key, value) for key, value in _state().items())
    torch.save(state, path, _use_new_zipfile_serialization=is_zip)
    assert _equal(model_from_checkpoint(ROW, read_checkpoint(path)), _state())


def test_what_training_put_around_modules_is_taken_off_and_said_in_a_line(tmp_path, caplog):
    path = tmp_path / "fsdp.safetensors"
    around = {
        key: key.replace("blocks.1.", "blocks.1._fsdp_wrapped_module._checkpoint_wrapped_module.") for key in _state()
    }
    save_file({f"module._orig_mod.{around[key]}": value.clone() for key, value in _state().items()}, path)
    assert _equal(model_from_checkpoint(ROW, read_checkpoint(path)), _state())
    (line,) = caplog.messages
    assert line == (
        f"checkpoint {path}: names taken without _orig_mod. and _fsdp_wrapped_module. and _checkpoint_wrapped_module. "
        "and module., which training put around modules"
    )


def test_own_names_are_left_alone(tmp_path, caplog):
    path = tmp_path / "own.safetensors"
    save_file({f"head_orig_mod.module.{key}": torch.ones(1) for key in "ab"}, path)
    assert sorted(read_checkpoint(path).state) == ["head_orig_mod.module.a", "head_orig_mod.module.b"]
    assert not caplog.messages


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("blocks.0._flat_param", "head.weight"), "holds FSDP's flattened parameters, blocks.0._flat_param"),
        (("head.weight", "_orig_mod.head.weight"), "has weights twice, wrapped and not: head.weight"),
    ],
)
def test_names_that_cannot_be_told_are_refused(tmp_path, names, told):
    path = tmp_path / "w.safetensors"
    save_file({name: torch.ones(1) for name in names}, path)
    with pytest.raises(InputError, match=told):
        read_checkpoint(path)


def test_safetensors_half_precision_and_missing_counters(tmp_path):
    path = tmp_path / "weights.safetensors"
    state = {k: v.half() for k, v in _state().items() if not k.endswith("num_batches_tracked")}
    save_file(state, path)
    model = model_from_checkpoint(ROW, read_checkpoint(path))
    assert model.head.weight.dtype is torch.float32
    assert torch.equal(model.head.weight, _state()["head.weight"].half().float())


def test_classes_and_norm_come_from_the_checkpoint(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(_state(num_classes=10, mix_norm=MixNorm.NONE), path)
    model = model_from_checkpoint(ROW, read_checkpoint(path))
    assert (model.num_classes, model.mix_norm) == (10, MixNorm.NONE)
    with pytest.raises(InputError, match="10 classes, ‹num_classes› says 7"):
        model_from_checkpoint(ROW, read_checkpoint(path), num_classes=7)


def test_position_embedding_is_resized_only_when_asked(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(_state(img_size=48), path)
    with pytest.raises(InputError, match="48×48 images: pass ‹img_size› 48"):
        model_from_checkpoint(ROW, read_checkpoint(path))
    model = model_from_checkpoint(ROW, read_checkpoint(path), img_size=64)
    assert model.pos_embed.shape == (1, 65, 18)
    assert torch.equal(model.pos_embed[:, :1], _state(img_size=48)["pos_embed"][:, :1]), "the class token's is kept"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("deepvit_16", "deepvit_32"),
        ("vit_24", "deepvit_24"),
        ("deepvit_l_384", "deepvit_l"),
        ("deepvit_s", "deepvit_16"),
    ],
)
def test_swapped_variants_name_the_right_one(tmp_path, given, asked):
    path = tmp_path / "weights.pth"
    torch.save(deepvit.model.create_deepvit(deepvit.model.VARIANTS[given]).state_dict(), path)
    with pytest.raises(InputError) as caught:
        model_from_checkpoint(deepvit.model.VARIANTS[asked], read_checkpoint(path))
    assert str(caught.value).endswith(f"does not fit {asked}; it fits {given}: name that variant instead")
    assert "\n" not in str(caught.value)


def test_all_mismatches_in_one_message(tmp_path):
    path = tmp_path / "weights.pth"
    state = _state()
    del state["norm.weight"]
    state["extra.weight"] = torch.zeros(1)
    state["cls_token"] = torch.zeros(1, 1, 4)
    torch.save(state, path)
    with pytest.raises(InputError) as caught:
        model_from_checkpoint(ROW, read_checkpoint(path))
    for part in ("1 missing: norm.weight", "1 unexpected: extra.weight", "cls_token (expected 1×1×18, got 1×1×4)"):
        assert part in str(caught.value)


class _RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (pathlib.Path.write_text, (self.marker, "ran"))


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "marker"
    for path, save in (
        (tmp_path / "new.pth", lambda p: torch.save({"state_dict": _RunsCode(marker)}, p)),
        (tmp_path / "raw.pth", lambda p: p.write_bytes(pickle.dumps(_RunsCode(marker)))),
    ):
        save(path)
        with pytest.raises(InputError, match=r"nothing was run|not a PyTorch checkpoint"):
            read_checkpoint(path)
        assert not marker.exists()
    torch.load(tmp_path / "new.pth", weights_only=False)  # the negative control: it would have run
    assert marker.exists()


def _mutants(content, count, rng):
    """Truncated, and with bytes changed: anywhere, or in the pickle at the front."""
    for _ in range(count):
        if (kind := rng.random()) < 0.3:
            yield content[: rng.randrange(len(content))]
            continue
        mutant = bytearray(content)
        for _ in range(rng.randrange(1, 30)):
            mutant[rng.randrange(min(len(mutant), 4000) if kind < 0.7 else len(mutant))] = rng.randrange(256)
        yield bytes(mutant)


@pytest.mark.parametrize("is_zip", [True, False])
def test_mutated_checkpoints_are_refused(tmp_path, is_zip):
    good, path = tmp_path / "good.pth", tmp_path / "bad.pth"
    torch.save(_training_checkpoint(_state()), good, _use_new_zipfile_serialization=is_zip)
    seed, refused = 20, 0
    print(f"seed {seed}")
    for mutant in _mutants(good.read_bytes(), 150, random.Random(seed)):
        path.write_bytes(mutant)
        try:  # as the process of its own does, which takes seconds to start
            pickled_child.plain_tensors(
                pickled_child.select_entry(pickled_child.load_pickle(str(path), len(mutant)), True)[1], len(mutant)
            )
        except pickled_child.RefusedError as error:
            refused += 1
            assert "\n" not in str(error)
            assert "weights_only" not in str(error)
    assert refused > 60


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_disk_that_fails_is_said(tmp_path, monkeypatch, name):
    model = randomize(deepvit.model.create_deepvit(TINY[Stem.PATCH]))
    (save_file if name.endswith("safetensors") else torch.save)(model.state_dict(), tmp_path / name)

    def fails(*_arguments):
        raise OSError(errno.EIO, "Input/output error")

    class Failing(io.FileIO):
        readinto = fails

    with Failing(tmp_path / name) as stream:
        opened = contextlib.nullcontext(stream)
        monkeypatch.setattr("deepvit.model.weights.checkpoint.open_bounded", lambda *_, **__: opened)
        with pytest.raises(InputError, match=f"{name} cannot be read: Input/output error"):
            read_checkpoint(tmp_path / name)


def test_other_bad_files(tmp_path):
    missing, folder, text = tmp_path / "none.pth", tmp_path / "folder", tmp_path / "text.safetensors"
    folder.mkdir()
    text.write_text("hello")
    for path, expected in (
        (missing, "does not exist"),
        (folder, "cannot be read: Is a directory"),
        (text, "not a valid safetensors"),
    ):
        with pytest.raises(InputError, match=expected):
            read_checkpoint(path)
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(InputError, match="would unpack to"):
        read_checkpoint(bomb)
    state = _state()
    state["head.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(InputError, match=r"non-finite weights in head\.bias"):
        read_checkpoint(tmp_path / "nan.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds a list"):
        read_checkpoint(tmp_path / "list.pth")


def _fake_gdown(monkeypatch, download):
    fake = types.ModuleType("gdown")
    fake.exceptions = types.SimpleNamespace(DownloadError=type("DownloadError", (Exception,), {}))
    fake.download = download
    monkeypatch.setitem(sys.modules, "gdown", fake)


def test_pretrained_is_fetched_once_and_checked_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    row, asked = deepvit.model.VARIANTS["deepvit_s"], []

    def download(id, output, quiet):  # noqa: A002 - gdown's own name
        asked.append(id)
        torch.save({"head.bias": torch.zeros(3)}, output)
        return output

    _fake_gdown(monkeypatch, download)
    first = pretrained.fetch_checkpoint(row)
    assert pretrained.fetch_checkpoint(row).sha256 == first.sha256
    assert asked == [row.drive_id]
    cached = tmp_path / "deepvit_s.pth.tar"
    cached.write_bytes(cached.read_bytes() + b"x")
    with pytest.raises(InputError, match="expected .* as first fetched"):
        pretrained.fetch_checkpoint(row)


UNREACHABLE = (
    "HTTPSConnectionPool(host='drive.google.com', port=443): Max retries exceeded with url: /uc?id=x (Caused by "
    "NameResolutionError(\"HTTPSConnection(host='drive.google.com', port=443): Failed to resolve 'drive.google.com' "
    '([Errno -2] Name or service not known)"))'
)


@pytest.mark.parametrize(
    ("said", "brief"),
    [
        (UNREACHABLE, "Failed to resolve 'drive.google.com' ([Errno -2] Name or service not known)"),
        ("no route\nto host", "no route"),
        ("x" * 400, "x" * 120 + "…"),
        ("", "OSError"),
    ],
)
def test_what_a_failed_download_says_is_short(said, brief):
    assert pretrained._brief(OSError(said)) == brief


def test_a_failed_download_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))

    def download(id, output, quiet):  # noqa: A002
        pathlib.Path(output).write_bytes(b"half")
        raise ConnectionError("no route\nto host")

    _fake_gdown(monkeypatch, download)
    with pytest.raises(MissingError, match=re.escape("no route; download it by hand")):
        pretrained.fetch_checkpoint(deepvit.model.VARIANTS["deepvit_l"])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no checkpoint of vit_16 is published"):
        pretrained.fetch_checkpoint(deepvit.model.VARIANTS["vit_16"])
