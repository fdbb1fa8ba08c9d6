import numpy as np

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style, training


def curves(epochs=5):
    falling = np.exp(-np.arange(epochs))
    return {
        "epoch": series("epoch", np.arange(1, epochs + 1), "epoch", "epochs done"),
        "train_loss": series("epoch", 2 * falling + 0.01, "nat", "loss", 0.02 * falling),
        "test_loss": series("epoch", falling + 0.3, "nat", "loss", 0.02 + 0 * falling),
        "train_accuracy": series("epoch", 1 - falling / 2, "1", "accuracy", 0.01 * falling),
        "optimised_loss": series("epoch", 2 * falling, "nat", "mean loss"),
    }


def text(figure):
    return style.encode(figure, "svg").decode()


def test_curves_name_axes_units_and_splits():
    svg = text(training.curves(curves()))
    for words in ("loss [nat]", "accuracy", "epochs done", "train", "test", "train, as optimised", "±1 standard error"):
        assert f">{words}<" in svg


def test_a_path_has_a_loss_panel_only():
    figure = training.curves({"epoch": curves()["epoch"], "mean_loss": curves()["optimised_loss"]})
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss [nat]"]


def test_the_barrier_of_a_path_as_it_trains_has_a_panel_of_its_own():
    watched = series("epoch", [np.nan, 0.5, np.nan, np.nan, 0.2], "nat", "barrier", np.full(5, 0.01))
    group = {"epoch": curves()["epoch"], "mean_loss": curves()["optimised_loss"], "watched_barrier": watched}
    figure = training.curves(group)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss [nat]", "barrier [nat]"]
    (line,) = figure.axes[1].get_lines()[:1]
    assert line.get_xdata().tolist() == [2, 5]


def test_one_epoch_and_many_can_be_drawn():
    for epochs in (1, 300):
        assert len(style.encode(training.curves(curves(epochs)), "png")) > 5000


def test_nothing_gives_no_figure():
    assert training.curves({"epoch": curves()["epoch"]}) is None
    assert training.guard({}) is None
    assert training.density({}) is None


def test_the_guard_shows_its_limit():
    trace = {
        "step": series("check", [0, 50, 100], "step", "steps"),
        "loss": series("check", [0.05, 0.06, np.nan], "nat", "guarded loss"),
    }
    svg = text(training.guard(trace | {"start_loss": scalar(0.05, "nat"), "epsilon": scalar(0.1, "nat")}))
    assert ">guarded loss [nat]<" in svg
    assert ">limit: start + ε = 0.15<" in svg
    assert "limit" not in text(training.guard(trace))


def test_density_names_layers_and_counts_weights():
    layers = {
        "layer": series("layer", np.array(["conv1", "fc"])),
        "density": series("layer", [0.5, 0.0], "1", "fraction of the weights kept"),
        "weights": series("layer", [2304, 640], "1", "weights"),
    }
    svg = text(training.density(layers))
    for words in ("conv1", "fc", "2,304", "fraction of the weights kept"):
        assert f">{words}<" in svg


def test_density_of_many_layers_stays_within_a_page():
    names = np.array([f"layer{i}.conv.weight" for i in range(200)])
    figure = training.density({"layer": series("layer", names), "density": series("layer", np.full(200, 0.3))})
    assert figure.get_figheight() < 12
    assert len(figure.axes[0].get_yticks()) <= 60
