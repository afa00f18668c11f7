"""Deblurrer: one way from photo to photo, of which every step is a part; the command takes it too."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import basis_blur as bb
from basis_blur.archs import ARCHS
from basis_blur.cli.main import main
from basis_blur.deblurring.deblurrer import Deblurrer, DeblurSettings, joined
from basis_blur.deblurring.network_deblurrer import RestoringSettings
from basis_blur.estimation.estimate import Doubt, Estimate, Part
from basis_blur.estimation.estimators import KnownField
from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo
from basis_blur.restoration.as_printed import deblur_as_printed
from basis_blur.restoration.settings import ESTIMATED_BLUR, TRUE_BLUR, Removal
from basis_blur.weights.checkpoints import save_network


def field_of(height=20, width=24, size=5, dtype=torch.float64):
    kernels = torch.zeros(1, 1, size, size, dtype=dtype)
    kernels[..., size // 2, 1:-1] = 1 / (size - 2)
    return bb.BlurField(kernels, torch.ones(1, 1, height, width, dtype=dtype))


def estimator_of(removal=TRUE_BLUR, doubts=(), notes=(), source='mine'):
    def estimator(photo, gamma, progress=None):
        field = field_of(*photo.shape[-2:], dtype=photo.dtype)
        return Estimate(field, source, removal, doubts=doubts, notes=notes)

    return estimator


class Recorder:
    """A restoration that returns black photos and keeps what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, photo, field, iterations, gamma, **settings):
        self.calls.append({'iterations': tuple(iterations), 'gamma': gamma, **settings})
        return torch.zeros_like(photo).repeat(1, len(iterations), 1, 1)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def fusion():
    """A fresh IterateFusion: 0.6 of the way from the photo to the mean of its iterates."""
    return ARCHS['IterateFusion'](iterations=(1, 5), width=4, deep_width=4, blocks=0, deep_blocks=0)


def no_doubts(photo, restored, estimate, gamma):
    return ()


# ------------------------------------------------------------------------------------------------------- one way


@pytest.mark.parametrize('options', [{}, {'strength': 0.5}, {'fusion': False}, {'iterations': 4}, {'gamma': 1.0}])
def test_the_command_and_the_object_agree_to_the_last_level(tmp_path, options):
    levels = torch.randint(0, 256, (1, 3, 64, 72)) / 255
    write_photo(tmp_path / 'a.png', levels)
    arguments = [f'--{key}={"none" if value is False else value}' for key, value in options.items()]
    assert main(['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), *arguments]) == 0
    written = np.asarray(Image.open(tmp_path / 'b.png'))
    deblurrer = Deblurrer.pretrained(**options)

    deblurrer(tmp_path / 'a.png').save(tmp_path / 'c.png')
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'c.png')), written)
    if options:
        return
    image = Image.open(tmp_path / 'a.png')
    np.testing.assert_array_equal(np.asarray(deblurrer(image).photo), written)
    array = np.asarray(image)
    np.testing.assert_array_equal(deblurrer(array[..., ::-1], order='bgr').photo[..., ::-1], written)
    pixels = read_photo(tmp_path / 'a.png').pixels
    result = deblurrer(pixels)
    np.testing.assert_array_equal((255 * result.photo[0].double()).round().permute(1, 2, 0).numpy(), written)
    assert result.field.image_size == (64, 72)


def test_a_known_blur_is_removed_as_deblur_does(tmp_path):
    photo = torch.rand(1, 3, 20, 24)
    field_of().save(tmp_path / 'field.npz')
    expected = bb.deblur(photo, field_of(), gamma=1.8)
    for kernels in (field_of(), tmp_path / 'field.npz'):
        assert torch.equal(Deblurrer.pretrained(kernels=kernels, gamma=1.8)(photo).photo, expected)


