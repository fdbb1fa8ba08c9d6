from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Damaged, Refused, UsageError
from rashomon_cli.core.specs import Reference
from rashomon_cli.operations import subjects, weights
from rashomon_cli.science.problem import fresh_buffers
from rashomon_cli.sources import data
from rashomon_cli.store import durable, seals, tensors

CPU = torch.device("cpu")


@pytest.fixture
def load(at):
    """load(store, text, float64=False): context, problem and subject."""

    def act(store, text, float64=False):
        context = at(store)
        subject = subjects.find(context, text, "model", "path")
        return context, subjects.load_problem(context, subject.run, CPU, float64), subject

    return act


def test_a_run_is_found_by_name_id_and_prefix_with_its_position(zoo, at):
    path = zoo.find("ab")
    for text in ("ab", path.id, path.id.lower(), path.id[:-1]):
        found = subjects.find(at(zoo), text, "path")
        assert (found.run.id, found.t, found.label) == (path.id, None, "ab")
        found = subjects.find(at(zoo), f"{text}@0.25", "model")
        assert (found.run.id, found.t, found.label) == (path.id, 0.25, "ab@0.25")
    zoo.rename("ab", "curve")
    assert subjects.find(at(zoo), f"{path.id}@1", "model").label == "curve@1"


@pytest.mark.parametrize(
    ("text", "kinds", "words", "hint"),
    [
        ("aa", ["model"], "no run 'aa'", "did you mean a?"),
        ("ab", ["model"], "ab is a path; this takes a model", "write ab@0.5 for a model on it"),
        ("ab@0.5", ["path"], "ab is a path; this takes a path", None),
        ("a", ["path"], "a is a model; this takes a path", "rashomon ls --kind path"),
        ("a@0", ["model"], "a is a model, it has no position @0", "write a"),
        ("ab@nan", ["model"], "outside", "write ab@0.5"),
        ("ab@x", ["model"], "'x' in 'ab@x' is not a number", "write ab@0.5"),
        ("@0.5", ["model"], "a run name is empty", "rashomon ls"),
    ],
)
def test_what_does_not_exist_or_fit_is_a_usage_error(zoo, at, text, kinds, words, hint):
    with pytest.raises(UsageError, match=words) as wrong:
        subjects.find(at(zoo), text, *kinds)
    assert hint is None or wrong.value.hint in (hint, hint.replace("a?", "ab?"))


def test_the_parent_keeps_the_digest_of_what_is_read(zoo, at):
    for text, path in (("a", "model.safetensors"), ("ab@0.5", "path.safetensors")):
        found = subjects.find(at(zoo), text, "model")
        assert found.parent("a").sha256 == durable.sha256(found.run.folder / path)
        assert (found.parent("a").role, found.parent("a").t) == ("a", found.t)


def test_a_model_on_a_path_has_statistics_of_its_own(zoo, load):
    context, loaded, subject = load(zoo, "cd@0.5")
    theta, buffers = subjects.load_model(context, loaded, subject, CPU)
    path = subjects.load_path(context, loaded, subject.run, CPU)
    assert torch.equal(theta, path.at(0.5))
    for end, t in (("c", 0.0), ("d", 1.0)):
        own = subjects.find(context, end, "model")
        at_end = subjects.Subject(subject.run, Reference("cd", t))
        (stored, before), (again, after) = (subjects.load_model(context, loaded, s, CPU) for s in (own, at_end))
        assert torch.equal(stored, again)
        assert not torch.equal(before["features.1.running_mean"], after["features.1.running_mean"])
    assert not torch.equal(buffers["features.1.running_mean"], after["features.1.running_mean"])


def test_double_precision_keeps_the_stored_values(zoo, load):
    context, loaded, subject = load(zoo, "cd", float64=True)
    path = subjects.load_path(context, loaded, subject.run, CPU)
    assert path.points.dtype == torch.float64
    stored = subject.run.tensors("path.safetensors")["bends"]
    np.testing.assert_array_equal(path.points[1:-1].numpy(), stored.astype(np.float64))
    theta, buffers = subjects.load_model(context, loaded, subjects.find(context, "c", "model"), CPU)
    assert {theta.dtype, buffers["features.1.running_var"].dtype} == {torch.float64}
    assert buffers["features.1.num_batches_tracked"].dtype == torch.int64


def test_a_changed_builder_and_changed_data_are_told(zoo, at, teach, load, own_model, regression, tmp_path):
    teach(zoo, "own", model=own_model, epochs=1)
    (tmp_path / "own.py").write_text((tmp_path / "own.py").read_text() + "\n# changed\n")
    assert "changed since the run was made" in load(zoo, "own")[0].notes[0]
    teach(zoo, "line", data=regression, loss="mse", epochs=1, lr=0.01)
    assert load(zoo, "line")[0].notes == []
    held = zoo.find("line").record.data["content"]
    arrays, before = dict(np.load(tmp_path / "line.npz")), data.resolve(regression)
    np.savez(tmp_path / "line.npz", **arrays | {"y_test": arrays["y_test"] + 1})
    file, content = load(zoo, "line")[0].notes
    then, now = (source.fingerprint[:12] for source in (before, data.resolve(regression)))
    assert file == f"the data {regression} changed since the run was made: {then} then, {now} now"
    assert content.startswith(f"what npz:line.npz holds changed since the run was made: {held[:12]} then, ")


