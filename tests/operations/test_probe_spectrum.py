"""Ends, trace and density of a curvature matrix, as ``probe`` stores them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import build
from rashomon_cli.operations.probe import ProbeConfig, plan, probe
from rashomon_cli.operations.quantities import QUANTITIES
from rashomon_cli.operations.quantities.density import DensityConfig
from rashomon_cli.operations.quantities.top import TopConfig
from rashomon_cli.operations.quantities.trace import TraceConfig
from rashomon_cli.science import spectral_density, spectrum

CONFIGS = {"top": TopConfig, "trace": TraceConfig, "density": DensityConfig}
MEASURES = {"top": (spectrum, "top"), "trace": (spectrum, "trace"), "density": (spectral_density, "one_block")}
ROUNDING = 1e-6  # of the reference, whose images are in float32
SMALL = {"top_k": 3, "top_bottom": 1, "trace_matvecs": 10, "density_probes": 2, "density_steps": 8}


def measure(context, run, what="top,trace,density", settings=None, **options):
    given = SMALL | {"samples": "all"} | (settings or {})
    chosen = {
        name: build(config, {key: value for key, value in given.items() if key in config.model_fields})
        for name, config in CONFIGS.items()
        if name in what
    }
    return probe(context, build(ProbeConfig, {"run": run, "what": what, "points": 3} | options), chosen)


def planned(context, what, **settings):
    chosen = {
        q.name: build(q.settings, {name: value for name, value in settings.items() if name in q.settings.model_fields})
        for q in QUANTITIES
    }
    return plan(context, build(ProbeConfig, {"run": "a", "what": what}), chosen)


@pytest.fixture
def eigen(plain):
    """eigen(run, **which): eigenvalues, increasing, and the dense matrix of an MLP."""

    def act(run, **which):
        matrix = plain(run).matrices(**which)[1]
        return torch.linalg.eigvalsh(matrix).numpy(), matrix

    return act


def test_a_model_has_the_spectrum_of_its_dense_hessian(zoo, at, eigen):
    settings = {"top_k": 5, "top_bottom": 2, "trace_matvecs": 40, "density_probes": 4, "density_steps": 20}
    run = measure(at(zoo), "a", settings=settings, float64=True)
    exact, hessian = eigen(zoo.find("a"))
    m, found = run.metrics, run.measurements()["probe"]
    for end, wanted in (("top", exact[::-1]), ("bottom", exact)):
        values, residuals = np.array(m[f"eigenvalues_{end}"]), np.array(m[f"residuals_{end}"])
        assert m[f"converged_{end}"] == len(values) == {"top": 5, "bottom": 2}[end]
        assert (np.abs(values - wanted[: len(values)]) <= residuals + ROUNDING).all(), end
        vectors = torch.from_numpy(run.tensors("vectors.safetensors")[f"0/top/vectors_{end}"].copy())
        left = (vectors @ hessian - torch.from_numpy(values)[:, None] * vectors).norm(dim=1).numpy()
        np.testing.assert_allclose(left, residuals, rtol=1e-6, atol=ROUNDING)
    moments = {"trace": exact.sum(), "frobenius_squared": (exact**2).sum()}
    moments |= {"spectrum_mean": exact.mean(), "spectrum_mean_square": (exact**2).mean()}
    for name, value in moments.items():
        assert abs(m[name] - value) <= 4 * m[f"{name}_stderr"], name
        assert m[f"{name}_stderr"] < value, name
    assert abs(m["negative_mass"] - (exact < -m["negative_bound"]).mean()) < 0.1
    assert exact[0] - ROUNDING <= m["spectrum_min"] < 0 < m["spectrum_max"] <= exact[-1] + ROUNDING
    assert found["density_nodes"].dims == ("probe", "lanczos_step")
    assert m["matvecs"] > 40 + 4 * 20
    single = measure(at(zoo), "a", "top", settings)
    np.testing.assert_allclose(single.metrics["eigenvalues_top"], m["eigenvalues_top"], rtol=1e-3)


def test_a_path_has_them_at_its_points_and_says_how_the_top_subspace_turns(zoo, at):
    run = measure(at(zoo), "cd")
    m, found = run.metrics, run.measurements()["probe"]
    for name in ("trace", "trace_stderr", "frobenius_squared", "negative_mass", "matvecs", "top_share_tangent"):
        assert len(m[name]) == 3, name
    assert found["eigenvalues_top"].dims == ("t", "top")
    assert found["eigenvalues_top"].values.shape == found["residuals_top"].values.shape == (3, 3)
    assert found["density_nodes"].values.shape == (3, 2, 8)
    assert m["top_overlap_start"][0] == pytest.approx(1)
    assert m["top_overlap_next"][0] == pytest.approx(m["top_overlap_start"][1])
    vectors = run.tensors("vectors.safetensors")
    assert {name for name in vectors if "top" in name} == {
        f"{k}/top/vectors_{end}" for k in range(3) for end in ("top", "bottom")
    }
    one = measure(at(zoo), "cd@0.5")
    assert one.metrics["t"] == 0.5
    assert one.metrics["eigenvalues_top"] == pytest.approx(found["eigenvalues_top"].values[1], rel=1e-4)
    assert one.metrics["trace"] == pytest.approx(m["trace"][1], rel=1e-4)
    assert "top_overlap_next" not in one.metrics


@pytest.mark.parametrize("kind", ["ggn", "fisher"])
def test_other_matrices(zoo, at, eigen, kind):
    run = measure(at(zoo), "a", "top", {"matrix": kind, "top_bottom": 0}, float64=True)
    exact, _ = eigen(zoo.find("a"), kind=kind)
    error = np.abs(np.array(run.metrics["eigenvalues_top"]) - exact[::-1][:3])
    assert (error <= np.array(run.metrics["residuals_top"]) + ROUNDING).all()
    assert run.record.config["settings"]["top"]["matrix"] == kind


def test_another_split_a_sample_and_the_penalty_are_other_matrices(zoo, at, eigen):
    exact, _ = eigen(zoo.find("a"), split="test")
    test, few, decayed = (
        measure(at(zoo), "a", "top", {"top_bottom": 0, "top_tolerance": 1e-6} | which, float64=True).metrics
        for which in ({"split": "test"}, {"split": "test", "samples": 50}, {"split": "test", "with_decay": True})
    )
    assert test["eigenvalues_top"] == pytest.approx(exact[::-1][:3].tolist())
    assert few["eigenvalues_top"] != test["eigenvalues_top"]
    decay = zoo.find("a").record.config["weight_decay"]
    assert decayed["eigenvalues_top"] == pytest.approx([value + decay for value in test["eigenvalues_top"]])


def test_layers_are_blocks_of_the_whole(zoo, at, eigen, plain):
    model = plain(zoo.find("a"))
    owners = [n.rpartition(".")[0] for n, p in model.module.named_parameters() for _ in range(p.numel())]
    names = list(dict.fromkeys(owners))
    _, hessian = eigen(zoo.find("a"))
    blocks = [hessian[mask][:, mask] for name in names for mask in [torch.tensor([o == name for o in owners])]]
    tops = [torch.linalg.eigvalsh(block).flip(0)[:3] for block in blocks]
    settings = {"by": "layer", "top_tolerance": 1e-6}
    run = measure(at(zoo), "a", settings=settings, float64=True)
    found = run.measurements()["probe"]
    assert found["layer"].values.tolist() == names
    assert found["eigenvalues_top"].dims == ("layer", "top")
    np.testing.assert_allclose(found["eigenvalues_top"].values, torch.stack(tops), rtol=1e-6, atol=1e-9)
    assert found["density_nodes"].dims == ("layer", "probe", "lanczos_step")
    assert run.metrics["matvecs"] > 8 + 8 * 2 * len(names)
    each, errors = found["trace_layer"].values, found["trace_layer"].stderr
    assert (np.abs(each - [float(block.trace()) for block in blocks]) <= 4 * errors).all()
    one = measure(at(zoo), "a", "top", {"layers": names[0], "top_tolerance": 1e-6}, float64=True)
    assert one.metrics["eigenvalues_top"] == pytest.approx(tops[0].tolist())
    assert one.tensors("vectors.safetensors")["0/top/vectors_top"].shape == (3, len(blocks[0]))


def test_layers_along_a_path_keep_their_names(zoo, at):
    run = measure(at(zoo), "ab", "top,trace", {"by": "layer", "layers": "layers.1,layers.5", "top_k": 2}, points=2)
    found = run.measurements()["probe"]
    assert found["eigenvalues_top"].dims == ("t", "layer", "top")
    assert found["layer"].dims == ("layer",)
    assert found["layer"].values.tolist() == ["layers.1", "layers.5"]
    assert found["trace_layer"].values.shape == (2, 2)
    assert len(run.metrics["matvecs"]) == 2


def test_an_unknown_layer_is_refused(zoo, at):
    before = len(zoo.rows())
    with pytest.raises(UsageError, match="no layer 'head'"):
        measure(at(zoo), "a", "loss,top", {"layers": "head"})
    assert len(zoo.rows()) == before
    with pytest.raises(UsageError, match="no layer 'head'"):
        planned(at(zoo), "dimension", layers="head").steps()


@pytest.mark.parametrize(
    ("what", "setting", "takers"),
    [
        ("llc", {"matrix": "ggn"}, "top, trace, density, dimension, reach, flat"),
        ("loss,hvp", {"split": "test"}, "top, trace, density, dimension, reach, flat, llc"),
        ("hvp", {"samples": 100}, "top, trace, density, dimension"),
        ("reach,flat,llc", {"samples": 100}, "top, trace, density, dimension"),
        ("width", {"layers": "nonsense"}, "top, trace, density, dimension, reach, flat, llc"),
        ("hvp,width", {"by": "layer"}, "top, trace, density, dimension, reach, flat, llc"),
        ("dimension", {"backend": "pyhessian"}, "top, trace, density"),
        ("loss,llc", {"with_decay": True}, "hvp, top, trace, density, dimension, reach, flat"),
        ("loss", {"hvp_samples": 10}, "hvp"),
    ],
)
def test_an_option_that_nothing_asked_for_takes_is_refused(zoo, at, what, setting, takers):
    before, (name,) = len(zoo.rows()), setting
    with pytest.raises(UsageError, match=f"no --{name.replace('_', '-')}$") as caught:
        probe(at(zoo), run="a", what=what, **setting)
    assert caught.value.message.startswith(what.replace(",", ", "))
    assert caught.value.hint.endswith(f" {takers}")
    assert len(zoo.rows()) == before
    default = {q.name: q.settings() for q in QUANTITIES}
    plan(at(zoo), build(ProbeConfig, {"run": "a", "what": what}), default)
    planned(at(zoo), f"{what},{takers.partition(',')[0]}", **setting)


def test_a_second_opinion_agrees(zoo, at):
    pytest.importorskip("pyhessian")
    own, other = (
        measure(at(zoo), "a", settings={"backend": backend, "trace_matvecs": 30, "top_bottom": 0}, float64=True)
        for backend in ("own", "pyhessian")
    )
    assert not [name for name in other.metrics if name.endswith("_bottom")]
    residuals, values = (np.array(other.metrics[f"{name}_top"]) for name in ("residuals", "eigenvalues"))
    assert other.metrics["converged_top"] == (residuals <= 0.05 * values).sum()
    assert other.metrics["eigenvalues_top"] == pytest.approx(own.metrics["eigenvalues_top"], rel=1e-2)
    error = np.hypot(own.metrics["trace_stderr"], other.metrics["trace_stderr"])
    assert abs(own.metrics["trace"] - other.metrics["trace"]) <= 4 * error
    nodes = (run.measurements()["probe"]["density_nodes"].values for run in (own, other))
    np.testing.assert_allclose(*nodes, rtol=1e-3, atol=1e-4)


def test_an_interrupted_one_goes_on_behind_the_last_point(zoo, at, monkeypatch):
    whole = measure(at(zoo), "ab")
    seen = []
    for name, (module, function) in MEASURES.items():
        original = getattr(module, function)

        def counted(problem, point, *, name=name, original=original, **options):
            seen.append((point.t, name))
            if len(seen) == 5:
                raise KeyboardInterrupt
            return original(problem, point, **options)

        monkeypatch.setattr(module, function, counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "ab")
    run = measure(at(zoo, again=True), "ab")
    assert [t for t, _ in seen] == [0, 0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1, 1]
    assert [name for _, name in seen[3:6]] == ["top", "trace", "trace"]
    assert run.metrics == whole.metrics
    for name, value in whole.tensors("vectors.safetensors").items():
        np.testing.assert_array_equal(run.tensors("vectors.safetensors")[name], value)


@pytest.mark.parametrize("by", ["whole", "layer"])
def test_an_interrupted_density_goes_on_behind_the_last_block(zoo, at, monkeypatch, by):
    settings = {"density_probes": 5, "density_deflate": 2, "by": by}
    whole = measure(at(zoo), "a", "density", settings)
    seen, original = [], spectral_density.one_block

    def counted(problem, point, **options):
        seen.append(options["index"])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(problem, point, **options)

    monkeypatch.setattr(spectral_density, "one_block", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(at(zoo, again=True), "a", "density", settings)
    run = measure(at(zoo, again=True), "a", "density", settings)
    assert seen == [0, 1, 1, 2]
    assert run.metrics == whole.metrics
    found, wanted = (each.measurements()["probe"] for each in (run, whole))
    assert found.keys() == wanted.keys()
    for name, variable in wanted.items():
        np.testing.assert_array_equal(found[name].values, variable.values, err_msg=name)
    assert wanted["density_alpha"].values.shape[-2:] == (5, 8)


def test_a_plan_of_a_density_counts_what_its_blocks_take(zoo, at):
    steps = planned(at(zoo), "density", density_probes=5, density_steps=8, samples=100).steps()
    assert [(step.forward_passes, step.vectors) for step in steps] == [(16 * 100, 2), (8 * 100, 1)]
    run = measure(at(zoo), "a", "density", {"density_probes": 5, "samples": 100})
    assert run.metrics["matvecs"] == 5 * 8


def test_a_plan_counts_products(zoo, at):
    settings = {name: build(CONFIGS[name], {k: v for k, v in SMALL.items() if k.startswith(name)}) for name in CONFIGS}
    asked = build(ProbeConfig, {"run": "a", "what": ",".join(CONFIGS)})
    steps = plan(at(zoo), asked, settings).steps()
    count = zoo.find("a").record.data["train_count"]
    assert [(step.forward_passes, step.vectors) for step in steps] == [(23 * count, 1), (count, 10), (8 * count, 2)]


def test_a_plan_by_layer_counts_the_products_with_each_block(zoo, at, plain):
    layers = {name.rpartition(".")[0] for name, _ in plain(zoo.find("a")).module.named_parameters()}
    settings = SMALL | {"samples": "all"}
    whole, each, one = (
        {step.title.partition(":")[0].split()[0]: step for step in planned(at(zoo), ",".join(CONFIGS), **which).steps()}
        for which in (settings, settings | {"by": "layer"}, settings | {"by": "layer", "layers": min(layers)})
    )
    assert len(layers) > 2
    for name, many in {"top": len(layers), "density": len(layers), "trace": 1}.items():
        assert each[name].forward_passes == many * whole[name].forward_passes, name
        assert one[name].forward_passes == whole[name].forward_passes, name
    assert f"each of {len(layers)} layers" in each["top"].title


def test_a_plan_of_the_second_opinion_counts_its_power_iterations(zoo, at):
    (step,) = planned(at(zoo), "top", backend="pyhessian", top_k=2, samples=100).steps()
    assert (step.forward_passes, step.vectors) == (2 * 101 * 100, 1)


@pytest.mark.parametrize(
    ("config", "refused", "passing"),
    [
        (TopConfig, {"top_bottom": 2}, {"top_bottom": 0}),
        (TopConfig, {"top_products": 40}, {"top_products": 150}),
        (TraceConfig, {"trace_method": "xtrace"}, {"trace_method": "hutchinson"}),
        (DensityConfig, {"density_deflate": 5}, {"density_deflate": 0}),
    ],
)
def test_what_the_second_opinion_cannot_honour_is_refused(config, refused, passing):
    ((name, value),) = refused.items()
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} = '?{value}'?: --backend pyhessian"):
        build(config, refused | {"backend": "pyhessian"})
    assert getattr(build(config, refused), name) == value
    build(config, passing | {"backend": "pyhessian"})
