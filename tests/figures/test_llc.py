import numpy as np

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
