"""The page by keyboard alone: what has the focus shows it, and the Tab key goes through an open popover."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

Visit = Callable[..., Page]
OUTLINE = "own => getComputedStyle(own).outlineStyle + ' ' + getComputedStyle(own).outlineWidth"


def ringed(place: Locator) -> None:
    assert place.evaluate(OUTLINE) == "solid 2px"


def test_the_focus_is_seen_and_popovers_are_walked_through(visit: Visit) -> None:
    page = visit("/?model=digits_resnet&hide=quantization,channel_pruning")
    switch = page.get_by_role("switch", name="Weight pruning", exact=True)
    expect(page.get_by_role("button", name="About Weight pruning")).to_be_visible()
    limits = page.get_by_test_id("stPopoverButton").filter(has_text="Limits")
    limits.focus()
    page.keyboard.press("Enter")
    first = page.get_by_label("Accuracy lost at most (points)")
    expect(first).to_be_visible()
    page.keyboard.press("Tab")
    expect(first).to_be_focused()
    ringed(first.locator(".."))
    page.keyboard.press("Shift+Tab")
    expect(limits).to_be_focused()
    for name in (
        "Accuracy lost at most", "Speed-up at least", "Packed size at most (%", "Accuracy at least", "Latency at most",
        "Packed size at most (kB)",
    ):
        page.keyboard.press("Tab")
        expect(page.get_by_label(name)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Objective")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("stPopoverButton").filter(has_text="Curves")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="About Weight pruning").focus()
    page.keyboard.press("Shift+Tab")
    expect(switch).to_be_focused()
    ringed(switch.locator("xpath=ancestor::label"))
    link = page.get_by_test_id("stTopNavLink").first
    link.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    ringed(link)
    assert page.locator("h5 a:visible").count() == 0, "headings are no stops"
