import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.sources.batches import Stream, batches, crop_flip, fit_images

CPU = torch.device("cpu")


def numbered(count, size=4, channels=3, **options):
    """Images whose first pixel says which one it is."""
    x = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    return batches(x, np.arange(count), device=CPU, statistics=None, **options)


def test_images_are_normalised_a_batch_at_a_time():
    x = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    found = batches(
        x, np.arange(5), device=CPU, statistics=([0.5, 0.25], [2.0, 4.0]), batch_size=2, dtype=torch.float64
    )
    assert found.x.dtype == torch.uint8
    assert [len(y) for _, y in found] == [2, 3]  # a single example left over joins the batch before it
    whole = torch.cat([inputs for inputs, _ in found])
    expected = (x / 255 - np.array([0.5, 0.25])[:, None, None]) / np.array([2.0, 4.0])[:, None, None]
    np.testing.assert_allclose(whole.numpy(), expected)
    assert len(list(found)) == found.steps == 2


def test_a_sample_is_fixed_by_its_seed_and_knows_its_population():
    found = numbered(20)
    one, same, other = found.sample(7, 1), found.sample(7, 1), found.sample(7, 2)
    one, same, other = ([y.tolist() for _, y in each] for each in (one, same, other))
    assert one == same != other
    assert len(set(one[0])) == 7
    drawn = found.sample(7, 1)
    assert (drawn.count, drawn.population, drawn.steps) == (7, 20, 1)
    for count in (None, 20, 99):
        whole = torch.cat([y for _, y in found.sample(count, 1)]).tolist()
        assert sorted(whole) == list(range(20)) != whole


def test_a_sample_goes_on_where_another_ended():
    found = numbered(20)
    one, two = (found.sample(7, 1, "same", skip=skip) for skip in (0, 7))
    assert torch.equal(torch.cat([one.order, two.order]), found.sample(14, 1, "same").order)
    assert two.population == 20


@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 5), st.sampled_from(["none", "crop-flip"]))
def test_an_epoch_is_determined_and_covers_every_example_once(count, size, epoch, augmentation):
    stream = Stream(numbered(count, batch_size=size), 3, augmentation)
    found = list(stream(epoch))
    assert len(found) == stream.steps
    assert sorted(torch.cat([y for _, y in found]).tolist()) == list(range(count))
    for (x, y), (again, same) in zip(found, stream(epoch), strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, same)


def test_epochs_and_seeds_differ():
    orders = {
        tuple(torch.cat([y for _, y in Stream(numbered(30), seed)(epoch)]).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


@pytest.mark.parametrize("shape", [(9, 3, 8, 8), (5, 1, 6, 11)])
def test_crops_and_mirrors_equal_a_loop_over_the_images(shape):
    x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    chooser = torch.Generator().manual_seed(5)
    down, right = (torch.randint(-4, 5, (shape[0], 1), generator=chooser)[:, 0].tolist() for _ in range(2))
    mirrored = (torch.rand(shape[0], 1, generator=chooser)[:, 0] < 0.5).tolist()
    expected = []
    for image, row, column, mirror in zip(x, down, right, mirrored, strict=True):
        wide = F.pad(image.float(), (4, 4, 4, 4), mode="reflect").byte()
        cut = wide[:, 4 + row : 4 + row + shape[2], 4 + column : 4 + column + shape[3]]
        expected.append(cut.flip(2) if mirror else cut)
    found = crop_flip(x, torch.Generator().manual_seed(5))
    assert found.dtype == torch.uint8
    assert torch.equal(found, torch.stack(expected))
    assert True in mirrored
    assert False in mirrored


@pytest.mark.parametrize("wanted", [(3, 32, 32), (1, 8, 8), (3, 5, 9), (1, 4, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_fitted_to_any_model(wanted, channels):
    found = fit_images(torch.full((2, channels, 8, 8), 77, dtype=torch.uint8), wanted)
    assert found.shape == (2, *wanted)
    torch.testing.assert_close(found, torch.full_like(found, 77.0))


def test_grey_images_get_three_equal_channels_and_colours_their_mean():
    x = torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    grey = fit_images(x, (1, 4, 4))
    torch.testing.assert_close(grey[:, 0], x.float().mean(1))
    three = fit_images(x[:, :1], (3, 4, 4))
    assert torch.equal(three[:, 0], x[:, 0].float())
    assert torch.equal(three[:, 0], three[:, 2])
    assert torch.equal(fit_images(x, (3, 4, 4)), x.float())
