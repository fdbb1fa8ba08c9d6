import numpy as np
import pytest

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations.connect import ConnectConfig, connect
from rashomon_cli.operations.connecting import ridges
from rashomon_cli.operations.gc import GcConfig, gc
from rashomon_cli.operations.headlines import headlines
from rashomon_cli.operations.prune import prune
from rashomon_cli.store import Parent

SMALL = {"epochs": 2, "batch_size": 50, "points": 5, "samples": "all", "precision": "float32"}
SYMMETRY = "up_to_symmetry"
GRAPH = {"graph": True, "points": 5, "samples": "all"}


def graph(context, *names, **options):
    named = dict(zip(("a", "b"), names)) | {"others": tuple(names[2:])}
    return connect(context, ConnectConfig(**GRAPH | named | options))


def value(run, name, one, other):
    group = run.measurements()["graph"]
    names = group["model"].values.tolist()
    return group[name].values[names.index(one), names.index(other)]


def by_kind(run, kind, one, other):
    group = run.measurements()["graph"]
    names, kinds = group["model"].values.tolist(), group["kind"].values.tolist()
    return group["barrier_loss_by_kind"].values[kinds.index(kind), names.index(one), names.index(other)]


def test_the_line_is_that_of_connect_and_its_path_is_found(zoo, at):
    run = graph(at(zoo), "a", "b")
    path = zoo.find("ab").metrics
    assert run.kind == "comparison"
    assert list(headlines(run.metrics, 1)) == ["components"]
    assert by_kind(run, "line", "a", "b") == pytest.approx(path["line_barrier_loss"], abs=1e-6)
    assert by_kind(run, "bezier", "a", "b") == path["curve_barrier_loss"]
    assert value(run, "barrier_loss", "b", "a") == min(path["line_barrier_loss"], path["curve_barrier_loss"])
    assert {p.role for p in run.record.parents} == {"model", "path"}
    assert zoo.find("ab").id in {p.id for p in run.record.parents}


def test_epsilon_decides(zoo, at):
    barrier = min(zoo.find("ab").metrics[f"{name}_barrier_loss"] for name in ("curve", "line"))
    wide = graph(at(zoo), "a", "b", epsilon=barrier + 1e-3).metrics
    assert (wide["pairs_joined"], wide["components"]) == (1, 1)
    narrow = graph(at(zoo), "a", "b", epsilon=barrier / 2).metrics
    assert (narrow["pairs_joined"], narrow["pairs_not_joined"], narrow["components"]) == (0, 1, 2)


def test_a_sample_leaves_a_pair_undecided(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3)
    line = graph(at(zoo), "a", "x", samples=40).measurements()["graph"]["edge_barrier_loss"]
    barrier, stderr = float(line.values[0]), float(line.stderr[0])
    assert stderr > 0
    for epsilon, state, pieces in ((-3, "not_joined", 2), (-1, "undecided", 2), (1, "undecided", 2), (3, "joined", 1)):
        found = graph(at(zoo), "a", "x", samples=40, epsilon=barrier + epsilon * stderr).metrics
        assert found[f"pairs_{state}"] == 1
        assert found["components"] == pieces
        assert found["components_possible"] == 2 - (state != "not_joined")


def test_the_level_is_the_highest_loss_and_single_linkage_of_it(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3)
    run = graph(at(zoo), "a", "b", "x")
    group = run.measurements()["graph"]
    ends = group["train_loss"].values
    for kind, one, other, barrier, level in zip(
        *(group[f"edge_{name}"].values for name in ("kind", "model", "other", "barrier_loss", "level"))
    ):
        names = group["model"].values.tolist()
        higher = max(ends[names.index(one)], ends[names.index(other)])
        assert level == pytest.approx(higher + barrier, abs=1e-6), kind
    assert run.metrics["connected_level"] == group["merge_level"].values[-1]
    assert run.metrics["connected_above_lowest"] == pytest.approx(run.metrics["connected_level"] - ends.min())
    at_that = graph(at(zoo), "a", "b", "x", epsilon=run.metrics["connected_above_lowest"] + 1e-9).metrics
    assert (at_that["models_within"], at_that["components_within"]) == (3, 1)
    below = graph(at(zoo), "a", "b", "x", epsilon=run.metrics["connected_above_lowest"] - 1e-6).metrics
    assert below["components_within"] > 1 or below["models_within"] < 3


