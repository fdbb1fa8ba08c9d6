"""Kill rashomon's commands with SIGKILL at random moments, and see whether the store forgives it.

After every kill, each run that was finished before is the same to the bit, and ``check --read-data`` is clean. The same
command again then ends with 0 and with the very files of a call that nobody disturbed; no run is lost or doubled.

    python tests/torture/crash.py --kills 200 --seed 0

Starting Python with torch takes seconds, so every command runs in a fork of this process, which has imported torch on
one thread and never computed with it. Moments are drawn in three ways: after a random time, before or after the n-th
call that changes the disk, or when the n-th new file has appeared.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SMALL = ["--model", "smallcnn(width=4)", "--data", "digits(train=300)", "--batch-size", "50", "--precision", "float32"]
TRAINING = ["--batch-size", "50", "--precision", "float32"]
BASE = [
    ["train", *SMALL, "--epochs", "2", "--seed", "1", "--name", "a"],
    ["train", *SMALL, "--epochs", "2", "--seed", "2", "--name", "b"],
    ["connect", "a", "b", *TRAINING, "--epochs", "1", "--points", "3", "--samples", "100", "--name", "ab"],
    ["probe", "a", "--what", "loss", "--loss-samples", "50", "--name", "spare"],
    ["probe", "b", "--what", "loss", "--loss-samples", "50", "--name", "gone"],
    ["rm", "gone"],
    ["export", "a", "--out", "from-a.safetensors"],
]
STATES = ("nothing", "begun", "steps saved", "files written", "published, no row", "done")
TRIES = 3  # kills in a row on the same store


@dataclass(frozen=True)
class Command:
    """A command line under test.

    Attributes:
        name: for the table.
        arguments: behind ``rashomon``.
        new: how many runs it publishes.
        virgin: whether it begins where no store is.
        undo: a command that leads back; it is called once the command has come to its end.
        moves: the name of the run that it moves into the trash or out of it.
    """

    name: str
    arguments: list[str]
    new: int = 1
    virgin: bool = False
    undo: list[str] | None = None
    moves: str | None = None


COMMANDS = [
    Command("train", ["train", *SMALL, "--epochs", "3", "--seed", "3"]),
    Command("train, no store", ["train", *SMALL, "--epochs", "2", "--seed", "4"], virgin=True),
    Command("train, family", ["train", *SMALL, "--epochs", "1,2", "--seed", "5-6", "--name", "f"], new=4),
    Command("connect", ["connect", "a", "b", *TRAINING, "--epochs", "3", "--points", "3", "--samples", "100"]),
    Command("probe", ["probe", "ab", "--points", "3", "--loss-samples", "50"]),
    Command("prune", ["prune", "a", *TRAINING, "--epochs", "3", "--l1", "1e-3", "--guard-every", "3"]),
    Command("compare", ["compare", "a", "b", "--ood", "photos", "--samples", "40"]),
    Command("import", ["import", "from-a.safetensors", "--model", SMALL[1], "--data", SMALL[3], "--name", "i"]),
    Command("export", ["export", "b", "--out", "from-b.safetensors"], new=0),
    Command("rm", ["rm", "spare"], new=0, undo=["restore", "spare"], moves="spare"),
    Command("restore", ["restore", "gone"], new=0, undo=["rm", "gone"], moves="gone"),
    Command("gc", ["gc"], new=0),
]


class Violation(AssertionError):
    """The store broke a promise."""


@dataclass
class Ended:
    """How a process ended: its exit code, or the negative number of the signal."""

    code: int
    out: str
    err: str


@dataclass
class Reference:
    """What an undisturbed call does.

    Attributes:
        seconds: how long it takes.
        calls: that change the disk.
        paths: files and folders that are seen to appear.
        files: SHA-256 by name of every file that it publishes, by run in order of their ids; or that it writes beside.
    """

    seconds: float
    calls: int
    paths: int
    files: list[dict[str, str]]


@dataclass
class Tally:
    """Kills by command and state, and what went wrong."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    litter: int = 0
    violations: list[str] = field(default_factory=list)


