import pytest

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import Config, argument, build, option


class Example(Config):
    runs: tuple[str, ...] = argument("Runs to look at.", default=())
    weight_decay: float = option(5e-4, "L2 penalty.", ge=0, unit="1/step")
    json_: bool = option(False, "As JSON.", flag="--json")
    init: str | None = option(None, "A run.", reference=True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight_decay": -1.0}, ["--weight-decay", "-1.0", "greater than or equal to 0"]),
        ({"weight_decay": float("nan")}, ["--weight-decay", "nan", "finite"]),
        ({"json_": "maybe"}, ["--json", "'maybe'"]),
        ({"runs": 3}, ["RUNS", "3"]),
        ({"width": 3}, ["--width", "3", "not permitted"]),
    ],
)
def test_an_error_names_the_flag_its_value_and_what_is_allowed(values, words):
    with pytest.raises(UsageError) as caught:
        build(Example, values)
    assert caught.value.code == 2
    assert all(word in caught.value.message for word in words)
    assert "\n" not in caught.value.message


def test_names_of_runs_are_no_part_of_the_record():
    assert build(Example, {"init": "a", "runs": ["b"]}).record() == {"weight_decay": 5e-4, "json_": False}


def test_options_cannot_change():
    with pytest.raises(ValueError, match="frozen"):
        Example().init = "a"


def test_a_unit_stands_in_the_help():
    assert Example.model_fields["weight_decay"].description == "L2 penalty. [1/step]"


class Grown(Config):
    old: int = option(1, "There from the start.")
    new: str = option("off", "Came later.", later=True)


def test_a_later_option_changes_a_record_only_where_it_is_used():
    assert build(Grown, {}).record() == {"old": 1}
    assert build(Grown, {"new": "on"}).record() == {"old": 1, "new": "on"}
