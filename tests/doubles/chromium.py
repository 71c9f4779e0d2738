"""A page in a real Chromium: its pictures, its document, what it asked the network for, and what it complained about."""

import json
import os
import pathlib
import subprocess
import sys

import pytest


def browser() -> str:
    """Return the path of a Chromium, or skip."""
    fetched = pathlib.Path(sys.prefix) / "chromium" / "chromium"  # beside the environment's packages
    found = os.environ.get("CHROMIUM") or (str(fetched) if fetched.is_file() else None)
    if found is None:
        pytest.skip("no Chromium here; make test fetches one, or set CHROMIUM to its path")
    return found


class Page:
    """One HTML file from disk, opened without a network."""

    def __init__(self, path: pathlib.Path, work: pathlib.Path) -> None:
        self.path, self._work = path, work

    def _run(self, *options: str) -> subprocess.CompletedProcess:
        log = self._work / "net.json"
        command = [
            browser(), "--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}", "--enable-logging=stderr",
            "--hide-scrollbars", f"--user-data-dir={self._work / 'profile'}", *options, self.path.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        self.requests = _requests(log)
        self.complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done

    def document(self) -> str:
        """Return the document as the browser has parsed it."""
        return self._run("--dump-dom").stdout

    def screenshot(self, width: int, height: int, *options: str) -> pathlib.Path:
        """Return a picture of the top of the page in a window of this size."""
        picture = self._work / f"{self.path.stem}-{width}.png"
        self._run(f"--screenshot={picture}", f"--window-size={width},{height}", *options)
        return picture

    def pdf(self) -> bytes:
        """Return the page as it prints."""
        self._run(f"--print-to-pdf={self._work / 'page.pdf'}", "--no-pdf-header-footer")
        return (self._work / "page.pdf").read_bytes()


def _requests(log: pathlib.Path) -> list[str]:
    """Return the addresses that were asked for, but those of files and of the browser's own."""
    text = log.read_text().rstrip().rstrip(",")
    events = json.loads(text if text.endswith("}") else text + "]}")["events"]
    urls = [event["params"]["url"] for event in events if "url" in event.get("params", {})]
    own = ("file:", "data:", "chrome:", "about:", "devtools:")
    foreign = {
        "https://clients2.google.com",
        "https://accounts.google.com",
        "https://www.google.com",
        "https://update.googleapis.com",
    }
    return sorted(
        {url for url in urls if not url.startswith(own) and not any(url.startswith(each) for each in foreign)}
    )
