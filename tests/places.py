"""Where the checkout is, and what is in it."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def files_of_the_tree() -> list[pathlib.PurePosixPath]:
    """Files and links of the work tree, relative to ROOT: tracked, or new and not ignored."""
    command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [pathlib.PurePosixPath(name) for name in sorted(names) if name and (ROOT / name).exists()]
