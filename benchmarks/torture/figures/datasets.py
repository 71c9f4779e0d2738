"""Figures 13, 14 and 18: what an evaluation's caches are keyed by, what an export depends on, what calibration counts."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image

from deepvit.commands.app import main
from deepvit.runtime import open_artifact
from examples.digits.make_dataset import write_dataset
from tests.places import ROOT

from ..figure import Case, Figure
from ..trial import Ended, Result, run_forked, timeless

DONE, REFUSED = frozenset({0}), frozenset({2})
CLASSES, IMAGES_PER_CLASS = 10, 4
TIME = 1_700_000_000
EXPORT = ("export", "digits_patch", "--pretrained", "--target", "onnx", "--parity-images", "4")
CALIBRATION_IMAGES = 100


def _write_image(path: pathlib.Path, seed: int) -> None:
    """A BMP: as many bytes whatever is on it, and a time that tells nothing."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    os.utime(path, (TIME, TIME))


def labelled_noise(root: pathlib.Path, seed: int = 0) -> None:
    for label in range(CLASSES):
        (root / "val" / str(label)).mkdir(parents=True)
        for index in range(IMAGES_PER_CLASS):
            _write_image(root / "val" / str(label) / f"{index}.bmp", seed * 10_000 + label * 100 + index)


def three_artifacts(material: pathlib.Path) -> None:
    """Write artifacts of which two differ from the first, one in its precision and one in the size of its input."""
    for name, options in (("a", ("--fp16",)), ("b", ("--fp32",)), ("c", ("--fp16", "--img-size", "48"))):
        arguments = [*EXPORT, *options, "--output", str(material / name)]
        assert run_forked(functools.partial(main, arguments), material / "log", 300).code == 0
    labelled_noise(material / "noise")


def _other_pixels(root: pathlib.Path, _: list[str]) -> None:
    for index, path in enumerate(sorted(root.rglob("*.bmp"))):
        _write_image(path, 777_000 + index)


def _other_pixels_elsewhere(root: pathlib.Path, _: list[str]) -> None:
    """The folder itself is another one of the same name: inodes change, names, sizes and times do not."""
    shutil.rmtree(root)
    labelled_noise(root, seed=5)


def _other_labels(root: pathlib.Path, _: list[str]) -> None:
    (root / "val" / "0").rename(root / "val" / "x")
    (root / "val" / "1").rename(root / "val" / "0")
    (root / "val" / "x").rename(root / "val" / "1")


def _other_names(root: pathlib.Path, _: list[str]) -> None:
    for path in sorted(root.rglob("3.bmp")):
        path.rename(path.with_name("00.bmp"))


def _fewer_images(root: pathlib.Path, _: list[str]) -> None:
    for path in root.rglob("3.bmp"):
        path.unlink()


def _corrupt_image(root: pathlib.Path, _: list[str]) -> None:
    path = next(iter(sorted(root.rglob("0.bmp"))))
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, (TIME, TIME))


def _other_model(name: str) -> Callable[[pathlib.Path, list[str]], None]:
    return functools.partial(_set_model, name)


def _set_model(name: str, _: pathlib.Path, arguments: list[str]) -> None:
    arguments[1] = arguments[1].removesuffix("a") + name


def _with(*more: str) -> Callable[[pathlib.Path, list[str]], None]:
    return functools.partial(_add_arguments, more)


def _add_arguments(more: tuple[str, ...], _: pathlib.Path, arguments: list[str]) -> None:
    arguments += more


CHANGES: dict[str, Callable[[pathlib.Path, list[str]], None]] = {
    "pixels, under the same names, sizes and times": _other_pixels,
    "the folder, under the same names, sizes and times": _other_pixels_elsewhere,
    "labels": _other_labels,
    "names": _other_names,
    "number of images": _fewer_images,
    "one image, which is corrupt now": _corrupt_image,
    "model": _other_model("b"),
    "limit": _with("--limit", "17"),
    "batch size": _with("--batch-size", "3"),
    "processes": _with("--processes", "2"),
    "reference": _with("--reference", "pytorch", "--pretrained"),
    "input size": _other_model("c"),
}


def _evaluate(arguments: list[str], cache: pathlib.Path, json_path: pathlib.Path) -> None:
    cache.mkdir(mode=0o700, exist_ok=True)
    os.environ["DEEPVIT_CACHE"] = str(cache)
    main([*arguments, "--json", str(json_path)])


def _evaluation(case: Case, arguments: list[str], cache: str) -> dict[str, object]:
    json_path = case.folder / f"{cache}.json"
    json_path.unlink(missing_ok=True)
    run = functools.partial(_evaluate, arguments, case.folder / cache, json_path)
    ended = run_forked(run, case.folder / "log", 120)
    if ended.fault(frozenset({0, 1})):
        raise AssertionError(ended)
    found: dict[str, object] = timeless(json.loads(json_path.read_text()))
    return found


def changed_input(case: Case) -> Result:
    """One input changes between two evaluations that share a cache: the second is what it is with an empty one."""
    return _compared(case, second_cache="cache")


