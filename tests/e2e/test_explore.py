"""What a person does on the Explore page, in a real browser against the real workers."""

import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Locator, Page, TimeoutError, expect

Visit = Callable[..., Page]
PRUNED = "/?model=digits_resnet&weight_pruning=true&weight_pruning.sparsity=0.9"
POINT = PRUNED + "&hide=weight_pruning"
FIRST_POINT = 300_000
ALL_TIGHTENED = 400_000
PLOT = ".js-plotly-plot"


def wait_for_curve(page: Page, points: int) -> None:
    """Wait until the left plot's first curve has so many points."""
    script = """(wanted) => {
        const plot = document.querySelector('.js-plotly-plot');
        const curves = plot && plot.data ? plot.data.filter(t => t.mode === 'lines+markers' && t.customdata) : [];
        return curves.some(t => t.x.length >= wanted);
    }"""
    page.wait_for_function(script, arg=points, timeout=FIRST_POINT)


def wait_for_traces(page: Page, *names: str) -> None:
    """Wait until the left plot has these traces; a plot that is being redrawn has none for a moment."""
    script = """(wanted) => {
        const drawn = (document.querySelector('.js-plotly-plot')?.data ?? []).map(trace => trace.name);
        return wanted.every(name => drawn.includes(name));
    }"""
    page.wait_for_function(script, arg=list(names), timeout=FIRST_POINT)


def assert_no_trouble(page: Page) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert page.get_by_test_id("stAlertContentError").count() == 0


def settled(page: Page) -> None:
    """Wait until nothing is being measured."""
    expect(page.get_by_text("all measured.")).to_be_visible(timeout=ALL_TIGHTENED)


def cards(page: Page) -> list[str]:
    """The numbers on the cards, once they are drawn."""
    values = page.get_by_test_id("stMetricValue")
    expect(values).to_have_count(5)
    return values.all_inner_texts()


def click_point(page: Page, trace: str, index: int) -> None:
    """Click a point of the left plot by its coordinates: the drag layer lies over the points."""
    script = """([name, index]) => {
        const plot = document.querySelector('.js-plotly-plot');
        plot.scrollIntoView({block: 'center'});
        const trace = plot.data.find(t => t.name === name), layout = plot._fullLayout;
        const area = plot.getBoundingClientRect();
        return [area.x + layout.xaxis._offset + layout.xaxis.d2p(trace.x[index]),
                area.y + layout.yaxis._offset + layout.yaxis.d2p(trace.y[index])];
    }"""
    hovered = "document.querySelector('.js-plotly-plot')?._hoverdata?.length > 0"
    for _ in range(10):  # a redraw between looking and pointing takes the point away from under the pointer
        wait_for_traces(page, trace)
        x, y = page.evaluate(script, [trace, index])
        page.mouse.move(x, y)
        with suppress(TimeoutError):
            page.wait_for_function(hovered, timeout=3000)  # plotly clicks what it has found under the pointer
            break
    page.mouse.click(x, y)


def selection(page: Page) -> Locator:
    """The line above the cards that describes the selected point."""
    return page.get_by_role("paragraph").filter(has_text=re.compile("^Selected"))


def test_a_newcomer_sees_two_measured_curves_grow_unasked(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_text("ResNet-20 on Fashion-MNIST")).to_be_visible()
    wait_for_curve(page, 1)
    expect(page.get_by_text(re.compile("fp32: .* kB"))).to_be_visible()
    expect(page.get_by_text("Switch a technique on")).to_contain_text("quantization and channel pruning")
    wait_for_traces(page, "Uncompressed (fp32)", "Quantization", "Channel pruning")
    page.get_by_role("button", name="Cancel").click()  # ten thousand images a point would keep the workers busy
    expect(page.get_by_text("Cancelled.")).to_be_visible()
    assert_no_trouble(page)


def test_cancel_stops_the_sweep_and_it_can_go_on(visit: Visit) -> None:
    page = visit("/?model=digits_vit&quantization=true")
    for _ in range(3):
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("Cancelled.")).to_be_visible()
        page.get_by_role("button", name="Resume").click()
    wait_for_curve(page, 1)
    expect(page.get_by_text("Cancelled.")).to_have_count(0)
    assert_no_trouble(page)


def test_moving_a_slider_measures_that_recipe_and_keeps_it_in_the_address(visit: Visit) -> None:
    page = visit("/?model=digits_resnet")
    page.get_by_text("Weight pruning", exact=True).click()
    slider = page.get_by_role("slider", name="Sparsity")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"weight_pruning\.sparsity=0\.53"))
    expect(page.get_by_text(re.compile("sparsity 0.53$"))).to_be_visible(timeout=FIRST_POINT)
    wait_for_curve(page, 3)
    wait_for_traces(page, "Current recipe")
    assert_no_trouble(page)


def test_a_click_selects_in_both_plots_and_the_address_shows_it_to_others(visit: Visit) -> None:
    page = visit(PRUNED)
    wait_for_curve(page, 2)
    for _ in range(10):  # a new point may redraw the plot between looking and clicking
        click_point(page, "Weight pruning", 1)
        with suppress(TimeoutError):
            page.wait_for_url(re.compile("point="), timeout=5000)
            break
    expect(page).to_have_url(re.compile("point="))
    expect(selection(page)).to_be_visible()
    page.wait_for_function(
        "[...document.querySelectorAll('.js-plotly-plot')].length === 2 && "
        "[...document.querySelectorAll('.js-plotly-plot')].every(p => (p.data ?? []).some(t => t.name === 'Selected'))"
    )
    recipe = selection(page).inner_text()
    other = visit(page.url)
    expect(selection(other)).to_have_text(recipe)
    page.get_by_role("button", name="Load into sliders").click()
    expect(page).to_have_url(re.compile(r"^(?!.*point=)"))
    expect(page.get_by_role("slider", name="Sparsity")).not_to_have_attribute("aria-valuenow", "0.9")
    assert_no_trouble(page)


