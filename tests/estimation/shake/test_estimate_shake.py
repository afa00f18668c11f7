"""The shake search finds known kernels, the right way round, and says when it does not."""

import pytest
import torch

import basis_blur as bb
from basis_blur.estimation.choice import BestEstimator, NoEstimator, ShakeEstimator, estimator_for, left_alone
from basis_blur.estimation.estimate import SEARCHING_AGAIN
from basis_blur.estimation.estimators import NetworkEstimator
from basis_blur.estimation.shake.consistency import consistency
from basis_blur.estimation.shake.kernels import best_shift, centred, on_canvas, spread
from basis_blur.estimation.shake.search import ShakeEstimate, estimate_shake, gray_light
from basis_blur.foundation.errors import InputError
from basis_blur.ops.camera_response import to_linear, to_srgb


def sharp_photo(height, width, seed=3, channels=3):
    """Boxes of many sizes and shades."""
    generator = torch.Generator().manual_seed(seed)
    photo = torch.full((1, channels, height, width), 0.3)
    for _ in range(120):
        top, left = (int(torch.randint(side - 8, (), generator=generator)) for side in (height, width))
        high, wide = torch.randint(5, 40, (2,), generator=generator).tolist()
        shade = 0.05 + 0.85 * torch.rand(channels, 1, 1, generator=generator)
        photo[..., top : top + high, left : left + wide] = shade
    return photo


def arc():
    """A kernel of 17 pixels that equals neither its mirror image nor its transpose."""
    kernel = torch.zeros(17, 17)
    kernel[4:12, 6] = 1
    kernel[11, 6:12] = 1.5
    kernel[9:12, 11] = 2
    return centred((kernel / kernel.sum())[None])[0]


