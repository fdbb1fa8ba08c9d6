"""Code of the user's: what it may do while it is imported, and what Python does not see."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from rashomon_cli.core.errors import UsageError
from rashomon_cli.sources import imports


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(name, init="", module=""): a package ``name`` with a module ``inside``."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name, init="", module="def net():\n    return 1\n"):
        made.append(name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(init)
        (tmp_path / name / "inside.py").write_text(module)
        importlib.invalidate_caches()
        return tmp_path / name / "inside.py"

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[name]


def test_code_that_changed_after_it_was_imported_is_refused_with_the_way_out(package):
    path = package("edited_package")
    text = path.read_text()
    assert imports.load("edited_package.inside:net")() == 1
    path.write_text(text.replace("1", "2"))
    with pytest.raises(UsageError, match=r"inside\.py changed after it was imported") as caught:
        imports.load("edited_package.inside:net")
    assert caught.value.hint == f"restart Python, or name the file instead: {path}:FUNCTION"
    path.write_text(text)
    assert imports.load("edited_package.inside:net")() == 1
    for number in (1, 2):
        path.write_text(text.replace("1", str(number)))
        assert imports.load(f"{path}:net")() == number


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("1 / 0", "importing bad_package.inside failed: ZeroDivisionError"),
        ("import nowhere_to_be_found", "failed: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise ValueError('two\\nlines')", "failed: ValueError: two lines"),
        ("import sys\nsys.exit('usage: …')", "failed: SystemExit: usage"),
    ],
)
def test_a_package_that_fails_is_a_usage_error(package, init, words):
    package("bad_package", init)
    for act in (imports.source_file, imports.load):
        with pytest.raises(UsageError, match=words):
            act("bad_package.inside:net")


@pytest.mark.parametrize("target", ["FILE:net", "leaving_package.inside:net"])
def test_a_file_that_leaves_the_process_is_a_usage_error(package, target):
    path = package("leaving_package", module="import sys\nsys.exit(3)\n")
    with pytest.raises(UsageError, match="failed: SystemExit: 3"):
        imports.load(target.replace("FILE", str(path)))


def test_a_file_of_the_same_size_and_time_is_not_the_same(tmp_path):
    path = tmp_path / "quick.py"
    for number in (1, 2, 3):
        path.write_text(f"def net():\n    return {number}\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert imports.load(f"{path}:net")() == number
