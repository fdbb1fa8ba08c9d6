"""HDF5 and safetensors files: what is written is read back, by us and by the tools that everybody uses."""

import hashlib
import os

import h5py
import numpy as np
import pytest
import safetensors.torch
import xarray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.results import Result, Variable, scalar, series
from rashomon_cli.store import hdf5, tensors
from rashomon_cli.store.cache import FolderCache

words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=6)
DIMS = {"t": 3, "k": 2}


@st.composite
def variables(draw):
    dims = tuple(draw(st.lists(st.sampled_from(sorted(DIMS)), unique=True, max_size=2)))
    shape = tuple(DIMS[dim] for dim in dims)
    kind = draw(st.sampled_from([np.float64, np.float32, np.int64, np.bool_, str]))
    if kind is str:
        values = np.array(draw(st.lists(words, min_size=6, max_size=6)), dtype=object)[: int(np.prod(shape))]
        return Variable(dims, values.reshape(shape), draw(words), draw(words))
    values = draw(hnp.arrays(kind, shape))
    error = draw(st.none() | hnp.arrays(np.float64, shape))
    return Variable(dims, values, draw(words), draw(words), error)


def same(a, b):
    assert (a.dims, a.units, a.long_name) == (b.dims, b.units, b.long_name)
    np.testing.assert_array_equal(a.values, b.values)
    assert (a.stderr is None) == (b.stderr is None)
    if a.stderr is not None:
        np.testing.assert_array_equal(a.stderr, b.stderr)


@given(st.dictionaries(st.sampled_from(["loss", "error", "who", "λ_max"]), variables(), max_size=4))
def test_measurements_and_parts_read_back_as_they_were_written(tmp_path, found):
    hdf5.save_variables(tmp_path / "m.h5", {"profile": found, "empty": {}})
    read = hdf5.load_variables(tmp_path / "m.h5")
    assert read["empty"] == {}
    part = Result(found, {"layer/0.weight": np.arange(6.0).reshape(2, 3)}, {"epoch": 3, "loss": float("nan")})
    hdf5.save_part(tmp_path / "p.h5", part)
    kept = hdf5.load_part(tmp_path / "p.h5")
    np.testing.assert_array_equal(kept.tensors["layer/0.weight"], part.tensors["layer/0.weight"])
    assert kept.metrics["epoch"] == 3
    assert np.isnan(kept.metrics["loss"])
    for back in (read["profile"], kept.variables):
        assert set(back) == set(found)
        for name in found:
            same(back[name], found[name])


def test_xarray_opens_a_group_with_coordinates_units_and_errors(tmp_path):
    found = {
        "t": series("t", [0.0, 0.5, 1.0], "1", "position on the path"),
        "loss": series("t", [3.0, 2.0, 1.0], "nat", "test loss", [0.3, 0.2, 0.1]),
        "direction": series("direction", np.array(["x", "y"])),
        "curvature": Variable(("t", "direction"), np.ones((3, 2)), "nat"),
        "power": Variable(("t", "eigenvalue"), np.ones((3, 4))),
        "trace": scalar(7.0, "nat"),
    }
    hdf5.save_variables(tmp_path / "m.h5", {"profile": found})
    with xarray.open_dataset(tmp_path / "m.h5", group="profile", engine="h5netcdf") as data:
        assert float(data["loss"].sel(t=0.5)) == 2.0
        assert data["loss"].attrs["units"] == "nat"
        assert data["t"].attrs["long_name"] == "position on the path"
        assert data["loss_stderr"].values.tolist() == [0.3, 0.2, 0.1]
        assert data["curvature"].dims == ("t", "direction")
        assert data["curvature"].sel(direction="y").shape == (3,)
        assert float(data["trace"]) == 7.0


def test_one_dimension_has_one_size(tmp_path):
    with pytest.raises(ValueError, match="'t' of 'b' has size 3"):
        hdf5.save_variables(tmp_path / "m.h5", {"g": {"a": series("t", [1, 2]), "b": series("t", [1, 2, 3])}})
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_or_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(b"garbage")
    with pytest.raises(Damaged, match="no HDF5 file"):
        hdf5.load_variables(path)
    hdf5.save_part(path, Result())
    with pytest.raises(Damaged, match="no rashomon-metrics"):
        hdf5.load_variables(path)
    hdf5.save_variables(path, {})
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = hdf5.FORMAT_VERSION + 1
    with pytest.raises(Damaged) as caught:
        hdf5.load_variables(path)
    assert caught.value.hint == "upgrade rashomon-cli"


@given(
    hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]), hnp.array_shapes(min_dims=0))
)
def test_tensors_of_any_shape_read_back(tmp_path, array):
    named = {"a": array, "turned": array.T, "count": np.int64(7), "steps": np.array(3)}
    tensors.save(tmp_path / "m.safetensors", named, {"x": 1})
    found, header = tensors.load(tmp_path / "m.safetensors")
    assert header == {"x": 1}
    for name, value in named.items():
        assert found[name].shape == np.shape(value)
        assert found[name].dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(found[name], value)


def test_plain_pytorch_loads_the_tensors(tmp_path):
    tensors.save(tmp_path / "m.safetensors", {"w": np.eye(2)[:, ::-1], "bn.num_batches_tracked": np.array(9)}, {})
    found = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert found["w"].tolist() == [[0, 1], [1, 0]]
    assert found["bn.num_batches_tracked"].shape == ()
    assert int(found["bn.num_batches_tracked"]) == 9


def test_the_same_tensors_make_the_same_bytes(tmp_path):
    contents = set()
    for _ in range(8):
        tensors.save(tmp_path / "m.safetensors", {"b": np.ones(3), "a": np.zeros((2, 2), np.float32)}, {"x": 1, "a": 2})
        contents.add((tmp_path / "m.safetensors").read_bytes())
    assert len(contents) == 1


def test_what_is_no_safetensors_file_is_damage(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(Damaged, match="no safetensors file"):
        tensors.load(tmp_path / "m.safetensors")


def test_a_damaged_cache_entry_counts_as_absent(tmp_path):
    cache = FolderCache(tmp_path / "cache")
    assert cache.load("k") is None
    cache.save("k", {"x": np.arange(50)})
    np.testing.assert_array_equal(cache.load("k")["x"], np.arange(50))
    path = tmp_path / "cache" / "k.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert cache.load("k") is None
    path.write_bytes(content[:10])
    assert cache.load("k") is None


@pytest.fixture
def part(tmp_path):
    hdf5.save_part(tmp_path / "state.h5", Result({"loss": series("t", [1.0])}, {"theta": np.arange(9.0)}, {"epoch": 3}))
    return tmp_path / "state.h5"


def test_a_part_is_an_hdf5_file_with_its_digest_behind(part):
    content = part.read_bytes()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    with h5py.File(part) as file:
        assert file["tensors/theta"][()].tolist() == list(range(9))


@given(st.data())
def test_an_altered_part_is_never_opened(part, data):
    content = bytearray(part.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    altered = part.with_name("altered.h5")
    altered.write_bytes(content[: data.draw(st.sampled_from([len(content), 40, 32, 31, 0]))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(h5py, "File", lambda *_: pytest.fail("was opened"))
        with pytest.raises(Damaged, match=r"altered\.h5"):
            hdf5.load_part(altered)


def test_what_is_no_regular_file_is_damage(part):
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(Damaged, match="no regular file"):
        hdf5.load_part(part)
