"""Make docs/images/report.png again, the head of a report of five artifacts: `python -m tests.contracts.pages.picture [FOLDER]`.

Needs the Chromium that `make test` fetches; takes some minutes, and a
moment if FOLDER has the artifacts and results of an earlier time.
"""

import pathlib
import subprocess
import sys
import tempfile

from PIL import Image

from examples.digits.make_dataset import write_dataset
from tests.commands.command_line import command_of
from tests.doubles.chromium import Page
from tests.places import ROOT

PICTURE = ROOT / "docs" / "images" / "report.png"
SIZE = (1100, 760)
WEIGHTS = ("--pretrained", "--imagenet", "data/digits")
FORMS = {
    "fp32": (),
    "fp16": (),
    "bf16": (),
    "int8": ("--calibration-images", "128"),
    "fp8": ("--calibration-images", "128"),
}
MODELS = tuple(f"artifacts/digits_cnn-{form}" for form in FORMS)
COMMANDS = (
    *(("export", "digits_cnn", f"--{form}", *WEIGHTS, *more) for form, more in FORMS.items()),
    ("eval", *MODELS, *WEIGHTS, "--reference", "pytorch", "--json", "artifacts/eval.json"),
    ("bench", *MODELS, "--peers", "none", "--batch-sizes", "1,8", "--rounds", "5", "--json", "artifacts/bench.json"),
)
REPORT = ("report", "artifacts", "--output", "report.html", "--title", "DeepViT on handwritten digits")


def main(folder: pathlib.Path) -> None:
    if not (folder / "artifacts" / "bench.json").is_file():
        write_dataset(folder / "data" / "digits")
        for arguments in COMMANDS:
            subprocess.run(command_of(*arguments), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(command_of(*REPORT), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with Image.open(Page(folder / "report.html", folder).screenshot(*SIZE)) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}, {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(pathlib.Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(pathlib.Path(temporary))
