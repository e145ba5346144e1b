"""Flower in a real browser."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",  # as root it would not start otherwise
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """Chromium, logged in to Flower; each page in a profile of its own.

    Args:
        place: Flower's host and port.
        password: of its user.
        directory: for the profiles.
    """

    def __init__(self, place: str, password: str, directory: Path) -> None:
        self._place = place
        self._password = password
        self._directory = directory
        self._pages = iter(range(1_000))

    def text(self, page: str) -> str:
        """The page as a browser shows it, scripts run."""
        return self._open(page, "--dump-dom")

    def picture(self, page: str, to: Path) -> None:
        """A picture of it, as PNG."""
        self._open(page, f"--screenshot={to}", "--window-size=1280,620", "--hide-scrollbars")

    def _open(self, page: str, *more: str) -> str:
        assert CHROMIUM
        profile = self._directory / f"profile-{next(self._pages)}"
        url = f"http://headrace:{self._password}@{self._place}/{page}"
        command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=5000", *more, url]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert "--dump-dom" not in more or "Flower</title>" in shown, shown[:500]
        return shown