@pytest.mark.parametrize('settings', [{}, {'iterations': 4, 'strength': 0.5, 'tv_weight': 0.01}])
def test_a_blur_is_removed_as_printed_if_that_is_asked_for(tmp_path, settings):
    photo = torch.rand(1, 3, 20, 24)
    found = Deblurrer.pretrained(kernels=field_of(), method='rl-c21', gamma=1.0, **settings)(photo).photo
    iterations = (settings.get('iterations', 30),)
    printed = deblur_as_printed(photo, field_of(), iterations, 1.0, tv_weight=settings.get('tv_weight'))
    torch.testing.assert_close(found, torch.lerp(photo, printed, settings.get('strength', 1.0)))


def test_what_the_printed_restoration_has_no_use_for_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match='fusion is given beside'):
        Deblurrer.pretrained(kernels=field_of(), method='rl-c21', fusion=True)
    with pytest.raises(ValueError, match="method is 'osl', expected one of rl, rl-c21"):
        Deblurrer.pretrained(kernels=field_of(), method='osl')
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 40, 40))
    command = ['deblur', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png'), '--method', 'rl-c21']
    assert main([*command, '--fusion', 'x.safetensors']) == 2
    assert '--fusion means nothing to --method rl-c21; leave it out, or take rl.' in capsys.readouterr().err
    assert main([*command, '--iterations', '1']) == 0


def test_an_estimate_is_removed_as_deblur_does(tmp_path):
    net = ARCHS['CorrelationKPN'](num_feat=2).float()
    save_network(net, tmp_path / 'net.safetensors')
    photo = torch.rand(1, 3, 40, 44).float()
    result = Deblurrer.pretrained(tmp_path / 'net.safetensors', estimate_at='full')(photo)
    assert torch.equal(result.photo, bb.deblur(photo, bb.estimate_blur(net, photo)))
    assert result.estimates[0].source == 'network'


# ------------------------------------------------------------------------------------------------------- the parts


def test_an_estimate_brings_its_own_settings(recorder):
    removal = Removal(iterations=7, strength=0.25, least_tv_weight=0.01)
    deblurrer = Deblurrer(estimator_of(removal), restoration=recorder, judge=no_doubts)
    photo = torch.rand(1, 3, 20, 24)
    torch.testing.assert_close(deblurrer(photo).photo, 0.75 * photo)
    assert recorder.calls[0]['iterations'] == (7,)
    assert recorder.calls[0]['least_tv_weight'] == 0.01


def test_a_lower_bound_of_the_tv_weight_holds():
    photo = torch.rand(1, 3, 20, 24)
    loose, bound, far = (
        Deblurrer(estimator_of(Removal(least_tv_weight=weight)))(photo).photo for weight in (0, 1e-12, 1.0)
    )
    assert torch.equal(loose, bound)
    assert not torch.allclose(loose, far, atol=1e-3)


def test_what_is_set_takes_precedence_over_what_the_estimate_brings(recorder):
    settings = DeblurSettings(gamma=1.5, iterations=9, strength=0.5, tv_weight=0.02)
    deblurrer = Deblurrer(estimator_of(ESTIMATED_BLUR), settings, restoration=recorder, judge=no_doubts)
    photo = torch.rand(1, 1, 20, 24)
    torch.testing.assert_close(deblurrer(photo).photo, 0.5 * photo)
    call = recorder.calls[0]
    assert (call['iterations'], call['gamma'], call['tv_weight']) == ((9,), 1.5, 0.02)


@pytest.mark.parametrize(
    ('removal', 'settings', 'is_fused'),
    [
        (Removal(fusion=True), {}, True),
        (Removal(fusion=False), {}, False),
        (Removal(fusion=True), {'fusion': False}, False),
        (Removal(fusion=False), {'fusion': True}, True),
        (Removal(fusion=True), {'iterations': 3}, False),
    ],
)
def test_the_estimate_says_whether_iterates_are_fused_unless_the_settings_do(
    recorder, fusion, removal, settings, is_fused
):
    deblurrer = Deblurrer(
        estimator_of(removal), DeblurSettings(**settings), fusion, restoration=recorder, judge=no_doubts
    )
    photo = torch.rand(1, 3, 20, 24)
    torch.testing.assert_close(deblurrer(photo).photo, (0.4 if is_fused else 0.0) * photo)


def test_a_photo_that_is_to_be_left_alone_is_also_by_a_fusion(fusion):
    deblurrer = Deblurrer(estimator_of(Removal(1, strength=0.0)), DeblurSettings(fusion=True), fusion)
    photo = torch.rand(1, 3, 20, 24)
    assert torch.equal(deblurrer(photo).photo, photo)


def test_another_strength_of_a_result_is_as_if_it_had_been_asked_for_before(tmp_path):
    photo = torch.rand(1, 4, 20, 24)
    photo[:, 3, :, :10] = 0
    write_photo(tmp_path / 'a.png', photo[:, :3], Photo(photo[:, :3], photo[:, 3:], bits=16))
    deblurrer = Deblurrer(estimator_of(Removal(4, strength=0.5)))
    result = deblurrer(tmp_path / 'a.png')
    for strength in (0.0, 0.3, 1.0, None):
        settings = dataclasses.replace(deblurrer.settings, strength=strength)
        asked = dataclasses.replace(deblurrer, settings=settings)(tmp_path / 'a.png')
        found = deblurrer.with_strength(result, strength)
        assert torch.equal(found.pixels, asked.pixels)
        assert found.doubts == asked.doubts
    with pytest.raises(ValueError, match='holds no restored photos'):
        deblurrer.with_strength(dataclasses.replace(result, restored=()))


def test_doubts_are_about_the_photo_that_is_returned(fusion):
    judged = []

    def judge(photo, restored, estimate, gamma):
        judged.append((restored, gamma))
        return [*estimate.doubts, Doubt('mine', 'it looks odd.')]

    doubt = Doubt('flat', 'there is nothing to see.')
    estimator = estimator_of(Removal(fusion=True), doubts=(doubt,), notes=('it was easy.',))
    result = Deblurrer(estimator, DeblurSettings(gamma=2.0, strength=0.9), fusion, judge=judge)(
        torch.rand(1, 3, 20, 24)
    )
    assert torch.equal(judged[0][0], result.photo)
    assert judged[0][1] == 2.0
    assert [each.code for each in result.doubts] == ['flat', 'mine']
    assert result.notes == ('it was easy.',)


@pytest.mark.parametrize(('level', 'doubts'), [(0.8, []), (0.5, ['residual'])])
def test_a_result_that_does_not_explain_the_photo_is_doubted(level, doubts):
    def flat(photo, *_, **__):
        return torch.full_like(photo, level)

    photo = torch.full((1, 3, 20, 24), 0.8)
    assert [each.code for each in Deblurrer(KnownField(field_of()), restoration=flat)(photo).doubts] == doubts


def test_refinement_changes_the_field_and_says_whether_it_was_of_use():
    photo = torch.rand(1, 3, 20, 24)
    result = Deblurrer(estimator_of(), DeblurSettings(refine=2), judge=no_doubts)(photo)
    found = bb.refine_field(photo, field_of(), steps=2)
    assert torch.equal(result.field.kernels, found.field.kernels)
    assert result.notes == (found.sentence,)


def test_progress_is_told():
    told = []
    deblurrer = Deblurrer(estimator_of(), DeblurSettings(iterations=2, refine=1), judge=no_doubts)
    deblurrer(torch.rand(1, 3, 20, 24), progress=lambda *step: told.append(step))
    assert told[:2] == [('refining', 1, 1), ('removing the blur', 1, 2)]


# ------------------------------------------------------------------------------------------------- estimates of parts


def in_parts(removals, removal=TRUE_BLUR):
    """Return an estimator of two blurs, across and down, each with a removal; the left half is that of the first."""

    def estimator(photo, gamma, progress=None):
        across = field_of(*photo.shape[-2:], dtype=photo.dtype)
        down = bb.BlurField(across.kernels.mT.contiguous(), across.mixing)
        left = (torch.arange(photo.shape[-1]) < photo.shape[-1] // 2).to(photo).expand(1, 1, *photo.shape[-2:])
        parts = tuple(Part(*each) for each in zip((across, down), removals, (left, 1 - left), strict=True))
        return Estimate(across, 'mine', removal, parts=parts)

    return estimator


def test_each_part_of_a_photo_is_restored_by_its_own_blur_and_settings():
    photo, removals = torch.rand(1, 3, 20, 24), (Removal(6), Removal(2, strength=0.5))
    estimator = in_parts(removals)
    found = Deblurrer(estimator)(photo).photo
    for part, columns in zip(estimator(photo, 2.2).parts, (slice(0, 12), slice(12, 24)), strict=True):
        alone = bb.deblur(photo, part.field)
        torch.testing.assert_close(found[..., columns], alone[..., columns])


def test_parts_have_another_strength_if_that_is_asked_for_before_or_after():
    photo = torch.rand(1, 3, 20, 24)
    deblurrer = Deblurrer(in_parts((Removal(6), Removal(2, strength=0.5))))
    result = deblurrer(photo)
    for strength in (0.0, 0.3, None):
        settings = DeblurSettings(strength=strength)
        asked = dataclasses.replace(deblurrer, settings=settings)(photo).photo
        assert torch.equal(deblurrer.with_strength(result, strength).photo, asked)


def test_the_iterations_of_all_parts_are_one_stage_and_only_the_part_that_asks_is_fused(fusion):
    told = []
    estimator = in_parts((Removal(3), Removal(2, fusion=True)))
    Deblurrer(estimator, fusion=fusion)(torch.rand(1, 3, 24, 24), progress=lambda *step: told.append(step))
    assert [step[1:] for step in told if step[0] == 'removing the blur'][::4] == [(1, 8), (5, 8)]
    assert [step[0] for step in told].count('fusing the iterates') == 1


def test_a_part_is_as_large_as_its_photo():
    with pytest.raises(ValueError, match=r'the weight is \(1, 1, 5, 5\), expected \(1, 1, 20, 24\)'):
        Part(field_of(), TRUE_BLUR, torch.ones(1, 1, 5, 5))
    part = Part(field_of(16, 16), TRUE_BLUR, torch.ones(1, 1, 16, 16))
    with pytest.raises(ValueError, match='a part is of'):
        Estimate(field_of(), 'mine', parts=(part,))


# ----------------------------------------------------------------------------------------------- photos of any kind


def test_photos_of_a_batch_are_worked_on_one_by_one():
    photos = torch.rand(2, 3, 20, 24)
    deblurrer = Deblurrer(estimator_of(doubts=(Doubt('mine', 'odd.'),)))
    result = deblurrer(photos)
    for number in range(2):
        torch.testing.assert_close(result.photo[number : number + 1], deblurrer(photos[number : number + 1]).photo)
    assert len(result.field) == len(result.estimates) == len(result.doubts) == 2


def test_fields_of_several_sizes_are_joined_to_one_of_the_same_blur():
    small, large = field_of(size=3), field_of(size=7)
    wide = bb.BlurField(large.kernels.repeat(1, 2, 1, 1), large.mixing.repeat(1, 2, 1, 1) / 2)
    both, points = joined([small, wide]), torch.tensor([[3, 4]])
    bb.BlurField(both.kernels, both.mixing)  # raises unless it is one
    torch.testing.assert_close(both[1].kernels_at(points), wide.kernels_at(points))
    torch.testing.assert_close(both[0].kernels_at(points)[..., 2:-2, 2:-2], small.kernels_at(points))
    estimated = small.with_removal(ESTIMATED_BLUR)
    assert [joined([estimated, other]).removal for other in (estimated, small)] == [ESTIMATED_BLUR, None]


def test_what_is_beside_the_pixels_of_a_file_is_written_too(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = 'A maker'
    alpha = torch.randint(0, 65536, (1, 1, 20, 24)) / 65535
    photo = Photo(torch.rand(1, 3, 20, 24).float(), alpha.float(), bits=16, icc=b'a profile' * 20, exif=exif.tobytes())
    write_photo(tmp_path / 'a.png', photo.pixels, photo)
    Deblurrer(estimator_of())(tmp_path / 'a.png').save(tmp_path / 'b.tif')
    before, after = read_photo(tmp_path / 'a.png'), read_photo(tmp_path / 'b.tif')
    assert (after.bits, after.icc, after.exif) == (16, before.icc, before.exif)
    assert torch.equal(after.alpha, before.alpha)


def test_what_lies_under_alpha_0_reaches_neither_estimate_nor_result_and_stays():
    seen, alpha = [], torch.ones(1, 1, 20, 24)
    alpha[..., 12:] = 0

    def estimator(photo, gamma, progress=None):
        seen.append(photo)
        return estimator_of()(photo, gamma, progress)

    pixels = torch.rand(1, 3, 20, 24)
    other = torch.where(alpha > 0, pixels, torch.rand(1, 3, 20, 24))
    results = [Deblurrer(estimator)(Photo(each, alpha)).pixels for each in (pixels, other)]
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(results[0][..., :12], results[1][..., :12])
    torch.testing.assert_close(results[0][..., 12:], pixels[..., 12:])
    assert not torch.equal(results[0][..., :12], pixels[..., :12])


def test_the_gamma_is_that_of_the_settings_or_of_the_photo_or_usual():
    found = []

    def estimator(photo, gamma, progress=None):
        found.append(gamma)
        return estimator_of()(photo, gamma, progress)

    pixels = torch.rand(1, 3, 20, 24)
    for settings in (DeblurSettings(), DeblurSettings(gamma=1.5)):
        for photo in (pixels, Photo(pixels, gamma=1.0)):
            Deblurrer(estimator, settings)(photo)
    assert found == [2.2, 1.0, 1.5, 1.5]


def test_an_estimate_alone_leaves_the_photo(tmp_path):
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 20, 24))
    estimate = Deblurrer(estimator_of()).estimate(tmp_path / 'a.png')
    assert (estimate.source, estimate.field.image_size) == ('mine', (20, 24))
    with pytest.raises(ValueError, match='2 photos, expected one'):
        Deblurrer(estimator_of()).estimate(torch.rand(2, 3, 20, 24))


# --------------------------------------------------------------------------------------------------------- refusals


def test_a_photo_that_cannot_be_used_is_named(tmp_path):
    write_photo(tmp_path / 'a.png', torch.rand(1, 3, 4, 24))
    with pytest.raises(InputError, match=r'a\.png: the photo is 24x4 pixels .* at least 5'):
        Deblurrer(estimator_of())(tmp_path / 'a.png')
    with pytest.raises(InputError, match=r'a\.png: the photo has 24x4 pixels and the field 24x20'):
        Deblurrer(KnownField(field_of()))(tmp_path / 'a.png')


def test_several_photos_are_not_written_to_one_file(tmp_path):
    with pytest.raises(ValueError, match='2 photos, expected one'):
        Deblurrer(estimator_of())(torch.rand(2, 3, 20, 24)).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='2 photos, expected one'):
        Deblurrer(estimator_of())(torch.rand(2, 3, 20, 24)).save_comparison(tmp_path / 'a.html')


