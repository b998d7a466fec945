"""What a person does on the Compare page, in a real browser against the real workers."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
PRUNED = "/?model=digits_resnet&weight_pruning=true&weight_pruning.sparsity=0.9&hide=weight_pruning"
FIRST_POINT = 300_000


def test_a_point_pinned_on_explore_is_compared_with_the_uncompressed_model(
    visit: Visit, at_rest: Callable[[Page], None]
) -> None:
    page = visit(PRUNED)
    expect(page.get_by_text(re.compile("sparsity 0.9$")).first).to_be_visible(timeout=FIRST_POINT)
    at_rest(page)
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page).to_have_url(re.compile("pins=[0-9a-f]{20}"))
    at_rest(page)
    page.get_by_role("link", name="Compare 1 pinned").click()
    page.get_by_role("button", name="Pin the uncompressed model").click()
    expect(page).to_have_url(re.compile("pins=[0-9a-f]{20}(,|%2C)[0-9a-f]{20}"))
    expect(page.get_by_text("Where the recipes differ")).to_be_visible()
    page.get_by_role("button", name="Unpin", exact=True).nth(1).click()
    expect(page).to_have_url(re.compile("pins=[0-9a-f]{20}(&|$)"))
    expect(page.get_by_text("Where the recipes differ")).to_have_count(0)
    expect(page.get_by_text(re.compile("predictions .* were lost"))).to_be_visible(timeout=FIRST_POINT)
    at_rest(page)
    page.get_by_role("combobox", name="Pin a run").focus()  # by the keyboard alone
    page.keyboard.type("digits_resnet: uncompressed")
    expect(page.get_by_role("option", name="digits_resnet: uncompressed")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("pins=[0-9a-f]{20}(,|%2C)[0-9a-f]{20}"))
    expect(page.get_by_role("combobox", name="Pin a run")).to_be_focused()
    expect(page.get_by_text("Where the recipes differ")).to_be_visible()
    expect(page.get_by_text(re.compile("predictions .* were lost"))).to_be_visible(timeout=FIRST_POINT)
    expect(page.get_by_text("What flipped from uncompressed to A")).to_be_visible()
    assert page.locator(".flips img").count() > 0
    page.get_by_text("Provenance", exact=True).click()
    expect(page).to_have_url(re.compile("view=Provenance"))
    expect(page.locator(".st-key-tree .js-plotly-plot")).to_be_visible()
    shared = visit(page.url)  # the address alone shows the same
    expect(shared.get_by_text("Where the recipes differ")).to_be_visible()
    expect(shared.locator(".st-key-tree .js-plotly-plot")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
