import pytest
import torch
import torch.nn.functional as F
from memory import peak_bytes

from basis_blur.field.blur_field import BlurField, CompactField
from basis_blur.ops import basis_blur, convolution
from basis_blur.ops.basis_blur import BasisBlur
from basis_blur.ops.boundary import ReplicatePad
from basis_blur.ops.convolution import fast_fft_size
from basis_blur.ops.linear_operator import dot_test


def make_field(number=2, basis=4, kernel_size=5, size=(9, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.rand(number, basis, kernel_size**2, generator=generator).softmax(-1)
    mixing = torch.randn(number, basis, *size, generator=generator).softmax(1)
    return BlurField(kernels.reshape(number, basis, kernel_size, kernel_size), mixing)


def blur_by_definition(field, scene):
    """H written out: convolve with each basis kernel, then mix."""
    result = 0
    for b in range(field.kernels.shape[1]):
        kernels = field.kernels[:, b].flip(-1, -2)
        convolved = [F.conv2d(one[:, None], k[None, None])[:, 0] for one, k in zip(scene, kernels, strict=True)]
        result = result + field.mixing[:, b : b + 1] * torch.stack(convolved)
    return result


def test_it_is_the_sum_of_mixed_convolutions():
    field, scene = make_field(), torch.rand(2, 3, 13, 11)
    torch.testing.assert_close(BasisBlur(field)(scene), blur_by_definition(field, scene), rtol=1e-12, atol=1e-14)


def test_an_impulse_appears_as_the_kernel_itself():
    kernel = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.25, 0.25], [0.0, 0.0, 0.0]])
    field = BlurField(kernel[None, None], torch.ones(1, 1, 5, 5))
    scene = torch.zeros(1, 1, 7, 7)
    scene[0, 0, 3, 3] = 1
    expected = torch.zeros(5, 5)
    expected[1, 2], expected[2, 2], expected[2, 3] = 0.5, 0.25, 0.25
    torch.testing.assert_close(BasisBlur(field)(scene)[0, 0], expected, rtol=0, atol=1e-15)


def test_a_delta_is_the_identity():
    delta = torch.zeros(1, 2, 5, 5)
    delta[..., 2, 2] = 1
    field = BlurField(delta, torch.rand(1, 2, 8, 6).softmax(1))
    scene = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close(BasisBlur(field)(scene), scene[..., 2:-2, 2:-2], rtol=1e-12, atol=1e-14)


def test_equal_kernels_make_the_mixing_irrelevant():
    field = make_field(number=1)
    same = BlurField(field.kernels[:, :1].expand(-1, 4, -1, -1), field.mixing)
    plain = BlurField(field.kernels[:, :1], torch.ones(1, 1, 9, 7))
    scene = torch.rand(1, 3, 13, 11)
    torch.testing.assert_close(BasisBlur(same)(scene), BasisBlur(plain)(scene), rtol=1e-12, atol=1e-14)


def test_a_flat_scene_stays_flat():
    field = make_field()
    blur = BasisBlur(field) @ ReplicatePad(field)
    torch.testing.assert_close(blur(torch.full((2, 3, 9, 7), 0.3)), torch.full((2, 3, 9, 7), 0.3), rtol=1e-12, atol=0)


@pytest.mark.parametrize('chunk', [1, 2, 3, 4, 100])
def test_chunk_size_does_not_change_the_result(chunk):
    field, scene = make_field(), torch.rand(2, 3, 13, 11)
    one, many = BasisBlur(field, chunk=1), BasisBlur(field, chunk=chunk)
    torch.testing.assert_close(many(scene), one(scene), rtol=1e-12, atol=1e-14)
    image = torch.rand(2, 3, 9, 7)
    torch.testing.assert_close(many.T(image), one.T(image), rtol=1e-12, atol=1e-14)