def test_a_result_shows_itself_in_notebooks_before_and_after():
    deblurrer = Deblurrer(estimator_of())
    page = deblurrer(torch.rand(1, 3, 20, 24))._repr_html_()
    assert page.startswith('<iframe srcdoc="&lt;!DOCTYPE html')
    assert page.count('&lt;img') == 3
    assert '<' not in page[1:].split('</iframe>')[0]
    assert deblurrer(torch.rand(2, 3, 20, 24))._repr_html_() is None


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'gamma': 0.0}, 'gamma is 0.0, expected > 0'),
        ({'iterations': 0}, 'iterations is 0'),
        ({'iterations': 3, 'fusion': True}, 'leave one out'),
        ({'strength': 1.5}, 'strength is 1.5'),
        ({'refine': -1}, 'refine is -1'),
        ({'refine': 3, 'gamma': 0.5}, 'a gamma of at least 1'),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        DeblurSettings(**settings)


def test_parts_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ValueError, match='no fusion network'):
        Deblurrer(estimator_of(), DeblurSettings(fusion=True))
    with pytest.raises(ValueError, match='beside kernels'):
        Deblurrer.pretrained('correlation_kpn', kernels=field_of())
    with pytest.raises(InputError, match='2 photos, expected one'):
        Deblurrer.pretrained(kernels=joined([field_of(), field_of()]))
    with pytest.raises(ValueError, match="size is 'quarter'"):
        Deblurrer.pretrained(estimate_at='quarter')


