"""KernelLoss is the distance between whole kernels at every pixel, without ever holding them."""

import json
from itertools import accumulate

import pytest
import torch
from tolerances import rounding
from torch.profiler import ProfilerActivity, profile

from basis_blur.field.blur_field import BlurField
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import options_of, read_options
from basis_blur.losses.kernel_loss import KernelLoss


def random_field(photos=2, basis=5, size=7, height=9, width=11, dtype=None):
    kernels = torch.randn(photos, basis, size * size, dtype=dtype).mul(2).softmax(-1).view(photos, basis, size, size)
    mixing = torch.randn(photos, basis, height, width, dtype=dtype).softmax(1)
    return BlurField(kernels.requires_grad_(), mixing.requires_grad_())


def whole_kernels(field):
    return torch.einsum('nbhw,nbs->nshw', field.mixing, field.kernels.flatten(2))


def plain_loss(field, true_field, weight, p):
    distance = (whole_kernels(field) - whole_kernels(true_field)).abs() ** p
    return (weight * distance).sum() / len(field)


def gradients(loss, field):
    return torch.autograd.grad(loss, [field.kernels, field.mixing])


def nearly(field, distance):
    """Another field, whose numbers differ by about `distance`."""
    kernels = (field.kernels.detach().log() + distance * torch.randn_like(field.kernels)).flatten(2).softmax(-1)
    mixing = (field.mixing.detach().log() + distance * torch.randn_like(field.mixing)).softmax(1)
    return BlurField(kernels.view(field.kernels.shape).requires_grad_(), mixing.requires_grad_())


@pytest.mark.parametrize('p', [1, 2])
def test_value_and_gradients_are_those_of_the_sum_over_whole_kernels(p):
    field, true_field, weight = random_field(), random_field(basis=3), torch.rand(2, 1, 9, 11)
    ours, plain = KernelLoss(p=p)(field, true_field, weight), plain_loss(field, true_field, weight, p)
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=0)
    for found, expected in zip(gradients(ours, field), gradients(plain, field), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-16)


def test_the_norm_as_printed_is_that_of_whole_kernels():
    field, true_field, weight = random_field(), random_field(basis=3), torch.rand(2, 1, 9, 11)
    ours = KernelLoss(squared=False)(field, true_field, weight)
    distance = (whole_kernels(field) - whole_kernels(true_field)).norm(dim=1, keepdim=True)
    plain = (weight * distance).sum() / len(field)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=0)
    for found, expected in zip(gradients(ours, field), gradients(plain, field), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-15)


def test_the_norm_has_no_slope_where_there_is_no_distance():
    field, weight = random_field(), torch.rand(2, 1, 9, 11)
    loss = KernelLoss(squared=False)(field, field, weight)
    assert loss.item() < 1e-12
    assert all(gradient.isfinite().all() for gradient in gradients(loss, field))


def test_two_deltas_a_pixel_apart_have_distance_two():
    left, right = torch.zeros(2, 1, 1, 3, 3)
    left[..., 1, 0] = right[..., 1, 1] = 1
    one = torch.ones(1, 1, 4, 5)
    weight = torch.full((1, 1, 4, 5), 1 / 20)
    for p in (1, 2):
        assert KernelLoss(p)(BlurField(left, one), BlurField(right, one), weight).item() == pytest.approx(2)


