from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.core.results import Variable
from rashomon_cli.operations.compare import CompareConfig, compare, plan
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.context import Context, Silence, Where
from rashomon_cli.operations.train import TrainConfig, train
from rashomon_cli.science import evaluation
from rashomon_cli.sources.data import Source, resolve
from rashomon_cli.store import Store

MATRICES = ("cosine", "cosine_logits", "cosine_centred", "cosine_flattened", "cosine_floor", "disagreement")


class Counting(Silence):
    def __init__(self):
        self.ticks = self.steps = 0
        self.notes = []

    def start(self, title, steps):
        self.steps += steps

    def tick(self, loss=None):
        self.ticks += 1

    def note(self, text):
        self.notes.append(text)


def context_of(store, **where):
    return Context(store, Where(device="cpu", **where), Counting())


def run_train(store, name, **options):
    given = {"model": "mlp(width=16)", "data": "digits(train=200)", "epochs": 1, "precision": "float32"} | options
    return train(context_of(store, name=name), TrainConfig(**given))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two anchors, a child of the older one that is the youngest of all, and a model of another builder."""
    store = Store.open(tmp_path_factory.mktemp("compare") / "store", create=True)
    run_train(store, "a", seed=1)
    run_train(store, "b", seed=2)
    run_train(store, "cnn", model="smallcnn(width=4)", seed=3)
    run_train(store, "child", init="a", seed=4)
    return store.root


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "store")
    return Store.open(tmp_path / "store")


def ood(**options):
    return CompareConfig(**{"ood": "photos"} | options)


def group_of(run, name="photos"):
    return run.measurements()[name]


def test_all_models_of_the_store_are_compared_family_by_family(store):
    run = compare(context_of(store), ood())
    group = group_of(run)
    assert (run.kind, run.record.operation, run.name) == ("comparison", "compare", "compare-photos")
    assert group["model"].values.tolist() == ["a", "child", "b", "cnn"]
    assert group["other"].values.tolist() == ["a", "child", "b", "cnn"]
    assert group["family"].values.tolist() == ["a", "a", "b", "cnn"]
    assert group["run"].values.tolist() == [p.id for p in run.record.parents]
    assert {p.role for p in run.record.parents} == {"model"}
    for name in MATRICES:
        assert group[name].dims == ("model", "other")
        assert np.isfinite(group[name].values).all()
    assert all(group[name].stderr is not None for name in ("cosine", "disagreement"))
    assert group["test_loss"].values[2] == store.find("b").metrics["test_loss"]
    assert group["test_accuracy"].values[3] == store.find("cnn").metrics["test_accuracy"]
    cosines = group["cosine"].values[np.triu_indices(4, 1)]
    assert list(run.metrics) == ["models", "pairs", "cosine_min", "cosine_median", "cosine_max", "cosine_floor"]
    assert (run.metrics["models"], run.metrics["pairs"]) == (4, 6)
    assert run.metrics["cosine_median"] == pytest.approx(np.median(cosines))
    assert run.metrics["cosine_min"] == cosines.min()


def test_xarray_opens_it_with_coordinates(store):
    xarray = pytest.importorskip("xarray")
    run = compare(context_of(store), ood(models=["a", "b"]))
    with xarray.open_dataset(run.verified("metrics.h5"), group="photos", engine="h5netcdf") as found:
        assert found.cosine.sel(model="a", other="a").item() == pytest.approx(1)
        assert found.cosine.sel(model="a", other="b").item() == run.metrics["cosine_min"]
        assert found.cosine_stderr.dims == ("model", "other")
        assert found.test_loss.attrs["units"] == "nat"


def test_one_sweep_a_model_and_none_the_second_time(store, monkeypatch):
    first = context_of(store)
    run = compare(first, ood())
    count = -(-len(_photos().x_test) // 500)
    assert first.progress.ticks == first.progress.steps == 4 * count
    monkeypatch.setattr(evaluation, "predict", None)
    again = context_of(store, again=True)
    twin = compare(again, ood())
    assert (again.progress.ticks, again.progress.steps) == (0, 0)
    assert twin.id != run.id
    assert (group_of(twin)["cosine"].values == group_of(run)["cosine"].values).all()
    assert compare(context_of(store), ood()).id == twin.id


def test_an_interrupted_sweep_goes_on_with_the_next_model(store, monkeypatch):
    predict, calls = evaluation.predict, []

    def stops(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return predict(*arguments)

    monkeypatch.setattr(evaluation, "predict", stops)
    with pytest.raises(KeyboardInterrupt):
        compare(context_of(store), ood())
    monkeypatch.setattr(evaluation, "predict", predict)
    later = context_of(store)
    compare(later, ood())
    assert later.progress.ticks == 2


def test_predictions_are_those_of_the_model_on_fitted_and_normalised_images(store):
    import torch
    from torch.nn import functional

    from rashomon_cli.science.similarity import similarity
    from rashomon_cli.sources.models.mlp import mlp

    images = torch.from_numpy(_photos().x_test).float().mean(1, keepdim=True)
    images = functional.interpolate(images, size=(8, 8), mode="bilinear", antialias=True, align_corners=False)
    logits = []
    for name in ("a", "b"):
        run = store.find(name)
        module = mlp(input_shape=(1, 8, 8), num_classes=10, width=16)
        module.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in run.tensors().items()})
        mean, std = run.record.data["mean"][0], run.record.data["std"][0]
        with torch.no_grad():
            logits.append(module.eval()((images / 255 - mean) / std))
    found = group_of(compare(context_of(store), ood(models=["a", "b"], seed=5)))
    for name, expected in similarity(logits, 5).items():
        assert found[name].values == pytest.approx(expected.values, abs=1e-5), name


def test_predictions_are_kept_for_what_the_data_hold_and_not_for_their_file(store, tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpy as np\nimport rashomon_cli\ndef data():\n"
        f"    x = np.load({str(tmp_path / 'x.npy')!r})\n"
        "    return rashomon_cli.Data(x, np.arange(40) % 10, x, np.arange(40) % 10)\n"
    )
    found = []
    for seed in (0, 1):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
        np.save(tmp_path / "x.npy", pixels)
        run = compare(context_of(store, again=True), ood(ood=f"{tmp_path / 'own.py'}:data", models=["a", "b"]))
        found.append(run.metrics["cosine_min"])
    assert found[0] != found[1]


def test_figures_on_data_that_changed_are_not_kept(store, tmp_path, monkeypatch):
    connect(context_of(store, name="ab"), ConnectConfig(a="a", b="b", epochs=1, precision="float32", points=2))
    load = Source.load

    def other(self, cache=None):
        made = load(self, cache)
        return made if self.spec.target == "photos" else replace(made, x_test=255 - made.x_test)

    figures = []
    for act in (other, load, load):
        monkeypatch.setattr("rashomon_cli.sources.data.Source.load", act)
        context = context_of(store, again=True)
        run = compare(context, ood(models=["ab@0.5", "ab@0"]))
        figures.append(group_of(run)["test_accuracy"].values.tolist())
        told = [note for note in context.notes if note.startswith("what digits(train=200) holds changed")]
        assert bool(told) is (act is other)
    assert figures[0] != figures[1] == figures[2]


def test_the_order_of_names_and_repetitions_do_not_matter(store):
    run = compare(context_of(store), ood(models=["b", "a"]))
    assert compare(context_of(store), ood(models=["a", store.find("b").id, "a"])).id == run.id
    assert group_of(run)["model"].values.tolist() == ["a", "b"]


def test_cluster_order_moves_rows_columns_and_figures_together(store):
    family = group_of(compare(context_of(store), ood()))
    cluster = group_of(compare(context_of(store), ood(order="cluster")))
    names, moved = family["model"].values.tolist(), cluster["model"].values.tolist()
    at = [names.index(name) for name in moved]
    assert sorted(at) == [0, 1, 2, 3]
    for name in MATRICES:
        assert (cluster[name].values == family[name].values[np.ix_(at, at)]).all()
    assert (cluster["cosine"].stderr == family["cosine"].stderr[np.ix_(at, at)]).all()
    for name in ("test_loss", "test_accuracy", "family", "run"):
        assert (cluster[name].values == family[name].values[at]).all()


def test_several_data_sets_lie_in_groups_of_their_own_and_the_first_gives_the_metrics(store):
    run = compare(context_of(store), ood(ood="photos, digits", models=["a", "b"]))
    groups = run.measurements()
    assert set(groups) == {"photos", "digits"}
    assert run.metrics["cosine_min"] == groups["photos"]["cosine"].values[0, 1]
    assert groups["photos"]["cosine"].values[0, 1] != groups["digits"]["cosine"].values[0, 1]


def test_samples_are_one_choice_for_all_models(store):
    context = context_of(store)
    run = compare(context, ood(samples=40))
    assert context.progress.ticks == 4
    whole, part = group_of(compare(context_of(store), ood())), group_of(run)
    assert np.diag(part["cosine"].values) == pytest.approx(np.ones(4))
    assert part["cosine"].stderr[0, 2] > whole["cosine"].stderr[0, 2]
    other = compare(context_of(store), ood(samples=40, seed=1))
    assert (group_of(other)["cosine"].values != part["cosine"].values).any()


def test_a_plan_counts_what_is_left_to_do(store):
    count = len(_photos().x_test)

    def left():
        found = plan(context_of(store), ood())
        assert {step.problem for step in found.steps()} <= set(found.problems)
        assert {step.title for step in found.steps()} == {"predictions on photos"}
        return sum(step.forward_passes for step in found.steps())

    assert left() == 4 * count
    compare(context_of(store), ood(models=["a", "b"]))
    assert left() == 2 * count
    assert [run.name for run in store.runs() if run.kind == "comparison"] == ["compare-photos"]


def test_models_of_other_classes_are_skipped_with_a_note_and_refused_by_name(store):
    run_train(store, "photos-model", data="photos")
    context = context_of(store)
    run = compare(context, ood())
    assert run.metrics["models"] == 4
    assert context.progress.notes == ["compared are the models of 10 classes; skipped 1: photos-model"]
    assert run.record.notes == context.progress.notes
    with pytest.raises(Refused, match="different numbers of classes: photos-model has 2, a has 10"):
        compare(context_of(store), ood(models=["a", "photos-model"]))


def test_of_equally_large_groups_the_newest_is_taken(tmp_path):
    store = Store.open(tmp_path / "ties", create=True)
    for seed in (1, 2):
        run_train(store, f"digits-{seed}", seed=seed)
        run_train(store, f"photos-{seed}", seed=seed, data="photos")
    run = compare(context_of(store), ood(ood="digits"))
    assert group_of(run, "digits")["model"].values.tolist() == ["photos-1", "photos-2"]


def test_fewer_than_two_models_is_a_usage_error(store, tmp_path):
    for names in (["a"], ["a", "a"]):
        with pytest.raises(UsageError, match="needs two models"):
            compare(context_of(store), ood(models=names))
    with pytest.raises(UsageError, match="not 0"):
        compare(context_of(Store.open(tmp_path / "empty", create=True)), ood())
    with pytest.raises(UsageError, match="no data set 'photo'"):
        compare(context_of(store), ood(ood="photo"))


def test_regression_models_are_refused(store, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.ones((40, 2))
    np.savez(tmp_path / "line.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    run_train(store, "line", data=f"npz:{tmp_path}/line.npz", loss="mse", batch_size=20)
    assert compare(context_of(store), ood()).metrics["models"] == 4
    with pytest.raises(Refused, match="line does not classify"):
        compare(context_of(store), ood(models=["a", "line"]))


def test_data_that_do_not_fit_are_refused_before_the_run_begins(store, tmp_path):
    for name, width in (("three", 3), ("four", 4)):
        x = np.random.default_rng(0).normal(size=(40, width)).astype(np.float32)
        y = np.arange(40) % 10
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    three, four = (f"npz:{tmp_path}/{name}.npz" for name in ("three", "four"))
    for seed in (1, 2):
        run_train(store, f"vectors-{seed}", data=three, seed=seed, batch_size=20)
    both = ["vectors-1", "vectors-2"]
    with pytest.raises(Refused, match="does not fit vectors-1, which takes real numbers of the shape"):
        compare(context_of(store), ood(ood=four, models=both))
    with pytest.raises(Refused, match="photos does not fit vectors-1"):
        compare(context_of(store), ood(models=both))
    with pytest.raises(Refused, match="does not fit a, which takes images"):
        compare(context_of(store), ood(ood=three, models=["a", "b"]))
    assert not any(row["operation"] == "compare" for row in store.rows())
    run = compare(context_of(store), ood(ood=three, models=both))
    (name,) = run.measurements()
    assert name == three.replace("/", "_")
    assert isinstance(group_of(run, name)["cosine"], Variable)


def test_a_point_on_a_path_counts_as_a_model_and_is_evaluated_once(store):
    ends = ConnectConfig(a="a", b="b", epochs=1, precision="float32", points=2)
    connect(context_of(store, name="ab"), ends)
    names = ["ab@1", "ab@0", "a", "ab@0.5"]
    context = context_of(store)
    group = group_of(compare(context, ood(models=names)))
    assert group["model"].values.tolist() == ["a", "ab@0", "ab@0.5", "ab@1"]
    assert group["family"].values.tolist() == ["a", "ab", "ab", "ab"]
    assert group["cosine"].values[0, 1] == pytest.approx(1)
    assert group["test_loss"].values[1] == pytest.approx(group["test_loss"].values[0], rel=1e-5)
    assert group["test_accuracy"].values[3] == pytest.approx(store.find("b").metrics["test_accuracy"])
    again = context_of(store, again=True)
    compare(again, ood(models=names))
    assert (context.progress.ticks, again.progress.ticks) == (4 + 3, 0)


def test_an_aligned_model_is_of_the_family_of_the_one_that_was_moved_and_a_hub_of_its_own(store):
    from rashomon_cli.operations.align import AlignConfig, align
    from rashomon_cli.operations.connect import ConnectConfig, connect

    moved = align(context_of(store), AlignConfig(a="a", b="b", points=3, samples=50))
    hub = connect(context_of(store), ConnectConfig(a="a", b="b", star=True, epochs=1, points=3, samples=50))
    group = group_of(compare(context_of(store), ood()))
    families = dict(zip(group["model"].values.tolist(), group["family"].values.tolist()))
    assert (families[moved.name], families[hub.name]) == ("b", hub.name)


def test_families_reach_up_through_models_and_past_what_was_removed(store):
    grandchild = run_train(store, "grandchild", init="child", seed=5)
    first = compare(context_of(store), ood(models=["grandchild", "a", "b"]))
    assert group_of(first)["family"].values.tolist() == ["a", "a", "b"]
    assert group_of(first)["model"].values.tolist() == ["a", "grandchild", "b"]
    child = store.find("child")
    shutil.rmtree(child.folder)
    second = compare(context_of(store, again=True), ood(models=[grandchild.id, "b"]))
    assert group_of(second)["family"].values.tolist() == ["b", child.id]


def test_images_that_cannot_be_written_to_are_read_without_a_warning(store, monkeypatch):
    found = _photos()
    found.x_test.setflags(write=False)
    monkeypatch.setattr("rashomon_cli.sources.data.Source.load", _loads_first(found))
    assert compare(context_of(store), ood(models=["a", "b"])).metrics["models"] == 2


def test_wrong_values_are_named():
    for field, value in (("samples", "1"), ("samples", "some"), ("order", "size"), ("seed", "-1")):
        with pytest.raises(UsageError, match=f"--{field} = "):
            build(CompareConfig, {field: value})
    assert build(CompareConfig, {"samples": "500"}).samples == 500
    assert build(CompareConfig, {"models": ["a"]}).record() == {
        "ood": "mnist",
        "samples": "all",
        "order": "family",
        "seed": 0,
    }


def _loads_first(found):
    """The real data of the models, and these for photos."""
    load = Source.load
    return lambda self, cache=None: found if self.spec.target == "photos" else load(self, cache)


def _photos():
    return resolve("photos").load()
