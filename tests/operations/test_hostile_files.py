"""Files that want to run code, or to eat time and memory, given to ``import``: nothing of them ever happens."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import subprocess
import tarfile
import time
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

CANARY = "canary"


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class WithState:
    """Pickles with a state that is set on load."""

    def __getstate__(self):
        return {"state": 1}

    def __setstate__(self, state):
        open(CANARY, "w").close()


TOUCH = f"open({CANARY!r}, 'w').close()"


def archive(pickled, **members):
    """A zip file as torch.save makes it, around a pickle of one's own."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for name, text in {"archive/version": "3\n", "archive/byteorder": "little", **members}.items():
            file.writestr(name, text)
    return content.getvalue()


def saved(value, **options):
    content = io.BytesIO()
    torch.save(value, content, **options)
    return content.getvalue()


def packed(value):
    """An archive of torch.save whose members are compressed: small files that unfold to large ones."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(value))) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return content.getvalue()


def tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            text = pickle.dumps(Calls(os.system, f"touch {CANARY}"), 2)
            member = tarfile.TarInfo(name)
            member.size = len(text)
            file.addfile(member, io.BytesIO(text))
    return content.getvalue()


def scripted():
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), content)
    return content.getvalue()


def tuples(depth=60):
    """A dictionary whose key holds itself 2⁶⁰ times over: to hash it takes for ever."""
    doubled = b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(depth))
    return b"\x80\x02)q\x00" + doubled + b"0}h%cNs." % depth


def lying(honest, lie):
    """Two by four numbers whose description is another one."""
    with zipfile.ZipFile(io.BytesIO(saved({"weight": torch.ones(2, 4)}))) as file:
        text, data = file.read("archive/data.pkl"), file.read("archive/data/0")
    assert honest in text
    return archive(text.replace(honest, lie, 1), **{"archive/data/0": data})


def tensors(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "os.system": lambda: pickle.dumps(Calls(os.system, f"touch {CANARY}")),
    "os.system, protocol 0": lambda: pickle.dumps(Calls(os.system, f"touch {CANARY}"), 0),
    "eval": lambda: saved({"w": Calls(eval, TOUCH)}),
    "exec": lambda: saved({"state_dict": {"w": Calls(exec, TOUCH)}}),
    "exec in a file of old": lambda: saved({"w": Calls(exec, TOUCH)}, _use_new_zipfile_serialization=False),
    "builtins.getattr": lambda: archive(pickle.dumps(Calls(getattr, "x", "__class__"), 2)),
    "subprocess.Popen": lambda: saved(Calls(subprocess.Popen, ["touch", CANARY])),
    "a call inside a call": lambda: saved([Calls(print, Calls(builtins.__import__, "os"), Calls(eval, TOUCH))]),
    "open": lambda: archive(b"cbuiltins\nopen\n(V" + CANARY.encode() + b"\nVw\ntR."),
    "INST": lambda: archive(b"(Vtouch " + CANARY.encode() + b"\nios\nsystem\n."),
    "a name from the stack": lambda: archive(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch canary\x85R."),
    "an extension code": lambda: archive(b"\x80\x02\x82\x01."),
    "a class nobody knows": lambda: archive(b"\x80\x02cnowhere.to_be\nFound\n)R."),
    "torch.load": lambda: archive(b"\x80\x02ctorch\nload\nVother.pt\n\x85R."),
    "torch.hub": lambda: archive(b"\x80\x02ctorch.hub\nload\nVsomeone/else\nVnet\n\x86R."),
    "__setstate__": lambda: pickle.dumps(WithState()),
    "a whole module": lambda: saved(nn.Linear(2, 2)),
    "a whole module of old": lambda: saved(nn.Linear(2, 2), _use_new_zipfile_serialization=False),
    "objects in numpy": lambda: saved({"w": np.array([WithState()], dtype=object)}),
    "arrays of numpy": lambda: saved({"w": np.ones(2)}),
    "TorchScript": scripted,
    "a member outside": lambda: archive(pickle.dumps({}, 2), **{"../../canary": "x"}),
    "compressed members": lambda: packed({"w": torch.zeros(10**6)}),
    "two pickles": lambda: archive(pickle.dumps({}, 2), **{"other/data.pkl": pickle.dumps({}, 2)}),
    "the tar format": tar,
    "a tuple within itself": lambda: archive(tuples()),
    "a tuple within itself, no archive": tuples,
    "nothing but marks": lambda: archive(b"\x80\x02" + b"(" * 10**5 + b"."),
    "pops from nothing": lambda: archive(b"\x80\x02000000."),
    "gets what was never put": lambda: archive(b"\x80\x02h\x07."),
    "lists in lists": lambda: archive(b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."),
    "a long text that is not there": lambda: b"\x80\x04\x8d" + (2**40).to_bytes(8, "little") + b"x",
    "more numbers than bytes": lambda: lying(b"K\x02K\x04\x86", b"J\xff\xff\xff\x7fK\x04\x86"),
    "fewer than none": lambda: lying(b"K\x02K\x04\x86", b"J\xff\xff\xff\xffK\x04\x86"),
    "steps beyond the end": lambda: lying(b"K\x04K\x01\x86", b"J\xff\xff\xff\x7fK\x01\x86"),
    "more bytes than the file": lambda: lying(b"K\x08t", b"J\xff\xff\xff\x7ft"),
    "random": lambda: np.random.default_rng(0).bytes(5000),
    "text": lambda: b"<html>404 not found</html>",
    "an empty archive": lambda: b"PK\x05\x06" + b"\0" * 18,
    "a beheaded archive": lambda: saved({"w": torch.ones(3)})[4:],
}


HEADERS = {
    "a pickle": lambda: pickle.dumps(Calls(os.system, f"touch {CANARY}")),
    "a header longer than the file": lambda: (2**63).to_bytes(8, "little") + b"{}",
    "bytes beyond the end": lambda: tensors({"w": entry([4], 0, 16)}),
    "more numbers than bytes": lambda: tensors({"w": entry([10**6, 10**6], 0, 8)}),
    "numbers beyond all bounds": lambda: tensors({"w": entry([2**62, 2**62], 0, 8)}),
    "two tensors in one place": lambda: tensors({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}),
    "an unknown type": lambda: tensors({"w": entry([2], 0, 8, "F31")}),
    "no JSON": lambda: tensors(b"{not json}"),
    "brackets in brackets": lambda: tensors(b'{"w":' + b"[" * 10**5),
    "nothing": lambda: b"",
}


@pytest.mark.parametrize(
    ("ending", "kind"), [*[("pt", kind) for kind in HOSTILE], *[("safetensors", kind) for kind in HEADERS]]
)
def test_a_hostile_file_is_one_line_and_nothing_happens(rashomon, tmp_path, ending, kind):
    (tmp_path / f"evil.{ending}").write_bytes((HOSTILE if ending == "pt" else HEADERS)[kind]())
    began = time.monotonic()
    shown = rashomon("import", f"evil.{ending}", "--model", "mlp(width=2)", "--data", "digits(train=20)")
    assert shown.code == 1
    assert shown.out == ""
    error, hint = shown.err.splitlines()
    assert error.startswith("error: ")
    assert f"evil.{ending}" in error
    assert len(error) < 400
    assert hint.startswith("hint: ")
    assert time.monotonic() - began < 10
    assert not [path for path in tmp_path.rglob("*") if CANARY in path.name]
    assert not list(tmp_path.glob("rashomon-store/runs/0*"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("os.system", f"{os.system.__module__}.system"),
        ("eval", "__builtin__.eval"),
        ("INST", "os.system"),
        ("a name from the stack", "posix.system"),
        ("a class nobody knows", "nowhere.to_be.Found"),
        ("a whole module", "torch.nn.modules.linear.Linear"),
        ("torch.load", "torch.load"),
        ("arrays of numpy", "multiarray._reconstruct"),
    ],
)
def test_what_a_file_wants_to_run_is_named(rashomon, tmp_path, kind, name):
    (tmp_path / "evil.pt").write_bytes(HOSTILE[kind]())
    shown = rashomon("import", "evil.pt", "--model", "mlp", "--data", "digits")
    assert name in shown.err.splitlines()[0]


@pytest.mark.parametrize("kind", ["os.system", "os.system, protocol 0", "__setstate__"])
def test_the_files_would_do_harm_to_who_unpickles_them(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE[kind]())
    assert (tmp_path / CANARY).exists()
