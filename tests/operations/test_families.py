"""Families: what is finished is found, what was interrupted is resumed, what fails stops no other."""

import json

import pytest

from rashomon_cli.core.errors import Damaged, Diverged, Refused, UsageError
from rashomon_cli.core.sweeps import family
from rashomon_cli.operations import costs, prune, train
from rashomon_cli.operations.families import carry_out, dry_run
from rashomon_cli.store import Store

BASE = {"model": "mlp(width=8)", "data": "digits(train=200)", "epochs": "1", "batch_size": 50, "precision": "float32"}


def trainings(**options):
    return family(train.TrainConfig, BASE | options)


def prunings(runs, **options):
    return family(prune.PruneConfig, {"run": runs, "batch_size": 50, "precision": "float32", "samples": 50} | options)


def test_members_finished_before_are_found_and_the_others_made(store, at):
    first = carry_out(at(store), trainings(seed="2"), train.plan)
    found = carry_out(at(store, name="x"), trainings(seed="1-3"), train.plan)
    assert [(o.name, o.found) for o in found] == [("x-s1", False), (first[0].name, True), ("x-s3", False)]
    assert [o.run.record.config["seed"] for o in found] == [1, 2, 3]
    assert all(o.found for o in carry_out(at(store), trainings(seed="1-3"), train.plan))
    assert len(store.rows()) == 3


def test_an_interrupted_member_is_resumed_and_the_rest_made(store, at, teach):
    undisturbed = teach(store, "twin", seed=2, epochs=4, batch_size=50, lr=0.1).metrics
    asked = trainings(seed="1-3", epochs="4")
    with pytest.raises(KeyboardInterrupt):
        carry_out(at(store, stop_after=4 * 4 + 6, name="x"), asked, train.plan)
    assert {row["name"]: row["status"] for row in store.rows()}["x-s1"] == "finished"
    found = carry_out(at(store, name="x"), asked, train.plan)
    assert [(o.name, o.found) for o in found][:2] == [("x-s1", True), ("twin", True)]
    store_b = Store.open(store.root.parent / "other", create=True)
    with pytest.raises(KeyboardInterrupt):
        carry_out(at(store_b, stop_after=4 * 4 + 6, name="x"), asked, train.plan)
    assert [(row["name"], row["status"]) for row in store_b.rows()] == [("x-s1", "finished"), ("x-s2", "interrupted")]
    context = at(store_b, name="x")
    resumed = carry_out(context, asked, train.plan)
    assert [o.found for o in resumed] == [True, False, False]
    assert "resumed x-s2 after epoch 1" in context.progress.notes
    assert resumed[1].run.metrics == undisturbed


def test_a_member_that_fails_stops_no_other(store, at):
    found = carry_out(at(store), trainings(lr="0.1,1e30", model="mlp(width=8)"), train.plan)
    assert [type(o.error) for o in found] == [type(None), Diverged]
    assert found[0].run is not None
    with pytest.raises(Diverged):
        carry_out(at(store), trainings(lr="1e30"), train.plan)


def test_what_can_be_refused_is_refused_before_the_first_member(store, at, teach):
    teach(store, "x-s2", seed=9)
    with pytest.raises(UsageError, match="'x-s2' is taken"):
        carry_out(at(store, name="x"), trainings(seed="1-3"), train.plan)
    with pytest.raises(UsageError, match="no model 'mlq'"):
        carry_out(at(store), trainings(model="mlp,mlq"), train.plan)
    with pytest.raises(UsageError, match="no run 'nobody'"):
        carry_out(at(store), prunings(["x-s2", "nobody"]), prune.plan)
    assert [row["name"] for row in store.rows()] == ["x-s2"]


BROKEN = """
from torch import nn
class Net(nn.Module):
    def __init__(self, inputs, outputs, fails):
        super().__init__()
        self.layer, self.fails, self.calls = nn.Linear(inputs, outputs), fails, 0
    def forward(self, x):
        self.calls += 1
        if self.fails and self.calls > 3:
            raise KeyError("mine")
        return self.layer(x.flatten(1))
def net(input_shape, num_classes, fails=False):
    return Net(64, num_classes, fails)
"""


