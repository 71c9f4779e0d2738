"""Maps from PyTorch and from every form and precision of the graph are the same; the command draws them."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

import deepvit.commands.app
from deepvit.export.graph.spec import Outputs, spec_from_manifest
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.measure.attention.analysis import AttentionMaps, AttentionSums, cross_layer_similarity
from deepvit.measure.attention.maps import OnnxMaps
from deepvit.measure.attention.run import open_maps
from deepvit.measure.attention.torch_maps import TorchMaps
from deepvit.measure.options import WeightOptions
from deepvit.model import create_deepvit
from deepvit.model.load import LoadedModel, load_model
from deepvit.model.weights.random import randomize
from deepvit.runtime.artifact.manifest import Backend, BatchRange, InputForm, MixForm, Precision, Weights
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.preprocess import model_input
from tests.doubles.changed_artifact import shift_mean
from tests.doubles.tiny_models import TINY


@pytest.fixture(params=list(TINY), ids=lambda stem: stem.value)
def loaded(request):
    model = randomize(create_deepvit(TINY[request.param]))
    return LoadedModel(variant=TINY[request.param], module=model, weights=Weights(source="random", sha256="0" * 64))


def _crops():
    return np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)


def _exported(loaded, folder, **options):
    graph = GraphOptions(**{"target": Target.ONNX, "outputs": Outputs.MAPS} | options)
    return export_artifact(loaded, ExportOptions(graph=graph, output=folder))


def _written_out(model, images):
    """The maps of the original's formulas, block by block, in the model's own type."""
    x = model.patch_embed(images)
    x = torch.cat((model.cls_token, x), dim=1) + model.pos_embed
    before, after, features = [], [], []
    for block in model.blocks:
        a, attn = block.scale_adjustment, block.attn
        qkv = attn.qkv(block.norm1(x * a)).reshape(1, x.shape[1], 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        maps = torch.softmax(qkv[0] @ qkv[1].transpose(-1, -2) * attn.head_dim**-0.5, dim=-1)
        before.append(maps[0])
        if hasattr(attn, "reatten_matrix"):
            maps = attn.var_norm(attn.reatten_matrix(maps)) * attn.reatten_scale
        after.append(maps[0])
        x = x + attn.proj((maps @ qkv[2]).transpose(1, 2).reshape(x.shape)) / a
        x = x + block.mlp(block.norm2(x * a)) / a
        features.append(x[0])
    return [torch.stack(each).detach().numpy() for each in (before, after, features)]


def test_pytorch_gives_the_originals_maps(loaded):
    model = loaded.module.double()
    images = torch.from_numpy(model_input(_crops(), loaded.preprocessing(), 3)).double()
    found = TorchMaps(model).maps(images.numpy())
    for got, expected in zip((found.before, found.after, found.features), _written_out(model, images), strict=True):
        assert np.abs(got - expected).max() <= 1e-12
    assert found.reattends == (False, True)
    assert np.array_equal(found.after[0], found.before[0])


@pytest.mark.parametrize("mix", [None, MixForm.CONV])
@pytest.mark.parametrize("target", [Target.ONNX, Target.CPU])
def test_the_graph_gives_pytorchs_maps(loaded, tmp_path, mix, target):
    artifact = _exported(loaded, tmp_path / "maps", precision=Precision.FP32, mix=mix, target=target)
    images = model_input(_crops(), loaded.preprocessing(), 3)
    expected, found = TorchMaps(loaded.module).maps(images), OnnxMaps(artifact).maps(images)
    assert found.reattends == expected.reattends
    for name in ("before", "after", "features"):
        assert np.abs(getattr(found, name) - getattr(expected, name)).max() <= 1e-4, name
    similar = [cross_layer_similarity(maps.after) for maps in (expected, found)]
    assert np.abs(similar[0] - similar[1]).max() <= 1e-4


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16, Precision.INT8, Precision.FP8])
def test_reduced_precisions_give_their_own_maps(loaded, tmp_path, precision):
    artifact = _exported(loaded, tmp_path / "maps", precision=precision, input_form=InputForm.UINT8)
    assert artifact.manifest.graph.attention_maps == 2
    assert spec_from_manifest(artifact.manifest).outputs is Outputs.MAPS
    from deepvit.images.samples import parity_crops

    crops = parity_crops(None, 1, loaded.preprocessing())  # a photograph, as those that it was calibrated on
    floats = model_input(crops, loaded.preprocessing(), 3)
    expected, found = TorchMaps(loaded.module).maps(floats), OnnxMaps(artifact).maps(crops)
    error = np.linalg.norm(found.after - expected.after) / np.linalg.norm(expected.after)
    assert 0 < error < (0.02 if precision in (Precision.FP16, Precision.BF16) else 0.2)
    with pytest.raises(InputError, match="attention maps, which no engine does"):
        from deepvit.export.engine.add import add_engine
        from deepvit.export.engine.options import EngineOptions

        add_engine(artifact.folder, EngineOptions(backend=Backend.TENSORRT), print)


def test_logits_are_those_without_maps(loaded, tmp_path):
    from deepvit.runtime.opening import open_session

    images = model_input(_crops().repeat(3, axis=0), loaded.preprocessing(), 3)
    plain = _exported(loaded, tmp_path / "plain", precision=Precision.FP32, outputs=Outputs.LOGITS)
    maps = _exported(loaded, tmp_path / "maps", precision=Precision.FP32)
    fixed = _exported(loaded, tmp_path / "fixed", precision=Precision.FP32, batch=BatchRange(min=2, opt=2, max=2))
    one, other = (open_session(each.folder).run(images) for each in (plain, maps))
    assert np.abs(one - other).max() <= 1e-5
    assert OnnxMaps(fixed).maps(images[:1]).before.shape == (2, 2, 17, 17)
    with pytest.raises(InputError, match="export it again with ‹attention_maps›"):
        OnnxMaps(plain)


def test_a_manifest_that_is_not_the_graphs_is_refused(loaded, tmp_path):
    folder = _exported(loaded, tmp_path / "maps", precision=Precision.FP32).folder
    shift_mean(folder)
    with pytest.raises(InputError, match=r"preprocess.mean is \[0.9, 0.9, 0.9\] by the manifest"):
        open_maps(str(folder), WeightOptions(), None)


def test_options_that_exclude_each_other():
    with pytest.raises(InputError, match="no engine gives maps"):
        GraphOptions(outputs=Outputs.MAPS, target=Target.TENSORRT)
    with pytest.raises(InputError, match="never has whole maps"):
        GraphOptions(outputs=Outputs.MAPS, mix=MixForm.MATMUL_VALUE)


def _run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        deepvit.commands.app.main([str(argument) for argument in arguments])
    return stopped.value.code


def test_the_command_on_a_trained_model(tmp_path, capsys):
    """PyTorch and INT8; the count of similar blocks by a computation of its own."""
    exported = ("export", "digits_cnn", "--int8", "--attention-maps", "--pretrained", "--check-images", 0)
    from examples.digits.make_dataset import write_dataset

    write_dataset(tmp_path / "digits")
    assert (
        _run(*exported, "--imagenet", tmp_path / "digits", "--calibration-images", 32, "--output", tmp_path / "m") == 0
    )
    asked = ("--images", tmp_path / "digits" / "val", "--count", 5, "--drawn", 1, "--threshold", "0.8")
    found = {}
    for name, model in (("torch", "digits_cnn"), ("int8", tmp_path / "m")):
        results = ("--output", tmp_path / name, "--json", tmp_path / f"{name}.json", "--maps", tmp_path / f"{name}.npz")
        assert _run("attention", model, "--pretrained", *asked, *results) == 0
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
        pictures = sorted(path.name for path in (tmp_path / name).iterdir())
        assert [picture.rpartition("-")[2] for picture in pictures] == [
            "blocks.png",
            "heads.png",
            "maps.png",
            "similarity.png",
        ]
        for picture in pictures:
            with Image.open(tmp_path / name / picture) as drawn:
                assert np.asarray(drawn.convert("L")).std() > 5
    said = capsys.readouterr().out
    assert "blocks        6, 3 with re-attention; means over 5 images" in said
    assert np.abs(np.subtract(found["torch"]["similarity_after"], found["int8"]["similarity_after"])).max() < 0.05

    loaded = load_model("digits_cnn", pretrained=True)
    model = loaded.module.double()
    matrices = []
    from deepvit.runtime.preprocess import crop_image

    saved = {name: np.load(tmp_path / f"{name}.npz") for name in found}
    assert saved["int8"]["images"].tolist() == saved["torch"]["images"].tolist() == found["torch"]["images"]
    assert saved["int8"]["reattends"].tolist() == [False] * 3 + [True] * 3
    for number, name in enumerate(found["torch"]["images"]):
        crop = crop_image(tmp_path / "digits" / "val" / name, loaded.preprocessing())
        images = torch.from_numpy(model_input(crop[None], loaded.preprocessing(), 3)).double()
        maps = _written_out(model, images)[:2]
        for kind, expected in zip(("before", "after"), maps, strict=True):
            for source, values in saved.items():
                kept = values[f"{kind}.{number}"]
                assert (kept.dtype, kept.shape) == (np.float32, expected.shape)
                assert np.abs(kept - expected).max() <= (1e-4 if source == "torch" else 1.0)
        matrices.append([_similarity_in_full(each) for each in maps])
    before, after = np.mean(matrices, axis=0)
    assert np.abs(before - found["torch"]["similarity_before"]).max() <= 1e-4
    assert np.abs(after - found["torch"]["similarity_after"]).max() <= 1e-4
    for name, matrix in (("similar_blocks_before", before), ("similar_blocks_after", after)):
        assert found["torch"][name] == sum(matrix[p, p + 1] >= 0.8 for p in range(5))


def _similarity_in_full(maps):
    """M^{p,q} written as the sum that it is: cosines of columns, over heads and tokens."""
    blocks = len(maps)
    found = np.empty((blocks, blocks))
    for p in range(blocks):
        for q in range(blocks):
            products = (maps[p] * maps[q]).sum(axis=1)
            lengths = np.sqrt((maps[p] ** 2).sum(axis=1) * (maps[q] ** 2).sum(axis=1))
            found[p, q] = (products / lengths).mean()
    return found


def test_refusals(tiny_artifact, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"broken")
    (tmp_path / "file").touch()
    for arguments, says in (
        ((tiny_artifact,), "export it again with --attention-maps"),
        ((tmp_path / "nothing",), "does not exist"),
        (("deepvit_99",), "unknown variant"),
        (("digits_cnn", "--block", "6"), "--block 6: digits_cnn has blocks 0 to 5"),
        (("digits_cnn", "--threshold", "2"), "--threshold 2.0: expected 0 to 1"),
        (("digits_cnn", "--images", tmp_path), "none of the 1 images"),
        (("digits_cnn", "--maps", tmp_path), "--maps"),
        (("digits_cnn", "--maps", tmp_path / "no" / "maps.npz"), "expected a file in an existing folder"),
        (("digits_cnn", "--output", tmp_path / "file"), "--output"),
    ):
        output = () if "--output" in arguments else ("--output", tmp_path / "out")
        assert _run("attention", *arguments, "--count", 1, *output) == 2
        assert says in capsys.readouterr().err, arguments


def test_maps_are_saved_whole_or_not_at_all(loaded, tmp_path, monkeypatch):
    """Neither an image that fails on the way nor a disk that is too small leaves a file, or harms the one there."""
    import collections

    from deepvit.measure.attention.saved import maps_file

    maps = TorchMaps(loaded.module).maps(model_input(_crops(), loaded.preprocessing(), 3))
    path = tmp_path / "maps.npz"
    path.write_bytes(b"another")
    for count in (0, 1):
        with pytest.raises(InputError, match="stopped"), maps_file(path, 2) as saved:
            for _ in range(count):
                saved.add("one", maps)
            raise InputError("stopped")
    usage = collections.namedtuple("usage", "free")
    size = 2 * 2 * maps.before.nbytes
    for free, fits in ((size - 1, False), (size, True)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: usage(free))
        outcome = contextlib.nullcontext() if fits else pytest.raises(MissingError, match="‹maps›")
        with outcome, maps_file(tmp_path / "new.npz", 2) as saved:
            saved.add("one", maps)
            saved.finish("m")
        assert (tmp_path / "new.npz").exists() == fits
    assert path.read_bytes() == b"another"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["maps.npz", "new.npz"]


def test_plain_networks_save_no_second_maps(loaded, tmp_path):
    from deepvit.measure.attention.saved import maps_file

    maps = TorchMaps(loaded.module).maps(model_input(_crops(), loaded.preprocessing(), 3))
    with maps_file(tmp_path / "maps.npz", 1) as saved:
        saved.add("one", dataclasses.replace(maps, after=maps.before, reattends=(False, False)))
        saved.finish("m")
    assert sorted(np.load(tmp_path / "maps.npz")) == ["before.0", "images", "model", "reattends"]


@pytest.mark.parametrize(("variant", "says"), [
    ("vit_24", "published     11 of 23 blocks similar, trained"),
    ("deepvit_16", "published     0 of 15 blocks similar after the mix, trained"),
    ("digits_cnn", None),
])  # fmt: skip
def test_the_measured_count_stands_beside_the_published(variant, says):
    from deepvit.measure.attention.words import describe_attention
    from deepvit.model.variants import VARIANTS

    depth, mixed = VARIANTS[variant].architecture.depth, VARIANTS[variant].architecture.reattention_blocks
    attention = np.full((depth, 1, 3, 3), 1 / 3)
    sums = AttentionSums.of(AttentionMaps(
        before=attention, after=attention, features=np.ones((depth, 3, 2)), reattends=(bool(mixed),) * depth
    ))  # fmt: skip
    analysis = sums.analysis(
        model=variant, runs_on="r", random_weights=False, images=["a"], threshold=0.9, reattends=[bool(mixed)] * depth,
        published_similar_blocks=VARIANTS[variant].similar_blocks,
    )  # fmt: skip
    lines = list(describe_attention(analysis))
    assert (
        f"softmaxed     {depth - 1} of {depth - 1} blocks similar; neighbours 1.000 to 1.000, heads 1.000 to 1.000"
        in lines
    )
    published = [line for line in lines if line.startswith("published")]
    assert [line.startswith(says) for line in published] == ([True] if says else [])
    assert lines[-1] == "similar       to the block before: mean cosine of the columns of their maps ≥ 0.9"


def test_matrices_are_on_one_scale_of_colours_which_is_shown():
    from deepvit.measure.attention.similarity import draw_matrices
    from deepvit.measure.display.figures import new_figure

    figure = new_figure((6, 3))
    draw_matrices(figure, [("one", [[1.0, 0.2], [0.2, 1.0]]), ("other", [[1.0, -0.4], [-0.4, 1.0]])])
    scales = [image.get_clim() for axes in figure.axes for image in axes.images]
    assert scales == [(-0.4, 1.0), (-0.4, 1.0)]
    assert [axes.get_ylabel() for axes in figure.axes].count("similarity") == 1


def test_pictures_say_what_their_colours_mean(loaded):
    from deepvit.measure.attention.pictures import blocks_figure, heads_figure, mean_maps_figure

    maps = TorchMaps(loaded.module).maps(model_input(_crops(), loaded.preprocessing(), 3))
    for figure in (blocks_figure(maps, _crops()[0], "t"), heads_figure(maps, _crops()[0], 1, "t")):
        said = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
        assert {"least", "most", "blue:\nnegative", "red:\npositive"} <= set(said)
    means = mean_maps_figure(maps.before.mean(axis=1), maps.after.mean(axis=1), maps.reattends, "t")
    scales = {}
    for axes in means.axes:
        for image in axes.images:
            scales.setdefault(image.get_cmap().name, set()).add(image.get_clim())
    assert {name: len(each) for name, each in scales.items()} == {"viridis": 1, "coolwarm": 1}
    ((low, high),) = scales["coolwarm"]
    assert low == -high
    assert [axes.get_title() for axes in means.axes if "mixed" in axes.get_title()] == [
        "block 0: not mixed", "block 1, mixed"
    ]  # fmt: skip


def test_a_model_without_reattention(loaded, tmp_path):
    from deepvit.measure.attention.pictures import blocks_figure, heads_figure, write_figures

    images = model_input(_crops(), loaded.preprocessing(), 3)
    maps = TorchMaps(loaded.module).maps(images)
    plain = dataclasses.replace(maps, after=maps.before, reattends=(False, False))
    figures = [("blocks", blocks_figure(plain, _crops()[0], "t")), ("heads", heads_figure(plain, _crops()[0], 0, "t"))]
    assert [path.name for path in write_figures(tmp_path / "out", figures)] == ["blocks.png", "heads.png"]
