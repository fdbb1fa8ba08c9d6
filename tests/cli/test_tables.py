"""Headline numbers as a person sees them: lists stand under the labels that they belong to."""

from __future__ import annotations

import pytest

from rashomon_cli.cli import console


@pytest.fixture
def shown(capsys):
    """shown(metrics): the words of each line below the title."""

    def act(metrics):
        console.show_metrics("it", metrics)
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
