"""``Run.dataset``: a measurement as xarray shows it."""

import sys

import numpy as np
import pytest
import xarray

from rashomon_cli.core.errors import Damaged, Refused, UsageError
from rashomon_cli.core.results import Variable, scalar, series

PROFILE = {
    "t": series("t", [0.0, 0.5, 1.0], "1", "position on the path"),
    "loss": series("t", [3.0, 2.0, 1.0], "nat", "test loss", [0.3, 0.2, 0.1]),
    "who": series("direction", np.array(["x", "y"]), "1", "direction"),
    "curvature": Variable(("t", "direction"), np.arange(6.0).reshape(3, 2), "nat"),
    "trace": scalar(7.0, "nat", "trace", 0.5),
}


@pytest.fixture
def run(store):
    with store.begin("fake", {}, name="a") as job:
        return job.publish("path", metrics={}, measurements={"curve": PROFILE, "line": {"loss": PROFILE["loss"]}})


def test_variables_have_dimensions_coordinates_units_and_errors(run):
    data = run.dataset("curve")
    assert float(data["loss"].sel(t=0.5)) == 2.0
    assert data["loss"].attrs == {"units": "nat", "long_name": "test loss"}
    assert data["loss_stderr"].values.tolist() == [0.3, 0.2, 0.1]
    assert data["loss_stderr"].attrs == {"units": "nat", "long_name": "standard error of test loss"}
    assert set(data.coords) == {"t"}
    assert data["t"].attrs["long_name"] == "position on the path"
    assert data["curvature"].dims == ("t", "direction")
    assert data["who"].values.tolist() == ["x", "y"]
    assert (float(data["trace"]), float(data["trace_stderr"])) == (7.0, 0.5)


def test_it_is_what_xarray_reads_from_the_file(run):
    with xarray.open_dataset(run.folder / "metrics.h5", group="curve", engine="h5netcdf") as read:
        made = run.dataset("curve")
        for name in made.variables:
            assert made[name].dims == read[name].dims
            np.testing.assert_array_equal(made[name].values, read[name].values)
            assert made[name].attrs.items() <= read[name].attrs.items()


def test_the_group_may_be_left_out_where_there_is_one(store, run, publish):
    assert set(publish(store, "b").dataset().variables) == {"loss"}
    with pytest.raises(UsageError, match="measurements curve, line; none was named") as caught:
        run.dataset()
    assert caught.value.hint == "name one of curve, line"
    with pytest.raises(UsageError, match="measurements curve, line; walk was named"):
        run.dataset("walk")


def test_without_xarray_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(Refused) as caught:
        run.dataset("curve")
    assert caught.value.hint == "pip install 'rashomon-cli[xarray]'"


def test_an_altered_file_is_damage(run):
    (run.folder / "metrics.h5").write_bytes(b"x")
    with pytest.raises(Damaged):
        run.dataset("curve")
    with pytest.raises(Refused, match=r"no metrics\.h5"):
        type(run)(run.folder, run.record.model_copy(update={"artifacts": []}), run.label).dataset()
