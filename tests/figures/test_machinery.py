import numpy as np

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.machinery import machinery

T = np.linspace(0, 1, 4)
CHANGES = ("cosine_change", "centred_change", "disagreement", "cka_change")


def group(sets=("test", "ood"), changes=CHANGES):
    found = {
        "t": series("t", T),
        "arc_length": series("t", 9 * T, "1", "arc length"),
        "step": series("step", [1.5, 4.5, 7.5], "1", "middle"),
    }
    for name in sets:
        for change in changes:
            key = f"machinery_{name}_{change}"
            found[key] = series("t", T / 3, "1", change, 0.01 + 0 * T)
            found[f"{key}_rate"] = series("step", [0.1, 0.2, 0.1], "1", change, [0.01] * 3)
            found[f"{key}_ends"] = scalar(1 / 3, "1", change, 0.01)
    return found


def test_changes_stand_over_their_rates_against_arc_length():
    figure = machinery(group())
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        "1 − cosine", "1 − centred cosine", "disagreement", "1 − CKA",
    ]  # fmt: skip
    top, bottom = figure.axes[0], figure.axes[4]
    curves = [list(c.lines[0].get_xdata()) for c in top.containers]
    assert curves == [[0, 3, 6, 9]] * 2
    assert list(bottom.containers[0].lines[0].get_xdata()) == [1.5, 4.5, 7.5]
    assert 1 / 3 in {line.get_ydata()[0] for line in top.lines if len(line.get_ydata()) == 2}
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "test examples", "other data", "between the two ends", "±1 standard error",
    }  # fmt: skip
    style.encode(figure, "png")


def test_what_was_not_measured_has_no_column_and_no_label():
    figure = machinery(group(("test",), ("cosine_change",)))
    assert len(figure.axes) == 2
    assert "other data" not in {text.get_text() for text in figure.legends[0].get_texts()}
    assert machinery({"arc_length": series("t", T)}) is None
