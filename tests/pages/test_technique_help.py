"""A technique explained: the dialog and its picture."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.analysis.illustration import Illustration
from pages.shared.palette import technique_color
from pages.shared.technique_help import illustration_figure

PICTURE = Illustration(
    "digits_resnet", "channel_pruning", "layer1.0.conv1", (2, 3, 1, 1),
    ({"technique": "channel_pruning", "pruning_ratio": 0.5},), ((0.5, -1.0, 0.25), (0.1, 0.2, 0.3)),
    ((0.5, -1.0, 0.25), (None, None, None)), (-1.0, 0.0, 1.0), (1, 5), (1, 2), "2 outputs became 1",
    ("16 of 32 channels removed",),
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_sides_are_drawn_on_one_scale(theme: Any) -> None:
    figure = illustration_figure(PICTURE, theme)
    before, counts, after, counts_after = figure.data
    assert [list(row) for row in before.z] == [list(row) for row in PICTURE.before]
    assert list(after.z[1]) == [None, None, None]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1.0, 1.0)
    assert (list(counts.x), list(counts.y), list(counts_after.y)) == ([-0.5, 0.5], [1, 5], [1, 2])
    assert counts_after.marker.color == technique_color("channel_pruning", theme)


def test_the_address_opens_an_explanation_with_its_picture(app: AppTest, fake: Any) -> None:
    app.query_params["help"] = "channel_pruning"
    app.run()
    assert not app.exception
    job = fake.illustrations.job("digits_resnet", "channel_pruning")
    assert fake.states[job] == "running" and app.button(key="cancel-picture")
    assert app.latex[0].value and any("Smaller?" in m.value for m in app.markdown)
    app.button(key="cancel-picture").click().run()
    assert fake.states[job] == "cancelled" and app.button(key="start-picture")
    fake.illustrations.pictures["digits_resnet", "channel_pruning"] = PICTURE
    app.run()
    assert any("layer1.0.conv1" in m.value for m in app.markdown)
    assert any("2 outputs became 1" in caption.value for caption in app.caption)


def test_the_button_beside_a_technique_puts_its_explanation_into_the_address(app: AppTest, fake: Any) -> None:
    app.run()
    app.button(key="about-low_rank").click().run()
    assert app.query_params["help"] == "low_rank"
    assert "digits_resnet-low_rank" in " ".join(fake.states)
    app.query_params["help"] = "magic"
    app.run()
    assert not app.exception and "help" not in app.query_params
