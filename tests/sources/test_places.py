"""Where the files of a specification are is recorded, and is no part of what they are."""

import pytest

from rashomon_cli.sources import builders, data, places


@pytest.mark.parametrize(
    ("target", "path", "bare"),
    [
        ("digits", None, "digits"),
        ("package.module:make", None, "package.module:make"),
        ("torchvision:resnet18", None, "torchvision:resnet18"),
        ("models/mine.py:make", "models/mine.py", "mine.py:make"),
        ("/a/b.c/mine.py:make", "/a/b.c/mine.py", "mine.py:make"),
        ("npz:../d.npz", "../d.npz", "npz:d.npz"),
        ("folder:pictures/", "pictures", "folder:pictures"),
        ("folder:.", "", "folder:HERE"),
    ],
)
def test_a_target_with_a_path_is_known_by_its_name_alone(target, path, bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.path_of(target) == (None if path is None else tmp_path / path)
    assert places.bare(target) == bare.replace("HERE", tmp_path.name)


@pytest.fixture
def own(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    text = "from torch import nn\ndef net(num_classes):\n    return nn.Linear(4, num_classes)\n"
    (tmp_path / "one" / "own.py").write_text(text)
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path


def test_a_recorded_file_is_found_from_anywhere_where_it_was_first(own, monkeypatch):
    builder = builders.resolve("own.py:net")
    monkeypatch.chdir(own / "two")
    (own / "two" / "own.py").write_text("# another file of the same name\n")
    assert builders.of_record(builder.record()) == (builder, None)
    assert builder.make((4,), 3).out_features == 3


def test_a_project_that_moved_is_found_where_its_path_was_typed(own, monkeypatch):
    record = builders.resolve("own.py:net").record()
    (own / "one").rename(own / "three")
    monkeypatch.chdir(own / "three")
    found, warning = builders.of_record(record)
    assert warning is None
    assert found.path == own / "three" / "own.py"
    assert found.record()["target"] == "own.py:net"


def test_data_are_known_by_their_content_wherever_they_lie(own, monkeypatch):
    (own / "two" / "make.py").write_text("def data():\n    pass\n")
    (own / "one" / "make.py").write_text("def data():\n    pass\n")
    here, there = (data.resolve(text) for text in ("make.py:data", "../two/make.py:data"))
    assert (here.fingerprint, str(here.spec)) == (there.fingerprint, str(there.spec))
    (own / "one" / "make.py").write_text("def data():\n    return None\n")
    assert data.resolve("make.py:data").fingerprint != here.fingerprint


def test_parentheses_in_a_path_are_no_arguments(own, monkeypatch):
    (own / "one").rename(own / "one (copy)")
    monkeypatch.chdir(own / "one (copy)")
    record = builders.resolve("own.py:net").record()
    monkeypatch.chdir(own)
    assert builders.of_record(record)[1] is None
