"""Accuracy of trained models on held-out images, every float precision against PyTorch, by `cli.py eval`.

Usage: python benchmarks/digits_accuracy.py DATASET [--models NAME NAME], where DATASET is what
examples/digits/make_dataset.py wrote, or another ImageNet folder with models that are trained on it; writes
benchmarks/results/eval-MODEL.json.
"""

import argparse
import pathlib
import tempfile

from benchmarks.common.command_line import RESULTS, run_command

MODELS = ("digits_patch", "digits_cnn")
PRECISIONS = ("fp32", "fp16", "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument(
        "--models", nargs="+", default=MODELS, metavar="NAME", help="variants with weights of their own"
    )
    given = parser.parse_args()
    dataset = given.dataset.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / dataset.name).symlink_to(dataset)
        for model in given.models:
            outputs = [f"{model}-{precision}" for precision in PRECISIONS]
            for precision, output in zip(PRECISIONS, outputs, strict=True):
                run_command("export", model, f"--{precision}", "--pretrained", "--output", output, folder=folder)
            result = RESULTS / f"eval-{model}.json"
            run_command(
                "eval", *outputs, "--imagenet", dataset.name, "--reference", "pytorch", "--pretrained", "--json", result,
                folder=folder,
            )  # fmt: skip
            print(f"wrote {result.relative_to(RESULTS.parent.parent)}")


if __name__ == "__main__":
    main()
