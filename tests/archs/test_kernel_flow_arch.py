"""A flow is a bijection that knows its own Jacobian, and whose numbers are those of the published weights."""

import math

import pytest
import torch
from tolerances import rounding

from basis_blur.archs.kernel_flow_arch import LEVELS, KernelFlow, derive_normalization
from basis_blur.foundation.errors import InputError
from basis_blur.weights.checkpoints import load_network, save_network


def make_flow(kernel_size=3, num_blocks=3, hidden=4):
    """A flow far from the identity, with running statistics as after a training."""
    flow = KernelFlow(kernel_size, num_blocks, hidden).eval()
    flow.set_normalization(0.4)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
        for layer in flow.net[1::2]:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return flow


def make_kernels(count=5, size=3):
    kernels = torch.rand(count, size, size) + 0.2
    return kernels / kernels.sum((1, 2), keepdim=True)


@pytest.mark.parametrize(('kernel_size', 'num_blocks', 'hidden'), [(3, 1, 1), (5, 2, 7), (33, 5, 4)])
def test_inverse_undoes_forward_and_their_log_dets_cancel(kernel_size, num_blocks, hidden):
    flow = make_flow(kernel_size, num_blocks, hidden)
    x = torch.randn(4, kernel_size**2)
    code, log_det = flow(x)
    back, back_log_det = flow.inverse(code)
    assert (code - x).abs().mean() > 0.1
    # Undoing a coupling divides by its scale, so an error of the code grows: as much as one that is put there.
    nudge = 1e-8 * code.norm() * torch.nn.functional.normalize(torch.randn_like(code).flatten(), dim=0).view_as(code)
    moved, moved_log_det = flow.inverse(code + nudge)
    tolerance = rounding() * code.norm() / nudge.norm()
    assert (back - x).norm() < tolerance * (moved - back).norm()
    largest = tolerance * (moved_log_det - back_log_det).norm() + rounding() * log_det.norm()
    assert (back_log_det + log_det).norm() < largest


def test_log_det_is_that_of_autograds_jacobian():
    flow = make_flow()
    x = torch.randn(2, 9)
    expected = [torch.autograd.functional.jacobian(lambda row: flow(row[None])[0][0], row).slogdet()[1] for row in x]
    torch.testing.assert_close(flow(x)[1], torch.stack(expected), rtol=1e-10, atol=1e-10)


def test_the_log_det_of_the_logit_is_that_of_autograds_jacobian():
    flow = make_flow()
    kernels, noise = make_kernels(1), torch.rand(1, 3, 3)

    def x_of_steps(steps):
        return flow.preprocess(steps.view(1, 3, 3) * flow.normalization / LEVELS, noise)[0]

    steps = (kernels / flow.normalization * LEVELS).flatten()
    expected = torch.autograd.functional.jacobian(x_of_steps, steps).slogdet()[1]
    found = flow.preprocess_log_det(flow.preprocess(kernels, noise))
    torch.testing.assert_close(found[0], expected, rtol=1e-10, atol=0)


def test_the_density_integrates_to_one():
    flow = KernelFlow(3, 1, 2).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.normal_(std=0.3)
    code = torch.randn(20_000, 9)
    x, _ = flow.inverse(code)
    wider = torch.distributions.Normal(x.mean(0), 1.5 * x.std(0))
    drawn = wider.sample((200_000,))
    weights = (flow.log_prob(drawn) - wider.log_prob(drawn).sum(1)).exp()
    assert weights.mean().item() == pytest.approx(1, abs=5 * weights.std().item() / math.sqrt(len(weights)))
    assert weights.std() / math.sqrt(len(weights)) < 0.05


def test_a_coupling_keeps_the_pixels_of_its_mask_and_the_first_keeps_odd_ones():
    flow = make_flow()
    x = torch.randn(2, 9)
    for index, layer in enumerate(flow.net[::2]):
        code, log_det = layer(x)
        kept = slice((index + 1) % 2, None, 2)
        assert torch.equal(code[:, kept], x[:, kept])
        assert (code != x).sum() == 2 * (9 - len(range(9)[kept]))
        torch.testing.assert_close(layer.inverse(code)[0], x)
        torch.testing.assert_close(layer.inverse(code)[1], -log_det)


