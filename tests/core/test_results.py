import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.core.results import Result, Variable, entry, in_layers, scalar, series, stack
from rashomon_cli.core.seeds import derive


def test_a_variable_has_a_name_for_each_axis():
    with pytest.raises(ValueError, match="1 dimension names for an array of 2 axes"):
        Variable(("t",), np.zeros((2, 3)))


def test_a_standard_error_has_the_shape_of_its_estimate():
    with pytest.raises(ValueError, match="stderr"):
        series("t", [1.0, 2.0], stderr=[0.1])


def test_results_are_stacked_along_a_new_first_dimension():
    results = [Result({"h": series("k", [1.0, 2.0], "nat", "h", [0.1, 0.2])}) for _ in range(3)]
    joined = stack(results, "t")["h"]
    assert joined.dims == ("t", "k")
    assert joined.units == "nat"
    np.testing.assert_array_equal(joined.values, np.tile([1.0, 2.0], (3, 1)))
    np.testing.assert_array_equal(joined.stderr, np.tile([0.1, 0.2], (3, 1)))


def test_a_direction_that_a_point_lacks_is_nan_there():
    joined = stack([Result({"x": scalar(1)}), Result({"y": scalar(2, stderr=0.5)}), Result()], "t")
    np.testing.assert_array_equal(joined["x"].values, [1, np.nan, np.nan])
    np.testing.assert_array_equal(joined["y"].values, [np.nan, 2, np.nan])
    np.testing.assert_array_equal(joined["y"].stderr, [np.nan, 0.5, np.nan])


def test_words_that_a_point_lacks_are_empty_there_and_coordinates_stay():
    one = {"route": Variable((), np.asarray("gram")), "kind": series("k", ["a", "bcd"])}
    layers = {"layer": series("layer", ["a", "b"]), "x": series("layer", [1, 2])}
    joined = stack([Result(layers), Result({**one, **layers})], "t")
    assert joined["route"].values.tolist() == ["", "gram"]
    assert joined["kind"].values.tolist() == [["", ""], ["a", "bcd"]]
    assert (joined["layer"].dims, joined["x"].dims) == (("layer",), ("t", "layer"))


def test_what_is_shorter_at_a_point_is_filled_at_its_end():
    one = {"x": series("k", [1.0], stderr=[0.1]), "words": series("k", ["ab"]), "k": series("k", [7])}
    two = {"x": series("k", [1.0, 2.0]), "words": series("k", ["c", "defg"]), "k": series("k", [7, 8])}
    joined = stack([Result(one), Result(two), Result({"m": Variable(("k", "l"), np.ones((1, 2)))})], "t")
    np.testing.assert_array_equal(joined["x"].values, [[1, np.nan], [1, 2], [np.nan, np.nan]])
    np.testing.assert_array_equal(joined["x"].stderr, [[0.1, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    assert joined["words"].values.tolist() == [["ab", ""], ["c", "defg"], ["", ""]]
    assert joined["k"].values.tolist() == [7, 8]
    assert joined["m"].values.shape == (3, 1, 2)


def test_an_entry_along_a_dimension_undoes_stacking_wherever_the_dimension_stands():
    each = [{"x": series("k", [1.0 + n, 2.0], stderr=[0.1, n]), "y": scalar(n)} for n in range(3)]
    joined = stack([Result(one) for one in each], "t") | {"same": scalar(7)}
    found = entry(joined, "t", 2)
    assert (found["x"].dims, found["y"].dims) == (("k",), ())
    np.testing.assert_array_equal(found["x"].values, [3, 2])
    np.testing.assert_array_equal(found["x"].stderr, [0.1, 2])
    assert (float(found["y"].values), found["same"]) == (2, joined["same"])
    second = entry(joined, "k", 0)["x"]
    assert (second.dims, second.values.tolist()) == (("t",), [1, 2, 3])


def test_different_coordinates_are_not_taken_for_the_same():
    with pytest.raises(ValueError, match="different coordinates"):
        stack([Result({"k": series("k", [1, 2])}), Result({"k": series("k", [1, 3, 4])})], "t")


def test_layers_are_named_their_products_summed_and_their_tensors_apart():
    found = in_layers(
        {
            "first": Result({"x": scalar(1), "matvecs": Variable((), np.asarray(3))}, {"v": np.zeros(2)}),
            "last": Result({"x": scalar(2), "matvecs": Variable((), np.asarray(4))}, {"v": np.zeros(5)}),
        }
    )
    assert found.variables["layer"].values.tolist() == ["first", "last"]
    assert (found.variables["x"].dims, found.variables["x"].values.tolist()) == (("layer",), [1, 2])
    assert found.variables["matvecs"].values.tolist() == 7
    assert {name: value.shape for name, value in found.tensors.items()} == {"first/v": (2,), "last/v": (5,)}


@given(st.integers(0, 2**40), st.text(max_size=5), st.integers(0, 10**6))
def test_seeds_are_determined_and_fit_torch(seed, purpose, epoch):
    assert derive(seed, purpose, epoch) == derive(seed, purpose, epoch)
    assert 0 <= derive(seed, purpose, epoch) < 2**63
    assert derive(seed, purpose, epoch) != derive(seed, purpose, epoch + 1)
