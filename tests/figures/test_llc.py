import numpy as np
import pytest

from rashomon_cli.core.results import Variable, scalar
from rashomon_cli.figures import style
from rashomon_cli.figures.llc import llc


def group(t=0.0, concerns="", chains=3):
    """Chains with nβ(L − L*) of 6, 4, 6, 4 … from the fifth step on: λ̂ = 5."""
    excess = np.concatenate([np.zeros((chains, 4)), np.tile([0.12, 0.08], (chains, 10))], axis=1)
    return {
        "llc_excess": Variable(("chain", "step"), excess, "nat", "loss of a chain above that of the point"),
        "llc_burn_in": Variable((), np.asarray(4)),
        "llc_inverse_temperature": scalar(50.0),
        "llc": scalar(5.0 + t, "1", "local learning coefficient", 0.5),
        "llc_low": scalar(4.0 + t),
        "llc_high": scalar(6.0 + t),
        "llc_concerns": Variable((), np.asarray(concerns)),
    }


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_model_has_its_losses_and_running_estimates_that_end_at_the_estimate():
    figure = llc(group())
    losses, running = figure.axes
    assert losses.get_ylabel() == "loss above that of the point [nat]"
    assert len(losses.lines[0].get_xdata()) == 24
    np.testing.assert_allclose(running.lines[0].get_ydata()[[0, 1, 2, -1]], [6, 5, 16 / 3, 5])
    assert "λ̂ = 5 (4 to 6 at 95 %)" in labels(figure)
    assert {"chain 1", "chain 2", "chain 3"} < set(labels(figure))


def test_why_not_to_trust_it_is_said():
    assert llc(group(concerns="the chains disagree")).get_suptitle() == "to be taken with reserve: the chains disagree"
    assert llc(group()).get_suptitle() == ""


def test_many_chains_are_not_named_one_by_one():
    assert not any(text.startswith("chain") for text in labels(llc(group(chains=20))))


def test_a_path_has_the_estimate_over_t_hollow_where_there_are_concerns(along):
    figure = llc(along(lambda t: group(t, "the chains disagree" if t == 0.5 else "")))
    over_t = figure.axes[1]
    hollow = next(line for line in over_t.lines if line.get_label().startswith("with reserve"))
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([0.5], [5.5])
    assert labels(figure)[:5] == ["t = 0", "t = 0.25", "t = 0.5", "t = 0.75", "t = 1"]
    assert "±1 standard error" in labels(figure)
    assert not any(text.startswith("with reserve") for text in labels(llc(along(group))))


def test_a_chain_that_left_for_infinity_can_be_drawn():
    found = group(concerns="a chain left for infinity")
    found["llc_excess"].values[0, 10:] = np.inf
    lost = {name: scalar(np.nan) for name in ("llc", "llc_low", "llc_high")}
    assert len(style.encode(llc(found | lost), "png")) > 5000


def test_other_measurements_have_no_such_figure():
    assert llc({}) is None
    assert llc({"llc": scalar(3.0)}) is None


@pytest.fixture
def network(along):
    """A network of three layers or more with λ̂ = 5, 6, 7, …, moved by t."""

    def layers(t=0.0, count=3, concerns=lambda k: ""):
        return along(lambda k: group(k + t, concerns(k)), "layer", range(count))

    return layers


def drawn(axes, hollow=False):
    """(value, row) of each mark, by its shape, without entries of the legend."""
    found = {}
    for line in axes.lines:
        if len(line.get_xdata()) and line.get_marker() in style.MARKERS and (line.get_mfc() == "white") == hollow:
            found.setdefault(line.get_marker(), []).extend(map(tuple, line.get_xydata()))
    return found


def test_layers_have_the_estimate_with_its_interval_in_rows(network):
    (axes,) = llc(network()).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [f"layer{k}.weight" for k in range(3)]
    assert drawn(axes) == {"o": [(5, 0), (6, 1), (7, 2)]}
    segments = [tuple(segment[:, 0]) for each in axes.collections for segment in each.get_segments()]
    assert segments == [(4, 6), (5, 7), (6, 8)]
    assert axes.get_xlabel() == "local learning coefficient λ̂"


def test_layers_with_concerns_are_hollow_and_their_reasons_are_counted(network):
    words = {0: "the chains disagree; too few independent draws", 2: "the chains disagree"}
    figure = llc(network(concerns=lambda k: words.get(k, "")))
    assert drawn(figure.axes[0]) == {"o": [(6, 1)]}
    assert drawn(figure.axes[0], hollow=True) == {"o": [(5, 0), (7, 2)]}
    reasons = "the chains disagree: 2; too few independent draws: 1"
    assert figure.get_suptitle().replace("\n", " ") == f"to be taken with reserve: 2 of 3 estimates ({reasons})"
    assert "hollow: to be taken with reserve" in labels(figure)
    assert not any(text.startswith("hollow") for text in labels(llc(network())))


def test_layers_along_a_path_have_a_mark_a_position(along, network):
    figure = llc(along(network, at=(0.0, 0.5, 1.0)))
    found = drawn(figure.axes[0])
    assert [value for value, _ in found["o"]] == [5, 6, 7]
    assert [value for value, _ in found["^"]] == [6, 7, 8]
    assert [round(row) for _, row in found["^"]] == [0, 1, 2]
    assert labels(figure) == ["t = 0", "t = 0.5", "t = 1", "bars: interval at 95 %"]


def test_a_layer_without_an_estimate_says_so(along, network):
    for found in (network(), along(network)):
        for name in ("llc", "llc_low", "llc_high"):
            found[name].values[..., 1] = np.nan
        figure = llc(found)
        assert [(text.get_text(), text.get_position()[1]) for text in figure.axes[0].texts] == [("no estimate", 1)]
        assert len(style.encode(figure, "png")) > 5000
        found["llc"].values[:] = np.nan
        assert llc(found) is None


def test_many_layers_and_values_of_both_signs_can_be_drawn(along, network):
    for found in (network(-8.0, 60), along(lambda t: network(100 * t - 8.0, 60, lambda k: "the chains disagree"))):
        figure = llc(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert len(figure.axes[0].get_yticklabels()) == 60
