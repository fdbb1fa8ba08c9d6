"""A short run of the harness that ``make crash-test`` runs at length."""

import re
from pathlib import Path

import pytest

CRASH = Path(__file__).with_name("crash.py")
# A writer that leaves out the temporary file and the renaming, so that a kill can leave half a file.
CARELESS = f"""
import sys
sys.path.insert(0, {str(CRASH.parent)!r})
import crash
from rashomon_cli.store import durable

def write(path, content):
    if callable(content):
        content(path)
        return
    with open(path, "wb") as stream:
        stream.write(content[:len(content) // 2])
        stream.flush()
        import os
        os.fsync(stream.fileno())
        stream.write(content[len(content) // 2:])

durable.write = write
sys.exit(crash.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_twenty_kills_break_no_promise(start):
    process = start(
        "--kills", 20, "--seed", 1, python=f"import runpy; runpy.run_path({str(CRASH)!r}, run_name='__main__')"
    )
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    (total,) = re.findall(r"^all .* (\d+)$", out, re.MULTILINE)
    assert int(total) == 20
    assert "0 violations" in out


@pytest.mark.slow
def test_the_harness_sees_a_writer_that_is_not_atomic(start):
    process = start("--kills", 40, "--seed", 1, "--only", "train", "--violations", 1, python=CARELESS)
    out, _ = process.communicate()
    assert process.returncode == 1
    assert "check --read-data --json ended with 12" in out
