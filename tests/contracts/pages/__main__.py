"""Run the pages: `python -m tests.contracts.pages [--write] [PAGE …]`; --write puts what came out in place of what they show."""

import argparse
import pathlib
import sys
import tempfile
import time

from examples.digits.make_dataset import write_dataset
from tests.contracts.pages.findings import findings_of, pages, rewritten
from tests.contracts.pages.workshop import Reader, Workshop
from tests.places import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=pathlib.Path, help="all of them if none is given")
    parser.add_argument("--write", action="store_true", help="rewrite the outputs")
    arguments = parser.parse_args()
    first, *others = pages()
    chosen = [path.resolve() for path in arguments.pages] or [first, *others]
    faults = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_dataset(folder / "digits")
        opened = Reader(folder / "cache")
        for page in [first, *(page for page in others if page in chosen)]:
            start = time.perf_counter()
            left = None if page == first else folder / first.name
            findings = list(
                findings_of(
                    page,
                    Workshop(folder / str(page.relative_to(ROOT)).replace("/", "-"), opened, folder / "digits", left),
                )
            )
            print(f"{page.name}: {time.perf_counter() - start:.1f} s", flush=True)
            wrong = [finding for finding in findings if finding.fault]
            if page in chosen:
                print(*(f"{each.place}\n{each.fault}\n" for each in wrong), sep="\n", flush=True)
                faults += len(wrong)
                if arguments.write:
                    page.write_text(rewritten(page, findings))
    return 1 if faults and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
