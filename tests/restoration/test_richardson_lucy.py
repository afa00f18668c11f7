import pytest
import torch

from basis_blur.field.blur_field import BlurField
from basis_blur.ops import rows
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReflectPad
from basis_blur.restoration.richardson_lucy import RichardsonLucy, richardson_lucy

PLAIN = {'accelerate': False, 'saturation': False}


def make_field(number=1, kernel_size=5, size=(24, 20)):
    kernels = (3 * torch.rand(number, 3, kernel_size**2)).softmax(-1).reshape(number, 3, kernel_size, kernel_size)
    return BlurField(kernels, (3 * torch.randn(number, 3, *size)).softmax(1))


def make_problem(number=1, brightest=0.8):
    field = make_field(number)
    blur = BasisBlur(field)
    scene = 0.05 + brightest * torch.rand(number, 3, *field.scene_size)
    light = blur(scene)
    return field, blur, scene, light, ReflectPad(field)(light)


def make_saturated_problem():
    field, blur, scene, _, _ = make_problem()
    scene[..., 10:13, 10:13] = 8.0
    light = blur(scene).clamp(0, 1)
    start = ReflectPad(field)(light)
    return blur, scene, light, start


def error(restored, scene):
    return (restored - scene)[..., 2:-2, 2:-2].square().mean().sqrt().item()


def test_one_plain_step_is_the_formula():
    _, blur, _, light, start = make_problem()
    expected = start * blur.T(light / blur(start)) / blur.T(torch.ones_like(light))
    (found, _) = richardson_lucy(light, blur, start, RichardsonLucy(1, **PLAIN))
    inner = (..., slice(4, -4), slice(4, -4))  # the border, which the photo hardly reaches, is held at its start
    torch.testing.assert_close(found[inner], expected[inner], rtol=5e-3, atol=0)


@pytest.mark.parametrize('accelerate', [False, True])
def test_recovers_noise_free_scene(accelerate):
    _, blur, scene, light, start = make_problem()
    settings = RichardsonLucy(60, accelerate=accelerate)
    restored = richardson_lucy(light, blur, start, settings).scene
    # Of eight scenes: 0.56 to 0.65 of the error, 0.16 to 0.19 of the residual with plain steps; less with faster ones.
    assert error(restored, scene) < 0.8 * error(start, scene)
    assert (blur(restored) - light).norm() < 0.3 * (blur(start) - light).norm()


def test_plain_steps_never_raise_the_data_term():
    _, blur, _, light, start = make_problem()
    history = richardson_lucy(light, blur, start, RichardsonLucy(40, **PLAIN)).history[0]
    assert (history.diff() <= 1e-12).all()
    assert len(history) == 41


def test_six_accelerated_steps_do_what_twenty_plain_ones_did():
    _, blur, _, light, start = make_problem()
    fast = richardson_lucy(light, blur, start, RichardsonLucy(6)).history[0, -1]
    slow = richardson_lucy(light, blur, start, RichardsonLucy(20, **PLAIN)).history[0, -1]
    assert fast < slow


@pytest.mark.parametrize('settings', [RichardsonLucy(6, saturation=False), RichardsonLucy(6, **PLAIN)])
def test_twice_the_light_is_restored_to_twice_the_scene(settings):
    _, blur, _, light, start = make_problem()
    once, twice = (richardson_lucy(f * light, blur, f * start, settings).scene for f in (1, 2))
    torch.testing.assert_close(twice, 2 * once, rtol=1e-9, atol=0)


@pytest.mark.parametrize('accelerate', [False, True])
def test_a_vanishing_weight_is_no_total_variation(accelerate):
    _, blur, _, light, start = make_problem()
    without, with_tv = (
        richardson_lucy(light, blur, start, RichardsonLucy(6, weight, accelerate=accelerate)).scene
        for weight in (0.0, 1e-12)
    )
    torch.testing.assert_close(with_tv, without, rtol=1e-6, atol=0)


def test_the_data_term_of_the_history_is_that_of_the_returned_scene():
    _, blur, _, light, start = make_problem(number=2)
    result = richardson_lucy(light, blur, start, RichardsonLucy(7, 0.001, 0.1))
    shown, wanted = blur(result.scene) + 0.1, light + 0.1
    expected = (shown - wanted + wanted * (wanted / shown).log()).mean((1, 2, 3))
    assert result.history.shape == (2, 8)
    torch.testing.assert_close(result.history[:, -1], expected, rtol=1e-6, atol=0)


def test_a_photo_that_is_done_waits_for_the_others():
    field, blur, _, light, start = make_problem(number=2)
    light[0] = light[0] + 0.1 * torch.rand_like(light[0])  # its data term soon stops improving
    settings = RichardsonLucy(40, tolerance=0.1)
    both = richardson_lucy(light, blur, start, settings)
    alone = richardson_lucy(light[:1], BasisBlur(field[0]), start[:1], settings)
    assert alone.history.shape[1] < both.history.shape[1]
    torch.testing.assert_close(both.scene[:1], alone.scene, rtol=1e-9, atol=1e-12)


