"""Weights of the user's as a run: every kind of file that is taken, and what is said of the others."""

from __future__ import annotations

import shutil
import warnings

import pytest
import safetensors.torch
import torch
from torch import nn

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.operations.compare import compare
from rashomon_cli.operations.connect import connect
from rashomon_cli.operations.export import ExportConfig, export
from rashomon_cli.operations.import_ import import_
from rashomon_cli.sources import builders
from rashomon_cli.store import durable

GIVEN = {"model": "smallcnn(width=2)", "data": "digits(train=100)", "device": "cpu"}


@pytest.fixture
def module():
    torch.manual_seed(3)
    module = builders.resolve(GIVEN["model"]).make((1, 8, 8), 10)
    for value in module.buffers():
        if value.is_floating_point():
            value += torch.rand_like(value)
    return module


@pytest.fixture
def take(store, tmp_path):
    """take(content, ending=".pt", **options): what torch.save or safetensors makes of it, imported."""

    def act(content, ending=".pt", **options):
        path = tmp_path / f"weights{ending}"
        if ending == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path)
        return import_(store, file=path, **GIVEN | options)

    return act


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


FORMS = {
    "plain": lambda state: state,
    "nested": lambda state: {"epoch": 3, "state_dict": state, "best": 0.5, "betas": (0.9, 0.99)},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "parallel": lambda state: {"model_state_dict": prefixed(state, "module.")},
    "compiled": lambda state: {"net": prefixed(state, "module._orig_mod.")},
    "parameters": lambda state: {n: nn.Parameter(v) if v.is_floating_point() else v for n, v in state.items()},
    "strided": lambda state: {n: v.t().contiguous().t() if v.ndim == 2 else v for n, v in state.items()},
    "double": lambda state: {n: v.double() if v.is_floating_point() else v for n, v in state.items()},
    "DeepSpeed": lambda state: {"module": state, "global_steps": 3},
    "weights": lambda state: {"weights": state, "rng": torch.ones(4)},
    "under any name": lambda state: {"encoder": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "Lightning": lambda state: {"state_dict": prefixed(state, "model."), "pytorch-lightning_version": "2.0"},
    "within a wrapper": lambda state: prefixed(state, "a.b._orig_mod."),
}


@pytest.mark.parametrize(
    ("form", "ending"), [*[(form, ".pt") for form in FORMS], *[("nested", end) for end in (".pth", ".bin", ".ckpt")]]
)
def test_every_usual_form_of_a_checkpoint_gives_the_same_model(module, take, form, ending):
    run = take(FORMS[form](module.state_dict()), ending)
    assert {name: value.tolist() for name, value in run.tensors().items()} == {
        name: value.tolist() for name, value in module.state_dict().items()
    }


@pytest.mark.parametrize(("prefix", "told"), [("net.inner.", True), ("module.", True), ("", False)])
def test_what_is_taken_off_before_every_name_is_told(module, take, prefix, told):
    notes = take(prefixed(module.state_dict(), prefix)).record.notes
    assert (f"the prefix {prefix} was taken off every name" in notes) is told


def test_several_state_dicts_in_a_file_are_not_chosen_from(module, take):
    with pytest.raises(Refused, match="holds several state dicts: student, teacher"):
        take({"student": module.state_dict(), "teacher": module.state_dict()})


def test_a_mask_of_minus_infinity_is_a_buffer_like_another(store, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n        self.head = nn.Linear(64, 10)\n"
        "        self.register_buffer('causal', torch.full((3, 3), -torch.inf).triu(1))\n"
        "    def forward(self, x):\n        return self.head(x.flatten(1)) + self.causal.softmax(1)[0, 1]\n"
        "def net():\n    return Net()\n"
    )
    given = GIVEN | {"model": f"{tmp_path / 'own.py'}:net"}
    state = {"head.weight": torch.ones(10, 64), "head.bias": torch.zeros(10)}
    torch.save(state | {"causal": torch.full((3, 3), -torch.inf).triu(1)}, tmp_path / "w.pt")
    run = import_(store, file=tmp_path / "w.pt", **given)
    assert run.tensors()["causal"][0].tolist() == [0, -float("inf"), -float("inf")]
    for name, value in (("overflow.pt", 1e300), ("nan.pt", torch.nan)):
        torch.save(state | {"causal": torch.full((3, 3), value, dtype=torch.float64)}, tmp_path / name)
        with pytest.raises(Refused, match=f"causal of {name} holds values that are not finite"):
            import_(store, file=tmp_path / name, **given)


def test_a_digest_of_another_tool_in_the_header_is_none_of_ours(module, store, tmp_path):
    about = {"sshs_model_hash": "0123456789abcdef" * 4, "about": '{"sha256": "' + "f" * 64 + '"}'}
    safetensors.torch.save_file(module.state_dict(), tmp_path / "w.safetensors", metadata=about)
    assert import_(store, file=tmp_path / "w.safetensors", **GIVEN).kind == "model"
    safetensors.torch.save_file(
        module.state_dict(), tmp_path / "w.safetensors", metadata={"rashomno": '{"rashomon_sha256": "12"}'}
    )
    with pytest.raises(Refused, match="was altered"):
        import_(store, file=tmp_path / "w.safetensors", **GIVEN)


def test_files_of_torch_before_1_6_and_safetensors_are_taken_too(module, store, take, tmp_path):
    torch.save(module.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old = import_(store, file=tmp_path / "old.pt", **GIVEN)
    new = take(module.state_dict(), ".safetensors")
    assert old.id != new.id
    assert (old.folder / "model.safetensors").read_bytes() == (new.folder / "model.safetensors").read_bytes()


def test_an_imported_run_has_the_figures_of_its_module_and_says_where_it_is_from(module, take, tmp_path):
    from rashomon_cli.sources import data

    run = take(module.state_dict(), name="mine")
    found = data.resolve(GIVEN["data"]).load()
    (mean,), (std,) = found.statistics()
    with torch.no_grad():
        outputs = module.eval()((torch.from_numpy(found.x_test).float() / 255 - mean) / std)
    expected = float(nn.functional.cross_entropy(outputs, torch.from_numpy(found.y_test)))
    assert run.metrics["test_loss"] == run.metrics["cross_entropy_test"] == pytest.approx(expected, rel=1e-5)
    assert run.metrics["parameters"] == sum(p.numel() for p in module.parameters())
    assert {"train_loss", "train_accuracy", "test_accuracy"} < set(run.metrics)
    digest = durable.sha256(tmp_path / "weights.pt")
    assert run.record.notes[0] == f"the weights are those of weights.pt, SHA-256 {digest}"
    assert (run.name, run.kind, run.record.operation, run.record.parents) == ("mine", "model", "import", [])
    assert run.record.config["file"] == digest


def test_the_place_of_a_file_does_not_matter_its_content_does(module, take, store, tmp_path):
    run = take(module.state_dict())
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "weights.pt", tmp_path / "other" / "renamed.ckpt")
    assert import_(store, file=tmp_path / "other" / "renamed.ckpt", **GIVEN).id == run.id
    with torch.no_grad():
        next(module.parameters()).add_(1)
    assert take(module.state_dict()).id != run.id


def test_other_types_are_cast_and_told(module, take):
    half = {n: v.half() if v.is_floating_point() else v for n, v in module.state_dict().items()}
    run = take(half)
    assert run.record.notes[1] == "17 tensors of float16 became float32, without loss"
    fine = {n: v.double() / 3 if v.is_floating_point() else v for n, v in module.state_dict().items()}
    run = take(fine)
    assert run.record.notes[1:3] == [
        "3 tensors of float64 became float32, without loss",  # zeros
        "14 tensors of float64 became float32, which rounds them",
    ]
    assert run.tensors()["head.bias"].tolist() == (module.head.bias.double() / 3).float().tolist()


def test_imported_models_connect_and_compare(module, take, store):
    take(module.state_dict(), name="one", weight_decay=0.01)
    with torch.no_grad():
        module.head.bias += 1
    take(module.state_dict(), name="two")
    small = {"epochs": 1, "batch_size": 50, "points": 2, "samples": 50, "device": "cpu"}
    path = connect(store, a="one", b="two", **small)
    assert path.metrics["weight_decay"] == 0.01
    assert compare(store, ood="digits", device="cpu").metrics["models"] == 2


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(10), 0.1, 0, torch.qint8)


