"""What each source of data reads, and what it says where it cannot."""

import gzip
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.sources import data
from rashomon_cli.sources.datasets import mnist
from rashomon_cli.store.cache import FolderCache


def load(text, root=None, cache=None):
    return data.resolve(str(text), root).load(cache)


def test_digits_are_1797_images_a_fifth_of_them_for_testing():
    found = load("digits")
    assert found.x_train.shape == (1437, 1, 8, 8)
    assert found.x_test.shape == (360, 1, 8, 8)
    assert (found.x_train.dtype, found.y_train.dtype, found.num_classes) == (np.uint8, np.int64, 10)
    assert found.x_train.max() == 255
    assert found.augmentation == "none"
    assert np.bincount(np.concatenate([found.y_train, found.y_test])).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip


def test_photos_hold_train_and_test_patches_that_share_no_pixel(monkeypatch):
    columns = np.broadcast_to(np.arange(640), (427, 640))
    image = np.stack([columns // 256, columns % 256, np.zeros_like(columns)], -1).astype(np.uint8)
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: SimpleNamespace(images=[image, image]))
    found = load("photos")
    train, test = (x[:, 0].astype(int) * 256 + x[:, 1] for x in (found.x_train, found.x_test))
    assert train.max() < test.min()
    assert found.input_shape == (3, 32, 32)
    assert set(found.y_train) == set(found.y_test) == {0, 1}


def write_idx(path, array):
    content = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
def test_mnist_is_found_in_any_usual_folder(tmp_path, ending, folder):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 9], dtype=np.uint8)
    for split, count in (("train", 5), ("t10k", 2)):
        write_idx(tmp_path / folder / f"{split}-images-idx3-ubyte{ending}", images[:count])
        write_idx(tmp_path / folder / f"{split}-labels-idx1-ubyte{ending}", labels[:count])
    found = load("mnist", tmp_path)
    np.testing.assert_array_equal(found.x_train[:, 0], images)
    np.testing.assert_array_equal(found.x_test[:, 0], images[:2])
    assert found.y_train.tolist() == [3, 1, 4, 1, 9]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a", b"\x00\x00\x0d\x01" + b"\x00" * 8, "no idx file"),
        ("a", b"", "no idx file"),
        ("a", b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "truncated: 3 bytes for shape"),
        ("a", b"\x00\x00\x08\x03\x00\x00", "truncated"),
        ("a.gz", b"no gzip", "cannot be unpacked"),
        ("a.gz", gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x01a", mtime=0)[:-9], "cannot be unpacked"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=words) as caught:
        mnist.read_idx(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message


def test_without_files_and_network_the_way_out_is_one_line(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried …")

    monkeypatch.setattr("torchvision.datasets.MNIST", no_network)
    with pytest.raises(UsageError, match="cannot be downloaded: Error downloading") as caught:
        load("mnist", tmp_path)
    assert "\n" not in caught.value.message
    assert "--data-root or RASHOMON_DATA" in caught.value.hint


@pytest.fixture
def pictures(tmp_path):
    def draw(root="pictures", classes=("cat", "dog"), size=(6, 4), mode="RGB", ending="png"):
        random = np.random.default_rng(0)
        for split, count in (("train", 3), ("test", 1)):
            for name in classes:
                folder = tmp_path / root / split / name
                folder.mkdir(parents=True)
                for n in range(count):
                    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).convert(mode).save(folder / f"{n}.{ending}")
        return tmp_path / root

    return draw


def test_a_folder_of_images_is_read_pixel_by_pixel(pictures):
    root = pictures()
    found = load(f"folder:{root}")
    assert found.x_train.shape == (6, 3, 4, 6)
    assert found.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    with Image.open(root / "train" / "dog" / "2.png") as image:
        np.testing.assert_array_equal(found.x_train[5].transpose(1, 2, 0), np.asarray(image))
    assert (found.augmentation, found.encoding) == ("crop-flip", "")
    grey = load(f"folder:{pictures('grey', mode='L', ending='jpg')}")
    assert grey.input_shape == (1, 4, 6)
    assert (grey.augmentation, grey.encoding) == ("none", "JPEG")
    assert load(f"folder:{root}(size=5)").input_shape == (3, 5, 5)


def test_images_of_different_sizes_need_a_size(pictures):
    root = pictures()
    Image.new("RGB", (9, 9)).save(root / "test" / "dog" / "0.png")
    with pytest.raises(Refused, match=r"test/dog/0\.png is 9 × 9") as caught:
        load(f"folder:{root}")
    assert caught.value.hint.startswith(f"folder:{root}(size=32)")
    assert load(f"folder:{root}(size=4)").x_test.shape == (2, 3, 4, 4)


def test_a_corrupt_image_is_named(pictures):
    root = pictures()
    path = root / "train" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(Refused, match=r"train/cat/1\.png cannot be decoded"):
        load(f"folder:{root}")


def test_a_class_without_test_images_is_named(pictures):
    root = pictures()
    (root / "test" / "dog" / "0.png").unlink()
    with pytest.raises(UsageError, match="class 'dog'"):
        load(f"folder:{root}")
    with pytest.raises(UsageError, match="no images in"):
        load(f"folder:{root / 'nowhere'}")
    with pytest.raises(UsageError, match="takes size=PIXELS only"):
        load(f"folder:{root}(width=3)")


def test_decoded_images_come_from_the_cache(pictures, tmp_path, monkeypatch):
    root, cache = pictures(), FolderCache(tmp_path / "cache")
    first = load(f"folder:{root}", cache=cache)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("read again"))
    again = load(f"folder:{root}", cache=cache)
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert again.augmentation == "crop-flip"
    monkeypatch.undo()
    assert load(f"folder:{root}(size=3)", cache=cache).input_shape == (3, 3, 3)


def test_pixels_of_the_same_size_that_were_edited_are_decoded_again(pictures, tmp_path):
    root, cache = pictures(ending="bmp"), FolderCache(tmp_path / "cache")
    first = load(f"folder:{root}", cache=cache)
    path = root / "train" / "cat" / "1.bmp"
    size = path.stat().st_size
    Image.new("RGB", (6, 4), "red").save(path)
    assert path.stat().st_size == size
    again = load(f"folder:{root}", cache=cache)
    assert again.x_train[1, :, 0, 0].tolist() == [255, 0, 0]
    assert again.content != first.content


def test_cifar_is_read_from_class_folders(pictures, tmp_path):
    pictures("cifar10", size=(32, 32))
    source = data.resolve("cifar10(train=4)", tmp_path)
    assert str(source.spec) == "cifar10(train=4)"
    assert source.load().x_train.shape == (4, 3, 32, 32)


@pytest.fixture
def npz(tmp_path):
    def save(**changes):
        arrays = {
            "x_train": np.arange(24, dtype=np.float64).reshape(6, 4),
            "y_train": np.array([0, 1, 2, 0, 1, 2]),
            "x_test": np.ones((2, 4)),
            "y_test": np.array([0, 2]),
        } | changes
        np.savez(tmp_path / "d.npz", **{name: array for name, array in arrays.items() if array is not None})
        return f"npz:{tmp_path / 'd.npz'}"

    return save


def test_npz_floats_are_taken_as_they_are(npz):
    found = load(npz())
    assert found.x_train.dtype == np.float32
    np.testing.assert_array_equal(found.x_train[1], [4, 5, 6, 7])
    assert (found.num_classes, found.is_regression, found.statistics()) == (3, False, None)


def test_npz_float_targets_are_a_regression(npz):
    found = load(npz(y_train=np.linspace(0, 1, 12).reshape(6, 2), y_test=np.zeros((2, 2))))
    assert (found.is_regression, found.num_classes, found.y_train.dtype) == (True, 2, np.float32)


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (5, 7, 3), (1, 5, 7), (5, 7, 1)])
def test_npz_images_of_any_layout_get_their_channels_first(npz, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 7), dtype=np.uint8)
    pixels = pixels if 3 in shape else pixels[:, :1]
    stored = pixels if shape[0] in (1, 3) else pixels.transpose(0, 2, 3, 1)
    stored = stored.reshape(6, *shape)
    found = load(npz(x_train=stored, x_test=stored[:2]))
    np.testing.assert_array_equal(found.x_train, pixels)
    mean, std = found.statistics()
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)) / 255)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)) / 255)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "has no array y_test"),
        ({"x_train": np.array([{}] * 6, dtype=object)}, "no npz file of plain arrays"),
        ({"y_train": np.arange(5)}, "x_train has 6 examples, y_train has 5"),
        ({"x_test": np.ones((2, 5))}, "train inputs are"),
        ({"x_test": np.ones((0, 4)), "y_test": np.zeros(0)}, "x_test is empty"),
        ({"x_train": np.full((6, 4), np.nan)}, "not finite"),
        ({"y_test": np.array([0, -1])}, "negative"),
        ({"x_train": np.full((6, 4), "a")}, "no array of numbers"),
    ],
)
def test_npz_content_that_does_not_fit_is_refused(npz, changes, words):
    with pytest.raises(Refused, match=words):
        load(npz(**changes))


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 no zip")
    for name in ("array.npy", "d.npz"):
        with pytest.raises(Refused, match="no npz file"):
            load(f"npz:{tmp_path / name}")
    with pytest.raises(UsageError, match="no file"):
        load("npz:nowhere.npz")