def test_a_fault_of_ones_own_code_stops_no_other_member(store, at, tmp_path):
    (tmp_path / "own.py").write_text(BROKEN)
    model = f"{tmp_path}/own.py:net(fails=True),{tmp_path}/own.py:net"
    found = carry_out(at(store), trainings(model=model), train.plan)
    assert [o.run is None for o in found] == [True, False]
    assert "KeyError" in found[0].error.message


def test_a_damaged_member_stops_no_other(store, at):
    (first, *_) = carry_out(at(store, name="x"), trainings(seed="1-2"), train.plan)
    path = first.run.folder / "run.json"
    path.write_bytes(path.read_bytes()[:-9] + b"flipped!\n")
    found = carry_out(at(store, name="x"), trainings(seed="1-3"), train.plan)
    assert [type(o.error) for o in found] == [Damaged, type(None), type(None)]
    assert [o.found for o in found] == [False, True, False]


def test_a_model_that_does_not_fit_is_refused_before_the_first_member(store, at):
    with pytest.raises(UsageError, match="no argument 'widht'"):
        carry_out(at(store), trainings(model="mlp(width=9),mlp(widht=8)"), train.plan)
    assert store.rows() == []


def test_again_makes_new_runs_and_needs_new_names(store, at):
    first = carry_out(at(store, name="x"), trainings(seed="1-2"), train.plan)
    with pytest.raises(UsageError, match="'x-s1' is taken"):
        carry_out(at(store, name="x", again=True), trainings(seed="1-2"), train.plan)
    second = carry_out(at(store, name="y", again=True), trainings(seed="1-2"), train.plan)
    assert [o.name for o in second] == ["y-s1", "y-s2"]
    assert not {o.run.id for o in first} & {o.run.id for o in second}


def test_runs_of_one_problem_are_timed_once(zoo, at, monkeypatch):
    timed = []
    monkeypatch.setattr(costs, "rates", lambda *a: timed.append(a[1]) or costs.Rates(1, 1, 1, 1, 1))
    dry_run(at(zoo), prunings(["a", "b", "c", "d"], thr="0.1,0.2"), prune.plan)
    assert len(timed) == 2  # a and b are of one kind, c and d of another


def test_prunings_of_a_family_share_their_l1_trainings(zoo, at):
    context = at(zoo)
    asked = prunings(["a", "b"], l1="1e-4,1e-3", thr="0.01,0.05", epochs="1,2", epsilon=10.0)
    expected = {o.name: o.forward_passes for o in dry_run(at(zoo), asked, prune.plan)}
    found = carry_out(context, asked, prune.plan)
    assert len(found) == len({o.run.id for o in found}) == 16
    assert len(list((zoo.root / "stages").iterdir())) == 4
    trained = sum(o.run.measurements()["guard"]["step"].values[-1] == 0 for o in found)
    assert trained == 0
    notes = [note for note in context.progress.notes if note.startswith("found")]
    # Each L1 training is begun once; the second threshold and the longer one find what was done.
    assert len(notes) == 16 - 4
    alone = [
        o.forward_passes for member in asked.members for o in dry_run(at(zoo, again=True), prunings(["a"]), prune.plan)
    ]
    assert sum(expected.values()) < sum(alone)
    assert {name.rpartition("-e")[2] for name in expected} == {"1", "2"}


def test_a_dry_run_says_what_is_missing_and_counts_shared_work_once(zoo, at):
    asked = prunings(["a"], thr="0.01,0.05,0.1", epochs="2", epsilon=10.0)
    first, *others = dry_run(at(zoo), asked, prune.plan)
    training = {step.title: step.forward_passes for step in first.steps}["2 epochs of training with the penalty"]
    assert training == 2 * 200
    assert all(other.steps[0].forward_passes == 0 for other in others)
    assert [cost.status for cost in [first, *others]] == ["missing"] * 3
    assert all(cost.seconds > 0 for cost in [first, *others])
    carry_out(at(zoo), prunings(["a"], thr="0.05", epochs="2", epsilon=10.0), prune.plan)
    after = dry_run(at(zoo), asked, prune.plan)
    assert [cost.status for cost in after] == ["missing", "finished", "missing"]
    assert after[0].steps[0].forward_passes == after[1].forward_passes == 0


