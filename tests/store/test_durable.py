import os
import stat

import pytest

from rashomon_cli.core.errors import Damaged
from rashomon_cli.store import durable


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "file"
    durable.write(path, b"old")
    return path


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("content", [b"new", lambda path: path.write_bytes(b"new")], ids=["bytes", "function"])
def test_the_umask_decides_the_mode(tmp_path, mask, content):
    before = os.umask(mask)
    try:
        durable.write(tmp_path / "file", content)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_the_disk_refuses_leaves_the_old_content(old, monkeypatch, call):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space"):
        durable.write(old, b"new")
    assert old.read_bytes() == b"old"
    assert [path.name for path in old.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, RuntimeError])
def test_a_writer_that_fails_half_way_leaves_the_old_content(old, error):
    def fail(path):
        path.write_bytes(b"ne")
        raise error

    with pytest.raises(error):
        durable.write(old, fail)
    assert old.read_bytes() == b"old"
    assert [path.name for path in old.parent.iterdir()] == ["file"]


def test_the_file_and_then_its_folder_are_flushed(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (done.append(stat.S_ISDIR(os.fstat(d).st_mode)), fsync(d))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b))[1])
    durable.write(tmp_path / "file", b"new")
    assert done == [False, "replace", True]


def test_json_is_read_back_and_anything_else_is_damage(tmp_path):
    durable.write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert durable.read_json(tmp_path / "a.json") == {"ä": [1, None]}
    for garbage in (b"", b'{"a": ', b"\xff\xfe", b"[" * 100_000):
        durable.write(tmp_path / "a.json", garbage)
        with pytest.raises(Damaged, match=r"a\.json"):
            durable.read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="JSON"):
        durable.write_json(tmp_path / "a.json", float("nan"))