def bad(name, change):
    return pytest.param(change, name[1], id=name[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        bad(("lacking", r"lacks head\.bias"), lambda s: {n: v for n, v in s.items() if n != "head.bias"}),
        bad(("extra", "has stranger besides"), lambda s: s | {"stranger": torch.ones(2)}),
        bad(("shape", r"head\.bias is \(3,\), not \(10,\)"), lambda s: s | {"head.bias": torch.ones(3)}),
        bad(("nan", r"head\.bias of weights\.pt holds values that are not finite"),
            lambda s: s | {"head.bias": torch.full((10,), torch.nan)}),
        bad(("overflow", "not finite"), lambda s: s | {"head.bias": torch.full((10,), 1e300, dtype=torch.float64)}),
        bad(("integers", "holds int64, the module float32"), lambda s: s | {"head.bias": torch.ones(10).long()}),
        bad(("complex", "holds complex64"), lambda s: s | {"head.bias": torch.ones(10, dtype=torch.complex64)}),
        bad(("number", r"epoch of weights\.pt is int, no tensor"), lambda s: s | {"epoch": 3}),
        bad(("key", "an entry whose name is int"), lambda s: s | {3: torch.ones(1)}),
        bad(("list", "holds list, no state dict"), lambda s: list(s.values())),
        bad(("tensor", "holds Tensor, no state dict"), lambda s: torch.ones(3)),
        bad(("empty", "no state dict"), lambda s: {}),
        bad(("sparse", "no dense tensor"), lambda s: s | {"head.bias": torch.ones(10).to_sparse()}),
        bad(("quantised", r"no dense tensor \(quantised\)"), lambda s: s | {"head.bias": quantised()}),
        bad(("expanded", r"head\.bias of weights\.pt is \(1000000, 1000000\), more than the file holds"),
            lambda s: s | {"head.bias": torch.ones(1).expand(10**6, 10**6)}),
        bad(("one number for ten", "more than the file holds"), lambda s: s | {"head.bias": torch.ones(1).expand(10)}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words_and_leaves_no_run(module, take, store, change, words):
    with pytest.raises(Refused, match=words):
        take(change(dict(module.state_dict())))
    assert not [path for path in store.root.glob("runs/*") if path.is_dir()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"file": "nowhere.pt"}, "no file nowhere.pt"),
        ({"file": __file__}, "of no known kind"),
        ({"model": "smalcnn"}, "no model 'smalcnn'"),
        ({"data": "digitz"}, "no data set"),
        ({"loss": "mze"}, "no loss"),
        ({"model": None}, "--model = None"),
    ],
)
def test_wrong_names_are_usage_errors(module, store, tmp_path, options, words):
    torch.save(module.state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=words):
        import_(store, **{"file": tmp_path / "w.pt"} | GIVEN | options)