# Processes


def fork(arguments: list[str], cwd: Path, before: Callable[[], None] = lambda: None, after: Callable = lambda: None):
    """Run a command line in a fork, its output in files of ``cwd``; returns the process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.chdir(cwd)
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"../{cwd.name}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.environ.pop("RASHOMON_STORE", None)
        sys.argv = ["rashomon", *arguments]
        before()
        from rashomon_cli.cli.app import main

        code = main(arguments)
        after()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def reap(pid: int, cwd: Path) -> Ended:
    """Wait for a process."""
    status = os.waitpid(pid, 0)[1]
    files = [cwd.parent / f"{cwd.name}.{name}" for name in ("out", "err")]
    # A process that is killed before its first step has not made them.
    texts = [path.read_text(errors="replace") if path.exists() else "" for path in files]
    return Ended(os.waitstatus_to_exitcode(status), *texts)


def call(arguments: list[str], cwd: Path, **hooks: Callable) -> Ended:
    """Run a command line to its end."""
    return reap(fork(arguments, cwd, **hooks), cwd)


def must(arguments: list[str], cwd: Path, **hooks: Callable) -> Ended:
    """Run a command line that has to end with 0.

    Raises:
        Violation: if it does not.
    """
    ended = call(arguments, cwd, **hooks)
    if ended.code != 0:
        raise Violation(
            f"rashomon {' '.join(arguments)} ended with {ended.code}: {ended.err.strip()} {ended.out.strip()}"
        )
    return ended


def alive(pid: int) -> bool:
    """Whether a child runs still; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


# Calls that change the disk


def watch_calls(act: Callable[[int, bool], None]) -> None:
    """Call ``act(n, done)`` before and after the n-th call of this process that changes the disk."""
    from rashomon_cli.store.catalog import Catalog

    count = 0

    def wrapped(function: Callable, counts: Callable = lambda *_: True) -> Callable:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            if not counts(*arguments):
                return function(*arguments, **keywords)
            count += 1
            number = count
            act(number, False)
            found = function(*arguments, **keywords)
            act(number, True)
            return found

        return wrapper

    for name in ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "link", "symlink", "truncate"):
        setattr(os, name, wrapped(getattr(os, name)))
    os.open = wrapped(os.open, lambda path, flags, *_: flags & os.O_CREAT)
    for name in ("put", "create", "clear"):
        if hasattr(Catalog, name):
            setattr(Catalog, name, wrapped(getattr(Catalog, name)))


def counting(numbers: list[int]) -> Callable[[], None]:
    """A hook that keeps the number of calls."""

    def act(number: int, done: bool) -> None:
        numbers[:] = [number]

    return lambda: watch_calls(act)


def striking(at: int, done: bool) -> Callable[[], None]:
    """A hook by which the process kills itself before, or after, the n-th call that changes the disk."""

    def act(number: int, is_done: bool) -> None:
        if (number, is_done) == (at, done):
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: watch_calls(act)


def tree(folder: Path) -> set[str]:
    """Every path below a folder, as far as they stand still."""
    return {os.path.join(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files)}


# What a store holds


