"""What is found out about a model, data and a loss before anything begins."""

from __future__ import annotations

import pytest
import torch

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations import problems
from rashomon_cli.sources import builders, data

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, act, dropout=0.5):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.Dropout(dropout))
        self.act = act

    def forward(self, x):
        return self.act(self, self.body(x))

def fine():
    return Net(lambda self, x: x)

def aux():
    return Net(lambda self, x: (x, x) if self.training else x)

def named():
    return Net(lambda self, x: {"logits": x})

def fails(error):
    def act(self, x):
        raise {"attribute": AttributeError, "key": KeyError, "assertion": AssertionError}[error]("oh no")
    return Net(act)

def memory():
    def act(self, x):
        raise torch.OutOfMemoryError("none left")
    return Net(act)

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def one_by_one():
    return nn.Sequential(nn.Conv2d(1, 10, 8), nn.BatchNorm2d(10), nn.Flatten())

def attribute_loss(outputs, targets):
    return outputs.nonsense

def number_loss(outputs, targets):
    return 3.0
"""


@pytest.fixture
def load(context, tmp_path):
    """load(name, loss="cross-entropy"): a problem of a model of the user's."""
    (tmp_path / "own.py").write_text(OWN)

    def act(name, loss="cross-entropy"):
        loss = loss if loss in problems.LOSSES else f"{tmp_path / 'own.py'}:{loss}"
        builder = builders.resolve(name if ":" in name else f"{tmp_path / 'own.py'}:{name}")
        source = data.resolve("photos(train=40)" if ":" in name else "digits(train=100)")
        return problems.load(context, builder, source, loss, device=torch.device("cpu"))

    return act


def test_the_tries_change_no_parameter_buffer_or_random_number(load):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    loaded = load("fine")
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.problem.module.training
    (norm,) = [layer for layer in loaded.problem.module.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
    assert norm.running_mean.tolist() == [0.0] * 10
    assert norm.num_batches_tracked == 0
    assert load("one_by_one").problem.layout.total > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("aux", r"own\.py:aux gives tuple in training mode, no tensor"),
        ("named", r"own\.py:named gives dict in training mode, no tensor"),
        ("fails(error='attribute')", r"own\.py:fails\(error='attribute'\) and digits\(train=100\) do not fit: oh no"),
        ("fails(error='key')", "do not fit: 'oh no'"),
        ("fails(error='assertion')", "do not fit: oh no"),
        ("lazy", "has lazy layers"),
    ],
)
def test_a_model_that_fails_or_gives_no_tensor_is_refused_in_words(load, name, words):
    with pytest.raises(Refused, match=words):
        load(name)


def test_torchvision_models_with_heads_besides_say_how_to_go_on(load):
    with pytest.raises(Refused, match=r"googlenet.* gives GoogLeNetOutputs in training mode") as caught:
        load("torchvision:googlenet(aux_logits=True, init_weights=False)")
    assert "torchvision:googlenet(aux_logits=False)" in caught.value.hint


def test_a_loss_that_fails_or_gives_no_tensor_is_named(load):
    with pytest.raises(
        Refused, match=r"the loss .*own\.py:attribute_loss fails on outputs \(2, 10\) and targets \(2,\)"
    ):
        load("fine", "attribute_loss")
    with pytest.raises(Refused, match=r"number_loss gives float for 2 examples"):
        load("fine", "number_loss")


def test_too_little_memory_is_not_the_model_s_fault(load):
    with pytest.raises(torch.OutOfMemoryError):
        load("memory")