def test_an_estimate_says_one_thing_of_one_photo():
    with pytest.raises(ValueError, match='confidence is 1.2'):
        Estimate(field_of(), 'mine', confidence=1.2)
    with pytest.raises(ValueError, match='2 photos, expected one'):
        Estimate(joined([field_of(), field_of()]), 'mine')


def test_nothing_of_a_deblurrer_can_be_changed():
    deblurrer = Deblurrer(estimator_of())
    with pytest.raises(dataclasses.FrozenInstanceError):
        deblurrer.settings = DeblurSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        deblurrer.settings.gamma = 1.0


# ----------------------------------------------------------------------------------------------- restoring networks

TINY = {
    'width': 2, 'kernel_size': 5, 'estimator_width': 2, 'enc_blocks': (1,), 'dec_blocks': (1,),
    'attention_levels': (0,), 'flow_hidden': 4,
}  # fmt: skip


def test_a_restoring_network_is_called_alike():
    net, photos = ARCHS['UFPNet'](**TINY).eval(), torch.rand(2, 1, 16, 24)
    result = bb.NetworkDeblurrer(net)(photos)
    torch.testing.assert_close(result.photo, bb.restore(net, photos))
    assert result.field is None
    kept = bb.NetworkDeblurrer(net)(photos[:1].expand(-1, 3, -1, -1), keep_kernels=True).field
    with torch.no_grad():
        found = net(photos[:1].expand(-1, 3, -1, -1))
    points = torch.tensor([[3, 5], [15, 23]])
    torch.testing.assert_close(kept.kernels_at(points), bb.PixelField(found.pixel_kernels).kernels_at(points))
    torch.testing.assert_close(kept.sigma, found.sigma)


def test_what_a_restoring_network_cannot_do_is_refused():
    net = ARCHS['UFPNet'](**{**TINY, 'kernel_attention': False}).eval()
    photo = torch.rand(1, 3, 16, 24)
    with pytest.raises(InputError, match='trained without kernels'):
        bb.NetworkDeblurrer(net)(photo, keep_kernels=True)
    with pytest.raises(InputError, match='no latent codes'):
        bb.NetworkDeblurrer(net, RestoringSettings(refine=1))(photo)
    with pytest.raises(ValueError, match='2 photos, expected one'):
        bb.NetworkDeblurrer(net)(photo.repeat(2, 1, 1, 1), keep_kernels=True)
    with pytest.raises(ValueError, match='tile is 32, expected more than the 32 pixels'):
        RestoringSettings(tile=32)
    with pytest.raises(ValueError, match='leave out tile'):
        RestoringSettings(tile=64, refine=2)
