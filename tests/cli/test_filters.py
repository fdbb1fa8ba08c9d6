"""The filters of ``ls``, alone and together, in every form of output."""

import json

import pytest

from rashomon_cli.core.results import Result
from rashomon_cli.store import Parent, durable
from rashomon_cli.store.trash import remove

DATA = {"spec": "digits", "fingerprint": "f"}


@pytest.fixture
def here(store, rashomon):
    """Four models of two builders, a path between two of them, a pruned one, and one that was interrupted."""

    def publish(name, kind="model", builder="mlp", loss=None, parents=(), data=DATA, **more):
        config = {"name": name, "loss": "cross-entropy", "l1": None, **more.pop("config", {})}
        parents = [store.find(parent) for parent in parents]
        links = [Parent(id=run.id, role=role) for run, role in zip(parents, ("start", "end"))]
        with store.begin("fake", config, name=name, parents=links) as job:
            metrics = ({} if loss is None else {"train_loss": loss}) | more
            record = {"builder": {"target": builder, "arguments": {"width": 8}, "sha256": None}, "data": data}
            job.publish(kind, metrics=metrics, measurements={}, **record if kind == "model" else {})

    publish("a", loss=0.10, test_accuracy=0.91, config={"seed": 1})
    publish("b", loss=0.14, test_accuracy=0.95, config={"seed": 2})
    publish("c", builder="cnn", loss=0.02, test_accuracy=0.99, config={"seed": 1})
    publish("d", builder="cnn", loss=0.30, test_accuracy=0.80, config={"seed": 3})
    publish("ab", "path", parents=("a", "b"), curve=[0.1, 0.2, 0.15])
    publish("a-pruned", loss=0.11, sparsity=0.7, parents=("a",), config={"l1": 1e-4})
    with store.begin("fake", {"open": 1}, name="open") as job:
        job.save("state", Result())
    for name in ("a", "c"):
        store.tag(name, ["anchor"])
    store.tag("c", ["best"])

    def call(*arguments):
        return rashomon("ls", *arguments, "--store", store.root)

    call.store = store
    return call


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], "a b c d ab a-pruned"),
        (["--kind", "path"], "ab"),
        (["--kind", "comparison"], ""),
        (["--tag", "anchor"], "a c"),
        (["--tag", "anchor, best"], "c"),
        (["--tag", "nothing"], ""),
        (["--parent", "a"], "ab a-pruned"),
        (["--parent", "ab"], ""),
        (["--where", "test_accuracy>0.9"], "a b c"),
        (["--where", "test_accuracy>0.9,seed=1"], "a c"),
        (["--where", "l1=1e-4"], "a-pruned"),
        (["--where", "loss=cross-entropy,seed!=1"], "b d"),
        (["--where", "name=d"], "d"),
        (["--where", "curve<0.3"], "ab"),
        (["--where", "curve<0.2"], ""),
        (["--within", "0.05"], "a b c a-pruned"),
        (["--within", "0"], "a c"),
        (["--within", "0.02"], "a c a-pruned"),
        (["--within", "9"], "a b c d a-pruned"),
        (["--within", "0.05", "--where", "seed!=1"], "b"),
        (["--within", "0.02", "--where", "seed!=1"], ""),
        (["--parent", "a", "--kind", "model", "--within", "0"], ""),
        (["--parent", "a", "--kind", "model", "--within", "0.01"], "a-pruned"),
    ],
)
def test_runs_that_pass(here, filters, names):
    found = json.loads(here(*filters, "--json").out)["runs"]
    assert [run["name"] for run in found] == names.split()
    assert here(*filters, "-q").out.split() == [run["id"] for run in found]
    table = here(*filters)
    shown = [line.split()[0] for line in table.out.splitlines()[1:] if "interrupted" not in line]
    assert (table.code, shown) == (0, names.split())
    assert ("no run passes" in table.err) == (not table.out)


def test_interrupted_runs_pass_filters_that_they_can(here):
    assert "open" in here().out
    assert "open" not in here("--kind", "model").out
    assert "open" not in here("--where", "open=1").out


def test_the_groups_of_a_rashomon_set_are_named_where_there_are_several(here):
    table = [line.split("  ")[-1].strip() for line in here("--within", "0.05").out.splitlines()]
    mlp, cnn = "mlp(width=8), digits", "cnn(width=8), digits"
    assert table == ["group", mlp, mlp, cnn, mlp]
    assert "group" not in here("--within", "0.05", "--where", "name=a").out