def test_every_altered_byte_of_an_export_is_noticed(zoo, at, tmp_path):
    weights, _ = export(at(zoo), ExportConfig(run="a", out=tmp_path))
    content = weights.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(header), *range(header, len(content), 97)]
    given = {"model": "mlp(width=8)", "data": "digits(train=200)", "device": "cpu"}
    taken = import_(zoo, file=weights, **given)
    for place in places:
        altered = content[place] ^ (1 if place % 2 else 32)
        weights.write_bytes(content[:place] + bytes([altered]) + content[place + 1 :])
        with pytest.raises(Refused, match=r"was altered|no safetensors file"):
            import_(zoo, file=weights, **given)
    weights.write_bytes(content)
    assert import_(zoo, file=weights, **given).id == taken.id


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(module, store, tmp_path, cut):
    for path, save in (("w.pt", torch.save), ("w.safetensors", safetensors.torch.save_file)):
        save(module.state_dict(), tmp_path / path)
        (tmp_path / path).write_bytes((tmp_path / path).read_bytes()[:cut])
        with pytest.raises(Refused, match=r"damaged|no safetensors file"):
            import_(store, file=tmp_path / path, **GIVEN)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: {n: v.float() / 2 for n, v in mask.items()}, "more than zeros and ones"),
        (lambda mask: {n: torch.zeros_like(v) for n, v in mask.items()}, "weights gone that are not zero"),
        (lambda mask: {n: v for n, v in mask.items() if n != "head.bias"}, "lacks head.bias"),
    ],
)
def test_a_mask_that_is_not_the_model_s_is_refused(module, take, tmp_path, change, words):
    mask = {name: torch.ones_like(value, dtype=torch.bool) for name, value in module.named_parameters()}
    safetensors.torch.save_file(change(mask), tmp_path / "mask.safetensors")
    with pytest.raises(Refused, match=words):
        take(module.state_dict(), mask=tmp_path / "mask.safetensors")


def test_the_command_makes_a_store_and_tells_one_line_of_an_error(rashomon, module, tmp_path):
    torch.save(module.state_dict(), tmp_path / "w.pt")
    shown = rashomon("import", "w.pt", "--model", GIVEN["model"], "--data", GIVEN["data"], "--name", "mine")
    assert shown.code == 0, shown.err
    assert "mine  (model, " in shown.out
    wrong = rashomon("import", "w.pt", "--model", "mlp(width=3)", "--data", GIVEN["data"])
    assert wrong.code == 1
    assert [line.partition(":")[0] for line in wrong.err.splitlines()] == ["error", "hint"]