def test_what_a_function_returns_now_is_told_though_its_file_is_the_same(zoo, teach, load, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    np.savez(tmp_path / "own.npz", x=x, y=y)
    (tmp_path / "own.py").write_text(
        "import numpy as np\nimport rashomon_cli\ndef data():\n"
        f"    with np.load({str(tmp_path / 'own.npz')!r}) as found:\n        x, y = found['x'], found['y']\n"
        "    return rashomon_cli.Data(x[:40], y[:40], x[40:], y[40:])\n"
    )
    run = teach(zoo, "own", data=f"{tmp_path / 'own.py'}:data", epochs=1, batch_size=20)
    then = run.record.data["content"]
    assert load(zoo, "own")[0].notes == []
    np.savez(tmp_path / "own.npz", x=x + 1, y=y)
    context, loaded, _ = load(zoo, "own")
    now = loaded.data_record["content"]
    assert then != now
    assert context.notes == [f"what own.py:data holds changed since the run was made: {then[:12]} then, {now[:12]} now"]
    assert run.record.data["fingerprint"] == loaded.data_record["fingerprint"]


def test_a_builder_that_no_longer_fits_its_weights_is_refused(zoo, teach, load, own_model, tmp_path, monkeypatch):
    teach(zoo, "own", model=own_model, epochs=1)
    text = (tmp_path / "own.py").read_text()
    (tmp_path / "own.py").write_text(text.replace("nn.Linear(36 * width, num_classes)", "nn.Linear(36 * width, 11)"))
    for module in [name for name in sys.modules if name.startswith("_rashomon_user_own")]:
        monkeypatch.delitem(sys.modules, module)  # as in the next process
    context, loaded, subject = load(zoo, "own")
    with pytest.raises(Refused, match=r"run own does not fit .*5\.weight is \(10, 72\), not \(11, 72\)"):
        subjects.load_model(context, loaded, subject, CPU)


def test_an_end_that_is_gone_altered_or_replaced_is_damaged(zoo, twin, load):
    gone = zoo.find("b").id
    shutil.rmtree(zoo.find("b").folder)
    context, loaded, subject = load(zoo, "ab")
    with pytest.raises(Damaged, match=f"the end b of ab, run {gone}, is gone"):
        subjects.load_path(context, loaded, subject.run, CPU)
    end = twin.find("b")
    path = end.folder / "model.safetensors"
    arrays, header = tensors.load(path)
    tensors.save(path, {name: value + 1 for name, value in arrays.items()}, header)
    context, loaded, subject = load(twin, "ab@0.5")
    with pytest.raises(Damaged, match=r"model\.safetensors of run b was altered"):
        subjects.load_model(context, loaded, subject, CPU)
    record = json.loads((end.folder / "run.json").read_text())
    record["artifacts"][0]["sha256"] = durable.sha256(path)
    del record["sha256"]  # the digest of the document, made anew
    durable.write(end.folder / "run.json", seals.seal(record))
    with pytest.raises(Damaged, match="of ab is not what it was"):
        subjects.load_model(context, loaded, subject, CPU)


def test_shapes_of_a_path_are_those_of_its_first_end(zoo, at, join):
    join(zoo, "ab@0.5", "b", name="further", epochs=1, points=2)
    shapes = [subjects.parameter_shapes(at(zoo), subjects.find(at(zoo), n, "model", "path")) for n in ("a", "further")]
    assert shapes[0] == shapes[1]
    shutil.rmtree(zoo.find("a").folder)
    with pytest.raises(Damaged, match="the end a of ab"):
        subjects.parameter_shapes(at(zoo), subjects.find(at(zoo), "further@0.5", "model"))


def test_a_mask_belongs_to_its_model(zoo, load, at):
    context, loaded, subject = load(zoo, "a")
    assert weights.load_mask(loaded, subject.run, CPU) is None
    theta, buffers = weights.load_theta(loaded, subject.run, CPU)
    mask = (torch.arange(len(theta)) % 3 > 0).float()
    other = load(zoo, "c")[1]
    ones, its_buffers = torch.ones(other.problem.layout.total), fresh_buffers(other.problem.module)
    for name in ("masked", "stranger"):
        files = weights.model_files(loaded, theta * mask, buffers, mask)
        if name == "stranger":
            files["mask.safetensors"] = weights.model_files(other, ones, its_buffers, ones)["mask.safetensors"]
        with context.store.begin("fake", {"name": name}, name=name) as job:
            job.publish(
                "model",
                metrics={},
                measurements={},
                tensor_files=files,
                builder=subject.run.record.builder,
                data=subject.run.record.data,
            )
    assert torch.equal(weights.load_mask(loaded, zoo.find("masked"), CPU), mask)
    with pytest.raises(Damaged, match=r"mask\.safetensors of stranger is not that of mlp"):
        weights.load_mask(loaded, zoo.find("stranger"), CPU)


def test_a_run_that_could_not_be_named_either_way_is_no_hint(zoo, at, publish):
    publish(zoo, "complex", kind="simplex", loss="mse", weight_decay=0.0)
    with pytest.raises(UsageError, match="complex is a simplex, it has no position") as refused:
        subjects.find(at(zoo), "complex@0.5", "model")
    assert (refused.value.hint, refused.value.fix) == ("rashomon ls --kind model", None)
    with pytest.raises(UsageError, match="it has no position") as refused:
        subjects.find(at(zoo), "a@0.5", "model")
    assert refused.value.fix == ("a@0.5", "a")


def test_a_measurement_keeps_no_model(zoo, at, publish):
    run = publish(zoo, "figures", kind="measurement", loss="mse", weight_decay=0.0)
    with pytest.raises(Refused, match="figures keeps no model"):
        subjects.load_problem(at(zoo), run, CPU)