def _compared(case: Case, second_cache: str) -> Result:
    name = sorted(CHANGES)[case.index % len(CHANGES)]
    root = case.folder / "noise"
    shutil.copytree(case.material / "noise", root)
    arguments = ["eval", str(case.material / "a"), "--imagenet", str(root), "--workers", "0", "--cache-crops"]
    if case.index // len(CHANGES) % 2:
        arguments += ["--reference", str(case.material / "b")]
    _evaluation(case, arguments, "cache")
    CHANGES[name](root, arguments)
    with_cache, without = _evaluation(case, arguments, second_cache), _evaluation(case, arguments, "empty")
    different = sorted(key for key in without if with_cache.get(key) != without[key])
    return Result("the same", f"{name}: {different} are not what they are without a cache" if different else "")


def a_stale_result_is_seen(case: Case) -> Result:
    """A control: the first evaluation's result, given for the second, is told."""
    root = case.folder / "noise"
    shutil.copytree(case.material / "noise", root)
    arguments = ["eval", str(case.material / "a"), "--imagenet", str(root), "--workers", "0"]
    stale = _evaluation(case, arguments, "cache")
    _other_labels(root, arguments)
    _fewer_images(root, arguments)
    return Result("stale", "" if stale == _evaluation(case, arguments, "empty") else "another result")


ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {},
    {"PYTHONHASHSEED": "1"},
    {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu"},
    {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "PYTHONOPTIMIZE": "1"},
)


def _export_hash(case: Case, form: str, environment: dict[str, str]) -> str:
    output = case.folder / f"{form}-{len(list(case.folder.iterdir()))}"
    imagenet = ("--imagenet", str(case.material / "digits"), "--calibration-images", "32", "--check-images", "0")
    options = (f"--{form}", *(imagenet if form == "int8" else ()), "--output", str(output))
    command = [sys.executable, str(ROOT / "cli.py"), *EXPORT, *options]
    run = subprocess.run(
        command, env=os.environ | environment, cwd=case.folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return open_artifact(output).manifest.files["model.onnx"].sha256


def same_export(case: Case) -> Result:
    """The same model.onnx whatever the hash seed, the zone, the locale and the threads."""
    form = ("fp16", "int8")[case.index % 2]
    environment = ENVIRONMENTS[case.index // 2 % len(ENVIRONMENTS)]
    first, second = _export_hash(case, form, {}), _export_hash(case, form, environment)
    return Result(f"{form} the same", "" if first == second else f"{form}: another model.onnx with {environment}")


def another_export_is_seen(case: Case) -> Result:
    """A control: another precision is another file."""
    first, second = _export_hash(case, "fp16", {}), _export_hash(case, "fp32", {})
    return Result("other", "" if first == second else "another model.onnx")


def digits(material: pathlib.Path) -> None:
    """Write the digits, and a hundred of them to calibrate with."""
    write_dataset(material / "digits")
    shutil.copytree(material / "digits", material / "hundred")
    for folder in (material / "hundred" / "train").iterdir():
        for path in sorted(folder.iterdir())[CALIBRATION_IMAGES // CLASSES :]:
            path.unlink()


def _calibrate(case: Case, root: pathlib.Path, images: int, *options: str) -> Ended:
    arguments = [*EXPORT, "--int8", "--imagenet", str(root), "--check-images", "0", *options]
    arguments += ["--calibration-images", str(images), "--output", str(case.folder / "output")]
    return run_forked(functools.partial(main, arguments), case.folder / "log", 300)


def bad_calibration_image(case: Case) -> Result:
    """A bad file at each place of the calibration images: refused by its name, or replaced and listed."""
    root = case.folder / "hundred"
    shutil.copytree(case.material / "hundred", root)
    bad = sorted((root / "train").rglob("*.JPEG"))[case.index % CALIBRATION_IMAGES]
    bad.write_bytes(b"no image")
    name = bad.relative_to(root / "train").as_posix()
    if case.index % 2:
        ended = _calibrate(case, root, CALIBRATION_IMAGES)
        is_named = name in ended.stderr and not (case.folder / "output").exists()
        return Result("refused", ended.fault(REFUSED) or ("" if is_named else f"{name} is not named: {ended.stderr}"))
    ended = _calibrate(case, root, CALIBRATION_IMAGES - 1, "--skip-corrupt")
    if ended.fault(DONE):
        return Result(ended.label, ended.fault(DONE))
    calibration = open_artifact(case.folder / "output").manifest.calibration
    assert calibration is not None
    is_counted = calibration.images == CALIBRATION_IMAGES - 1 and calibration.replaced in ((), (name,))
    return Result("replaced", "" if is_counted else f"{calibration.images} images, replaced {calibration.replaced}")


def a_good_dataset_is_not_refused(case: Case) -> Result:
    """A control: without a bad file the trial's refusal does not come."""
    ended = _calibrate(case, case.material / "hundred", CALIBRATION_IMAGES)
    return Result(ended.label, ended.fault(REFUSED))


FIGURES = (
    Figure(
        number="13",
        name="one input changed between evaluations that share a cache",
        count=2 * len(CHANGES),
        trial=changed_input,
        controls=(a_stale_result_is_seen,),
        prepare=three_artifacts,
    ),
    Figure(
        number="14",
        name="the same export in other surroundings",
        count=2 * len(ENVIRONMENTS),
        trial=same_export,
        controls=(another_export_is_seen,),
        prepare=digits,
    ),
    Figure(
        number="18",
        name="a bad calibration image at each of 100 places",
        count=CALIBRATION_IMAGES,
        trial=bad_calibration_image,
        controls=(a_good_dataset_is_not_refused,),
        prepare=digits,
    ),
)
