"""Headline numbers as a person sees them: lists stand under the labels that they belong to."""

from __future__ import annotations

import pytest

from rashomon_cli.cli import console
from rashomon_cli.cli.metrics import show_metrics


@pytest.fixture
def shown(capsys):
    """shown(metrics): the words of each line below the title."""

    def act(metrics):
        show_metrics("it", metrics)
        return [line.split() for line in capsys.readouterr().out.splitlines()[1:]]

    return act


def test_three_anchors_and_their_three_pairs_are_two_tables(shown):
    lines = shown(
        {
            "test_loss": 0.5,
            "anchor": ["a", "b", "c"],
            "barrier_loss": [0.1, 0.2, 0.3],
            "barrier_loss_stderr": [0.01, 0.0, 0.01],
            "distance": [1.0, 2.0, 3.0],
            "pair": ["1-2", "1-3", "2-3"],
            "via_barrier_loss": [0.4, 0.5, 0.6],
        }
    )
    assert lines == [
        ["test_loss", "0.5"],
        ["anchor", "a", "b", "c"],
        ["barrier_loss", "0.1", "±", "0.01", "0.2", "0.3", "±", "0.01"],
        ["distance", "1", "2", "3"],
        ["pair", "1-2", "1-3", "2-3"],
        ["via_barrier_loss", "0.4", "0.5", "0.6"],
    ]


def test_positions_behind_their_lists_label_them_as_in_runs_of_earlier_versions(shown):
    lines = shown({"train_loss": [3.0, 4.0], "step_rate": [7.0], "step": [0.5], "t": [0.0, 1.0]})
    assert lines == [["t", "0", "1"], ["train_loss", "3", "4"], ["step", "0.5"], ["step_rate", "7"]]


def test_lists_without_labels_are_numbered_and_labels_without_lists_are_shown(shown):
    lines = shown({"tries_barrier_loss": [0.2, 0.1], "equal_member": [0.25]})
    assert lines == [["1", "2"], ["tries_barrier_loss", "0.2", "0.1"], ["1"], ["equal_member", "0.25"]]


@pytest.mark.parametrize(
    ("error", "words"), [(0.0123, "± 0.01"), (0.96, "± 1"), (12.3, "± 10"), (4.2e7, "± 4e+07"), (3e-6, "± 3e-06")]
)
def test_a_standard_error_has_one_digit_and_no_needless_exponent(shown, error, words):
    assert shown({"midpoint": 70.0, "midpoint_stderr": error}) == [["midpoint", "70", *words.split()]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (23_710, "23,710"),
        (23_710.0, "23,710"),
        (-23_710.0, "-23,710"),
        (272_474.5, "272,474.5"),
        (11_173_962.0, "11,173,962"),
        (9_999.0, "9999"),
        (23_710.37, "2.371e+04"),
        (1e20, "1e+20"),
    ],
)
def test_a_count_is_shown_to_its_last_digit_though_it_is_a_float(shown, value, words):
    assert shown({"dimension": value, "dimension_curve": [value, 0.5]}) == [
        ["dimension", words],
        ["1", "2"],
        ["dimension_curve", words, "0.5"],
    ]


TS = [0.0, 0.25, 0.5, 0.75, 1.0]
PATH = {
    "trace": [1.5] * 5,
    "t": TS,
    "eigenvalues_top": [[1000.0 / (k + 1) - t for k in range(10)] for t in TS],
    "residuals_top": [[0.00012345] * 9 + [None] for _ in TS],
}


def test_a_vector_at_each_point_is_a_table_with_a_row_an_entry(shown):
    lines = shown(PATH)
    assert lines[:2] == [["t", "0", "0.25", "0.5", "0.75", "1"], ["trace", *["1.5"] * 5]]
    assert lines[2:4] == [["eigenvalues_top"], ["t", "0", "0.25", "0.5", "0.75", "1"]]
    assert lines[4] == ["1", "1000", "999.8", "999.5", "999.2", "999"]
    assert lines[13] == ["10", "100", "99.75", "99.5", "99.25", "99"]
    assert lines[14:17] == [["residuals_top"], lines[3], ["1", *["0.0001234"] * 5]]
    assert lines[25:] == [["10", "–", "–", "–", "–", "–"]]


@pytest.mark.parametrize(("width", "heads"), [(80, [TS]), (40, [TS[:3], TS[3:]])])
def test_five_points_of_ten_eigenvalues_fit_a_terminal(monkeypatch, capsys, width, heads):
    monkeypatch.setattr(console, "room", lambda: width)
    show_metrics("it", {name: PATH[name] for name in ("t", "residuals_top")})
    lines = capsys.readouterr().out.splitlines()[1:]
    assert max(map(len, lines)) <= width
    assert len(lines) == 1 + len(heads) * 11
    assert [[float(t) for t in line.split()[1:]] for line in lines[1::11]] == heads
    assert [line.split()[0] for line in lines[2:12]] == [str(k) for k in range(1, 11)]


def test_at_a_single_position_layers_still_stand_beside_what_lies_along_them(shown):
    found = {"t": 0.5, "layer": ["a", "b"], "reach_plus": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}
    assert shown(found) == [
        ["t", "0.5"],
        ["reach_plus"],
        ["layer", "1", "2", "3"],
        ["a", "1", "2", "3"],
        ["b", "4", "5", "6"],
    ]


def test_layers_stand_down_the_side_and_positions_across(shown):
    layers = ["layers.1", "layers.5"]
    assert shown({"layer": layers, "eigenvalues_top": [[3.0, 2.0, 1.0], [6.0, 5.0, None]]}) == [
        ["eigenvalues_top"],
        ["layer", "1", "2", "3"],
        ["layers.1", "3", "2", "1"],
        ["layers.5", "6", "5", "–"],
    ]
    both = {
        "t": [0.0, 0.5, 1.0],
        "reach_plus": [[7.0, 8.0]] * 3,
        "layer": layers,
        "trace_layer": [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]],
        "trace_layer_stderr": [[0.1, 1.0]] * 3,
        "eigenvalues_top": [[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]]],
    }
    lines = shown(both)
    assert lines[:4] == [["reach_plus"], ["t", "0", "0.5", "1"], ["1", "7", "7", "7"], ["2", "8", "8", "8"]]
    assert lines[4:6] == [["trace_layer"], ["layer", "/", "t", "0", "0.5", "1"]]
    assert lines[7] == ["layers.5", "10", "±", "1", "20", "±", "1", "30", "±", "1"]
    assert lines[8:12] == [["eigenvalues_top,", "t", "0"], ["layer", "1"], ["layers.1", "1"], ["layers.5", "2"]]
    assert lines[16:] == [["eigenvalues_top,", "t", "1"], ["layer", "1"], ["layers.1", "5"], ["layers.5", "6"]]


def test_words_that_say_nothing_are_not_shown(shown):
    assert shown({"dimension": 3, "dimension_gram_refused": "", "t": [0.0, 1.0], "concerns": ["", ""]}) == [
        ["dimension", "3"],
        ["1", "2"],
        ["t", "0", "1"],
    ]
