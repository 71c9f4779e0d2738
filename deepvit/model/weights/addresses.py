"""Checkpoints at an address: fetched once, and ever after held against the SHA-256 that they had then.

`hf-hub:org/name` is a repository of the Hugging Face Hub, as timm spells it, `hf-hub:org/name@revision` one of its
revisions, `hf-hub:org/name/file.pth` a file in it; `https://…` is a file.
"""

import hashlib
import http.client
import logging
import pathlib
import urllib.parse

from deepvit.runtime.errors import InputError, MissingError, needed_for
from deepvit.runtime.files import cache_folder, replaced, write_error

logger = logging.getLogger(__name__)
HUB, URLS = "hf-hub:", ("http://", "https://")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # timm's and transformers' names; what runs no code goes first
MOST_WHY = 160


def is_address(checkpoint: str | pathlib.Path) -> bool:
    """Return whether `checkpoint` is to be fetched, and no file here."""
    return str(checkpoint).startswith((HUB, *URLS))


def fetch_address(address: str) -> pathlib.Path:
    """Return the file at `address`, in a cache after the first time.

    Raises:
        InputError: No such address, or a cached file that is not what was first fetched.
        MissingError: What fetches is not installed, or nothing came.
    """
    return _from_hub(address) if address.startswith(HUB) else _from_url(address)


def _from_hub(address: str) -> pathlib.Path:
    """Fetch by huggingface_hub, whose cache keeps files by their content and checks them."""
    name, _, revision = address.removeprefix(HUB).partition("@")
    parts = name.split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise InputError(f"‹checkpoint› {address}: expected {HUB}org/name, {HUB}org/name@revision or a file behind it")
    with needed_for("fetching from the Hugging Face Hub"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, files = "/".join(parts[:2]), tuple(parts[2:]) or HUB_FILES
    for file in files:
        try:
            return pathlib.Path(hf_hub_download(repository, file, revision=revision or None))
        except LocalEntryNotFoundError as error:  # there is no network, or the Hub does not answer
            raise MissingError(_failed(address, error)) from error
        except EntryNotFoundError:
            continue
        except (OSError, ValueError) as error:  # all other errors of the Hub are one of both
            raise MissingError(_failed(address, error)) from error
    raise InputError(f"{address} has no {' and no '.join(files)}; name the file: {HUB}{repository}/FILE")


def _from_url(address: str) -> pathlib.Path:
    """Fetch as timm does, by PyTorch, which puts a file in its place when it is whole; each address has a folder."""
    file = pathlib.PurePosixPath(urllib.parse.urlsplit(address).path).name
    if not file:
        raise InputError(f"‹checkpoint› {shown(address)}: expected the address of a file")
    path = cache_folder("checkpoints", hashlib.sha256(address.encode()).hexdigest()[:16]) / file
    if not path.is_file():
        with needed_for("fetching a checkpoint"):
            from torch.hub import download_url_to_file
        try:
            download_url_to_file(address, str(path), progress=False)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MissingError(_failed(shown(address), error)) from error
    verify_recorded(path)
    return path


def shown(address: str) -> str:
    """Return an address as it may be printed: without a password, or what signs it."""
    parts = urllib.parse.urlsplit(address)
    return address if address.startswith(HUB) else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _failed(address: str, error: Exception) -> str:
    line, *_ = str(error).strip().splitlines() or [type(error).__name__]
    why = line if len(line) <= MOST_WHY else f"{line[:MOST_WHY]}…"
    return f"could not fetch {address}: {why}; download it by hand, and give the file"


def record_sha256(path: pathlib.Path, sha256: str) -> None:
    """Note what a fetched file is, the first time that it is read."""
    if recorded_at(path).is_file():
        return
    try:
        with replaced(recorded_at(path)) as staged:
            staged.write_text(sha256 + "\n", encoding="ascii")
    except OSError as error:
        raise write_error(recorded_at(path), None, error) from error


def recorded_at(path: pathlib.Path) -> pathlib.Path:
    """Return where the SHA-256 of a fetched file stands."""
    return path.with_name(path.name + ".sha256")


def verify_recorded(path: pathlib.Path) -> None:
    """Hold a cached file against the hash that was recorded when it was first read.

    Raises:
        InputError: It is another.
    """
    if not recorded_at(path).is_file():
        return
    expected = recorded_at(path).read_text(encoding="ascii").strip()
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != expected:
        raise InputError(
            f"cached checkpoint {path} has SHA-256 {got}, expected {expected} as first fetched; delete both files to "
            "fetch it again"
        )
