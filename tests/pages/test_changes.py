"""Changes of many widgets, and what undo keeps; no page."""

from pages.explore.history import History, described
from pages.shared.url.changes import Change


def test_a_change_is_due_until_it_is_drawn_and_again_where_the_browser_did_not_know_of_it() -> None:
    asked = Change({"a": True, "b": 2}, {"a": False, "b": 1})
    assert asked.due({"a": True, "b": 2}, 0.0)
    drawn = Change(asked.values, asked.before, drawn=10.0)
    assert drawn.due({"a": False, "b": 1}, 11.0)
    assert not drawn.due({"a": True, "b": 2}, 11.0)
    assert not drawn.due({"a": False, "b": 2}, 11.0), "one of them alone is taken back by a person"
    assert not drawn.due({"a": False, "b": 1}, 60.0)
    assert not Change({"a": 1}, {}, drawn=10.0).due({}, 10.0)


def test_undo_goes_back_and_forth_and_a_new_change_ends_redo() -> None:
    history = History()
    for second, values in enumerate(({"p": False}, {"p": True, "p.x": 1}, {"p": True, "p.x": 2})):
        history = history.record(values, 10.0 * second)
    assert not history.can_redo
    back = history.moved(-1)
    assert back.current == {"p": True, "p.x": 1}
    assert back.record(back.current, 40.0) == back
    assert back.moved(-5).current == {"p": False}
    assert back.moved(1).current == {"p": True, "p.x": 2}
    other = back.record({"p": True, "p.x": 9}, 50.0)
    assert not other.can_redo
    assert [entry.get("p.x") for entry in other.entries] == [None, 1, 9]


def test_a_slider_that_moves_on_is_one_change() -> None:
    history = History().record({"p": True, "p.x": 0}, 0.0)
    for step in range(1, 6):
        history = history.record({"p": True, "p.x": step}, 5.0 + step / 10)
    assert [entry["p.x"] for entry in history.entries] == [0, 5]
    history = history.record({"p": False}, 5.6)
    assert len(history.entries) == 3, "a switch is a change of its own"


def test_changes_are_told_in_few_words() -> None:
    assert described({"low_rank": False}, {"low_rank": True, "low_rank.rank_ratio": 0.5}) == (
        "low rank; low rank, rank ratio"
    )
    assert described({}, {"a": 1, "b": 2, "c": 3}).endswith("and 1 more")
