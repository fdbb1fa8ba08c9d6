"""The disk refuses the k-th write, flush, renaming or new folder of a command, for every k: nothing is lost by it."""

import errno
import itertools
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import h5py
import pytest

SMALL = ["--model", "mlp(width=8)", "--data", "digits(train=200)", "--batch-size", 50, "--precision", "float32"]
MOST = 200


class Disk:
    """Calls that change the disk below a folder; the k-th of them fails.

    Attributes:
        calls: the names of the calls seen, in order.
        refused: the name of the one that failed, or None.
    """

    def __init__(self, root, monkeypatch):
        self.root = os.path.realpath(root)
        self.fail_at = 0
        self.error = errno.ENOSPC
        self.calls = []
        self.refused = None
        for name in ("replace", "rename", "mkdir", "link"):
            self._patch(monkeypatch, name, lambda path, *_, **__: path)
        self._patch(monkeypatch, "fsync", lambda descriptor: os.readlink(f"/proc/self/fd/{descriptor}"))
        self._patch(monkeypatch, "open", lambda path, flags, *_, **__: path if flags & os.O_CREAT else None)
        self._patch_writing(monkeypatch)
        self._patch_write_bytes(monkeypatch)
        self._patch_hdf5(monkeypatch)

    def refuse(self, k, error):
        """Let the k-th call from now on fail; none for 0."""
        self.fail_at, self.error, self.calls, self.refused = k, error, [], None

    def _due(self, name, path):
        """Count a call; whether it is the one that fails."""
        if path is None or not os.path.realpath(os.fspath(path)).startswith(self.root):
            return False
        self.calls.append(name)
        if len(self.calls) == self.fail_at:
            self.refused = name
            return True
        return False

    def _error(self, path):
        return OSError(self.error, os.strerror(self.error), os.fspath(path))

    def _patch(self, monkeypatch, name, path_of):
        original = getattr(os, name)

        def call(*arguments, **keywords):
            path = path_of(*arguments, **keywords)
            if self._due(name, path):
                raise self._error(path)
            return original(*arguments, **keywords)

        monkeypatch.setattr(os, name, call)

    def _patch_writing(self, monkeypatch):
        original = os.fdopen

        def fdopen(descriptor, mode="r", *arguments, **keywords):
            stream = original(descriptor, mode, *arguments, **keywords)
            if "w" not in mode:
                return stream
            path, write = os.readlink(f"/proc/self/fd/{descriptor}"), stream.write

            def half(content):
                if self._due("write", path):
                    write(content[: len(content) // 2])
                    raise self._error(path)
                return write(content)

            stream.write = half
            return stream

        monkeypatch.setattr(os, "fdopen", fdopen)

    def _patch_write_bytes(self, monkeypatch):
        write_bytes = Path.write_bytes

        def half(path, content):
            if self._due("write", path):
                write_bytes(path, content[: len(content) // 2])
                raise self._error(path)
            return write_bytes(path, content)

        monkeypatch.setattr(Path, "write_bytes", half)

    def _patch_hdf5(self, monkeypatch):
        close = h5py.File.close

        def half(file):
            path = file.filename if file and file.mode == "r+" else None
            close(file)
            if self._due("HDF5 write", path):
                os.truncate(path, os.path.getsize(path) // 2)
                raise self._error(path)

        monkeypatch.setattr(h5py.File, "close", half)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    return Disk(tmp_path / "rashomon-store", monkeypatch)


@pytest.fixture
def torment(rashomon, disk, tmp_path, fingerprints):
    """torment(arguments, before, healed): refuse every call of a command in turn; yields after each second try.

    ``before()`` makes the store anew.
    """
    store = tmp_path / "rashomon-store"

    def act(arguments, before):
        seen = Counter()
        for k in itertools.count(1):
            assert k < MOST
            disk.refuse(0, 0)
            shutil.rmtree(store, ignore_errors=True)
            before()
            earlier = fingerprints(store)
            disk.refuse(k, (errno.ENOSPC, errno.EIO)[k % 2])
            found = rashomon(*arguments)
            refused = disk.refused
            disk.refuse(0, 0)
            if refused is None:
                assert found.code == 0
                break
            seen[refused] += 1
            where = f"{refused} {k}: {found}"
            lines = [line.partition(" ")[0] for line in found.err.splitlines()]
            assert "Traceback" not in found.err, where
            if found.code:  # a cache that cannot be written, say, is no failure
                assert found.code == 1, where
                assert (lines.count("error:"), lines.count("hint:")) == (1, 1), where
                assert found.out == "", where
            assert earlier.items() <= fingerprints(store).items(), where
            if (store / "store.json").exists():
                checked = rashomon("check", "--read-data", "--json")
                assert checked.code == 0, f"{where}\n{checked}"
            yield where, found
            assert earlier.items() <= fingerprints(store).items(), where
            assert rashomon("check", "--read-data", "--json").code == 0, where
        assert seen

    return act


def published(store, sums, earlier):
    """What the only new run holds."""
    (new,) = {path.parent.name for path in Path(store).glob("runs/*/run.json")} - set(earlier)
    assert not list((store / "runs" / new).glob(".*"))
    return sums(store, new)


@pytest.mark.slow
@pytest.mark.parametrize("virgin", [True, False], ids=["no store", "beside others"])
def test_a_training_survives_every_refusal(torment, rashomon, pair, sums, tmp_path, virgin):
    spare = tmp_path / "spare"
    shutil.move(pair, spare)
    earlier = [] if virgin else [path.name for path in (spare / "runs").iterdir()]
    call = ["train", *SMALL, "--epochs", 2, "--seed", 7, "-q"]
    assert rashomon(*call).code == 0
    reference = published(pair, sums, [])
    for where, _ in torment(call, lambda: None if virgin else shutil.copytree(spare, pair)):
        again = rashomon(*call)
        assert again.code == 0, f"{where}\n{again}"
        assert published(pair, sums, earlier) == reference, where


@pytest.mark.slow
def test_a_connection_survives_every_refusal(torment, rashomon, pair, sums, tmp_path):
    spare = tmp_path / "spare"
    shutil.copytree(pair, spare)
    earlier = [path.name for path in (spare / "runs").iterdir()]
    call = ["connect", "a", "b", "--epochs", 1, "--batch-size", 50, "--points", 3, "--samples", 50, "-q"]
    assert rashomon(*call).code == 0
    reference = published(pair, sums, earlier)
    for where, _ in torment(call, lambda: shutil.copytree(spare, pair)):
        again = rashomon(*call)
        assert again.code == 0, f"{where}\n{again}"
        assert published(pair, sums, earlier) == reference, where


def test_a_removal_survives_every_refusal(torment, rashomon, pair, tmp_path, digest):
    spare = tmp_path / "spare"
    shutil.copytree(pair, spare)
    run = {name_of(path): path.name for path in (spare / "runs").iterdir()}["b"]
    whole = digest(spare / "runs" / run)
    removals = 0
    for where, found in torment(["rm", "b"], lambda: shutil.copytree(spare, pair)):
        if (pair / "runs" / run).exists():
            again = rashomon("rm", "b")
            assert again.code == 0, f"{where}\n{again}"
        else:
            removals += 1
            assert found.code in (0, 1)
        assert not (pair / "runs" / run).exists(), where
        (folder,) = (path.parent for path in pair.glob("trash/**/run.json"))
        assert digest(folder) == whole, where
        restored = rashomon("restore", "b")
        assert restored.code == 0, f"{where}\n{restored}"
        assert digest(pair / "runs" / run) == whole, where
    assert removals


def name_of(folder):
    return json.loads((folder / "label.json").read_text())["name"]
