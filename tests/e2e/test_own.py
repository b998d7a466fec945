"""A person brings data and a model through the Library page: real uploads, real workers, one visit."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.models.own_things import class_folders, network, weights_of, zipped

Visit = Callable[..., Page]
WORKERS = 120_000


def pick(page: Page, label: str, option: str) -> None:
    """Choose from a list; again where the redraw after the field before it has closed the list."""
    field = page.get_by_role("combobox", name=re.compile(label))
    for _ in range(12):
        field.click()
        field.fill("")  # a field that keeps its text does not open its list again
        field.fill(option)
        try:
            page.get_by_role("option", name=option, exact=True).click(timeout=5_000)
        except TimeoutError:
            continue
        return
    raise AssertionError(f"{label}: {option} could not be chosen")


def upload(page: Page, form: Locator, path: Path) -> None:
    """Choose a file and wait until the server has it; what is sent before that is sent without it."""
    with page.expect_response(lambda answer: answer.request.method == "PUT" and "upload" in answer.url):
        form.locator("input[type=file]").set_input_files(path)
    expect(form.get_by_role("button", name=f"Remove {path.name}")).to_be_visible()
    page.wait_for_timeout(500)  # the page tells the server which file it is a moment after the file itself


def test_own_data_and_an_own_model_are_added_and_open_in_explore(visit: Visit, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", 8)
    (folder / "cats" / "broken.png").write_bytes(b"nothing")
    page = visit("/library")
    page.get_by_text("Add a dataset", exact=True).click(timeout=WORKERS)
    data = page.locator(".st-key-own-data-form")
    data.get_by_role("textbox", name="Name of the dataset").fill("my_photos")
    upload(page, data, zipped(folder, tmp_path / "photos.zip"))
    data.get_by_role("button", name="Check and add").click()
    expect(page.get_by_text("my_photos was added: 3 classes")).to_be_visible(timeout=WORKERS)
    page.get_by_text("User dataset my_photos").click()
    expect(page.get_by_text("Too few to trust")).to_be_visible()
    expect(page.get_by_text("1 files cannot be read as images")).to_be_visible()
    expect(page.locator(".st-key-own-data-set-my_photos img").first).to_be_visible()

    page.get_by_text("Add a model", exact=True).click()
    form = page.locator(".st-key-own-model-form")
    form.get_by_role("textbox", name="Name", exact=True).fill("my_net")
    pick(page, "Architecture", "cifar_resnet8")
    expect(form.get_by_role("textbox", name="Mean")).to_have_value("")  # the fields of this architecture are there
    classes = form.get_by_role("spinbutton", name="Number of outputs")
    classes.fill("3")
    classes.press("Enter")
    expect(form.get_by_role("combobox", name="Scored on")).to_have_value("my_photos: 3 classes, user data")
    upload(page, form, weights_of(tmp_path / "w.safetensors", network(10)))
    form.get_by_role("button", name="Check and add").click()
    refusal = re.compile("num_classes: 3 is not allowed.*of 10 classes")
    expect(page.get_by_text(refusal)).to_be_visible(timeout=WORKERS)
    form.get_by_role("button", name="Remove w.safetensors").click()
    upload(page, form, weights_of(tmp_path / "w3.pth", network(3)))
    form.get_by_role("button", name="Check and add").click()
    expect(page.get_by_text("my_net fits and was added")).to_be_visible(timeout=WORKERS)
    page.reload()
    expect(page.get_by_text("my_net fits and was added")).to_be_visible()
    page.get_by_role("link", name="Open it in Explore").click()
    expect(page).to_have_url(re.compile("model=my_net"))
    expect(page.get_by_text(re.compile("fp32: ")).first).to_be_visible(timeout=WORKERS)
