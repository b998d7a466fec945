"""A person starts a search, sees a trial on the plots and stops it, in a real browser against the real workers."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
FORM = "/search?for-model=digits_resnet&max-lost=5&trials=60&use=Quantization&strategy=random"
FIRST_TRIAL = 300_000


def test_a_search_is_started_watched_stopped_and_shared(visit: Visit) -> None:
    page = visit(FORM)
    page.get_by_role("button", name="Start the search").click()
    expect(page).to_have_url(re.compile(r"search=[0-9a-f]{10}"), timeout=FIRST_TRIAL)
    script = """() => [...document.querySelectorAll('.js-plotly-plot')].some(
        plot => plot.data && plot.data.some(trace => trace.customdata && trace.x.length > 0))"""
    page.wait_for_function(script, timeout=FIRST_TRIAL)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped. What was measured is kept")).to_be_visible(timeout=FIRST_TRIAL)
    shared = visit(page.evaluate("location.href"))  # the address alone shows the same search
    expect(shared.get_by_role("button", name="Resume")).to_be_visible()
    expect(shared.get_by_text("at most 5 points lost; 60 trials")).to_be_visible()
    expect(shared.get_by_test_id("stException")).to_have_count(0)