def digest(folder: Path) -> str:
    """SHA-256 over names and contents of all files below a folder."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def finished(store: Path, command: Command) -> dict[str, str]:
    """The digest of every finished run by id, in the store or its trash, unless the command empties that."""
    trash = [] if command.name == "gc" else store.glob("trash/**/run.json")
    found = [path.parent for path in (*store.glob("runs/*/run.json"), *trash)]
    if len({folder.name for folder in found}) != len(found):
        raise Violation("a run lies in the store and in its trash")
    return {folder.name: digest(folder) for folder in found}


def published(store: Path, ids: list[str]) -> list[dict[str, str]]:
    """Fingerprints by name of what runs have published, without their records."""
    found = []
    for run in ids:
        folder = store / "runs" / run
        record = json.loads((folder / "run.json").read_text())
        files = {artifact["path"]: artifact["sha256"] for artifact in record["artifacts"]}
        found.append({p: measured(folder / p) if p.endswith(".h5") else digest for p, digest in files.items()})
    return found


def measured(path: Path) -> str:
    """SHA-256 over what is in an HDF5 file; its bytes depend on the order in which arrays were written."""
    import h5py

    parts = []

    def add(name: str, data: Any) -> None:
        if isinstance(data, h5py.Dataset):
            values = data[()]
            content = values.tobytes() if data.dtype != object else repr(values.tolist()).encode()
            about = [(key, str(data.attrs[key])) for key in ("units", "long_name", "dims")]
            parts.append(f"{name} {data.dtype} {data.shape} {about} {hashlib.sha256(content).hexdigest()}")

    with h5py.File(path) as file:
        file.visititems(add)
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def written_beside(cwd: Path) -> list[dict[str, str]]:
    """SHA-256 of the files that a command left beside the store."""
    return [{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(cwd.glob("from-*"))}]


def catalogued(store: Path) -> dict[str, int]:
    """What the catalog on the disk says of each run: 1 where it is finished. A copy is read, lest it heals."""
    with tempfile.TemporaryDirectory() as copy:
        for path in store.glob("catalog.db*"):
            shutil.copy(path, copy)
        try:
            connection = sqlite3.connect(Path(copy) / "catalog.db")
            try:
                return dict(connection.execute("SELECT id, finished FROM runs").fetchall())
            finally:
                connection.close()
        except sqlite3.Error:
            return {}


def named(store: Path, name: str) -> list[str]:
    """Ids of the runs in the store that have a name, as their own files say."""
    labels = store.glob("runs/*/label.json")
    return [path.parent.name for path in labels if json.loads(path.read_text())["name"] == name]


def state_of(store: Path, earlier: dict[str, str], command: Command) -> str:
    """How far a command had come when it was killed."""
    rows = catalogued(store)
    present = {path.name for path in store.glob("runs/*") if path.is_dir()}
    if command.moves:
        moved = not named(store, command.moves) if command.name == "rm" else bool(named(store, command.moves))
        if not moved:
            return "nothing"
        return "published, no row" if present != set(rows) else "done"
    new = sorted(present - set(earlier))
    if not new:
        return "nothing"
    folder = store / "runs" / new[-1]
    if (folder / "run.json").exists():
        return "done" if rows.get(new[-1]) == 1 else "published, no row"
    if list(folder.glob("*.safetensors")) or (folder / "metrics.h5").exists():
        return "files written"
    if list(folder.glob("parts/*.h5")) or list(store.glob("stages/*/*.h5")):
        return "steps saved"
    return "begun"


def check(cwd: Path) -> None:
    """See that ``rashomon check`` finds no fault; where no store was made yet there is nothing to check."""
    if (cwd / "rashomon-store" / "store.json").exists():
        must(["check", "--read-data", "--json"], cwd)


# Trials


class Arena:
    """A folder with stores to start from, and what undisturbed calls make of them.

    Args:
        folder: a temporary one.
        chance: the source of all randomness.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.tally = Tally()
        self.base = folder / "base"
        self.base.mkdir()
        self.count = 0
        self.commands: list[Command] = []
        self.references: dict[str, Reference] = {}

    def prepare(self, names: list[str]) -> None:
        """Make the base store, and the references of some commands."""
        for arguments in BASE:
            must(arguments, self.base, after=self._keep_modules)
            self._import_what_is_used()
        self.commands = [command for command in COMMANDS if command.name in names]
        for command in self.commands:
            first = self._undisturbed(command)
            self._import_what_is_used()
            second = self._undisturbed(command)
            if first.files != second.files:
                raise Violation(f"{command.name}: two undisturbed calls differ: {first.files}, {second.files}")
            self.references[command.name] = second

    def fresh(self, command: Command) -> Path:
        """A folder of one's own to call a command in."""
        self.count += 1
        cwd = self.folder / f"trial-{self.count}"
        if command.virgin:
            cwd.mkdir()
        else:
            shutil.copytree(self.base, cwd)
        return cwd

    def _keep_modules(self) -> None:
        (self.folder / "modules").write_text("\n".join(sys.modules))

    def _import_what_is_used(self) -> None:
        """Import what a command imported on its way, so that later forks have it."""
        for name in (self.folder / "modules").read_text().split():
            if name not in sys.modules:
                with contextlib.suppress(Exception), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module(name)

    def _undisturbed(self, command: Command) -> Reference:
        """Call a command to its end, and see how long it takes, what it calls, and which files appear."""
        cwd = self.fresh(command)
        store = cwd / "rashomon-store"
        earlier, before, seen = finished(store, command), tree(cwd), set()
        numbers: list[int] = []

        def keep() -> None:
            self._keep_modules()
            (self.folder / "calls").write_text(str(*numbers))

        begun = time.perf_counter()
        pid = fork(command.arguments, cwd, before=counting(numbers), after=keep)
        while alive(pid):
            seen |= tree(cwd) - before
        seconds = time.perf_counter() - begun
        ended = reap(pid, cwd)
        ids = sorted(set(finished(store, command)) - set(earlier))
        if ended.code != 0 or len(ids) != command.new:
            words = f"ended with {ended.code} and {len(ids)} new runs, not {command.new}: {ended.err.strip()}"
            raise Violation(f"{command.name} {words}")
        files = published(store, ids) + written_beside(cwd)
        shutil.rmtree(cwd)
        return Reference(seconds, int((self.folder / "calls").read_text()), max(len(seen), 1), files)

    def kill_once(self, command: Command, cwd: Path) -> bool:
        """Call a command and kill it somewhere; False where it came to its end before."""
        reference, way = self.references[command.name], self.chance.choice(("time", "call", "call", "path"))
        if way == "call":
            at, done = self.chance.randint(1, reference.calls), self.chance.random() < 0.5
            ended = call(command.arguments, cwd, before=striking(at, done))
        elif way == "time":
            delay = self.chance.uniform(0, 1.05 * reference.seconds)
            pid = fork(command.arguments, cwd)
            time.sleep(delay)
            ended = _kill(pid, cwd)
        else:
            goal, extra = self.chance.randint(1, reference.paths), self.chance.choice((0, self.chance.uniform(0, 0.01)))
            before, seen = tree(cwd), set()
            pid = fork(command.arguments, cwd)
            while alive(pid) and len(seen) < goal:
                seen |= tree(cwd) - before
            time.sleep(extra)
            ended = _kill(pid, cwd)
        if ended.code == -signal.SIGKILL:
            self.tally.ways[way] += 1
            return True
        if ended.code != 0:
            raise Violation(f"rashomon {' '.join(command.arguments)} ended with {ended.code}: {ended.err.strip()}")
        return False

    def trial(self, command: Command, most: int) -> None:
        """Kill a command up to so many times on one store, then let it finish, and compare everything.

        Raises:
            Violation: if a promise is broken.
        """
        cwd = self.fresh(command)
        store = cwd / "rashomon-store"
        earlier = finished(store, command)
        for _ in range(self.chance.choice((1, 1, 2, TRIES)[:most])):
            if not self.kill_once(command, cwd):
                break
            state = state_of(store, earlier, command)
            self.tally.kills[command.name, state] += 1
            self.tally.litter += bool([path for path in tree(cwd) if path.endswith(".tmp")])
            self._same(command, store, earlier)
            check(cwd)
            if command.moves and state != "nothing":
                break
        self._finish(command, cwd, earlier)
        shutil.rmtree(cwd)

    def _same(self, command: Command, store: Path, earlier: dict[str, str]) -> None:
        now = finished(store, command)
        for run, before in earlier.items():
            if now.get(run) != before:
                raise Violation(f"the finished run {run} is {'altered' if run in now else 'gone'}")

    def _finish(self, command: Command, cwd: Path, earlier: dict[str, str]) -> None:
        store, reference = cwd / "rashomon-store", self.references[command.name]
        if command.moves:
            self._move(command, cwd, earlier)
        else:
            must(command.arguments, cwd)
        self._same(command, store, earlier)
        check(cwd)
        ids = sorted(set(finished(store, command)) - set(earlier))
        found = published(store, ids) + written_beside(cwd)
        if found != reference.files:
            raise Violation(f"the result is not that of an undisturbed call: {found}, not {reference.files}")
        present = sorted(path.parent.name for path in store.glob("runs/*/request.json"))
        listed = json.loads(must(["ls", "--json"], cwd).out)["runs"]
        if present != sorted(run["id"] for run in listed) or len({run["name"] for run in listed}) != len(listed):
            raise Violation(f"ls tells of {[run['name'] for run in listed]}, the folders are {present}")
        if litter := [path for path in store.glob("runs/*/.*") if (path.parent / "run.json").exists()]:
            raise Violation(f"left behind in a finished run: {litter}")
        if command.new:
            must(command.arguments, cwd)
            if sorted(set(finished(store, command)) - set(earlier)) != ids:
                raise Violation("the same request once more made a second run")

    def _move(self, command: Command, cwd: Path, earlier: dict[str, str]) -> None:
        """Bring a removal or a restoration to its end, wherever it was, and back again."""
        store = cwd / "rashomon-store"
        assert command.undo
        steps = [command.arguments, command.undo]
        if state_of(store, earlier, command) != "nothing":
            steps = [command.undo, command.arguments, command.undo]
        for arguments in (*steps, command.arguments):
            must(arguments, cwd)
            self._same(command, store, earlier)

    def run(self, kills: int, violations: int) -> Tally:
        """Kill so many times, the commands by turns, unless so many promises are broken before."""
        while self.tally.kills.total() < kills and len(self.tally.violations) < violations:
            for command in self.commands:
                left = kills - self.tally.kills.total()
                if left <= 0 or len(self.tally.violations) == violations:
                    break
                try:
                    self.trial(command, left)
                except Violation as violation:
                    self.tally.violations.append(f"{command.name}, in {self.folder}/trial-{self.count}: {violation}")
        return self.tally


