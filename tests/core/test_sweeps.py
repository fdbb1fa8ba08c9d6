import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.core.sweeps import family


class Asked(Config):
    model: str = option("mlp", "Builder.", sweep="")
    seed: int = option(0, "Seed.", ge=0, sweep="s")
    lr: float = option(0.1, "Rate.", gt=0, sweep="lr-")
    decay: float | None = option(None, "Penalty.", sweep="wd-")
    name: str = option("1-3", "No list.")


class Named(Config):
    run: str = argument("Runs.", sweep="")


def seeds(text):
    return [member.config.seed for member in family(Asked, {"seed": text}).members]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("1-4", [1, 2, 3, 4]),
        ("0,2,5", [0, 2, 5]),
        ("1-3,7, 9-10", [1, 2, 3, 7, 9, 10]),
        ("2,1-3", [2, 1, 3]),
    ],
)
def test_a_list_of_whole_numbers(text, expected):
    assert seeds(text) == expected


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True))
def test_what_is_listed_is_what_is_run_in_that_order(numbers):
    assert seeds(",".join(map(str, numbers))) == numbers


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": "3-1"}, "--seed '3-1': the range 3-1 runs backwards"),
        ({"seed": "1,,2"}, "an empty value"),
        ({"seed": ""}, "an empty value"),
        ({"seed": "1-100000000000"}, "more than 10,000 values"),
        ({"seed": "1-9999", "lr": "0.1,0.2"}, "family of 19,998 runs"),
        ({"seed": "1,x"}, "--seed = 'x'"),
        ({"seed": "1,-2"}, "--seed = -2"),
        ({"lr": "0.1,0"}, "--lr = 0"),
        ({"lr": "1-3"}, "--lr = '1-3'"),
    ],
)
def test_each_value_of_a_list_is_checked(values, words):
    with pytest.raises(UsageError) as caught:
        family(Asked, values)
    assert words in caught.value.message


def test_lists_multiply_and_each_member_says_what_is_its_own():
    found = family(
        Asked, {"seed": "1-2", "lr": "1e-3,0.1", "model": "mlp(width=8, depth=1),mlp", "decay": None}
    ).members
    assert [(m.config.model, m.config.seed, m.config.lr) for m in found[:3]] == [
        ("mlp(width=8, depth=1)", 1, 0.001),
        ("mlp(width=8, depth=1)", 1, 0.1),
        ("mlp(width=8, depth=1)", 2, 0.001),
    ]
    assert len(found) == 8
    assert found[0].suffix() == "-mlp-width=8-depth=1-s1-lr-0.001"
    assert found[0].suffix(told=["seed", "model"]) == "-lr-0.001"
    assert len({m.suffix() for m in found}) == 8


def test_values_are_told_apart_and_listed_once():
    found = family(Asked, {"lr": "0.1,1e-1,0.10000001", "seed": "7,07"}).members
    assert [(m.config.lr, m.config.seed, m.suffix()) for m in found] == [
        (0.1, 7, "-lr-0.1"),
        (0.10000001, 7, "-lr-0.10000001"),
    ]


def test_one_value_makes_no_family():
    (alone,) = family(Asked, {"seed": 5, "name": "1-3"}).members
    assert (alone.config.seed, alone.config.name, alone.suffix()) == (5, "1-3", "")


def test_several_runs_make_a_family_each_once():
    found = family(Named, {"run": ["a", "b@0.5", "a"]}).members
    assert [(m.config.run, m.suffix()) for m in found] == [("a", "-a"), ("b@0.5", "-b-t0.5")]
    with pytest.raises(UsageError, match="names nothing"):
        family(Named, {"run": []})
