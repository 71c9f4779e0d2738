"""Accuracy of the two trained models on 596 held-out digits, every float precision against PyTorch, by `cli.py eval`.

Usage: python benchmarks/digits_accuracy.py DATASET, where DATASET is what examples/digits/make_dataset.py wrote; writes
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
    dataset = parser.parse_args().dataset.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "digits").symlink_to(dataset)
        for model in MODELS:
            outputs = [f"{model}-{precision}" for precision in PRECISIONS]
            for precision, output in zip(PRECISIONS, outputs, strict=True):
                run_command("export", model, f"--{precision}", "--pretrained", "--output", output, folder=folder)
            result = RESULTS / f"eval-{model}.json"
            run_command(
                "eval", *outputs, "--imagenet", "digits", "--reference", "pytorch", "--pretrained", "--json", result,
                folder=folder,
            )  # fmt: skip
            print(f"wrote {result.relative_to(RESULTS.parent.parent)}")


if __name__ == "__main__":
    main()