@pytest.mark.parametrize('p', [1, 2])
@pytest.mark.parametrize('chunk_pixels', [1, 2, 17, 99, 1000])
def test_the_chunk_size_does_not_change_the_result(p, chunk_pixels):
    field, true_field, weight = random_field(), random_field(basis=3), torch.rand(2, 1, 9, 11)
    whole = KernelLoss(p, chunk_pixels=10**6)(field, true_field, weight)
    chunked = KernelLoss(p, chunk_pixels=chunk_pixels)(field, true_field, weight)
    torch.testing.assert_close(chunked, whole, rtol=1e-13, atol=0)
    for found, expected in zip(gradients(chunked, field), gradients(whole, field), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize('p', [1, 2])
def test_the_truth_in_another_basis_has_no_distance(p):
    true_field = random_field(basis=3)
    order = torch.tensor([2, 0, 1, 1])
    shared = torch.tensor([1, 1, 0.25, 0.75]).view(1, 4, 1, 1)  # the last two kernels share one's coefficient
    same = BlurField(true_field.kernels[:, order], true_field.mixing[:, order] * shared)
    loss = KernelLoss(p)(same, true_field, torch.ones(2, 1, 9, 11))
    assert 0 <= loss.item() < 99 * rounding()  # of 99 kernels that sum to 1


@pytest.mark.parametrize('p', [1, 2])
def test_a_weight_of_zero_takes_a_pixel_out(p):
    field, true_field, weight = random_field(), random_field(), torch.rand(2, 1, 9, 11)
    weight[:, :, 2:5, 3:7] = 0
    changed = BlurField(field.kernels, field.mixing.detach().clone())
    changed.mixing[:, :, 2:5, 3:7] = changed.mixing[:, :, 2:5, 3:7].flip(1)
    loss = KernelLoss(p)
    torch.testing.assert_close(loss(changed, true_field, weight), loss(field, true_field, weight))


@pytest.mark.parametrize('p', [1, 2])
def test_loss_is_the_mean_over_photos_and_photos_do_not_mix(p):
    field, true_field, weight = random_field(photos=3), random_field(photos=3), torch.rand(3, 1, 9, 11)
    loss = KernelLoss(p)
    apart = [loss(field[i], true_field[i], weight[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(field, true_field, weight), sum(apart) / 3)


@pytest.mark.parametrize('p', [1, 2])
def test_loss_weight_is_applied_once(p):
    field, true_field, weight = random_field(), random_field(), torch.rand(2, 1, 9, 11)
    once, thrice = KernelLoss(p)(field, true_field, weight), KernelLoss(p, loss_weight=3.0)(field, true_field, weight)
    torch.testing.assert_close(thrice, 3 * once)
    torch.testing.assert_close(gradients(thrice, field)[1], 3 * gradients(once, field)[1])


@pytest.mark.parametrize('distance', [1e-1, 1e-3, 1e-5])
def test_p2_is_exact_in_float32_close_to_the_truth(distance):
    true_field = random_field(size=15, dtype=torch.float32)
    field, weight = nearly(true_field, distance), torch.rand(2, 1, 9, 11, dtype=torch.float32)
    exact = plain_loss(field.to(torch.float64), true_field.to(torch.float64), weight.double(), 2)
    ours = KernelLoss(2)(field, true_field, weight)
    assert ours.dtype == torch.float32
    assert abs(ours.item() / exact.item() - 1) < rounding(torch.float32)
    for found, expected in zip(gradients(ours, field), gradients(exact, field), strict=True):
        assert (found - expected).norm() / expected.norm() < rounding(torch.float32)


@pytest.mark.parametrize('distance', [1e-1, 1e-3, 1e-5])
def test_p2_loses_no_more_digits_than_the_difference_of_whole_kernels(distance):
    """The Gram form, a' A A' a, would lose them as eps / distance^2."""
    true_field = random_field(size=15)
    field, weight = nearly(true_field, distance), torch.rand(2, 1, 9, 11)
    exact = plain_loss(field, true_field, weight, 2)
    ours = KernelLoss(2)(field, true_field, weight)
    tolerance = rounding(conditioning=1 / distance)
    torch.testing.assert_close(ours, exact, rtol=tolerance, atol=0)
    for found, expected in zip(gradients(ours, field), gradients(exact, field), strict=True):
        assert (found - expected).norm() / expected.norm() < tolerance


def test_p1_is_close_in_float32():
    true_field = random_field(size=15, dtype=torch.float32)
    field, weight = nearly(true_field, 0.1), torch.rand(2, 1, 9, 11, dtype=torch.float32)
    exact = plain_loss(field.to(torch.float64), true_field.to(torch.float64), weight.double(), 1)
    assert abs(KernelLoss(1)(field, true_field, weight).item() / exact.item() - 1) < 1e-6


@pytest.mark.parametrize('p', [1, 2])
def test_half_precision_around_it_does_not_touch_the_loss(p):
    field, true_field = random_field(dtype=torch.float32), random_field(dtype=torch.float32)
    weight = torch.rand(2, 1, 9, 11, dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = KernelLoss(p)(field, true_field, weight)
    torch.testing.assert_close(inside, KernelLoss(p)(field, true_field, weight), rtol=1e-6, atol=0)


@pytest.mark.parametrize('p', [1, 2])
def test_gradient_flows_to_either_half_of_the_prediction_alone_and_not_to_the_truth(p):
    field, true_field, weight = random_field(), random_field(), torch.rand(2, 1, 9, 11)
    both = gradients(KernelLoss(p)(field, true_field, weight), field)
    for half in (0, 1):
        parts = [field.kernels.detach(), field.mixing.detach()]
        parts[half].requires_grad_()
        (alone,) = torch.autograd.grad(KernelLoss(p)(BlurField(*parts), true_field, weight), parts[half])
        torch.testing.assert_close(alone, both[half])
    KernelLoss(p)(field, true_field, weight).backward()
    assert true_field.kernels.grad is None
    assert true_field.mixing.grad is None


def test_backward_can_run_twice_and_scales_with_what_follows():
    field, true_field, weight = random_field(), random_field(), torch.rand(2, 1, 9, 11)
    loss = KernelLoss(2)(field, true_field, weight)
    first = torch.autograd.grad(loss, field.mixing, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(5 * loss, field.mixing)[0], 5 * first)


@pytest.mark.memory
@pytest.mark.parametrize('p', [1, 2])
def test_memory_is_a_tenth_of_the_product_of_kernels_and_mixing(p, tmp_path):
    size, side = 33, 256
    field = random_field(1, 25, size, side, side, torch.float32)
    true_field = random_field(1, 4, size, side, side, torch.float32)
    weight = torch.rand(1, 1, side, side, dtype=torch.float32)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        KernelLoss(p)(field, true_field, weight).backward()
    product = 4 * size * size * side * side
    peak = peak_bytes(record, tmp_path / 'trace.json')
    assert 4 * field.mixing.numel() < peak < product / 10, f'{peak / 1e6:.1f} MB of {product / 1e6:.1f} MB'


def peak_bytes(record, trace):
    record.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())['traceEvents'] if event['name'] == '[memory]']
    events.sort(key=lambda event: event['ts'])
    return max(accumulate(event['args']['Bytes'] for event in events))


@pytest.mark.parametrize(
    ('other', 'words'),
    [
        ({'photos': 1}, '2 photos .* 1;'),
        ({'height': 8}, '9x11 pixels .* 8x11;'),
        ({'size': 5}, '7x7 pixels in a kernel .* 5x5;'),
    ],
)
def test_fields_of_different_sizes_are_refused(other, words):
    with pytest.raises(ValueError, match=words):
        KernelLoss()(random_field(), random_field(**other), torch.rand(2, 1, 9, 11))


def test_weights_that_are_not_one_per_pixel_are_refused():
    with pytest.raises(ValueError, match=r'\(2, 9, 11\), expected \(2, 1, 9, 11\)'):
        KernelLoss()(random_field(), random_field(), torch.rand(2, 9, 11))


@pytest.mark.parametrize('wrong', [{'p': 3}, {'p': 0.5}, {'chunk_pixels': 0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match='expected'):
        KernelLoss(**wrong)


def test_options_are_read_from_its_signature():
    known = options_of(KernelLoss)
    assert read_options({'p': 1, 'loss_weight': '1e-2'}, known, 'train: kernel_opt')['loss_weight'] == 0.01
    with pytest.raises(InputError, match='expected one of 2, 1'):
        read_options({'p': 3}, known, 'train: kernel_opt')