def test_stars_and_simplices_join_their_anchors(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3)
    star = connect(at(zoo, name="hub"), ConnectConfig(a="a", b="b", others=("x",), star=True, **SMALL))
    complex_ = connect(at(zoo), ConnectConfig(a="x", b="b", simplex=True, draws=2, **SMALL))
    run = graph(at(zoo), "x", "b", "a")
    assert by_kind(run, "star", "a", "b") == pytest.approx(star.metrics["via_barrier_loss"][0])
    assert by_kind(run, "star", "x", "b") == pytest.approx(star.metrics["via_barrier_loss"][2])
    assert by_kind(run, "simplex", "b", "x") == pytest.approx(complex_.metrics["via_barrier_loss"][0])
    assert np.isnan(by_kind(run, "simplex", "a", "b"))


def test_without_names_it_is_of_the_largest_group_without_hubs(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3)
    connect(at(zoo, name="hub"), ConnectConfig(a="a", b="b", star=True, **SMALL))
    context = at(zoo)
    run = graph(context)
    assert run.measurements()["graph"]["model"].values.tolist() == ["a", "b", "x"]
    assert any("skipped 2: c, d" in note for note in run.record.notes)
    assert any("rashomon connect a x" in note for note in run.record.notes)
    named = graph(at(zoo), "a", "hub")
    assert named.metrics["models"] == 2


def test_what_is_made_from_a_hub_or_a_copy_is_no_model_of_its_own(zoo, at, teach):
    hub = connect(at(zoo, name="hub"), ConnectConfig(a="a", b="b", star=True, **SMALL))
    copy = aligned(zoo, "a", "b", "b-moved")
    for source in (hub, copy):
        prune(at(zoo, name=f"{source.name}-pruned"), run=source, epochs=1, batch_size=50)
    prune(at(zoo, name="a-pruned"), run="a", epochs=1, batch_size=50)
    teach(zoo, "on-path", init="ab@0.5", epochs=1)
    run = graph(at(zoo), epsilon=0.1)
    assert set(run.measurements()["graph"]["model"].values) == {"a", "b", "a-pruned"}


def test_a_copy_leaves_a_pair_without_a_path_of_its_own(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3)
    aligned(zoo, "a", "x", "x-moved")
    run = graph(at(zoo), "a", "x")
    assert any("only the straight line is known between 1 of 1 pair (a and x)" in note for note in run.record.notes)


def test_lines_are_computed_once_for_all_graphs(zoo, teach, at):
    teach(zoo, "x", seed=3, lr=0.3)
    graph(at(zoo), "a", "b", "x")
    context = at(zoo)
    other = graph(context, "b", "a", epsilon=1.0)
    assert context.progress.ticks == 0
    assert other.metrics["pairs_joined_by_line"] == int(zoo.find("ab").metrics["line_barrier_loss"] <= 1)
    steps = ridges.plan(at(zoo), ConnectConfig(**GRAPH, a="a", b="x", epsilon=0.2)).steps()
    assert [step.forward_passes for step in steps] == [0, 0]
    gc(zoo, GcConfig())
    steps = ridges.plan(at(zoo), ConnectConfig(**GRAPH, a="a", b="x", epsilon=0.2)).steps()
    assert [step.forward_passes for step in steps] == [2 * 2 * 200, 2 * 3 * 200]


def test_a_new_path_makes_a_new_graph(zoo, teach, at, join):
    teach(zoo, "x", seed=3, lr=0.3)
    before = graph(at(zoo), "a", "x")
    assert graph(at(zoo), "a", "x").id == before.id
    join(zoo, "a", "x", kind="polyline", name="ax")
    after = graph(at(zoo), "a", "x")
    assert after.id != before.id
    assert by_kind(after, "polyline", "x", "a") == zoo.find("ax").metrics["curve_barrier_loss"]
    assert not any("only the straight line" in note for note in after.record.notes)


@pytest.mark.parametrize("stop_after", [1, 5, 9])
def test_an_interrupted_graph_ends_as_it_would_have(zoo, twin, at, stop_after):
    expected = graph(at(zoo), "c", "d")
    with pytest.raises(KeyboardInterrupt):
        connect(at(twin, stop_after), ConnectConfig(**GRAPH, a="c", b="d"))
    assert graph(at(twin), "c", "d").metrics == expected.metrics