def test_a_limit_shades_what_lies_beyond_it_and_stands_in_the_address(visit: Visit) -> None:
    page = visit(PRUNED)
    wait_for_curve(page, 2)
    page.get_by_test_id("stPopoverButton").filter(has_text="Limits").click()
    page.get_by_label("Packed size at most (kB)").fill("60")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("max-size=60"))
    shapes = "(document.querySelector('.js-plotly-plot')?.layout.shapes ?? [])"
    shaded = f"{shapes}.some(shape => shape.type === 'rect' && shape.x0 === 60)"
    page.wait_for_function(shaded)
    expect(page.get_by_text(re.compile("within the limits", re.IGNORECASE)).first).to_be_visible()
    shared = visit(page.url)
    shared.wait_for_function(shaded)
    assert_no_trouble(page)


def test_the_bundle_and_the_recipe_can_be_taken_away_and_brought_back(visit: Visit, tmp_path: Path) -> None:
    page = visit(POINT)
    expect(page.get_by_text(re.compile("sparsity 0.9$"))).to_be_visible(timeout=FIRST_POINT)
    with page.expect_download() as started:
        page.get_by_role("button", name="Bundle (.zip)").click()
    started.value.save_as(tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        assert {"recipe.yaml", "model.onnx", "result.json", "run.py"} <= set(bundle.namelist())
        recipe: Any = yaml.safe_load(bundle.read("recipe.yaml"))
    assert recipe["steps"][0]["sparsity"] == pytest.approx(0.9)
    other = visit()
    expect(other.get_by_role("button", name="Undo")).to_be_disabled()
    other.locator("input[type=file]").set_input_files(tmp_path / "bundle.zip")
    expect(other.get_by_text("was put into the sliders")).to_be_visible()
    expect(other).to_have_url(re.compile(r"weight_pruning\.sparsity=0\.9"))
    other.get_by_role("button", name="Undo").click()
    expect(other).not_to_have_url(re.compile("weight_pruning=true"))
    expect(other.get_by_text("was put into the sliders")).to_be_visible()
    other.get_by_role("button", name="Redo").click()
    expect(other).to_have_url(re.compile(r"weight_pruning=true"))
    (tmp_path / "broken.yaml").write_text("model: [")
    other.locator("input[type=file]").set_input_files(tmp_path / "broken.yaml")
    expect(other.get_by_test_id("stAlertContentError")).to_contain_text("broken.yaml")
    expect(other.get_by_test_id("stException")).to_have_count(0)


def downloaded(page: Page, folder: Path) -> tuple[str, Any]:
    """Name of the bundle that the page offers, and its recipe."""
    with page.expect_download() as started:
        page.get_by_role("button", name="Bundle (.zip)").click()
    started.value.save_as(folder / "bundle.zip")
    with zipfile.ZipFile(folder / "bundle.zip") as bundle:
        return started.value.suggested_filename, yaml.safe_load(bundle.read("recipe.yaml"))


def test_what_is_downloaded_is_what_the_cards_show(
    visit: Visit, tmp_path: Path, at_rest: Callable[[Page], None]
) -> None:
    """Also when nothing is measured any more, so that no timed redraw hides what a press has left as it was."""
    page = visit(POINT)
    settled(page)
    at_rest(page)
    ring = "(document.querySelector('.js-plotly-plot')?.data ?? []).some(trace => trace.name === 'Selected')"
    click_point(page, "Uncompressed (fp32)", 0)
    expect(selection(page)).to_contain_text("uncompressed")
    name, recipe = downloaded(page, tmp_path)  # at once: what is shown has its files
    assert (name[:27], recipe["steps"]) == ("digits_resnet-uncompressed-", [])
    page.wait_for_function(ring)
    at_rest(page)
    page.get_by_role("button", name="Clear selection").click()
    expect(selection(page)).to_have_count(0)
    name, recipe = downloaded(page, tmp_path)
    page.wait_for_function(f"!{ring}")
    at_rest(page)
    assert name.startswith("digits_resnet-weight_pruning-sparsity0.9-")
    assert recipe["steps"][0]["sparsity"] == pytest.approx(0.9)
    click_point(page, "Uncompressed (fp32)", 0)
    page.wait_for_function(ring)
    at_rest(page)
    page.get_by_role("button", name="Load into sliders").click()
    expect(selection(page)).to_have_count(0)
    expect(page).not_to_have_url(re.compile("weight_pruning=true"))
    expect(page.get_by_text("Switch a technique on")).to_be_visible()
    assert_no_trouble(page)


def test_a_reload_and_a_restart_lose_nothing(visit: Visit, server: Any) -> None:
    """Of a model that nothing else measures: every timing of a baseline sharpens its pooled latency."""
    point = POINT.replace("digits_resnet", "digits_mobilenet")
    page = visit(point)
    settled(page)
    shown = cards(page)
    page.reload()
    settled(page)
    assert cards(page) == shown
    server.stop()
    server.start()
    page = visit(point)
    settled(page)
    assert cards(page) == shown
    assert_no_trouble(page)


def test_on_a_phone_nothing_is_cut_off(visit: Visit) -> None:
    page = visit(PRUNED, is_mobile=False)
    page.set_viewport_size({"width": 400, "height": 850})
    wait_for_curve(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    right = page.locator(PLOT).first.evaluate("plot => plot.getBoundingClientRect().right")
    assert right <= 400
