"""Which Chromium tests and pictures are made with: the machine's, else playwright's own download."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Playwright, sync_playwright

NONE = "no Chromium runs on this machine; run: sudo apt-get install chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium(playwright: Playwright) -> str | None:
    """Its program, None where none runs."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    downloaded = playwright.chromium.executable_path
    if not Path(downloaded).is_file():
        return None
    # The download lacks the libraries that a package would bring along.
    done = subprocess.run([downloaded, "--version"], capture_output=True, check=False)
    return downloaded if done.returncode == 0 else None


def main() -> int:
    with sync_playwright() as playwright:
        found = chromium(playwright)
    print(found or NONE)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