def test_batch_norm_in_training_normalises_the_batch_and_keeps_nine_tenths_of_the_old_statistics():
    layer = KernelFlow(3, 1, 2).train().net[1]
    layer.running_mean.fill_(5)
    layer.running_var.fill_(7)
    x = 3 * torch.randn(50, 9) + 2
    code, log_det = layer(x)
    torch.testing.assert_close(code.mean(0), torch.zeros(9), rtol=0, atol=1e-10)
    torch.testing.assert_close(code.var(0), torch.ones(9), rtol=1e-4, atol=0)
    torch.testing.assert_close(log_det, -0.5 * (x.var(0) + 1e-5).log().sum().expand(50))
    torch.testing.assert_close(layer.running_mean, 0.9 * 5 + 0.1 * x.mean(0))
    torch.testing.assert_close(layer.running_var, 0.9 * 7 + 0.1 * x.var(0))


def test_evaluation_uses_the_running_statistics_and_leaves_them():
    flow = make_flow()
    before = {key: value.clone() for key, value in flow.state_dict().items()}
    x = torch.randn(6, 9)
    torch.testing.assert_close(flow(x)[0][:2], flow(x[:2])[0])
    torch.testing.assert_close(dict(flow.state_dict()), before, rtol=0, atol=0)


def test_decode_undoes_encode_and_its_kernels_sum_to_one():
    flow, kernels = make_flow(), make_kernels()
    kernels[0] = 0
    kernels[0, 1, 1:] = torch.tensor([0.3, 0.1])  # black pixels are exact too
    torch.testing.assert_close(flow.decode_raw(flow.encode(kernels)).view(5, 3, 3), kernels, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(flow.decode(flow.encode(kernels))[1:], kernels[1:], rtol=1e-9, atol=0)
    drawn = flow.decode(10 * torch.randn(50, 9))
    assert drawn.min() >= 0
    torch.testing.assert_close(drawn.sum((1, 2)), torch.ones(50))


def test_preprocessing_follows_its_formula_and_cuts_what_is_above_the_normalization():
    flow = make_flow()
    kernels = torch.tensor([-0.1, 0.0, 0.1, 0.4, 0.9, 0, 0, 0, 0]).view(1, 3, 3)
    y = torch.tensor([0, 0, 0.25, 1, 1, 0, 0, 0, 0])
    torch.testing.assert_close(flow.preprocess(kernels)[0], torch.logit(1e-6 + (1 - 2e-6) * y))
    noise = torch.full_like(kernels, 0.5)
    y = torch.tensor([0, 0, 0.25, 1 - 1 / 720, 1 - 1 / 720, 0, 0, 0, 0]) + 0.5 / 720
    torch.testing.assert_close(flow.preprocess(kernels, noise)[0], torch.logit(1e-6 + (1 - 2e-6) * y))


@pytest.mark.parametrize('grad', [False, True])
def test_decoding_in_chunks_is_decoding_at_once(grad):
    flow = make_flow().requires_grad_(False)
    code = torch.randn(7, 9, requires_grad=grad)
    torch.testing.assert_close(flow.decode_raw(code, 3), flow.decode_raw(code), rtol=1e-12, atol=0)
    assert flow.decode_raw(code, 3).requires_grad == grad
    torch.testing.assert_close(flow.decode(code, 2), flow.decode(code), rtol=1e-12, atol=0)


def test_a_row_of_float32_survives_the_round_trip():
    flow = make_flow().float()
    kernels = make_kernels().float()
    assert (flow.decode(flow.encode(kernels)) - kernels).abs().max() < 1e-5


def gaussians(count, variances=(0.35, 5.0), size=11):
    """What the published flow was trained on: turned Gaussians about a corner of pixels, for doubling a size."""
    across = torch.arange(size) - (size - 2) / 2
    y, x = torch.meshgrid(across, across, indexing='ij')
    angle = math.pi * torch.rand(count, 1, 1)
    low, high = variances
    first, second = low + (high - low) * torch.rand(2, count, 1, 1)
    u, v = angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x
    kernels = (-0.5 * (u**2 / first + v**2 / second)).exp()
    return kernels / kernels.sum((1, 2), keepdim=True)


def test_the_published_flow_makes_normal_codes_of_its_gaussians_and_kernels_of_normal_codes(shared_data):
    flow = load_network(shared_data / 'flow' / 'FKP_x2.pt').double()
    assert flow.hyper_parameters == {'kernel_size': 11, 'num_blocks': 5, 'hidden': 15}
    kernels = gaussians(500)
    with torch.no_grad():
        raw = flow.decode_raw(torch.randn(500, 121))
        code = flow.encode(kernels, torch.rand_like(kernels))
    assert code.square().mean(1).median().item() == pytest.approx(1, abs=0.2)  # 4 without the noise
    assert (raw.sum(1) - 1).abs().median() < 0.1  # the sums that it learned, before they are made 1
    drawn = flow.decode(torch.randn(500, 121))
    torch.testing.assert_close(drawn.sum((1, 2)), torch.ones(500))
    middle = torch.arange(11.0)
    for dim in (1, 2):
        assert (drawn.sum(dim) @ middle).mean().item() == pytest.approx(4.5, abs=0.1)


def test_a_saved_flow_is_the_same_flow(tmp_path):
    flow = make_flow(5, 2, 3)
    save_network(flow, tmp_path / 'flow.safetensors')
    again = load_network(tmp_path / 'flow.safetensors')
    assert again.hyper_parameters == flow.hyper_parameters
    code = torch.randn(3, 25)
    assert torch.equal(again.decode(code), flow.decode(code))  # the normalization came along


def test_hyper_parameters_are_read_off_a_plain_state_dict(tmp_path):
    flow = make_flow(5, 2, 3)
    torch.save({'model_state': flow.state_dict()}, tmp_path / 'flow.pt')
    assert load_network(tmp_path / 'flow.pt').hyper_parameters == flow.hyper_parameters
    state = flow.state_dict()
    del state['net.3.beta']
    torch.save({'model_state': state}, tmp_path / 'flow.pt')
    with pytest.raises(InputError, match=r'lacks net\.3\.beta'):
        load_network(tmp_path / 'flow.pt')


def test_what_does_not_fit_is_refused():
    flow = make_flow()
    with pytest.raises(ValueError, match='kernel_size is 4, expected an odd'):
        KernelFlow(4)
    for call in (flow, flow.inverse, flow.decode):
        with pytest.raises(ValueError, match=r'has shape \(2, 8\), expected \(M, 9\)'):
            call(torch.zeros(2, 8))
    with pytest.raises(ValueError, match=r'kernels have shape \(2, 9\)'):
        flow.encode(torch.zeros(2, 9))
    with pytest.raises(ValueError, match='noise has shape'):
        flow.encode(torch.zeros(2, 3, 3), torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match='at least 2 in training'):
        flow.train()(torch.zeros(1, 9))
    with pytest.raises(ValueError, match='chunk is 0'):
        flow.decode(torch.zeros(2, 9), 0)
    with pytest.raises(ValueError, match='normalization is 0'):
        flow.set_normalization(0)


def test_raw_kernels_are_the_inverse_of_the_whole_row():
    flow = KernelFlow(kernel_size=5, num_blocks=3, hidden=4).eval()
    with torch.no_grad():
        for tensor in (*flow.parameters(), *(layer.running_mean for layer in flow.net[1::2])):
            tensor.add_(0.3 * torch.randn_like(tensor))
    code = torch.randn(7, 25)
    x, _ = flow.inverse(code)
    expected = (x.sigmoid() - flow.alpha) / (1 - 2 * flow.alpha) * flow.normalization
    torch.testing.assert_close(flow.decode_raw(code), expected, rtol=1e-10, atol=1e-10)


def test_the_normalization_is_a_quantile_of_the_largest_pixels():
    kernels = torch.zeros(11, 3, 3)
    kernels[:, 0, 2] = torch.arange(1, 12) / 20
    kernels[:, 1, 1] = 0.01
    assert derive_normalization(kernels) == pytest.approx(0.5)
    assert derive_normalization(kernels, 1) == pytest.approx(0.55)
    with pytest.raises(ValueError, match='1 of 12 kernels are black'):
        derive_normalization(torch.cat([kernels, torch.zeros(1, 3, 3)]))
    with pytest.raises(ValueError, match='quantile is 2'):
        derive_normalization(kernels, 2)
