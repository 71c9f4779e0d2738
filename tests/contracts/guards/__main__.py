"""Take every guard out in turn, and see its test go red: `python -m tests.contracts.guards [FAULT …]`; about a minute for six.

A table `*.toml` beside this lists them: which fault the guard is against, its exact text in its file, what stands there
without it, and the test that must notice. Everything happens in a copy of the work tree.
"""

import sys
import tempfile

from tests.contracts.guards.negative_control import Copy, Guard, guards


def main(faults: list[str]) -> int:
    chosen: list[Guard] = [guard for guard in guards() if not faults or guard.fault in faults]
    silent = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(folder)
        for guard in chosen:
            verdict = copy.verdict_without(guard)
            silent += not verdict.is_red
            print(
                f"{guard.fault:4s} {'red' if verdict.is_red else 'NOT RED':8s} {guard.file}  {guard.test}", flush=True
            )
            if not verdict.is_red:
                print(verdict.output)
    print(f"{len(chosen)} guards taken out, {len(chosen) - silent} noticed")
    return 1 if silent or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
