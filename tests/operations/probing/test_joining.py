from __future__ import annotations

import numpy as np

from rashomon_cli.core.results import Variable, scalar, series
from rashomon_cli.operations.probing.joining import together


def test_products_are_summed_and_equal_variables_kept_once():
    spent = [Variable((), np.asarray(n)) for n in (3, 4)]
    one, two = ({"matvecs": each, "arc": series("t", [0.0, 1.0])} for each in spent)
    joined = together({"top": one, "trace": two, "loss": {"loss": scalar(1)}})
    assert joined["matvecs"].values == 7
    assert set(joined) == {"matvecs", "arc", "loss"}
    along = together({name: {"matvecs": series("t", [1, 2])} for name in ("top", "trace", "density")})
    assert along["matvecs"].values.tolist() == [3, 6]


def test_a_dimension_of_another_length_is_named_after_the_later_quantity():
    found = {"reach": {"reach_plus": series("direction", [1, 2])}, "flat": {"flat_curvature": series("direction", [1])}}
    joined = together(found)
    assert joined["reach_plus"].dims == ("direction",)
    assert joined["flat_curvature"].dims == ("flat_direction",)
    equal = {name: {name: series("direction", [1, 2])} for name in ("one", "other")}
    assert {variable.dims for variable in together(equal).values()} == {("direction",)}


def test_coordinates_stay_with_their_dimension():
    layers = {"layer": series("layer", ["a", "b"]), "x": series("layer", [1, 2])}
    others = {"layer": series("layer", ["c", "d"]), "y": series("layer", [3, 4])}
    joined = together({"top": layers, "trace": {**layers, "z": series("layer", [5, 6])}, "density": others})
    assert joined["z"].dims == ("layer",)
    assert joined["density_layer"].values.tolist() == ["c", "d"]
    assert joined["y"].dims == joined["density_layer"].dims == ("density_layer",)
    plain = together({"machinery": {"step": series("step", [0.1, 0.2])}, "llc": {"excess": series("step", [1, 2])}})
    assert plain["excess"].dims == ("llc_step",), "the middles of machinery's steps are no coordinates of a walk"
    walk = {"excess": series("step", [1, 2]), "llc_step": scalar(0.1)}
    told = together({"machinery": {"step": series("step", [0.1, 0.2])}, "llc": walk})
    assert told["excess"].dims == ("llc_step_index",), "a file has one name for a dimension and a variable"


def test_variables_of_one_name_that_differ_are_both_kept():
    one = {"negative_mass": scalar(0.1, stderr=0.01), "route": Variable((), np.asarray("top"))}
    two = {"negative_mass": scalar(0.1, stderr=0.02), "route": Variable((), np.asarray("gram", dtype=object))}
    joined = together({"density": one, "dimension": two})
    assert joined["negative_mass"].stderr == 0.01
    assert joined["dimension_negative_mass"].stderr == 0.02
    assert (str(joined["route"].values), str(joined["dimension_route"].values)) == ("top", "gram")
    absent = {"x": scalar(np.nan)}
    assert set(together({"one": absent, "other": absent})) == {"x"}