def _kill(pid: int, cwd: Path) -> Ended:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return reap(pid, cwd)


def table(tally: Tally) -> Iterator[str]:
    """The outcome, a command a line."""
    names = list(dict.fromkeys(name for name, _ in tally.kills))
    yield f"{'killed in':<18}" + "".join(f"{state:>19}" for state in STATES) + f"{'kills':>8}"
    for name in names:
        counts = [tally.kills[name, state] for state in STATES]
        yield f"{name:<18}" + "".join(f"{count:>19}" for count in counts) + f"{sum(counts):>8}"
    counts = [sum(tally.kills[name, state] for name in names) for state in STATES]
    yield f"{'all':<18}" + "".join(f"{count:>19}" for count in counts) + f"{sum(counts):>8}"
    yield f"by {', '.join(f'{way} {count}' for way, count in sorted(tally.ways.items()))}; " + (
        f"{tally.litter} left a temporary file"
    )


def main(arguments: list[str] | None = None) -> int:
    """Kill, print a table, and return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--violations", type=int, default=3, help="stop after so many")
    parser.add_argument("--only", action="append", help="the name of a command; all where left out")
    given = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="rashomon-crash-"))
    begun = time.perf_counter()
    arena = Arena(folder, random.Random(given.seed))
    arena.prepare(given.only or [command.name for command in COMMANDS])
    print(f"prepared in {time.perf_counter() - begun:.0f} s", flush=True)
    if len(os.listdir("/proc/self/task")) != 1:
        print("this process has threads, which a fork would lose", file=sys.stderr)
        return 2
    tally = arena.run(given.kills, given.violations)
    print("\n".join(table(tally)))
    print(f"{len(tally.violations)} violations, seed {given.seed}, {time.perf_counter() - begun:.0f} s")
    for violation in tally.violations:
        print(violation)
    if not tally.violations:
        shutil.rmtree(folder)
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
