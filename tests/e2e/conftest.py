"""A real server on a store of its own, and a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
expect.set_options(timeout=60_000)
FIRST_PAGE = 300_000
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser these tests are skipped, and say so."""
    if CHROMIUM is None:
        reason = "no Chromium on the path (install chromium, or set CHROMIUM): the browser tests were not run"
        for item in items:
            if Path(item.path).parent == Path(__file__).parent:
                item.add_marker(pytest.mark.skip(reason=reason))


class Server:
    """The dashboard as a user starts it, on a free port and its own folder of results."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", "app.py"]
        command += ["--server.port", str(self.port)]
        environment = {**os.environ, "COMPRESSION_HOME": str(self.home)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=(self.home / "server.log").open("ab")
        )
        for _ in range(450):
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError("the server did not start: " + self.log())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)

    def log(self) -> str:
        """What the server wrote to stderr."""
        return (self.home / "server.log").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server; all browser tests share its results."""
    running = Server(tmp_path_factory.mktemp("home"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield own
        own.close()


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens an address of the dashboard in a browser of its own."""
    contexts: list[BrowserContext] = []

    def open_page(address: str = "/", **options: object) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(address if address.startswith("http") else server.url + address)
        page.wait_for_function(_DRAWN, timeout=FIRST_PAGE)  # on a busy machine the workers take minutes to start
        return page

    yield open_page
    for context in contexts:
        context.close()


_DRAWN = """() => document.querySelector("[data-testid=stApp]")?.getAttribute("data-test-script-state")
  === "notRunning" """
_QUIET = """() => {
  const app = document.querySelector("[data-testid=stApp]"), now = performance.now();
  if (app?.getAttribute("data-test-script-state") !== "notRunning" || window.quietSince === undefined) {
    window.quietSince = now;
  }
  return now - window.quietSince > 1500;
}"""


@pytest.fixture
def at_rest() -> Callable[[Page], None]:
    """Waits until a page is not redrawn any more, so that nothing moves away under the pointer."""

    def wait(page: Page) -> None:
        page.evaluate("() => { delete window.quietSince }")
        page.wait_for_function(_QUIET, timeout=120_000)

    return wait
