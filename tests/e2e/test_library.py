"""What a person does on the Library page, in a real browser against the real workers."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

Visit = Callable[..., Page]
SLOW = 120_000


def test_a_model_and_a_data_set_are_looked_at_and_a_folder_is_chosen(visit: Visit, tmp_path: Path) -> None:
    page = visit("/library?item=digits_vit")
    details = page.locator(".st-key-library-details")
    expect(details.get_by_text(re.compile("trained by this project on 20"))).to_be_visible(timeout=SLOW)
    table = page.locator('[data-testid="stDataFrame"]').first
    table.click(position={"x": 18, "y": 36 * 2 + 16})  # the box of the second row
    expect(page).not_to_have_url(re.compile("item=digits_vit"), timeout=SLOW)
    page.locator(".st-key-show").get_by_role("radio", name="Datasets").click()
    expect(details.get_by_role("img", name=re.compile("Test image of the class"))).to_have_count(12, timeout=SLOW)
    expect(page).to_have_url(re.compile("show=Data"))
    shared = visit(page.evaluate("location.href"))  # the address alone shows the same
    expect(shared.locator(".st-key-library-details").get_by_text("10,000 are scored")).to_be_visible(timeout=SLOW)
    (tmp_path / "imagenette2").mkdir()
    field = shared.get_by_role("textbox", name="Folder on the server's machine")
    for folder, told in ((tmp_path / "nothing", "is not there"), (tmp_path, "Found there: imagenette")):
        field.fill(str(folder))
        shared.get_by_role("button", name="Use it").click()
        expect(shared.get_by_text(re.compile(told))).to_be_visible(timeout=SLOW)
    shared.get_by_role("button", name="Forget it").click()
    expect(shared.get_by_role("button", name="Forget it")).to_have_count(0, timeout=SLOW)
    expect(shared.get_by_text(re.compile("are free"))).to_be_visible(timeout=SLOW)
