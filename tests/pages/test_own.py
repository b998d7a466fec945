"""The forms for own models and own data: what can be sent, what is said, what is shown of what was added."""

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from compression.library.user_service import UserEntries
from compression.service import InputError, JobStatus
from models.datasets import list_datasets
from models.registry import list_models
from models.user.kept_data import add_data
from models.user.kept_models import add_model
from pages.library import user_model
from pages.library.user_data import class_rows, zip_of
from pages.library.user_model import numbers_of, numbers_text
from tests.models.own_things import KIND, class_folders, network, weights_of

WHEN = "2026-01-01T00:00:00+00:00"


class Service:
    """The real shelves; jobs that end when a test says so."""

    def __init__(self) -> None:
        self.own = UserEntries(None, None, None)  # type: ignore[arg-type]
        self.state: dict[str, JobStatus] = {}
        self.submitted: list[tuple[Any, ...]] = []
        self.refused: InputError | None = None
        self.own.submit_model = self.submit  # type: ignore[method-assign]
        self.own.submit_data = self.submit  # type: ignore[method-assign]

    def submit(self, name: str, *arguments: Any) -> str:
        if self.refused is not None:
            raise self.refused
        self.submitted.append((name, *arguments))
        self.state[f"own-{name}-12345678"] = JobStatus(f"own-{name}-12345678", "running", 0.4, "reading the weights")
        return f"own-{name}-12345678"

    def end(self, state: str, error: str | None = None) -> None:
        for key in self.state:
            self.state[key] = JobStatus(key, state, 1.0, "", error)  # type: ignore[arg-type]

    def status(self, ids: list[str]) -> dict[str, JobStatus]:
        return {key: self.state[key] for key in ids if key in self.state}

    def cancel(self, ids: list[str]) -> None:
        self.end("cancelled")

    def models(self) -> list[Any]:
        return list_models()

    def datasets(self) -> list[Any]:
        return list_datasets()


def script() -> None:
    import streamlit as st

    from pages.library.user_data import show_own_data
    from pages.library.user_model import show_own_model

    show_own_model(st.session_state["service"])
    show_own_data(st.session_state["service"])


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(st, "page_link", lambda *page, **told: None)  # there are no pages around the forms here
    return Service()


@pytest.fixture
def app(service: Service) -> AppTest:
    own = AppTest.from_function(script, default_timeout=60)
    own.session_state["service"] = service
    return own


def send_model(app: AppTest, folder: Path) -> AppTest:
    content = weights_of(folder / "w.safetensors", network(10)).read_bytes()
    app.text_input(key="own-model-name").set_value("mine")
    app.file_uploader(key="own-weights").upload("w.safetensors", content)
    app.run()
    return app.button(key="add-own-model").click().run()


def test_what_the_form_lacks_is_said(app: AppTest, service: Service) -> None:
    app.run()
    app.button(key="add-own-model").click().run()
    assert app.error[0].value.startswith("weights: None")
    app.button(key="add-own-data").click().run()
    assert app.error[1].value.startswith("images: None") and not service.submitted and not app.exception
    app.number_input(key="own-classes-cifar_resnet20").set_value(77).run()
    assert "No dataset here has 77 classes" in app.warning[0].value and app.button(key="add-own-model").disabled
    app.text_input(key="own-mean-cifar_resnet20").set_value("half").run()
    assert app.error[0].value.startswith("mean: 'half'") and app.button(key="add-own-model").disabled
    assert not app.exception


