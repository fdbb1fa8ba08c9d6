import torch
from torch import nn

from rashomon_cli.science.problem import (
    Layout,
    Problem,
    cross_entropy,
    fresh_buffers,
    smoothed,
    squared_error,
)


def test_the_flat_vector_is_the_parameters_in_their_order():
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    layout = Layout.of(module)
    theta = layout.flatten(dict(module.named_parameters()))
    assert layout.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert layout.total == len(theta) == 6 + 3 + 3 + 1
    assert torch.equal(theta, nn.utils.parameters_to_vector(module.parameters()))
    for name, value in layout.split(theta).items():
        assert torch.equal(value, dict(module.named_parameters())[name])


def test_a_shared_parameter_occurs_once():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    layout = Layout.of(module)
    assert layout.total == 4
    problem = Problem(module, layout, squared_error, None, None)
    theta = torch.tensor([2.0, 0, 0, 3])
    assert problem.outputs(theta, {}, torch.ones(1, 2)).tolist() == [[4, 9]]


def test_the_module_itself_is_neither_read_nor_changed():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    problem = Problem(module, Layout.of(module), squared_error, None, None)
    theta = torch.zeros(problem.layout.total, requires_grad=True)
    module.train()
    problem.mean_loss(theta, fresh_buffers(module), torch.randn(4, 2), torch.zeros(4, 2)).backward()
    assert theta.grad is not None
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert all(p.grad is None for p in module.parameters())


class Addresses(nn.Linear):
    """A linear map that knows where the numbers lay that it was given."""

    def forward(self, x):
        self.seen = [tensor.data_ptr() % 16 for tensor in (x, self.weight, self.bias)]
        return super().forward(x)


def test_kernels_are_given_addresses_that_they_can_read_from_whatever_the_sizes():
    layer = Addresses(5, 3)
    module = nn.Sequential(layer, nn.Linear(3, 3))
    problem = Problem(module, Layout.of(module), squared_error, None, None)
    rows = torch.randn(2, problem.layout.total, requires_grad=True)
    found = problem.outputs(rows[1], {}, torch.randn(3, 5)[1:])
    assert layer.seen == [0, 0, 0]
    found.sum().backward()
    assert rows.grad[1].count_nonzero() == problem.layout.total
    assert not rows.grad[0].any()


def test_losses_are_one_number_an_example():
    outputs = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    torch.testing.assert_close(cross_entropy(outputs, torch.tensor([1, 0])), torch.tensor([2.0, 1.0]).log())
    assert squared_error(torch.tensor([[1.0, 2.0]]), torch.tensor([1])).tolist() == [(1 + 1) / 2]
    assert squared_error(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])).tolist() == [1, 4]
    assert squared_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])).tolist() == [2.5]


def test_label_smoothing_mixes_the_targets_with_the_uniform_distribution():
    outputs, targets = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0])
    logs = outputs.log_softmax(1)
    expected = -0.8 * logs[range(5), targets] - 0.2 * logs.mean(1)
    torch.testing.assert_close(smoothed(cross_entropy, 0.2)(outputs, targets), expected)
    assert smoothed(squared_error, 0.2) is squared_error
    assert smoothed(cross_entropy, 0) is cross_entropy