def test_a_subset_is_always_the_same_and_nested_in_no_order_of_its_own():
    whole, first, again = load("digits"), load("digits(train=50)"), load("digits(train=50)")
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert len(first.x_train) == 50
    assert len(first.x_test) == 360
    rows = {x.tobytes() for x in whole.x_train}
    assert all(x.tobytes() in rows for x in first.x_train)
    assert len(set(first.y_train)) == 10
    assert data.resolve("digits(train=50)").fingerprint != data.resolve("digits(train=51)").fingerprint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digits(train=1438)", "only 1437 training examples"),
        ("digits(train=0)", "no number of examples"),
        ("digits(train='x')", "no number of examples"),
        ("digits(train=5, side=3)", "takes no arguments"),
        ("digit", "no data set 'digit'"),
        ("digit(train=5)", "no data set 'digit'"),
        ("nowhere:make", "no module 'nowhere'"),
        ("nowhere.py:make", "no file nowhere.py"),
    ],
)
def test_a_wrong_specification_is_a_usage_error(text, words):
    with pytest.raises(UsageError, match=words):
        load(text)


def test_data_of_the_users_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nfrom rashomon_cli.sources.data import Data\n"
        "def make(n=3):\n    return Data(np.ones((n, 2), 'f'), np.arange(n), np.ones((1, 2), 'f'), np.zeros(1, int))\n"
        "def wrong():\n    return 3\n"
        "def fails():\n    return {}['a key']\n"
    )
    with pytest.raises(Refused, match=r"mine\.py:fails failed: KeyError: 'a key'"):
        load(f"{path}:fails")
    with pytest.raises(Refused, match=r"mine\.py:make\(k=1\) failed: TypeError"):
        load(f"{path}:make(k=1)")
    with pytest.raises(Refused, match="x_train is empty"):
        load(f"{path}:make(n=0)")
    assert load(f"{path}:make(n=5)").x_train.shape == (5, 2)
    assert data.resolve(f"{path}:make").fingerprint != data.resolve(f"{path}:make(n=5)").fingerprint
    with pytest.raises(Refused, match="returned int"):
        load(f"{path}:wrong")