def test_what_the_form_holds_is_sent_and_followed_to_its_end(app: AppTest, service: Service, tmp_path: Path) -> None:
    app.run()
    app.selectbox(key="own-architecture").set_value(KIND).run()
    app.text_input(key=f"own-mean-{KIND}").set_value("0.5 0.5 0.5")
    app.text_input(key=f"own-std-{KIND}").set_value("0.2")
    send_model(app, tmp_path)
    name, given, files, dataset = service.submitted[0]
    assert (name, [file[0] for file in files], dataset) == ("mine", ["w.safetensors"], "cifar10")
    assert given == {"architecture": KIND, "num_classes": 10, "input_size": 32, "resize_size": 32,
                     "interpolation": "bilinear", "scale": 1.0, "mean": [0.5, 0.5, 0.5], "std": [0.2], "ema": False}
    assert any("From the record of the model cifar_resnet8; set by the user: mean, std" in c.value for c in app.caption)
    assert app.query_params["own-model"] == "own-mine-12345678" and app.button(key="add-own-model").disabled
    service.end("failed", "weights: 'w' is not allowed; 3 missing: fc.weight")
    app.run()
    assert "3 missing: fc.weight" in app.error[0].value and app.error[0].value.endswith(". Nothing was kept.")
    add_model("mine", given, tmp_path / "w.safetensors", "cifar10", WHEN)
    service.end("done")
    app.run()
    assert any("mine fits and was added: 78,186 parameters" in own.value for own in app.success) and not app.exception
    app.button(key="remove-own-model-mine").click().run()
    assert service.own.models() == {} and not app.success and not app.exception


def test_a_refusal_is_said_and_a_cancelled_check_too(app: AppTest, service: Service, tmp_path: Path) -> None:
    app.run()
    service.refused = InputError("name", "mine", "there is one of that name")
    send_model(app, tmp_path)
    assert "there is one of that name" in app.error[0].value
    service.refused = None
    app.button(key="add-own-model").click().run()
    assert not app.error
    app.button(key="cancel-own-model").click().run()
    assert any("Cancelled; nothing was kept" in own.value for own in app.info) and not app.exception


def test_a_job_that_a_restart_has_forgotten_is_said_to_be(app: AppTest) -> None:
    app.query_params["own-data"] = "own-photos-00000000"
    app.run()
    assert any("is not known any more" in own.value for own in app.info) and not app.exception


def test_data_is_shown_with_remarks_pictures_and_what_was_skipped(
    app: AppTest, service: Service, tmp_path: Path
) -> None:
    folder = class_folders(tmp_path / "a")
    (folder / "cats" / "broken.png").write_bytes(b"x")
    add_data("photos", folder, WHEN)
    app.run()
    assert any("Too few to trust" in own.value for own in app.warning)
    assert any("1 files cannot be read" in own.value for own in app.caption)
    assert any("cats/broken.png" in own.value for own in app.code)
    assert any("No model here fits yet" in own.value for own in app.caption) and not app.exception
    report = service.own.datasets()["photos"].report
    assert [row["class"] for row in class_rows(report)] == ["cats", "dogs", "owls"]
    app.button(key="remove-own-data-photos").click().run()
    assert service.own.datasets() == {} and (folder / "dogs").is_dir() and not app.exception


def test_an_uploaded_folder_is_made_an_archive() -> None:
    file = SimpleNamespace(name="a/cats/0.png", getbuffer=lambda: memoryview(b"x"))
    with zipfile.ZipFile(io.BytesIO(zip_of([file]).getvalue())) as archive:  # type: ignore[attr-defined]
        assert archive.namelist() == ["a/cats/0.png"]


def test_numbers_are_read_as_they_are_written() -> None:
    assert numbers_of("mean", numbers_text((0.485, 0.5, 1.0))) == [0.485, 0.5, 1.0] and numbers_of("mean", " ") == []
    with pytest.raises(InputError, match="mean: 'half'"):
        numbers_of("mean", "half")


def test_a_new_choice_of_weights_replaces_those_that_were_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(user_model.st, "caption", said.append)
    monkeypatch.setattr(user_model.st, "session_state", {})
    first, second = (SimpleNamespace(file_id=name, name=f"{name}.pth") for name in ("a", "b"))
    assert user_model.replacing([first]) == [first] and user_model.replacing([first, second]) == [first, second]
    user_model.st.session_state[user_model._CHECKED] = {"a"}
    assert user_model.replacing([first]) == [first], "the same may be checked again, with other fields"
    assert said == []
    assert user_model.replacing([first, second]) == [second]
    assert said == ["b.pth will be checked, without a.pth of before."]
