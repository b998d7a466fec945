"""What a person does on the Layers page, in a real browser against the real workers."""

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlparse

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
RECIPE = {"model": "digits_resnet", "dataset": "digits", "steps": [{"technique": "weight_pruning", "sparsity": 0.8}]}
FIRST_POINT = 300_000


def address_of(page: Page, name: str) -> str:
    return parse_qs(urlparse(page.url).query).get(name, [""])[0]


def click_cell(page: Page, layer: str) -> None:
    """Click the map beside the middle of a layer's first cell."""
    x, y = page.locator(".st-key-sensitivity .js-plotly-plot").evaluate(
        """(plot, layer) => {
            const {xaxis, yaxis} = plot._fullLayout;
            plot.scrollIntoView({block: 'start'});
            const row = yaxis.ticktext.indexOf(layer), box = plot.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(0.3), box.top + yaxis._offset + yaxis.d2p(row)];
        }""", layer,
    )
    page.mouse.click(x, y)


def test_a_layer_is_found_on_the_map_protected_and_taken_to_explore(
    visit: Visit, at_rest: Callable[[Page], None]
) -> None:
    page = visit(f"/layers?recipe={quote(json.dumps(RECIPE))}")
    expect(page.get_by_role("combobox", name="Layer")).to_be_visible(timeout=FIRST_POINT)
    page.get_by_role("button", name="Measure the sensitivities").click()
    expect(page.get_by_text(re.compile(r"\d+ % measured"))).to_be_visible(timeout=FIRST_POINT)
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_text(re.compile("^Cancelled"))).to_be_visible(timeout=FIRST_POINT)

    at_rest(page)
    click_cell(page, "conv1")
    expect(page).to_have_url(re.compile("layer=conv1(&|$)"))
    expect(page.get_by_text("What it is", exact=True)).to_be_visible()

    page.get_by_text("Share", exact=True).click()
    tile = page.locator(".stPlotlyChart .slicetext").filter(has_text="conv2").last
    tile.click(force=True)  # the text lets clicks through to its tile
    expect(page).to_have_url(re.compile("layer=[^&]*conv2"))
    at_rest(page)  # until then the buttons below are those of the layer before
    chosen = address_of(page, "layer")
    assert chosen.endswith("conv2")
    page.get_by_role("button", name="Protect", exact=True).click()
    expect(page.get_by_text("protected here")).to_be_visible()
    assert json.loads(address_of(page, "recipe"))["steps"][0]["layers"] == {"exclude": [chosen]}

    page.get_by_role("button", name="Open in Explore").click()
    expect(page).to_have_url(re.compile(r"weight_pruning\.sparsity=0\.8"))
    assert json.loads(address_of(page, "extra")) == {"weight_pruning": {"layers": {"exclude": [chosen]}}}


def test_a_slider_moved_just_before_leaving_counts_on_the_layers_page(visit: Visit) -> None:
    page = visit("/?model=digits_resnet&weight_pruning=true&weight_pruning.sparsity=0.8&hide=weight_pruning")
    page.get_by_role("slider", name="Sparsity").focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"sparsity=0\.81"))
    page.get_by_role("link", name="Layers").click()
    expect(page).to_have_url(re.compile("/layers.*recipe="))
    assert json.loads(address_of(page, "recipe"))["steps"][0]["sparsity"] == 0.81
