"""How fast the pages are in a browser beside many results: first paint, and whether large plots stay smooth.

    python -m tests.benchmarks.page_speed [--results 1000]

The results and the search are made-up records in a folder of their own: they are there to be drawn. Chromium is needed.
A first paint is that of the page's heading, by the browser's own clock, in a browser that has been there before.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from compression.experiments.results import ExperimentResult
from compression.experiments.store import ResultStore, now
from compression.recipe import Recipe
from compression.search.searches import Searches
from compression.search.spec import Limits, SearchSpec
from tests.e2e.conftest import CHROMIUM, Server
from tests.search.laboratories import FakeLaboratory, synthetic_result

MODEL, DATASET = "digits_resnet", "digits"
TECHNIQUES = ("weight_pruning", "channel_pruning", "quantization", "low_rank", "weight_sharing")
ROUNDS = 5
EXPLORE = "/?quantization=true"
HEADING = "[data-testid=stMain] :is(h1, h2, h3)"
# By the page's own clock, from the beginning of its loading: when the frame with the heading has been painted, and when
# Streamlit has run the page to its end and that has been painted.
WATCH_PAINT = """heading => {
    window.painted = {};
    const paint = name => setTimeout(() => { window.painted[name] = performance.now(); });
    const look = () => {
        const first = document.querySelector(heading);
        const app = document.querySelector("[data-testid=stApp]");
        if (first && !window.painted.first) paint("first");
        const done = first && app && app.getAttribute("data-test-script-state") === "notRunning";
        if (done) paint("whole"); else requestAnimationFrame(look);
    };
    look();
}"""
WATCH_FRAMES = """() => {
    window.frames = []; let last = performance.now();
    const look = now => { window.frames.push(now - last); last = now; requestAnimationFrame(look); };
    requestAnimationFrame(look);
}"""


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, default=1000)
    count = parser.parse_args().results
    if CHROMIUM is None:
        sys.exit("no Chromium on the path (install chromium, or set CHROMIUM)")
    with tempfile.TemporaryDirectory() as folder:
        search, keys = _fill(Path(folder), count)
        with _running(Path(folder)) as (server, browser):
            _first_paints(server, browser, search, keys)
            _plots(server, browser, search, keys)
            _slider(server, browser)
    return 0


def _fill(root: Path, count: int) -> tuple[str, list[str]]:
    """A search of so many trials and their results; returns its name and some keys."""
    laboratory = FakeLaboratory()
    searches = Searches(root, laboratory)
    spec = SearchSpec(MODEL, DATASET, TECHNIQUES, Limits(max_accuracy_drop=30.0), trials=count, strategy="random")
    name = searches.start(spec)
    searches.wait(name, 3600)
    record = searches.read(name)
    searches.close()
    if record is None or len(record.trials) < count:
        raise RuntimeError(f"the search ended early: {record and record.message}")
    store = ResultStore(root)
    for recipe in (Recipe(MODEL, DATASET), *laboratory.recipes.values()):
        store.put_result(replace(synthetic_result(recipe), created=now()))
    results: list[ExperimentResult] = store.results()
    store.close()
    _show("results in the store, of these trials of one search", len(results), "")
    return name, [result.key for result in results if result.recipe["steps"]][:4]


@contextmanager
def _running(root: Path) -> Iterator[tuple[Server, Browser]]:
    server = Server(root)
    server.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page, _ = _visit(browser, server.url + EXPLORE)  # what it asks for is measured, then it is quiet
            page.get_by_text("all measured").wait_for(timeout=600_000)
            page.context.close()
            yield server, browser
            browser.close()
    finally:
        server.stop()


def _first_paints(server: Server, browser: Browser, search: str, keys: list[str]) -> None:
    addresses = {
        "Explore": EXPLORE, "Compare": f"/compare?pins={','.join(keys)}",
        "Layers": "/layers", "Search": f"/search?search={search}", "Export": f"/export?result={keys[0]}",
        "Library": "/library",
    }
    for name, address in addresses.items():
        page, cold = _visit(browser, server.url + address)
        paints = []
        for _ in range(ROUNDS):
            page.wait_for_timeout(2000)
            page.goto("about:blank")
            paints.append(_painted(page, server.url + address))
        page.context.close()
        first, whole = (statistics.median(own) for own in zip(*paints, strict=True))
        _show(f"{name}: first paint, p50 of {ROUNDS}", first, "s", 1.0)
        _show(f"{name}: the whole page, p50 of {ROUNDS}", whole, "s")
        _show(f"{name}: first paint in a browser that has nothing in its cache", cold, "s")


def _plots(server: Server, browser: Browser, search: str, keys: list[str]) -> None:
    for name, address in {"Search": f"/search?search={search}", "Compare": "/compare"}.items():
        page, _ = _visit(browser, server.url + address)
        start = time.perf_counter()
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
        _show(f"{name}: plot drawn, after that", time.perf_counter() - start, "s")
        page.wait_for_timeout(3000)
        plot = page.locator(".js-plotly-plot").first
        plot.scroll_into_view_if_needed()
        for what, move in {"moving over": _hover, "zooming": _zoom}.items():
            frames = _frames(page, partial(move, page))
            _show(f"{name}: {what} the plot, p50 of {len(frames)} frames", statistics.median(frames), "ms")
            _show(f"{name}: {what} the plot, p95", sorted(frames)[int(0.95 * len(frames))], "ms", 100.0)
        page.context.close()


def _slider(server: Server, browser: Browser) -> None:
    page, _ = _visit(browser, server.url + "/?weight_pruning=true")
    page.wait_for_timeout(5000)
    seconds = []
    for _ in range(ROUNDS):
        page.get_by_role("slider", name="Sparsity").focus()
        before, start = page.url, time.perf_counter()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("before => location.href !== before", arg=before, timeout=30_000)
        seconds.append(time.perf_counter() - start)
        page.wait_for_timeout(2000)
    _show(f"Explore: slider moved until the address has it, p50 of {ROUNDS}", statistics.median(seconds), "s")


def _visit(browser: Browser, address: str) -> tuple[Page, float]:
    """A page in a browser of its own, and the seconds until its first paint."""
    page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
    page.add_init_script(f"({WATCH_PAINT})({json.dumps(HEADING)})")
    return page, _painted(page, address)[0]


def _painted(page: Page, address: str) -> tuple[float, float]:
    """Seconds until the heading was painted, and until the whole page was."""
    page.goto(address, timeout=60_000)
    page.wait_for_function("window.painted.whole", timeout=60_000)
    painted = page.evaluate("window.painted")
    return painted["first"] / 1000, painted["whole"] / 1000


def _frames(page: Page, act: Callable[[], None]) -> list[float]:
    """Milliseconds between the frames that are drawn meanwhile."""
    page.evaluate(WATCH_FRAMES)
    act()
    return list(page.evaluate("window.frames.slice(1)"))


def _hover(page: Page) -> None:
    box = page.locator(".js-plotly-plot").first.bounding_box()
    if box is None:
        raise RuntimeError("no plot is drawn")
    for place in range(60):
        page.mouse.move(box["x"] + box["width"] * (0.1 + 0.013 * place), box["y"] + box["height"] * 0.5)


def _zoom(page: Page) -> None:
    box = page.locator(".js-plotly-plot").first.bounding_box()
    if box is None:
        raise RuntimeError("no plot is drawn")
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    for place in range(20):
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.02 * place), box["y"] + box["height"] * (0.3 + 0.02 * place))
    page.mouse.up()
    page.wait_for_timeout(500)


def _show(what: str, value: float, unit: str, target: float | None = None) -> None:
    verdict = "" if target is None else f"   target {target:g} {unit}: {'met' if value < target else 'MISSED'}"
    sys.stdout.write(f"{what:<64} {value:8.3f} {unit}{verdict}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
