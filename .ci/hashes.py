"""Write constraints-hashed.txt: every installed package at its version, with the SHA-256 of each of its files on PyPI.

Run it in the environment that `make test` makes, after constraints.txt changed. Kept are files for CPython 3.11 and
newer, or any Python, on Linux with glibc, and source archives; SECURITY.md has the line that installs them alone.
"""

import concurrent.futures
import importlib.metadata
import json
import pathlib
import re
import urllib.request

INDEX = "https://pypi.org/simple/{name}/"
TARGET = pathlib.Path(__file__).with_name("constraints-hashed.txt")
PYTHONS = ("cp311", "cp312", "cp313")
OURS = ("deepvit", "pip")
HEADER = (
    "# Made by .ci/hashes.py: what `make test` installs, with the hashes of its files; for pip's --require-hashes.\n"
)
WHEEL = re.compile(r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$")


def is_kept(name: str) -> bool:
    """Return whether a file can be what pip takes on Linux with CPython 3.11 or newer."""
    match = WHEEL.search(name)
    if match is None:
        return name.endswith((".tar.gz", ".zip"))
    pythons = match["python"].split(".")
    is_python = any(tag.startswith("py3") or tag in PYTHONS for tag in pythons) or match["abi"] == "abi3"
    return is_python and (match["platform"] == "any" or "manylinux" in match["platform"])


def lines_of(name: str, version: str) -> str:
    normal = re.sub(r"[-_.]+", "-", name).lower()
    request = urllib.request.Request(  # noqa: S310 - INDEX is https
        INDEX.format(name=normal), headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.1"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310 - as above
        content = response.read().decode()
        is_json = "json" in response.headers.get_content_type()
    if is_json:
        files = {each["filename"]: each["hashes"]["sha256"] for each in json.loads(content)["files"]}
    else:
        files = dict(re.findall(r"/([^/\"]+)#sha256=([0-9a-f]{64})", content))
    stems = {re.sub(r"[-_.]+", "_", normal) + f"-{version}"}
    own = {
        digest
        for file, digest in files.items()
        if any(_normal_stem(file).startswith((stem + "-", stem + ".")) for stem in stems) and is_kept(file)
    }
    if not own:
        raise LookupError(f"{name} {version} has no files on the index")
    return f"{normal}=={version} \\\n" + " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(own)) + "\n"


def _normal_stem(file: str) -> str:
    """Return a file's name with its package normalised: zope.event-6.2.tar.gz → zope_event-6.2.tar.gz."""
    package, dash, rest = re.split(r"(-)(?=[0-9])", urllib.request.unquote(file), maxsplit=1)
    return re.sub(r"[-_.]+", "_", package).lower() + dash + rest


def main() -> None:
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    pins = sorted(((n, v) for n, v in installed.items() if n.lower() not in OURS), key=lambda pin: pin[0].lower())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lines_of, *zip(*pins, strict=True)))
    TARGET.write_text(HEADER + "".join(blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
