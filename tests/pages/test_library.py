"""The Library page: what it says of models and data, and what its buttons do."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from compression.library import Library, clear_job, download_job, removal_job
from compression.library.disk import DiskUse
from compression.library.entries import dataset_entries, model_entries
from compression.service import JobStatus, Recipe, ResultStore
from models import registry
from models.parameters import known_parameters
from models.sources.releases import Release
from pages.library.tables import dataset_facts, dataset_table, disk_rows, model_facts, model_table, stated_text, whose
from tests.models.server import Home, serving
from tests.pages.conftest import synthetic_result

NAME = "cifar_resnet32"
DATA = b"weights" * 100_000
DISK = DiskUse(1, 2, 3, 4, 5, 6, 7, 8, {"digits": 0, "fashion_mnist": 55_000_000})


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A server that has one model's weights, which are fetched from there."""
    with serving() as served:
        served.files["/weights.th"] = DATA
        info, factory = registry._MODELS[NAME]
        digest = hashlib.sha256(DATA).hexdigest()[:8]
        release = Release(f"{served.url}/weights.th", digest, "somebody", "a licence", 0.926)
        monkeypatch.setitem(registry._MODELS, NAME, (replace(info, release=release), factory))
        yield served


@pytest.fixture
def shelf(fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A real library without workers behind the stand-in for the service."""
    for name, folder in (("COMPRESSION_HOME", "home"), ("COMPRESSION_DATA", "named"), ("TORCH_HOME", "torch")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr("models.sources.locations._PROJECT", tmp_path / "project" / "tree")
    store, plain_status = ResultStore(tmp_path / "home"), fake.status
    engine: Any = SimpleNamespace(busy=lambda: False, submit_stages=lambda *arguments: None)
    library = Library(store, engine, fake.submit, lambda key, reason: None, lambda: None)

    def status(ids: Iterable[str]) -> dict[str, JobStatus]:
        wanted = list(ids)
        rows = {key: JobStatus(id=key, **row) for key, row in store.jobs(wanted).items()}
        return {**plain_status(wanted), **rows}

    monkeypatch.setattr(fake, "status", status)
    fake.library = library
    return library


def library_page(app: AppTest, **address: str) -> AppTest:
    for name, value in address.items():
        app.query_params[name] = value
    shown = app.switch_page("library/library.py").run()
    assert not shown.exception
    return shown


def text_of(page: AppTest) -> str:
    return "\n".join(own.value for own in (*page.markdown, *page.caption))


def models(*results: Any) -> dict[str, Any]:
    return {own.info.name: own for own in model_entries(results, known_parameters)}


def test_a_card_says_what_was_trained_here_and_what_comes_from_whom() -> None:
    known = models()
    own = known["digits_resnet"]
    assert whose(own).startswith("trained by this project on 20")
    assert "`python -m models.train digits_resnet`" in whose(own)
    assert stated_text(own).endswith("when it was trained")
    away = replace(known["resnet18"], origin=None)
    assert whose(away) == "not here; they are by torchvision's authors"
    facts = dict(model_facts(away, {}))
    assert facts["Download"].startswith("46.83 MB from download.pytorch.org") and "Measured" not in " ".join(facts)
    assert facts["Stated accuracy"].startswith("69.76 % on ImageNet's validation set")


def test_the_measured_accuracy_stands_beside_the_stated_one() -> None:
    result = synthetic_result(Recipe("digits_resnet", "digits"))
    inside = dict(model_facts(models(result)["digits_resnet"], {"digits": "Digits"}))
    told = inside["Measured here on Digits"]
    assert "98.70 %" in told and "97.6 % to 99.3 %, n = 719" in told
    assert "lies outside" in told  # the card says 99.86 %
    assert inside["Latency"].startswith("1.00 ms, one thread")
    other = synthetic_result(Recipe("squeezenet1_1", "imagenet_sample"))
    entry = models(other)["squeezenet1_1"]
    told = dict(model_facts(replace(entry, origin=None), {}))["Measured here on imagenet_sample"]
    assert "not to be compared" in told


def test_preliminary_figures_are_not_shown_as_final() -> None:
    full = synthetic_result(Recipe("digits_resnet", "digits"))
    badges = {**full.badges, "accuracy": "preliminary", "latency_ms_p50": "preliminary"}
    known = models(replace(full, badges=badges, stage="quick", samples="160 images"))
    row = model_table(list(known.values()), {}).loc["digits_resnet"]
    assert pd.isna(row["fp32 %"]) and pd.isna(row["latency ms"])
    told = dict(model_facts(known["digits_resnet"], {"digits": "Digits"}))["Measured here on Digits"]
    assert "preliminary, 160 images" in told and "stated one" not in told


def test_tables_have_a_row_for_each_and_the_first_task_first() -> None:
    entries = list(models(synthetic_result(Recipe("digits_vit", "digits"))).values())
    table = model_table(entries, {"digits": "Handwritten digits"})
    assert list(table.index) == [own.info.name for own in entries]
    assert table.loc["digits_vit", "fp32 %"] == pytest.approx(98.7)
    assert table["task"].iloc[0] == "Image classification" and table["task"].iloc[-1] == "Language modelling"
    assert table.loc["digits_vit", "dataset"] == "Handwritten digits"
    data = {own.info.name: own for own in dataset_entries()}
    assert set(dataset_table(list(data.values()), DISK).index) == set(data)
    away = dict(dataset_facts(replace(data["imagenette"], here=False, place=""), None, None))
    assert away["Download"].startswith("341.66 MB from s3.amazonaws.com")
    own = {name: size for _, name, size, _ in disk_rows(replace(DISK, own_models=9, own_data=10))}
    assert (own["User models"], own["User datasets"]) == (9, 10)
    assert {kind for kind, *_ in disk_rows(DISK) if kind} == {"decoded", "statistics", "results"}


def test_the_address_names_what_is_shown(app: AppTest, shelf: Library) -> None:
    page = library_page(app, item="python_gpt")
    assert page.selectbox(key="item").value == "python_gpt"
    assert "**Parameters:** 1,288,960" in text_of(page)
    assert len(page.dataframe[0].value) == len(page.selectbox(key="item").options) > 25
    page.selectbox(key="item").set_value("digits_vit").run()
    assert "496,714" in text_of(page)


def test_an_unknown_name_in_the_address_is_told(app: AppTest, shelf: Library) -> None:
    page = library_page(app, item="nothing")
    assert any("'nothing' is not known" in own.value for own in page.warning)


def test_filters_keep_what_fits(app: AppTest, shelf: Library) -> None:
    page = library_page(app, hand="Not installed", task="Image classification")
    table = page.dataframe[0].value
    assert not table["installed"].any() and set(table["task"]) == {"Image classification"}
    page.selectbox(key="task").set_value("Language modelling").run()
    assert any("Nothing fits" in own.value for own in page.info)


def test_weights_are_downloaded_and_removed(app: AppTest, shelf: Library, home: Home) -> None:
    page = library_page(app, item=NAME)
    page.button(key=f"start-download-{NAME}").click().run()
    shelf.errands.join(download_job(NAME), 20)
    page.run()
    assert not page.exception and "by somebody, not by this project, downloaded on 20" in text_of(page)
    assert "Its dataset, CIFAR-10, is not here" in [own.label for own in page.button]
    page.button(key=f"remove-{NAME}").click().run()
    shelf.errands.join(removal_job(NAME), 20)
    page.run()
    assert "not here; they are by somebody" in text_of(page)
    page.button(key=f"start-download-{NAME}")  # it is offered again


def test_a_failed_download_is_told_and_can_be_tried_again(app: AppTest, shelf: Library, home: Home) -> None:
    home.files.clear()
    page = library_page(app, item=NAME)
    page.button(key=f"start-download-{NAME}").click().run()
    shelf.errands.join(download_job(NAME), 20)
    page.run()
    assert any("404" in own.value and "Traceback" not in own.value for own in page.error)
    assert page.button(key=f"start-download-{NAME}").label.endswith("try again")


def test_a_running_download_shows_progress_and_a_cancel_button(app: AppTest, shelf: Library, fake: Any) -> None:
    shelf._store.put_job(download_job(NAME), "running", 0.4, "weights.th: 1.2 of 3.0 MB")
    page = library_page(app, item=NAME)
    assert [own.label for own in page.button if own.key == f"cancel-download-{NAME}"] == ["Cancel"]
    assert not [own for own in page.button if own.key == f"start-download-{NAME}"]


def test_the_untouched_model_is_measured_when_asked(app: AppTest, shelf: Library, fake: Any) -> None:
    page = library_page(app, item="digits_resnet")
    assert "Measured here" not in text_of(page)
    page.button(key="start-measure-digits_resnet-digits").click().run()
    assert [own for own, _ in fake.submitted] == [Recipe("digits_resnet", "digits")]
    assert page.button(key="cancel-measure-digits_resnet-digits")
    fake.finish()
    shelf._store.put_result(next(iter(fake.results())))
    page.run()
    assert "Measured here on Handwritten digits" in text_of(page)
    assert not [own for own in page.button if own.key.startswith("start-measure")]


def test_a_data_set_shows_its_images(app: AppTest, shelf: Library) -> None:
    from compression.library.previews import look

    page = library_page(app, show="Datasets", dataset="digits")
    assert shelf._store.jobs([shelf.look_job("digits")])  # looked into without being asked
    look(shelf._store, "digits", lambda fraction, message: None, bool)
    shelf._store.put_job(shelf.look_job("digits"), "done")
    page.run()
    assert len(page.get("image")[0].proto.imgs) == 12  # type: ignore[union-attr]
    assert "719 are scored" in text_of(page)


def test_a_data_folder_is_chosen_or_refused(app: AppTest, shelf: Library, tmp_path: Path) -> None:
    (tmp_path / "mine" / "FashionMNIST" / "raw").mkdir(parents=True)
    (tmp_path / "mine" / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").touch()
    page = library_page(app)
    page.text_input(key="data-folder").set_value("/no/such/folder").run()
    page.button(key="folder-use").click().run()
    assert any("not there" in own.value for own in page.error) and shelf.folder() is None
    page.text_input(key="data-folder").set_value(str(tmp_path / "mine")).run()
    page.button(key="folder-use").click().run()
    assert any("fashion_mnist" in own.value for own in page.success) and shelf.folder() == tmp_path / "mine"
    page.button(key="folder-forget").click().run()
    assert shelf.folder() is None and not page.success


def test_results_are_cleared_after_a_question(app: AppTest, shelf: Library) -> None:
    shelf._store.put_result(synthetic_result(Recipe("digits_resnet", "digits")))
    shelf._count()
    page = library_page(app)
    shelf._engine = SimpleNamespace(busy=lambda: True)  # type: ignore[assignment]
    page.button(key="clear-now-results").click().run()
    assert shelf._store.results()
    shelf._engine = SimpleNamespace(busy=lambda: False)  # type: ignore[assignment]
    shelf._count()
    page.run()
    page.button(key="clear-now-results").click().run()
    shelf.errands.join(clear_job("results"), 20)
    assert not page.exception and shelf._store.results() == []
