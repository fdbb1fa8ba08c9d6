"""Conditions on figures and options: which values pass, and which texts are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.errors import UsageError
from rashomon_cli.operations.conditions import Condition, parse_conditions


@pytest.mark.parametrize(
    ("text", "passing", "failing"),
    [
        ("x>0.9", [0.91, 1, [1.0, 2.0]], [0.9, 0.1, None, "big", True, [1.0, 0.5], [1.0, None], [], {}]),
        ("x >= 0.9", [0.9, 1], [0.89]),
        ("x<2", [1, 1.5, -1], [2, 2.5]),
        ("x<=-1e-3", [-1, -0.001], [0]),
        ("x=1", [1, 1.0], [1.5, "1", True, None]),
        ("x == 1", [1], [2]),
        ("x!=1", [2, "1", True, [2, 3]], [1, 1.0, None, [1, 2]]),
        ("x=mlp(width=8, depth=2)", ["mlp(width=8, depth=2)"], ["mlp", 8, None]),
        ("x=mlp(width=8,depth=2)", ["mlp(width=8, depth=2)", "mlp(depth=2, width=8)"], ["mlp(width=8)", "mlp("]),
        ("x!=mlp(width=8,depth=2)", ["mlp(width=8)", "mlp("], ["mlp(depth=2, width=8)"]),
        ("x=mlp(", ["mlp("], ["mlp"]),
        ("x != none", ["crop-flip", 3], ["none", None]),
        ("x='5000'", [5000], ["5000"]),
        ("x=yes", [True], [False, "yes", 1]),
        ("x=False", [False], [True, 0, None]),
        ("x!=no", [True, "word"], [False]),
    ],
)
def test_values_pass_or_fail(text, passing, failing):
    (condition,) = parse_conditions(text)
    assert [value for value in passing if not condition.holds(value)] == []
    assert [value for value in failing if condition.holds(value)] == []


def test_conditions_are_separated_by_commas_outside_parentheses():
    assert parse_conditions("a>1, weight-decay<=2,model=mlp(width=8, depth=2),s!=x") == [
        Condition("a", ">", 1.0),
        Condition("weight_decay", "<=", 2.0),
        Condition("model", "=", "mlp(width=8, depth=2)"),
        Condition("s", "!=", "x"),
    ]


@pytest.mark.parametrize(
    "text", ["", "a", ">1", "a>", "a>=", "a=>1", "a>>1", "a==>1", "a>big", "a<=b", "a>true", "a>1,", ",a>1", "a b>1"]
)
def test_what_is_no_comparison_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_conditions(text)
    assert caught.value.code == 2
    assert caught.value.hint.startswith("rashomon ls --where")


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        conditions = parse_conditions(text)
    except UsageError:
        return
    for condition in conditions:
        for value in (None, 1, 0.5, True, "x", [1.0], [[]], {}):
            assert condition.holds(value) in (True, False)