def aligned(store, reference, moved, name, **metrics):
    """A run as ``align`` publishes: here with the weights of the model that was moved."""
    one, two = store.find(reference), store.find(moved)
    parents = [Parent(id=one.id, role="a"), Parent(id=two.id, role="b")]
    with store.begin("align", {"loss": "cross-entropy", "weight_decay": 0.0}, parents=parents, name=name) as job:
        return job.publish(
            "model",
            metrics={"barrier_loss_aligned_reset": 0.01, "barrier_loss_aligned_reset_stderr": 0.002} | metrics,
            measurements={},
            tensor_files={"model.safetensors": ({n: np.array(v) for n, v in two.tensors().items()}, {})},
            builder=two.record.builder,
            data=two.record.data,
        )


def test_an_aligned_copy_joins_up_to_symmetry_only(zoo, at):
    before = graph(at(zoo), "a", "b", epsilon=0.05)
    aligned(zoo, "a", "b", "b-moved")
    run = graph(at(zoo), "a", "b", epsilon=0.05)
    found, group = run.metrics, run.measurements()["graph"]
    assert by_kind(run, "aligned", "a", "b") == 0.01
    assert found["pairs_joined_by_aligned"] == 1
    # The copy is another θ than b: between the two models themselves nothing changes.
    direct = before.metrics
    assert direct["components"] == 2
    assert direct["connected_above_lowest"] > 0.05
    assert {name: value for name, value in found.items() if name in direct and SYMMETRY not in name} == {
        name: value for name, value in direct.items() if SYMMETRY not in name
    }
    assert value(run, "best_kind", "a", "b") == value(before, "best_kind", "a", "b")
    assert (found["components_up_to_symmetry"], found["pairs_joined_up_to_symmetry"]) == (1, 1)
    level = group["train_loss"].values.max() + 0.01
    assert value(run, "level_up_to_symmetry", "a", "b") == pytest.approx(level)
    assert found["connected_above_lowest_up_to_symmetry"] == pytest.approx(level - found["lowest_loss"])
    assert value(run, "best_kind_up_to_symmetry", "a", "b") == "aligned"


def test_without_copies_both_sets_of_figures_are_the_same(zoo, at):
    run = graph(at(zoo), "a", "b")
    group = run.measurements()["graph"]
    for name in ("components", "pairs_joined", "connected_above_lowest"):
        assert run.metrics[f"{name}_up_to_symmetry"] == run.metrics[name]
    for name in ("barrier_loss", "best_kind", "state", "level"):
        np.testing.assert_array_equal(group[f"{name}_up_to_symmetry"].values, group[name].values)


def test_a_path_to_an_aligned_copy_joins_the_original(zoo, at, join):
    aligned(zoo, "a", "b", "b-moved", barrier_loss_aligned_reset=9.0)
    zoo.rename("ab", "direct")
    path = zoo.find("direct")
    parents = [path.record.parents[0], Parent(id=zoo.find("b-moved").id, role="b")]
    with zoo.begin("connect", {"kind": "bezier"}, parents=parents, name="via-copy") as job:
        job.publish(
            "path",
            metrics={"curve_barrier_loss": 0.02, "curve_barrier_loss_stderr": 0.0},
            measurements={"curve": {"t": series("t", [0.0, 1.0]), "train_loss": series("t", [0.5, 0.6], "nat")}},
        )
    run = graph(at(zoo), "a", "b")
    edges = run.measurements()["graph"]
    found = dict(zip(edges["edge_run"].values, edges["edge_kind"].values))
    assert found["via-copy"] == "aligned"
    assert found["direct"] == "bezier"
    assert by_kind(run, "aligned", "a", "b") == 0.02


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (("a", "c"), Refused, "c is not of the builder, data and loss of a"),
        (("a",), UsageError, "two models of one builder, data and loss, not 1"),
        (("a", "a"), Refused, "a is named twice"),
        (("a", "ab@0.5"), UsageError, "point of a path"),
        (("a", "nobody"), UsageError, "no run 'nobody'"),
    ],
)
def test_what_makes_no_graph_is_refused(zoo, at, names, error, words):
    with pytest.raises(error, match=words):
        graph(at(zoo), *names)


def test_every_array_says_what_it_is(zoo, at):
    for name, variable in graph(at(zoo), "a", "b").measurements()["graph"].items():
        assert isinstance(variable, Variable)
        assert variable.long_name, name
