"""A blurred scene is the camera's view of its blur field; objects keep their kernels and share the pixels."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from basis_blur.field.blur_field import BlurField
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.simulation.scene_blur import blur_scene, choose_objects, fill_slots

SIZE, WIDTH, K, SLOTS = 20, 23, 7, 4


def delta(size=K):
    kernel = torch.zeros(size, size)
    kernel[size // 2, size // 2] = 1
    return kernel


def random_kernels(*shape):
    return torch.rand(*shape, K * K).softmax(-1).unflatten(-1, (K, K))


@pytest.fixture
def scenes():
    """Two scenes of float64: one with two objects, one with three; the noise differs."""
    labels = torch.zeros(2, SIZE + K - 1, WIDTH + K - 1, dtype=torch.uint8)
    labels[0, 4:15, 3:12], labels[0, 12:22, 15:26] = 1, 2
    labels[1, 3:12, 3:25], labels[1, 14:20, 5:14], labels[1, 12:26, 16:22] = 1, 2, 3
    return {
        'sharp': torch.rand(2, 3, *labels.shape[1:]),
        'labels': labels,
        'kernels': random_kernels(2, SLOTS),
        'illumination': torch.tensor([0.8, 1.3]),
        'noise_std': torch.tensor([0.0, 0.02]),
        'noise_seed': torch.tensor([3, 4]),
    }


def interior(scene):
    radius = K // 2
    return scene[..., radius:-radius, radius:-radius]


def test_a_scene_without_objects_is_convolved_with_the_background_kernel(scenes):
    scenes['labels'].zero_()
    scenes['noise_std'].zero_()
    out = blur_scene(scenes)
    light = (scenes['sharp'] * scenes['illumination'][:, None, None, None]) ** 2.2
    for item in range(2):
        flipped = scenes['kernels'][item, 0].flip(0, 1).expand(3, 1, K, K)
        expected = F.conv2d(light[item], flipped, groups=3).clamp(0, 1) ** (1 / 2.2)
        torch.testing.assert_close(out['lq'][item], expected, rtol=1e-10, atol=1e-10)


def test_an_object_everywhere_is_convolved_with_its_own_kernel(scenes):
    everywhere = blur_scene({**scenes, 'labels': torch.full_like(scenes['labels'], 2)})
    swapped = scenes['kernels'][:, [2, 1, 0, 3]]
    background = blur_scene({**scenes, 'kernels': swapped, 'labels': torch.zeros_like(scenes['labels'])})
    torch.testing.assert_close(everywhere['lq'], background['lq'], rtol=1e-12, atol=1e-12)


def test_nothing_that_moves_leaves_the_scene_as_it_is(scenes):
    scenes['kernels'] = delta().expand(2, SLOTS, K, K)
    scenes['illumination'] = torch.tensor([0.5, 1.0])
    scenes['noise_std'].zero_()
    out = blur_scene(scenes)
    torch.testing.assert_close(out['lq'], interior(out['gt']), rtol=1e-10, atol=1e-10)
    labels = F.one_hot(interior(scenes['labels']).long(), SLOTS).movedim(-1, 1).to(out['mixing'])
    torch.testing.assert_close(out['mixing'], labels, rtol=1e-10, atol=1e-10)


def test_an_impulse_of_light_appears_as_the_kernel_itself(scenes):
    scenes = {name: value[:1] for name, value in scenes.items()}
    scenes['labels'].zero_()
    scenes['sharp'] = torch.zeros_like(scenes['sharp'])
    scenes['sharp'][0, :, 13, 12] = 1
    kernel = torch.zeros(K, K)
    kernel[1, 2], kernel[5, 3] = 0.75, 0.25
    scenes['kernels'][0, 0] = kernel
    expected = torch.zeros(SIZE, WIDTH)
    # Scene pixel (13, 12) lies under photo pixel (10, 9); the middle of the kernel is (3, 3).
    expected[10 - 2, 9 - 1], expected[10 + 2, 9] = 0.75, 0.25
    out = blur_scene({**scenes, 'illumination': torch.ones(1)}, gamma=1.0)
    torch.testing.assert_close(out['lq'], expected.expand(1, 3, -1, -1), rtol=1e-10, atol=1e-12)


def test_an_object_leaves_its_trace_in_the_mixing_where_it_was_seen(scenes):
    scenes = {name: value[:1] for name, value in scenes.items()}
    scenes['labels'].zero_()
    scenes['labels'][0, 10, 11] = 1
    moved = torch.zeros(K, K)
    moved[K // 2 + 2, K // 2 + 1] = 1
    scenes['kernels'][0, 0], scenes['kernels'][0, 1] = delta(), moved
    share = blur_scene(scenes)['mixing'][0, 1]
    # The pixel (10, 11) of the scene is (7, 8) of the photo. Over the background, which does not move, it has half.
    assert share[9, 9].item() == pytest.approx(0.5, rel=1e-3)
    # Nobody is seen where it was; the residual decides for the object that the label names.
    assert share[7, 8].item() == pytest.approx(1)
    assert share.sum().item() == pytest.approx(1.5, rel=1e-3)


def test_mixing_and_kernels_are_a_blur_field_that_explains_the_photo(scenes):
    out = blur_scene(scenes)
    torch.testing.assert_close(out['mixing'].sum(1), torch.ones(2, SIZE, WIDTH), rtol=1e-12, atol=0)
    field = BlurField(out['kernels'], out['mixing'])
    light = BasisBlur(field)(out['gt'] ** 2.2)
    torch.testing.assert_close(out['lq'][0], light[0].clamp(0, 1) ** (1 / 2.2), rtol=1e-10, atol=1e-10)


def test_absent_objects_have_no_share(scenes):
    assert blur_scene(scenes)['mixing'][0, 3].abs().max() == 0


def test_the_weights_of_every_object_sum_to_one(scenes):
    out = blur_scene(scenes)
    owner = out['mixing'].argmax(1)
    for item, objects in enumerate((3, 4)):
        weight = out['weight'][item, 0]
        assert weight.sum().item() == pytest.approx(objects, rel=1e-12)
        for slot in range(objects):
            assert weight[owner[item] == slot].sum().item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(('tap', 'undecided'), [(2, 9), (3, 10)])
def test_equal_shares_belong_to_the_object_that_the_labels_name(scenes, tap, undecided):
    """Two equal taps give both sides of an edge one half of a pixel; rounding must not decide whose it is."""
    scenes['labels'].zero_()
    scenes['labels'][:, :, 13:] = 1
    scenes['kernels'][:] = 0
    scenes['kernels'][:, :, K // 2, tap : tap + 2] = 0.5
    out = blur_scene(scenes)
    assert out['mixing'][0, 1, 0, undecided].item() == pytest.approx(0.5, abs=1e-4)
    # Scene column 13 is photo column 10.
    torch.testing.assert_close(out['weight'][0, 0, :, :10], torch.full((SIZE, 10), 1 / (SIZE * 10)))


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_batch_is_its_scenes(scenes, dtype, tolerance):
    scenes['kernels'] = scenes['kernels'].to(dtype)
    scenes['sharp'] = (scenes['sharp'] * 255).to(torch.uint8)
    together = blur_scene(scenes)
    for item in range(2):
        alone = blur_scene({name: value[item] for name, value in scenes.items()})
        for name, value in alone.items():
            assert value.dtype == dtype
            torch.testing.assert_close(together[name][item], value, rtol=tolerance, atol=tolerance)


def test_bytes_are_parts_of_255(scenes):
    scenes['sharp'] = torch.full_like(scenes['sharp'], 51, dtype=torch.uint8)
    torch.testing.assert_close(blur_scene(scenes)['gt'][:, 0, 0, 0], 0.2 * scenes['illumination'])


def test_the_sensor_clips_and_the_scene_does_not(scenes):
    scenes['sharp'] = torch.full_like(scenes['sharp'], 0.9)
    scenes['illumination'] = torch.tensor([1.5, 1.0])
    scenes['noise_std'].zero_()
    out = blur_scene(scenes)
    torch.testing.assert_close(out['gt'][0], torch.full_like(out['gt'][0], 1.35))
    torch.testing.assert_close(out['lq'][0], torch.ones_like(out['lq'][0]))
    torch.testing.assert_close(out['lq'][1], torch.full_like(out['lq'][1], 0.9))


def test_a_spot_brighter_than_white_saturates_its_whole_streak(scenes):
    """Clipping the scene before the blur would leave 1/7 of the light in each pixel of the streak."""
    scenes = {name: value[:1] for name, value in scenes.items()}
    scenes['labels'].zero_()
    scenes['sharp'] = torch.zeros_like(scenes['sharp'])
    scenes['sharp'][0, :, 10, 10] = 1
    scenes['kernels'][0, 0] = 0
    scenes['kernels'][0, 0, K // 2] = 1 / K
    lq = blur_scene({**scenes, 'illumination': torch.tensor([8.0])}, gamma=1.0)['lq']
    torch.testing.assert_close(lq[0, 0, 7, 4:11], torch.ones(7))


def test_noise_has_its_deviation_and_follows_its_seed(scenes):
    scenes['sharp'] = torch.full((2, 3, 106, 106), 0.7)
    scenes['labels'] = torch.zeros(2, 106, 106, dtype=torch.uint8)
    scenes['illumination'] = torch.ones(2)
    light = blur_scene(scenes)['lq'] ** 2.2
    assert light[0].std() < 1e-12
    # 30,000 numbers: the deviation is known to 0.4 %.
    assert light[1].std().item() == pytest.approx(0.02, rel=0.03)
    assert light[1].mean().item() == pytest.approx(0.7**2.2, abs=5 * 0.02 / math.sqrt(30_000))
    again = blur_scene({**scenes, 'noise_seed': torch.tensor([4, 3])})['lq'] ** 2.2
    assert (again[1] - light[1]).abs().max() > 0.01
    same = (
        blur_scene({**scenes, 'noise_std': torch.tensor([0.02, 0.0]), 'noise_seed': torch.tensor([4, 3])})['lq'] ** 2.2
    )
    torch.testing.assert_close(same[0], light[1], rtol=1e-12, atol=1e-12)


def test_ingredients_and_the_global_generator_are_left_alone(scenes):
    before = {name: value.clone() for name, value in scenes.items()}
    state = torch.get_rng_state()
    blur_scene(scenes)
    torch.testing.assert_close(scenes, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ('name', 'value', 'found'),
    [
        ('labels', torch.zeros(2, SIZE, WIDTH, dtype=torch.uint8), 'they cover the whole scene'),
        ('labels', torch.full((2, SIZE + K - 1, WIDTH + K - 1), 4), 'labels reach 4'),
        ('sharp', torch.rand(2, 1, SIZE + K - 1, WIDTH + K - 1), 'sharp has shape'),
        ('kernels', torch.rand(1, SLOTS, K, K), 'kernels have shape'),
        ('noise_seed', torch.tensor(1), 'noise_seed has shape'),
    ],
)
def test_ingredients_that_do_not_fit_together_are_named(scenes, name, value, found):
    with pytest.raises(ValueError, match=found):
        blur_scene({**scenes, name: value})


def object_map():
    """Objects 7, 300 and 20 of 12, 9 and 6 pixels."""
    labels = np.zeros((10, 12), np.int32)
    labels[0:3, 0:4], labels[5:8, 2:5], labels[8:10, 8:11] = 7, 300, 20
    return labels


def test_chosen_objects_are_large_enough_and_keep_their_shape():
    labels = object_map()
    chosen = choose_objects(labels, np.random.default_rng(0), max_objects=3, min_pixels=9)
    assert chosen.dtype == np.uint8
    assert set(np.unique(chosen)) == {0, 1, 2}
    for original in (7, 300):
        assert len(set(chosen[labels == original])) == 1
        assert chosen[labels == original][0] > 0
    assert (chosen[labels == 20] == 0).all()
    assert (chosen[labels == 0] == 0).all()


def test_every_object_has_its_turn():
    labels, generator = object_map(), np.random.default_rng(0)
    times = dict.fromkeys((7, 300, 20), 0)
    for _ in range(300):
        chosen = choose_objects(labels, generator, max_objects=1, min_pixels=1)
        assert chosen.max() == 1
        times[labels[chosen == 1][0]] += 1
    assert min(times.values()) > 70


def test_a_scene_of_background_has_no_object():
    assert choose_objects(np.zeros((40, 40), np.uint8), np.random.default_rng(0)).max() == 0


def test_empty_slots_have_the_delta_kernel():
    kernels = random_kernels(2)
    filled = fill_slots(kernels)
    torch.testing.assert_close(filled[:2], kernels)
    torch.testing.assert_close(filled[2:], delta().expand(2, K, K))
    with pytest.raises(ValueError, match='2 kernels are given for 1 slots'):
        fill_slots(kernels, 1)


def test_masks_are_taken_as_printed_if_that_is_asked_for(scenes):
    scenes['noise_std'].zero_()
    divided = blur_scene(scenes)
    found = blur_scene({**scenes, 'divided': torch.tensor([False, True])})
    one_hot = F.one_hot(scenes['labels'].long(), SLOTS).movedim(-1, 1).to(found['mixing'])
    light = (scenes['sharp'][0] * scenes['illumination'][0]) ** 2.2
    lq = 0
    for slot in range(SLOTS):
        kernel = scenes['kernels'][0, slot].flip(0, 1)[None, None]
        mask = F.conv2d(one_hot[0, slot][None, None], kernel)[0, 0]
        torch.testing.assert_close(found['mixing'][0, slot], mask, rtol=1e-9, atol=1e-12)
        lq = lq + mask * F.conv2d(light[:, None], kernel)[:, 0]
    torch.testing.assert_close(found['lq'][0], lq.clamp(0, 1) ** (1 / 2.2), rtol=1e-9, atol=1e-9)
    assert torch.equal(found['lq'][1], divided['lq'][1])
    assert (found['mixing'][0].sum(0) - 1).abs().max() > 0.01


def test_lamps_are_white_discs_of_the_scene_and_of_its_blur(scenes):
    scenes['noise_std'].zero_()
    lamps = torch.zeros(2, 2, 4)
    lamps[0, 1] = torch.tensor([10.0, 12.0, 2.5, 8.0])
    plain, lit = blur_scene(scenes), blur_scene({**scenes, 'lamps': lamps})
    changed = (lit['gt'] != plain['gt'])[0]
    rows, columns = torch.meshgrid(torch.arange(changed.shape[1]), torch.arange(changed.shape[2]), indexing='ij')
    inside = (rows - 10) ** 2 + (columns - 12) ** 2 < 2.5**2
    assert torch.equal(changed, inside.expand(3, -1, -1))
    torch.testing.assert_close(lit['gt'][0][:, inside], torch.full((3, int(inside.sum())), 8 ** (1 / 2.2)))
    assert (lit['lq'][0] >= plain['lq'][0] - 1e-9).all()
    assert (lit['lq'][0] - plain['lq'][0]).max() > 0.1
    assert torch.equal(lit['gt'][1], plain['gt'][1])


def test_photons_have_the_variance_of_their_number(scenes):
    flat = {
        'sharp': torch.full((1, 3, 60 + K - 1, 60 + K - 1), 0.5),
        'labels': torch.zeros(1, 60 + K - 1, 60 + K - 1, dtype=torch.uint8),
        'kernels': delta().expand(1, SLOTS, K, K),
        'illumination': torch.ones(1),
        'noise_std': torch.zeros(1),
        'noise_seed': torch.tensor([5]),
    }
    light = blur_scene({**flat, 'photons': torch.tensor([400.0])}, gamma=1.0)['lq']
    assert abs(light.mean().item() - 0.5) < 0.002
    assert abs(light.var().item() / (0.5 / 400) - 1) < 0.1  # 10800 pixels: a standard deviation of 0.014
    assert torch.equal(light, blur_scene({**flat, 'photons': torch.tensor([400.0])}, gamma=1.0)['lq'])
    assert torch.equal(blur_scene({**flat, 'photons': torch.zeros(1)})['lq'], blur_scene(flat)['lq'])
