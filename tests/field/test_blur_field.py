import zipfile

import numpy as np
import pytest
import torch

from basis_blur.field import blur_field
from basis_blur.field.blur_field import BlurField, CompactField
from basis_blur.field.removal import ESTIMATED_BLUR, Removal
from basis_blur.foundation.errors import InputError


def make_field():
    kernels = torch.rand(2, 3, 25).softmax(-1).reshape(2, 3, 5, 5)
    return BlurField(kernels, torch.randn(2, 3, 9, 7).softmax(1))


def test_sizes():
    field = make_field()
    assert (len(field), field.kernel_size, field.image_size, field.scene_size) == (2, 5, (9, 7), (13, 11))


def test_the_kernel_of_a_pixel_is_the_mixture_there():
    field = make_field()
    kernels = field.kernels_at(torch.tensor([[2, 3], [8, 6]]))
    expected = sum(field.mixing[1, b, 8, 6] * field.kernels[1, b] for b in range(3))
    torch.testing.assert_close(kernels[1, 1], expected, rtol=1e-12, atol=0)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    field = make_field()
    field.save(tmp_path / 'field.npz')
    loaded = BlurField.load(tmp_path / 'field.npz')
    assert torch.equal(loaded.kernels, field.kernels)
    assert torch.equal(loaded.mixing, field.mixing)
    assert [p.name for p in tmp_path.iterdir()] == ['field.npz']


@pytest.mark.parametrize('removal', [None, Removal(iterations=5, strength=0.8, fusion=True, least_tv_weight=0.01)])
def test_what_is_made_of_a_field_has_its_settings(tmp_path, removal):
    plain = make_field()
    for field in (BlurField(plain.kernels, plain.mixing, removal=removal), CompactField.of(plain)):
        field = field.with_removal(removal)
        field.save(tmp_path / 'field.npz')
        made = [
            field[0], field[:1], field.crop(0, 0, 3, 3), field.to(torch.float32), field.detach(),
            CompactField.of(field), BlurField.load(tmp_path / 'field.npz'),
        ]  # fmt: skip
        assert [each.removal for each in made] == [removal] * len(made)


def test_a_field_cannot_be_changed():
    for field in (make_field(), CompactField.of(make_field())):
        for name in ('kernels', 'mixing', 'removal', 'packed'):
            with pytest.raises(AttributeError, match=f'{name} of a .*Field cannot be set; build another field'):
                setattr(field, name, None)
        other = field.with_removal(ESTIMATED_BLUR)
        assert (field.removal, other.removal) == (None, ESTIMATED_BLUR)


def test_files_that_do_not_say_hold_known_blurs(tmp_path):
    field = make_field()
    np.savez(tmp_path / 'old.npz', kernels=field.kernels.numpy(), mixing=field.mixing.numpy())
    assert BlurField.load(tmp_path / 'old.npz').removal is None


@pytest.mark.parametrize(('said', 'removal'), [(True, ESTIMATED_BLUR), (False, None)])
def test_a_file_that_says_only_whether_the_blur_was_estimated_is_read_with_a_warning(tmp_path, said, removal):
    plain = make_field()
    np.savez(tmp_path / 'a.npz', kernels=plain.kernels.numpy(), mixing=plain.mixing.numpy(), estimated=said)
    with pytest.warns(DeprecationWarning, match='saved by an earlier version'):
        assert BlurField.load(tmp_path / 'a.npz').removal == removal


@pytest.mark.parametrize(
    'text',
    ['{', '[]', '{"steps": 3}', '{"iterations": "3"}', '{"iterations": true}', '{"strength": 2}', '{"fusion": 1}'],
)
def test_settings_in_a_file_are_checked(tmp_path, text):
    field = make_field()
    arrays = {'kernels': field.kernels.numpy(), 'mixing': field.mixing.numpy(), 'removal': text}
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(InputError, match=r'a\.npz'):
        BlurField.load(tmp_path / 'a.npz')


def test_a_crop_is_the_field_of_a_window():
    field = make_field()
    assert torch.equal(field.crop(2, 1, 4, 3).mixing, field.mixing[..., 2:6, 1:4])
    with pytest.raises(ValueError, match='reaches outside the 9x7 photo'):
        field.crop(6, 0, 4, 3)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda k, m: (k[..., :4, :4], m), 'K odd'),
        (lambda k, m: (k, m[:, :2]), 'with N and B of the kernels'),
        (lambda k, m: (k * 1.1, m), 'kernels sums to 1.1000'),
        (lambda k, m: (k, m - 0.5), 'mixing has the value'),
        (lambda k, m: (k, m * float('nan')), 'mixing has the value nan'),
        (lambda k, m: (k.float(), m), 'bring both to one device and dtype'),
        (lambda k, m: (k[:0], m[:0]), 'is empty'),
    ],
)
def test_what_is_not_a_blur_field_is_refused(change, said):
    field = make_field()
    with pytest.raises(ValueError, match=said):
        BlurField(*change(field.kernels, field.mixing))


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut off', b'hello'])
def test_a_file_that_is_no_field_is_named(tmp_path, content):
    (tmp_path / 'field.npz').write_bytes(content)
    with pytest.raises(InputError, match='is not a saved blur field'):
        BlurField.load(tmp_path / 'field.npz')


def test_a_file_with_wrong_numbers_is_named(tmp_path):
    np.savez(tmp_path / 'field.npz', kernels=np.ones((1, 1, 3, 3)), mixing=np.ones((1, 1, 2, 2)))
    with pytest.raises(InputError, match=r'field.npz: kernels sums to 9'):
        BlurField.load(tmp_path / 'field.npz')


def test_a_pixel_field_has_the_kernels_of_its_field():
    field = BlurField(torch.rand(2, 3, 25).softmax(-1).reshape(2, 3, 5, 5), torch.rand(2, 3, 6, 4).softmax(1))
    points = torch.tensor([[0, 3], [5, 1]])
    pixels = field.to_pixel_field()
    torch.testing.assert_close(pixels.kernels_at(points), field.kernels_at(points))
    torch.testing.assert_close(pixels[1].kernels_at(points), field[1].kernels_at(points))
    assert (len(pixels), pixels.kernel_size, pixels.image_size, pixels.scene_size) == (2, 5, (6, 4), (10, 8))


@pytest.mark.parametrize('member', ['kernels.npy', 'kernels', 'mixing.npy', 'estimated.npy'])
def test_a_file_whose_arrays_are_too_large_is_refused_before_they_are_unpacked(tmp_path, monkeypatch, member):
    name = member.removesuffix('.npy')
    monkeypatch.setattr(blur_field, 'MOST_BYTES', {**blur_field.MOST_BYTES, name: 2**10})
    with zipfile.ZipFile(tmp_path / 'f.npz', 'w', zipfile.ZIP_DEFLATED) as archive:
        for other in {'kernels.npy', 'mixing.npy', 'estimated.npy', member} - {f'{name}.npy'} | {member}:
            archive.writestr(other, bytes(2**16 if other == member else 2**4))
    monkeypatch.setattr(zipfile.ZipFile, 'open', lambda *_: pytest.fail('it was unpacked'))
    with pytest.raises(InputError, match=f'its array "{name}" takes 0 MB, more than 0 MB'):
        BlurField.load(tmp_path / 'f.npz')


def test_a_field_draws_itself_in_notebooks():
    field = make_field()
    assert field._repr_png_().startswith(b'\x89PNG')
    assert repr(field) in field._repr_html_()
    assert 'data:image/png;base64,' in field._repr_html_()