def test_tile_size_does_not_change_the_result(monkeypatch):
    field, scene, image = make_field(), torch.rand(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    whole = BasisBlur(field)(scene), BasisBlur(field).T(image)
    monkeypatch.setattr(basis_blur, 'CPU_TILE', 4)
    torch.testing.assert_close(BasisBlur(field)(scene), whole[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(BasisBlur(field).T(image), whole[1], rtol=1e-12, atol=1e-14)


def test_a_compact_field_blurs_as_it_does_unpacked(monkeypatch):
    monkeypatch.setattr(basis_blur, 'CPU_TILE', 4)
    compact = CompactField.of(make_field())
    plain = BlurField.unchecked(compact.kernels, compact.mixing)
    scene, image = torch.rand(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    torch.testing.assert_close(BasisBlur(compact)(scene), BasisBlur(plain)(scene), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(BasisBlur(compact).T(image), BasisBlur(plain).T(image), rtol=1e-12, atol=1e-14)
    gradients = []
    for field in (compact, plain):
        kernels = field.kernels.clone().requires_grad_()
        field.__dict__['kernels'] = kernels
        BasisBlur(field)(scene).square().sum().backward()
        gradients.append(kernels.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('basis', [1, 5])
def test_kernels_that_take_several_turns_make_no_difference(basis, monkeypatch):
    monkeypatch.setattr(basis_blur, 'CPU_TILE', 4)
    field, scene, image = make_field(basis=basis), torch.rand(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    scene[0] = 0
    once = BasisBlur(field, chunk=1)(scene), BasisBlur(field, chunk=1).T(image)
    monkeypatch.setattr(basis_blur, 'CPU_KERNEL_NUMBERS', 1)
    torch.testing.assert_close(BasisBlur(field, chunk=1)(scene), once[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(BasisBlur(field, chunk=1).T(image), once[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('lit', [(0, 1, 1), (1, 12, 10), None])
def test_dark_tiles_are_left_out_and_the_rest_stays_where_it_was(lit, monkeypatch):
    monkeypatch.setattr(basis_blur, 'CPU_TILE', 4)
    field, scene, image = make_field(), torch.zeros(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    if lit is not None:
        scene[lit[0], :, lit[1], lit[2]] = 1
    expected = blur_by_definition(field, scene)
    torch.testing.assert_close(BasisBlur(field)(scene), expected, rtol=1e-12, atol=1e-14)
    dark = image * (expected > 0)
    inner = (BasisBlur(field).T(dark) * scene).sum()
    torch.testing.assert_close(inner, (dark * expected).sum(), rtol=1e-12, atol=1e-14)


def test_batch_items_do_not_mix():
    field, scene = make_field(), torch.rand(2, 3, 13, 11)
    alone = BasisBlur(field[1])(scene[1:])
    torch.testing.assert_close(BasisBlur(field)(scene)[1:], alone, rtol=1e-12, atol=1e-14)


def test_channels_do_not_mix():
    field, scene = make_field(), torch.rand(2, 3, 13, 11)
    torch.testing.assert_close(BasisBlur(field)(scene)[:, 1:2], BasisBlur(field)(scene[:, 1:2]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('tile', [256, 3])
def test_gradients_are_those_of_finite_differences(tile, monkeypatch):
    monkeypatch.setattr(basis_blur, 'CPU_TILE', tile)
    field = make_field(number=1, basis=2, kernel_size=3, size=(4, 5))
    inputs = [t.clone().requires_grad_() for t in (torch.rand(1, 2, 6, 7), field.kernels, field.mixing)]
    assert torch.autograd.gradcheck(lambda u, k, m: BasisBlur(BlurField.unchecked(k, m))(u), inputs)
    inputs[0] = torch.rand(1, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, k, m: BasisBlur(BlurField.unchecked(k, m)).T(v), inputs)


def test_second_derivatives_are_right_too():
    field = make_field(number=1, basis=2, kernel_size=3, size=(3, 4))
    inputs = [t.clone().requires_grad_() for t in (torch.rand(1, 1, 5, 6), field.kernels, field.mixing)]
    assert torch.autograd.gradgradcheck(lambda u, k, m: BasisBlur(BlurField.unchecked(k, m))(u), inputs)


def test_float32_is_exact_to_rounding():
    field, scene = make_field(kernel_size=9, size=(40, 30)), torch.rand(2, 3, 48, 38)
    coarse = BasisBlur(field.to(torch.float32))(scene.float())
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse.double(), BasisBlur(field)(scene), rtol=1e-5, atol=0)


def test_half_precision_is_computed_in_float32():
    field = make_field()
    image = BasisBlur(field.to(torch.bfloat16))(torch.rand(2, 3, 13, 11, dtype=torch.bfloat16))
    assert image.dtype == torch.float32


@pytest.mark.memory
def test_working_memory_does_not_grow_with_the_number_of_kernels(monkeypatch):
    monkeypatch.setattr(basis_blur, 'CPU_KERNEL_NUMBERS', 8 * 72 * 37)  # eight kernels

    def working_memory(basis):
        field, scene = make_field(number=1, basis=basis, size=(64, 64)), torch.rand(1, 3, 68, 68)
        return peak_bytes(lambda: BasisBlur(field, chunk=1)(scene))

    assert 0 < working_memory(32) <= 1.01 * working_memory(8)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match='chunk is 0'):
        BasisBlur(make_field(), chunk=0)


def test_fast_sizes_have_small_prime_factors():
    assert [fast_fft_size(n) for n in (1, 7, 11, 17, 31, 1056)] == [1, 8, 12, 18, 32, 1080]
    assert [fast_fft_size(n, 4) for n in (1, 16, 17, 73, 374)] == [4, 16, 20, 80, 384]


@pytest.mark.parametrize('size', [(9, 7), (40, 3)])
def test_one_kernel_for_all_of_a_photo_is_the_same_blur(size, monkeypatch):
    monkeypatch.setattr(convolution, 'LARGEST', 8)
    convolution._cut.cache_clear()
    kernels = torch.rand(2, 1, 5, 5)
    spread = BlurField.unchecked(kernels, torch.full((2, 1, 1, 1), 0.5).expand(2, 1, *size))
    written_out = BlurField.unchecked(kernels, spread.mixing.contiguous())
    scene, image = torch.rand(2, 3, size[0] + 4, size[1] + 4), torch.rand(2, 3, *size)
    scene[1, :, :6] = 0
    with torch.no_grad():
        for one, other, x in (
            (BasisBlur(spread), BasisBlur(written_out), scene), (BasisBlur(spread).T, BasisBlur(written_out).T, image),
        ):  # fmt: skip
            torch.testing.assert_close(one(x), other(x), rtol=1e-12, atol=1e-14)
            for memory in (torch.rand(2, *one.output_shape[1:]), torch.rand(3)):
                torch.testing.assert_close(one.into(memory, x), other(x), rtol=1e-12, atol=1e-14)
                torch.testing.assert_close(other.into(memory, x), other(x), rtol=1e-12, atol=1e-14)
    convolution._cut.cache_clear()
    assert dot_test(BasisBlur(spread)) < 1e-14


def test_what_an_operator_remembers_of_its_field_makes_no_difference(monkeypatch):
    monkeypatch.setattr(basis_blur, 'CPU_TILE', 4)
    field = make_field()
    mixing = field.mixing.clone()
    mixing[:, 1:, :5], mixing[:, 0, :5] = 0, 1  # tiles at the top, of 5 rows, use one kernel
    blur = BasisBlur(BlurField(field.kernels, mixing))
    scene, image = torch.rand(2, 3, 13, 11), torch.rand(2, 3, 9, 7)
    with torch.no_grad():
        expected = blur(scene), blur.T(image)
        for _ in range(2):
            torch.testing.assert_close(blur.into(torch.empty_like(image), scene), expected[0], rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(blur.T.into(torch.empty_like(scene), image), expected[1], rtol=1e-12, atol=1e-14)
    assert blur._used[0, 0, 0] == {0}
    assert blur._used[1, 5, 0] == {0, 1, 2, 3}
