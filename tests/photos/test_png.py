"""What a PNG tells beside its pixels is kept or used; what is compressed well is written so."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_samples


def chunk(name, content):
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def with_chunks(path, *chunks):
    """Put chunks behind the header of a PNG file."""
    data = path.read_bytes()
    path.write_bytes(data[:33] + b''.join(chunk(*each) for each in chunks) + data[33:])


def chunks_of(path):
    data, place, found = path.read_bytes(), 8, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], 'big')
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png_with_key(path, samples, key):
    write_samples(path, samples)
    data = path.read_bytes()
    chunk = b'tRNS' + struct.pack(f'>{len(key)}H', *key)
    path.write_bytes(
        data[:33] + struct.pack('>I', 2 * len(key)) + chunk + struct.pack('>I', zlib.crc32(chunk)) + data[33:]
    )


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_colour_that_means_transparent_becomes_alpha(tmp_path, dtype, channels, random_samples, samples_of):
    samples = random_samples(channels, dtype)
    png_with_key(tmp_path / 'a.png', samples, samples[2, 3].tolist())
    photo = read_photo(tmp_path / 'a.png')
    np.testing.assert_array_equal(samples_of(photo)[..., :-1], samples)
    expected = np.ones(samples.shape[:2])
    expected[2, 3] = 0
    np.testing.assert_array_equal(photo.alpha[0, 0], expected)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_png_files_of_photos_with_noise_are_about_as_small_as_those_of_opencv(dtype, tmp_path):
    ramp = np.add.outer(np.arange(200), 2 * np.arange(300)) / 800
    light = np.stack([ramp, ramp[::-1], ramp / 2], -1) + 0.005 * np.random.default_rng(0).standard_normal((200, 300, 3))
    samples = (light.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)
    write_samples(tmp_path / 'a.png', samples)
    assert (tmp_path / 'a.png').stat().st_size < 1.05 * len(cv2.imencode('.png', samples)[1])


def test_an_animation_is_refused(tmp_path):
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    frames[0].save(tmp_path / 'a.png', save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match='animation of 2 frames'):
        read_photo(tmp_path / 'a.png')


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_png_with_a_damaged_middle_is_refused(tmp_path, dtype, random_samples):
    write_samples(tmp_path / 'a.png', random_samples(3, dtype, height=64, width=64))
    data = bytearray((tmp_path / 'a.png').read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(InputError, match='damaged'):
        read_photo(tmp_path / 'a.png')


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_a_transparent_gray_of_few_bits_is_compared_at_its_depth(tmp_path, bits):
    levels = np.arange(2**bits, dtype=np.uint8)
    row = np.packbits(np.unpackbits(levels[:, None], axis=1)[:, 8 - bits :].reshape(-1))
    for key in {0, 1, 2**bits - 1}:
        (tmp_path / 'a.png').write_bytes(
            b'\x89PNG\r\n\x1a\n'
            + chunk(b'IHDR', struct.pack('>IIBBBBB', len(levels), 1, bits, 0, 0, 0, 0))
            + chunk(b'tRNS', struct.pack('>H', key))
            + chunk(b'IDAT', zlib.compress(b'\0' + row.tobytes()))
            + chunk(b'IEND', b'')
        )
        photo = read_photo(tmp_path / 'a.png')
        np.testing.assert_allclose(photo.pixels.flatten(), levels / (2**bits - 1), atol=1e-6)
        np.testing.assert_array_equal(photo.alpha.flatten(), levels != key)


# ------------------------------------------------------------------------------------------------------------ colours

GAMMA_1 = b'gAMA', struct.pack('>I', 100_000)
GAMMA_SRGB = b'gAMA', struct.pack('>I', 45_455)
CHROMA_P3 = b'cHRM', struct.pack('>8I', 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
CHROMA_SRGB = b'cHRM', struct.pack('>8I', 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SRGB = b'sRGB', b'\0'
PQ = b'cICP', bytes((9, 16, 0, 1))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize(
    'chunks', [[GAMMA_1], [GAMMA_SRGB, CHROMA_P3], [GAMMA_SRGB, CHROMA_SRGB, SRGB], [PQ, (b'cLLI', bytes(8))]]
)
def test_chunks_of_colours_are_kept_before_the_pixels(tmp_path, random_samples, samples_of, dtype, chunks):
    samples = random_samples(3, dtype)
    write_samples(tmp_path / 'a.png', samples)
    with_chunks(tmp_path / 'a.png', *chunks)
    photo = read_photo(tmp_path / 'a.png')
    np.testing.assert_array_equal(samples_of(photo), samples)  # no decoder applied them
    write_samples(tmp_path / 'b.png', samples, photo)
    written = chunks_of(tmp_path / 'b.png')
    names = [name for name, _ in written]
    assert set(chunks) <= set(written)
    assert max(names.index(name) for name, _ in chunks) < names.index(b'IDAT')


@pytest.mark.parametrize(
    ('chunks', 'gamma'),
    [
        ([GAMMA_1], 1), ([GAMMA_SRGB], 2.2), ([CHROMA_P3], None), ([GAMMA_1, SRGB], None), ([GAMMA_1, PQ], None),
        ([(b'gAMA', bytes(4))], None), ([(b'gAMA', struct.pack('>I', 1))], None),
        ([(b'iCCP', b'p\0\0' + zlib.compress(b'a profile')), GAMMA_1], None), ([], None),
    ],
)  # fmt: skip
def test_the_gamma_is_that_of_the_file_where_nothing_counts_more(tmp_path, random_samples, chunks, gamma):
    write_samples(tmp_path / 'a.png', random_samples(3))
    with_chunks(tmp_path / 'a.png', *chunks)
    assert read_photo(tmp_path / 'a.png').gamma == (gamma and pytest.approx(gamma, abs=0.001))


@pytest.mark.parametrize('suffix', ['.jpg', '.tif'])
def test_colours_that_another_format_cannot_tell_are_lost_with_a_word(tmp_path, random_samples, recwarn, suffix):
    samples = random_samples(3)
    for chunks in ([GAMMA_SRGB, CHROMA_SRGB], [SRGB, GAMMA_1], [(b'cICP', bytes((1, 13, 0, 1)))]):
        write_samples(tmp_path / f'b{suffix}', samples, Photo(None, colour_chunks=tuple(chunks)))
    assert not recwarn.list
    for chunks in ([GAMMA_1], [CHROMA_P3], [PQ, SRGB]):
        with pytest.warns(UserWarning, match='in other colours; write PNG'):
            write_samples(tmp_path / f'b{suffix}', samples, Photo(None, colour_chunks=tuple(chunks)))


# ------------------------------------------------------------------------------------------- profiles, text and EXIF


def test_large_profiles_and_texts_are_read_and_a_profile_is_written_again(tmp_path, random_samples, samples_of):
    profile = np.random.default_rng(0).integers(0, 256, 1_200_000, dtype=np.uint8).tobytes()
    write_samples(tmp_path / 'a.png', random_samples(3), Photo(None, icc=profile))
    with_chunks(tmp_path / 'a.png', (b'zTXt', b'parameters\0\0' + zlib.compress(bytes(3_000_000))))
    photo = read_photo(tmp_path / 'a.png')
    np.testing.assert_array_equal(samples_of(photo), random_samples(3))
    assert photo.icc == profile
    for suffix in ('.png', '.jpg', '.tif'):
        write_samples(tmp_path / f'b{suffix}', random_samples(3), photo)
        assert read_photo(tmp_path / f'b{suffix}').icc == profile


def test_a_profile_that_unpacks_to_gigabytes_is_left_out(tmp_path, random_samples):
    packer = zlib.compressobj(9)
    packed = b''.join(packer.compress(bytes(1 << 20)) for _ in range(70)) + packer.flush()
    write_samples(tmp_path / 'a.png', random_samples(3))
    with_chunks(tmp_path / 'a.png', (b'iCCP', b'p\0\0' + packed))
    assert read_photo(tmp_path / 'a.png').icc is None


@pytest.mark.parametrize('name', [b'tEXt', b'zTXt'])
def test_exif_in_a_text_as_imagemagick_writes_it_is_found(tmp_path, random_samples, name):
    exif = Image.Exif()
    exif[0x010F] = 'A maker'
    text = b'\nexif\n' + b'%8d' % len(exif.tobytes()) + b'\n' + exif.tobytes().hex().encode() + b'\n'
    text = b'\0' + zlib.compress(text) if name == b'zTXt' else text
    write_samples(tmp_path / 'a.png', random_samples(3))
    with_chunks(tmp_path / 'a.png', (name, b'Raw profile type exif\0' + text))
    assert read_photo(tmp_path / 'a.png').exif == exif.tobytes()


def test_a_damaged_chunk_is_refused_by_its_name(tmp_path, random_samples):
    write_samples(tmp_path / 'a.png', random_samples(3), Photo(None, icc=b'a profile'))
    data = bytearray((tmp_path / 'a.png').read_bytes())
    data[data.index(b'iCCP') + 8] ^= 1
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(InputError, match=r'a\.png is damaged or cut off \(its chunk iCCP does not fit'):
        read_photo(tmp_path / 'a.png')