def test_a_dry_run_knows_an_interrupted_member(store, at):
    with pytest.raises(KeyboardInterrupt):
        carry_out(at(store, stop_after=6, name="x"), trainings(seed="1-2", epochs="3"), train.plan)
    found = dry_run(at(store, name="x"), trainings(seed="1-2", epochs="3"), train.plan)
    assert [(cost.name, cost.status) for cost in found] == [("x-s1", "interrupted"), ("x-s2", "missing")]
    assert [row["status"] for row in store.rows()] == ["interrupted"]


def test_an_interrupted_pruning_is_listed_and_resumes(zoo, at):
    asked = prunings(["a"], epochs="3", epsilon=10.0)
    with pytest.raises(KeyboardInterrupt):
        carry_out(at(zoo, stop_after=7, name="p"), asked, prune.plan)
    assert {row["name"]: row["status"] for row in zoo.rows()}["p"] == "interrupted"
    context = at(zoo, name="p")
    (found,) = carry_out(context, asked, prune.plan)
    assert found.name == "p"
    assert "found 1 epoch of the L1 training in the store" in context.progress.notes


def test_a_refusal_of_one_pair_of_a_family_is_early(zoo, at):
    from rashomon_cli.operations import connect

    asked = family(connect.ConnectConfig, {"a": "a", "b": "c", "seed": "1-2"})
    with pytest.raises(Refused, match="c does not fit a"):
        carry_out(at(zoo), asked, connect.plan)


def test_the_command_line_makes_a_family(rashomon):
    call = ["train", "--model", "mlp(width=8)", "--data", "digits(train=200)", "--epochs", 1, "--batch-size", 50]
    plan = json.loads(rashomon(*call, "--seed", "1-3", "--name", "x", "--dry-run", "--json").out)
    assert [(run["name"], run["status"]) for run in plan["runs"]] == [(f"x-s{n}", "missing") for n in (1, 2, 3)]
    assert plan["forward_passes"] == sum(plan["steps"].values()) == 3 * (200 + 560 + 560)
    assert plan["seconds"] > 0
    made = rashomon(*call, "--seed", "1-3", "--name", "x", "--json")
    assert made.code == 0, made.err
    found = json.loads(made.out)
    assert [run["name"] for run in found["runs"]] == ["x-s1", "x-s2", "x-s3"]
    assert found["failed"] == []
    ids = rashomon(*call, "--seed", "1-3", "-q").out.split()
    assert ids == [run["id"] for run in found["runs"]]
    table = rashomon(*call, "--seed", "1-3,9")
    assert [line.split()[:2] for line in table.out.splitlines()[1:]] == [
        *([f"x-s{n}", "found"] for n in (1, 2, 3)),
        ["mlp-digits-s9", "done"],
    ]
    again = rashomon(*call, "--seed", "1-3", "--dry-run")
    assert "0 of 3 runs are missing" in again.out
    assert "finished already: x-s1" in rashomon(*call, "--seed", 1, "--dry-run").out


def test_a_family_that_is_partly_done_has_code_3(rashomon):
    call = ["train", "--model", "mlp(width=8)", "--data", "digits(train=200)", "--epochs", 1, "--batch-size", 50]
    partly = rashomon(*call, "--lr", "0.1,1e30", "--json")
    assert partly.code == 3
    found = json.loads(partly.out)
    assert len(found["runs"]) == len(found["failed"]) == 1
    assert found["failed"][0]["code"] == 1
    assert "error: 1 of 2 runs failed" in partly.err
    assert rashomon(*call, "--lr", "1e30,1e31").code == 1


def test_several_models_make_a_family_of_probes(zoo, rashomon):
    found = rashomon("probe", "a", "b@0.5", "--what", "loss", "--store", zoo.root, "-q")
    assert found.code == 2
    made = rashomon("probe", "a", "b", "ab@0.5", "--what", "loss", "--name", "p", "--store", zoo.root, "--json")
    assert made.code == 0, made.err
    assert [run["name"] for run in json.loads(made.out)["runs"]] == ["p-a", "p-b", "p-ab-t0.5"]
