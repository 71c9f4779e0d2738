"""How fast an evaluation is fed, by 500×375 JPEGs made of the bundled photographs, with a model that takes no time.

Usage: python benchmarks/feeding.py [--images N]: with one and two decoding processes and from kept crops; writes
benchmarks/results/feeding.json.
"""

import argparse
import pathlib
import statistics
import tempfile

from benchmarks.common.interleaved import machine, write_result
from benchmarks.common.photographs import PREPROCESSING, InstantSession, write_photographs
from deepvit.images.sources import FolderSource
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions
from deepvit.measure.models import Contestant

ROUNDS = 5


def images_per_second(source: FolderSource, **options: object) -> float:
    """Evaluate and return the rate, decoding, normalisation, scores and journal included."""
    contestant = Contestant(name="none", session=InstantSession(), preprocessing=PREPROCESSING, identity="none")
    evaluator = Evaluator([contestant], source, EvaluationOptions(**options))  # type: ignore[arg-type]
    evaluator.run(evaluator.missing())
    rate = evaluator.results("").images_per_second_with_decoding
    evaluator.close()
    assert rate is not None
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = FolderSource(folder, tuple((each, 0) for each in write_photographs(folder, count)))
        images_per_second(source, crops=folder / "crops", workers=2)  # keeps them
        forms = {
            "one decoding process": {"workers": 1},
            "two decoding processes": {"workers": 2},
            "kept crops": {"crops": folder / "crops", "workers": 2},
        }
        rates: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(ROUNDS):
            for form, options in forms.items():
                rates[form].append(images_per_second(source, **options))
    ratios = [two / one for one, two in zip(*list(rates.values())[:2], strict=True)]
    for form, found in rates.items():
        print(f"{form:24s} {statistics.median(found):7.0f} images/s ({min(found):.0f} to {max(found):.0f})")
    print(f"two against one          {statistics.median(ratios):7.2f}× ({min(ratios):.2f} to {max(ratios):.2f})")
    content = {
        "command": f"python benchmarks/feeding.py --images {count}",
        "images": count,
        "machine": machine(),
        "images_per_second": rates,
        "two_against_one": ratios,
    }
    write_result("feeding", content)


if __name__ == "__main__":
    main()
