"""What a person does on the Export page, in a real browser against the real workers."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
PRUNED = "/?model=digits_resnet&weight_pruning=true&weight_pruning.sparsity=0.8&hide=weight_pruning"
FIRST_POINT = 120_000


def test_a_point_is_exported_as_a_report_that_opens_without_a_network(visit: Visit, tmp_path: Path) -> None:
    page = visit(PRUNED)
    expect(page.get_by_text(re.compile("sparsity 0.8$")).first).to_be_visible(timeout=FIRST_POINT)
    page.get_by_role("link", name="Export ...").click()
    expect(page).to_have_url(re.compile(r"/export\?result=[0-9a-f]{20}"))
    with page.expect_download() as started:
        page.get_by_role("button", name="Report (.html)").click()
    started.value.save_as(tmp_path / "report.html")
    shared = visit(page.url)  # the address alone shows the same result
    expect(shared.get_by_text(re.compile("sparsity 0.8$")).first).to_be_visible()
    page.context.set_offline(True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    expect(page.get_by_role("heading", name="Among the runs of this model")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Accuracy"))).to_have_count(2)
    assert page.locator("svg .mark.own").count() == 2
    assert all(address.startswith("file:") for address in asked), asked


def test_a_technique_explains_itself_with_a_layer_of_the_model(visit: Visit) -> None:
    page = visit("/?model=digits_resnet")
    page.locator(".st-key-about-low_rank").get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("weights became .* in factors of"))).to_be_visible(timeout=FIRST_POINT)
    expect(dialog.locator(".js-plotly-plot")).to_be_visible()
    expect(page).to_have_url(re.compile("help=low_rank"))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("help="))
