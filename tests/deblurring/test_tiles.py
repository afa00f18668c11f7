"""A photo in tiles is the photo as a whole, and memory that runs out is met with smaller tiles."""

import pytest
import torch
from torch import nn

from basis_blur.archs.basis_kpn_arch import BasisKPN
from basis_blur.archs.nafnet_arch import NAFNet
from basis_blur.deblurring.restoring import restore
from basis_blur.estimation import by_network
from basis_blur.estimation.by_network import estimate_blur
from basis_blur.field.blur_field import BlurField, CompactField
from basis_blur.foundation.errors import InputError
from basis_blur.ops import rows
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.linear_operator import dot_test
from basis_blur.ops.memory import with_smaller_tiles
from basis_blur.ops.tiled_blur import TiledBlur
from basis_blur.ops.windows import Feathered, spread_windows, tile_windows
from basis_blur.restoration import deblur as restoration
from basis_blur.restoration.deblur import deblur
from basis_blur.simulation.camera_shake import shake_kernels

LEVEL = 1 / 255


def smooth_photo(height, width):
    """A photo with structure at every scale, in [0.05, 0.95]."""
    coarse = torch.rand(1, 3, height // 8 + 1, width // 8 + 1)
    photo = nn.functional.interpolate(coarse, size=(height, width), mode='bicubic') + 0.05 * torch.rand(height, width)
    return photo.clamp(0.05, 0.95)


@pytest.fixture(params=['none', 'group'])
def kpn(request):
    net = BasisKPN(num_feat=2, num_kernels=3, norm=request.param).eval()
    with torch.no_grad():
        for head in (net.mixing_head, net.kernel_head):
            head.tail[-1].weight.mul_(8)
    return net


def test_the_blur_of_tiles_is_that_of_the_whole(kpn):
    photo = smooth_photo(70, 160)
    whole, tiles = estimate_blur(kpn, photo), estimate_blur(kpn, photo, tile=64)
    assert whole.mixing.std() > 1e-6  # far beyond the tolerances below
    torch.testing.assert_close(tiles.kernels, whole.kernels, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(tiles.mixing, whole.mixing, rtol=1e-9, atol=1e-12)


def test_a_network_is_afterwards_as_it_was(kpn):
    photo = smooth_photo(70, 90)
    before = estimate_blur(kpn, photo)
    estimate_blur(kpn, smooth_photo(70, 90), tile=32)
    assert torch.equal(estimate_blur(kpn, photo).mixing, before.mixing)


def two_blurs(height, width):
    """A field that changes from left to right, with a third kernel in the last quarter alone."""
    kernels = torch.from_numpy(shake_kernels(3, 9, 0)).double()[None]
    across = torch.linspace(0, 1, width).expand(height, width)
    last = (across > 0.75).to(across)
    return BlurField(kernels, torch.stack([across * (1 - last), (1 - across) * (1 - last), last])[None])


@pytest.mark.parametrize('brightest', [1.0, 1.6])
def test_richardson_lucy_in_windows_is_that_of_the_whole(brightest, monkeypatch):
    photo, field = (brightest * smooth_photo(90, 170)).clamp(0, 1), two_blurs(90, 170)
    whole = deblur(photo, field)
    monkeypatch.setattr(rows, 'NUMBERS_AT_ONCE', 3 * 170 * 7)
    tiles = deblur(photo, field, tile=64)
    assert (whole - photo).abs().max() > 10 * LEVEL
    torch.testing.assert_close(tiles, whole, rtol=1e-9, atol=1e-9)


def test_the_blur_in_windows_has_its_transpose():
    blur = TiledBlur(two_blurs(20, 41), 16)
    assert dot_test(blur) < 1e-15
    scene = torch.rand(1, 2, 28, 49)
    torch.testing.assert_close(blur(scene), BasisBlur(two_blurs(20, 41))(scene))


def test_a_compact_field_is_the_field_to_sixteen_bits():
    field = two_blurs(20, 41)
    compact = CompactField.of(field)
    assert compact.image_size == field.image_size
    torch.testing.assert_close(compact.mixing, field.mixing, rtol=0, atol=0.51 / 32767)
    window = compact.crop(3, 5, 10, 20)
    assert torch.equal(window.mixing, compact.mixing[..., 3:13, 5:25])
    points = torch.tensor([[3, 5], [19, 40]])
    torch.testing.assert_close(compact.kernels_at(points), field.kernels_at(points), rtol=0, atol=1e-4)
    half = compact[0].to(torch.float32)
    assert half.mixing.dtype == half.kernels.dtype == torch.float32
    with pytest.raises(ValueError, match='reaches outside the 20x41 photo'):
        compact.crop(0, 0, 21, 2)


def test_large_photos_get_compact_fields(kpn, monkeypatch):
    photo = smooth_photo(64, 96)
    expected = estimate_blur(kpn, photo)
    for module in (by_network, restoration):
        monkeypatch.setattr(module, 'WHOLE_PIXELS', 64 * 96 - 1)
    for tile in (None, 32):
        found = estimate_blur(kpn, photo, tile=tile)
        assert isinstance(found, CompactField)
        torch.testing.assert_close(found.mixing, expected.mixing, rtol=0, atol=0.51 / 32767)
    monkeypatch.setattr(restoration, 'TILE', 40)
    assert (deblur(photo, found) - deblur(photo, expected, tile=64)).abs().max() < 0.5 * LEVEL


def test_seams_of_a_network_with_channel_attention_are_invisible():
    net = NAFNet(width=4, enc_blocks=(1, 1), middle_blocks=1, dec_blocks=(1, 1))
    for name, parameter in net.named_parameters():
        if name.endswith(('beta', 'gamma')):
            nn.init.constant_(parameter, 0.3)
    photo = 0.5 * smooth_photo(192, 192)
    whole, tiles = restore(net, photo), restore(net, photo, tile=128, overlap=64)
    assert (whole - photo).abs().max() > 10 * LEVEL
    assert (tiles - whole).abs().max() < LEVEL


class Small(nn.Module):
    """Brightens photos; the memory of its device holds 300 pixels a side."""

    def __init__(self, most=300):
        super().__init__()
        self.most = most
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.sides = []

    def forward(self, photo):
        self.sides.append(photo.shape[-1])
        if photo.shape[-1] > self.most:
            raise torch.OutOfMemoryError('CUDA out of memory.\nTried to allocate')
        return self.gain * photo


def test_memory_that_runs_out_is_met_with_smaller_tiles_and_a_word():
    photo, net = torch.full((1, 3, 40, 1200), 0.5), Small()
    with pytest.warns(UserWarning, match='going on in tiles of 256 pixels'):
        found = restore(net, photo, tile=512)
    torch.testing.assert_close(found, torch.full_like(photo, 0.75))
    assert net.sides[0] == 512
    assert set(net.sides[1:]) == {256}


def test_memory_that_never_suffices_is_an_error_that_names_a_way_out():
    with (
        pytest.warns(UserWarning, match='tiles of 128 pixels'),
        pytest.raises(InputError, match='tiles of 128 pixels .CUDA out of memory.*--device cpu'),
    ):
        restore(Small(50), torch.full((1, 3, 40, 1200), 0.5), tile=256)


def test_the_whole_is_tried_first_and_other_errors_pass():
    tried = []

    def work(tile):
        tried.append(tile)
        if tile is None:
            raise torch.OutOfMemoryError('no memory')
        raise RuntimeError('another')

    with pytest.warns(UserWarning, match='the whole photo'), pytest.raises(RuntimeError, match='another'):
        with_smaller_tiles(work, None, 512, 'working')
    assert tried == [None, 512]


def test_richardson_lucy_falls_back_to_windows(monkeypatch):
    photo, field = smooth_photo(60, 100), two_blurs(60, 100)
    whole = deblur(photo, field)

    def full(_):
        raise torch.OutOfMemoryError('no memory')

    monkeypatch.setattr(restoration, 'BasisBlur', full)
    with pytest.warns(UserWarning, match='tiles of 1024 pixels'):
        found = deblur(photo, field)
    torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('overlap', [0, 1, 5, 32])
def test_tiles_that_agree_make_the_photo(overlap):
    photo = torch.rand(1, 3, 90, 170)
    whole = Feathered(photo, overlap)
    for window in tile_windows((90, 170), 64, overlap):
        whole.add(window, photo[(..., *window)])
    torch.testing.assert_close(whole.result(), photo)


def test_sampled_windows_lie_in_the_photo():
    for size in ((300, 500), (90, 900), (900, 90), (64, 64)):
        windows = spread_windows(size, 64, 12)
        assert 1 <= len(windows) <= 12
        assert all(0 <= part.start < part.stop <= side for w in windows for part, side in zip(w, size, strict=True))