def test_a_removed_parent_still_selects_its_children(here):
    run_id = here.store.find("a").id
    remove(here.store, ["a"], force=True)
    assert len(here("--parent", run_id, "-q").out.split()) == 2
    assert here("--parent", "a").code == 2


@pytest.mark.parametrize(
    ("filters", "words", "hint"),
    [
        (["--where", "test_acuracy>0.9"], "no metric or option 'test_acuracy'", "test_accuracy>0.9"),
        (["--where", "zzz>0.9"], "no metric or option 'zzz'", "rashomon show NAME --json"),
        (["--where", "test_accuracy"], "'test_accuracy' is no comparison", "rashomon ls --where"),
        (["--where", "test_accuracy>high"], "'high' in 'test_accuracy>high' is no number", "rashomon ls --where"),
        (["--parent", "aa"], "no run 'aa'", "rashomon ls"),
        (["--kind", "modell"], "--kind", "rashomon ls --help"),
        (["--within", "-1"], "--within = -1.0", "Rashomon set"),
        (["--within", "x"], "--within", "rashomon ls --help"),
    ],
)
def test_a_wrong_filter_is_explained(here, filters, words, hint):
    outcome = here(*filters)
    assert (outcome.code, outcome.out) == (2, "")
    error, way_out = outcome.err.splitlines()
    assert words in error
    assert hint in way_out


def test_ls_in_json_is_what_show_says(here, rashomon):
    more = {"config", "builder", "data", "versions", "seeds", "notes", "argv", "code", "started", "finished", "tags"}
    for run in json.loads(here("--json").out)["runs"]:
        shown = json.loads(rashomon("show", run["id"], "--json", "--store", here.store.root).out)
        assert {key: value for key, value in shown.items() if key not in more} == run


def publish_odd(store, name, **changes):
    """A run whose document was made by hand, in the schema that has no digest."""
    with store.begin("fake", {"name": name}, name=name) as job:
        run = job.publish("model", metrics={}, measurements={})
    document = json.loads((run.folder / "run.json").read_bytes())
    del document["sha256"]
    durable.write_json(run.folder / "run.json", document | {"schema_version": 1} | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"train_loss": "low", "test_accuracy": ["high", None, {}], "t": [[1]]}},
        {"metrics": {"train_loss": True}},
        {"builder": {}},
        {"builder": {"target": "mlp", "arguments": [1]}},
        {"builder": {"target": ["mlp"], "arguments": {"width": [{}]}}},
        {"builder": {"arguments": {}}, "data": {"spec": 1, "fingerprint": {}}},
        {"data": {"x": 1}},
        {"config": {"loss": {"a": [1]}, "seed": {}}},
        {"data": {}, "builder": {"x": []}},
    ],
    ids=json.dumps,
)
def test_odd_documents_make_no_list_fail(here, changes):
    usual = {
        "metrics": {"train_loss": 0.1},
        "builder": {"target": "mlp", "arguments": {"width": 8}, "sha256": None},
        "data": DATA,
    }
    publish_odd(here.store, "odd", **usual | changes)
    here.store.reindex()
    for filters in ([], ["--within", "0.05"], ["--where", "train_loss<1,seed=1"], ["--where", "loss!=x"]):
        for form in ([], ["--json"]):
            outcome = here(*filters, *form)
            assert outcome.code == 0, outcome.err


def test_sets_of_the_same_name_are_numbered_on_their_own(here):
    builder = {"arguments": {"width": 8}, "sha256": None}
    more = {"metrics": {"train_loss": 0.1}, "data": DATA | {"fingerprint": "g"}}
    publish_odd(here.store, "mlp-2", builder=builder | {"target": "mlp"}, **more)
    publish_odd(here.store, "cnn-2", builder=builder | {"target": "cnn"}, **more)
    here.store.reindex()
    groups = {line.split("  ")[-1].strip() for line in here("--within", "9").out.splitlines()[1:]}
    one, other = "mlp(width=8), digits", "cnn(width=8), digits"
    assert groups == {one, f"{one} #2", other, f"{other} #2"}


def test_a_specification_passes_however_it_is_written(here):
    for name, model in (("wide", "mlp(width=8, depth=2)"), ("deep", "mlp(width=8,depth=3)")):
        with here.store.begin("fake", {"model": model}, name=name) as job:
            job.publish("model", metrics={}, measurements={})
    assert here("--where", "model=mlp(depth=2,width=8)").out.splitlines()[1].startswith("wide ")
    assert len(here("--where", "model!=mlp(depth=2,width=8)", "-q").out.split()) == 1