def test_a_true_scene_stays():
    _, blur, scene, light, _ = make_problem()
    restored = richardson_lucy(light, blur, scene, RichardsonLucy(10)).scene
    torch.testing.assert_close(restored, scene, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('settings', [RichardsonLucy(5), RichardsonLucy(5, 0.002, 0.1), RichardsonLucy(5, **PLAIN)])
def test_photos_of_a_batch_do_not_influence_one_another(settings):
    field, blur, _, light, start = make_problem(number=2)
    together = richardson_lucy(light, blur, start, settings).scene
    alone = richardson_lucy(light[1:], BasisBlur(field[1]), start[1:], settings).scene
    torch.testing.assert_close(together[1:], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('settings', [RichardsonLucy(8), RichardsonLucy(8, 0.01, 0.1), RichardsonLucy(8, **PLAIN)])
@pytest.mark.parametrize('level', [0.0, 1.0, 1.5])
def test_black_white_and_overexposed_photos_stay_finite_and_positive(settings, level):
    field = make_field()
    light = torch.full((1, 3, *field.image_size), level)
    light[..., 4:9, 5:11] = 0.3
    restored = richardson_lucy(light, BasisBlur(field), ReflectPad(field)(light), settings).scene
    assert restored.isfinite().all()
    assert (restored >= 0).all()


def test_total_variation_removes_noise():
    field = make_field()
    blur = BasisBlur(field)
    light = (0.4 + 0.02 * torch.randn(1, 3, *field.image_size)).clamp_min(0)
    start = ReflectPad(field)(light)
    without, with_tv = (richardson_lucy(light, blur, start, RichardsonLucy(15, weight)).scene for weight in (0, 0.02))
    assert with_tv.std() < 0.5 * without.std()


def test_saturation_is_modelled_where_a_photo_is_saturated():
    blur, scene, light, start = make_saturated_problem()
    with_model, without = (
        richardson_lucy(light, blur, start, RichardsonLucy(20, saturation=on)).scene.clamp(0, 1) for on in (True, False)
    )
    assert error(with_model, scene.clamp(0, 1)) < 0.9 * error(without, scene.clamp(0, 1))


def test_colours_may_lie_next_to_each_other_in_memory():
    blur, _, light, start = make_saturated_problem()
    one, other = (
        richardson_lucy(light.contiguous(memory_format=order), blur, start, RichardsonLucy(8)).scene
        for order in (torch.contiguous_format, torch.channels_last)
    )
    torch.testing.assert_close(one, other)


def test_without_saturated_pixels_its_model_changes_nothing():
    _, blur, _, light, start = make_problem()
    assert light.max() < 0.99
    on, off = (richardson_lucy(light, blur, start, RichardsonLucy(4, saturation=s)).scene for s in (True, False))
    assert torch.equal(on, off)


def test_it_stops_when_nothing_improves():
    _, blur, _, light, start = make_problem()
    light = (light + 0.02 * torch.randn_like(light)).clamp_min(0)
    calls = []
    settings = RichardsonLucy(200, tv_weight=0.01, tolerance=0.01)
    result = richardson_lucy(light, blur, start, settings, callback=lambda *args: calls.append(args))
    assert 3 < result.history.shape[1] < 100
    assert [iteration for iteration, _ in calls] == list(range(1, result.history.shape[1]))


def test_further_iterations_are_those_of_photos_that_are_explained():
    _, blur, _, light, start = make_problem(number=2)
    light[0] += 0.2 * torch.rand_like(light[0])  # which no scene explains
    few, many = (richardson_lucy(light, blur, start, RichardsonLucy(number)) for number in (20, 23))
    falls = 1 - few.history[:, 1:] / few.history[:, :-1]
    assert falls[0, -1] < 0.1
    limit = few.history[:, -1].mean().item()  # between the two photos
    found = richardson_lucy(light, blur, start, RichardsonLucy(20, further=3, explained=limit))
    torch.testing.assert_close(found.scene[0], few.scene[0], rtol=0, atol=0)
    torch.testing.assert_close(found.scene[1], many.scene[1], rtol=1e-9, atol=1e-12)


def test_further_iterations_go_on_while_the_data_term_falls_fast():
    _, blur, _, light, start = make_problem()
    light = light + 0.02 * torch.rand_like(light)
    whole = richardson_lucy(light, blur, start, RichardsonLucy(40)).history[0]
    slow = next(n for n in range(3, 40) if whole[n] >= 0.9 * whole[n - 1])
    found = richardson_lucy(light, blur, start, RichardsonLucy(2, further=38)).history[0]
    torch.testing.assert_close(found, whole[: slow + 1], rtol=0, atol=0)


def test_arguments_are_not_modified():
    _, blur, _, light, start = make_problem()
    before = light.clone(), start.clone()
    richardson_lucy(light, blur, start, RichardsonLucy(3, 0.01, 0.1))
    assert torch.equal(light, before[0])
    assert torch.equal(start, before[1])


@pytest.mark.parametrize(('name', 'value'), [('iterations', 0), ('tv_weight', -1.0), ('offset', float('nan'))])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f'{name} is'):
        RichardsonLucy(**{name: value})


def test_light_that_is_no_light_is_refused():
    _, blur, _, light, start = make_problem()
    with pytest.raises(ValueError, match='light has values that are negative, NaN'):
        richardson_lucy(light - 1, blur, start)


def test_blocks_of_rows_make_no_difference(monkeypatch):
    field, _, _, light, _ = make_problem(2)
    light[1, :, :3] = 1.0  # saturated, and so far beyond white that the scene is split
    settings = RichardsonLucy(iterations=4, tv_weight=0.003, offset=0.01)
    whole = richardson_lucy(light, BasisBlur(field), 2 * ReflectPad(field)(light), settings)
    monkeypatch.setattr(rows, 'CPU_NUMBERS_AT_ONCE', 2 * 3 * 20 * 7)  # seven rows
    blocks = richardson_lucy(light, BasisBlur(field), 2 * ReflectPad(field)(light), settings)
    torch.testing.assert_close(blocks.scene, whole.scene, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(blocks.history, whole.history, rtol=1e-10, atol=1e-12)