def blurred(sharp, kernel, noise=0.002, gamma=2.2):
    radius = kernel.shape[-1] // 2
    size = [side - 2 * radius for side in sharp.shape[-2:]]
    field = bb.BlurField(kernel[None, None], torch.ones(1, 1, *size))
    photo = to_srgb(bb.BasisBlur(field)(to_linear(sharp, gamma)).clamp(0, 1), gamma)
    return (photo + noise * torch.randn(photo.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


@pytest.fixture(scope='module')
def photo():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    made = blurred(sharp_photo(166, 176), arc())
    torch.set_default_dtype(before)
    return made


@pytest.fixture(scope='module')
def found(photo):
    return estimate_shake(photo, kernel_size=17)


def test_a_known_kernel_is_found_the_right_way_round(found):
    assert isinstance(found, ShakeEstimate)
    assert found.source == 'shake'
    assert best_shift(found.kernel.double(), arc())[2] > 0.9
    assert best_shift(found.kernel.double(), arc().flip(0, 1))[2] < 0.85
    assert best_shift(found.kernel.double(), arc().mT)[2] < 0.85
    assert found.agreement > 0.82
    assert found.confidence > 0.5


def test_the_photo_is_restored(photo, found):
    sharp = sharp_photo(166, 176)[..., 8:-8, 8:-8]
    restored = bb.Deblurrer(lambda *_: found)(photo).pixels
    inner = (..., slice(10, -10), slice(10, -10))
    before, after = ((each - sharp)[inner].square().mean() for each in (photo, restored))
    assert after < before / 3  # 4.8 dB


def test_the_field_is_the_kernel_everywhere(photo, found):
    assert found.field.image_size == tuple(photo.shape[-2:])
    corner = found.field.kernels_at(torch.tensor([[0, 0], [100, 50]]))[0]
    torch.testing.assert_close(corner, found.kernel.to(photo).expand(2, -1, -1))


def test_a_transposed_photo_has_the_transposed_kernel(photo, found):
    turned = estimate_shake(photo.mT, kernel_size=17)
    assert best_shift(turned.kernel.mT, found.kernel)[2] > 0.97


def test_a_photo_of_gray_channels_is_its_gray_photo(photo):
    gray = photo.mean(1, keepdim=True)
    one, three = (estimate_shake(each, kernel_size=17).kernel for each in (gray, gray.expand(-1, 3, -1, -1)))
    assert best_shift(one, three)[2] > 0.999


def test_the_same_photo_gives_the_same_kernel_with_one_thread_and_two(photo, found):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = estimate_shake(photo, kernel_size=17)
        torch.set_num_threads(2)
        assert best_shift(estimate_shake(photo, kernel_size=17).kernel, one.kernel)[2] > 0.999
    finally:
        torch.set_num_threads(threads)
    assert best_shift(found.kernel, one.kernel)[2] > 0.999


def test_a_photo_of_half_precision_has_the_kernel_in_single_precision(photo, found):
    half = estimate_shake(photo.half(), kernel_size=17)
    assert half.field.kernels.dtype == torch.float32
    assert best_shift(half.kernel, found.kernel)[2] > 0.97


def test_a_start_is_refined(photo):
    field = bb.BlurField(arc()[None, None], torch.ones(1, 1, *photo.shape[-2:]))
    found = estimate_shake(photo, start=field)
    assert found.kernel.shape == (17, 17)
    assert best_shift(found.kernel.double(), arc())[2] > 0.9
    assert [each.name for each in found.tried][:1] == ['start']


def test_one_kernel_explains_a_photo_of_one_blur_and_not_one_of_two(photo):
    light = gray_light(photo, 2.2)
    other = blurred(sharp_photo(166, 176), arc().flip(0))
    two = torch.cat([light[..., :80], gray_light(other, 2.2)[..., 80:]], -1)
    kernel = arc().float()
    assert consistency(light, kernel) > 0.95
    assert consistency(two, kernel) < consistency(light, kernel) - 0.03


# ------------------------------------------------------------------------------------------------------------- errors


def test_a_flat_photo_is_refused_in_words():
    with pytest.raises(InputError, match='flat'):
        estimate_shake(torch.full((1, 3, 80, 90), 0.5))


def test_a_small_photo_is_refused_in_words():
    with pytest.raises(InputError, match='63x100 pixels.*at least 64'):
        estimate_shake(torch.rand(1, 1, 100, 63))


def test_photos_are_searched_one_by_one():
    with pytest.raises(ValueError, match='2 photos.*one by one'):
        estimate_shake(torch.rand(2, 3, 80, 80))


def test_an_unknown_estimator_is_named():
    with pytest.raises(ValueError, match="'best'.*auto, network, shake, rotations, none"):
        estimator_for('best', None)


# ------------------------------------------------------------------------------------------------------------- choice


class Pencil(torch.nn.Module):
    """A network that sees one kernel everywhere."""

    hyper_parameters = {'kernel_size': 17, 'in_channels': 3}  # noqa: RUF012

    def __init__(self, kernel):
        super().__init__()
        self.kernel = torch.nn.Parameter(kernel)

    def forward(self, light):
        return bb.BlurField.unchecked(self.kernel[None, None], light.new_ones(1, 1, *light.shape[-2:]))


def chosen(photo, kernel):
    estimator = BestEstimator(NetworkEstimator(Pencil(kernel), 'full'))
    return estimator(photo, 2.2)


def test_a_camera_shake_is_that_of_the_search(photo):
    assert chosen(photo, arc()).source == 'shake'


def test_a_nearly_sharp_photo_is_left_as_it_is():
    sharp = sharp_photo(150, 160)
    point = torch.zeros(17, 17)
    point[8, 8] = 1
    estimate = chosen(blurred(sharp, point), point)
    assert estimate.source == 'none'
    assert [each.code for each in estimate.doubts] == ['sharp']
    photo = blurred(sharp, point)
    assert torch.equal(bb.Deblurrer(lambda *_: estimate)(photo).pixels, photo)


def test_a_flat_photo_is_that_of_the_network():
    assert chosen(torch.full((1, 3, 80, 90), 0.5), arc()).source == 'network'


def test_the_names_mean_what_they_say():
    network = NetworkEstimator(Pencil(arc()), 'full')
    assert estimator_for('network', network) is network
    assert isinstance(estimator_for('shake', network), ShakeEstimator)
    assert isinstance(estimator_for('auto', network), BestEstimator)
    assert isinstance(estimator_for('none', network), NoEstimator)


def test_nothing_is_removed_by_none():
    photo = torch.rand(1, 3, 40, 40)
    assert torch.equal(bb.Deblurrer(NoEstimator())(photo).pixels, photo)
    assert spread(left_alone(photo).field.kernels[0, 0]) == 0


def test_a_start_that_is_no_field_is_named():
    with pytest.raises(ValueError, match='start is a Linear, expected a BlurField or a kernel'):
        estimate_shake(torch.rand(1, 1, 128, 128), start=torch.nn.Linear(1, 1))


def test_a_second_look_begins_elsewhere_and_takes_what_explains_the_photo_best(monkeypatch, photo):
    monkeypatch.setattr('basis_blur.estimation.shake.search.DUBIOUS', 0.0)
    monkeypatch.setattr('basis_blur.estimation.shake.search.CLEARLY_BETTER', 2.0)
    stages = []
    twice = estimate_shake(
        photo, kernel_size=25, progress=lambda stage, number, total: stages.append((stage, number, total))
    )
    again = [each.kernel for each in twice.tried if each.name == 'second look']
    assert len(again) == 2
    assert any(torch.equal(twice.kernel, each.kernel) for each in twice.tried)
    assert best_shift(twice.kernel, on_canvas(arc()[None], 25)[0].float())[2] > 0.85
    assert best_shift(twice.kernel, on_canvas(arc().flip(1)[None], 25)[0].float())[2] < 0.85
    assert [number for stage, number, _ in stages if stage == SEARCHING_AGAIN] == list(range(1, stages[-1][2] + 1))


def test_a_good_kernel_gets_no_second_look(photo):
    once = estimate_shake(photo, kernel_size=25)
    assert once.share_of_wrong < 0.6
    assert 'second look' not in [each.name for each in once.tried]
