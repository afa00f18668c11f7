"""A kernel LMDB holds the kernels of its seed, whatever happened while it was written."""

import os
import pickle
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from basis_blur.data.kernel_lmdb import KernelLmdb, KernelRecipe, decode_kernel, encode_kernel, prepare_kernels
from basis_blur.data.lmdb_store import LmdbReader, LmdbWriter
from basis_blur.foundation.errors import InputError
from basis_blur.simulation.camera_shake import shake_kernels

SMALL = KernelRecipe(count=300, kernel_size=9, seed=4)


def write(path, pictures):
    with LmdbWriter(path, {}) as writer:
        for number, picture in enumerate(pictures):
            writer.put(b'%08d' % number, picture, f'{number:08d}.png (9,9,1) 1')
        writer.finish()


@pytest.fixture
def folder(tmp_path):
    prepare_kernels(tmp_path / 'a.lmdb', SMALL)
    return tmp_path / 'a.lmdb'


def test_kernels_are_those_of_the_seed_to_16_bit(folder):
    kernels = KernelLmdb(folder)
    assert len(kernels) == SMALL.count
    assert kernels.kernel_size == SMALL.kernel_size
    drawn = shake_kernels(SMALL.count, SMALL.kernel_size, SMALL.seed)
    read = np.stack([kernels[number] for number in range(SMALL.count)])
    assert read.dtype == np.float32
    np.testing.assert_allclose(read.sum((1, 2), dtype=np.float64), 1, rtol=1e-6)
    # A step is 1/65535 of the brightest pixel; renormalising may add a few.
    error = np.abs(read - drawn).max((1, 2)) / drawn.max((1, 2))
    assert error.max() < 10 / 65535


def test_meta_info_has_basicsrs_form(folder):
    lines = (folder / 'meta_info.txt').read_text().splitlines()
    assert lines[0] == '00000000.png (9,9,1) 1'
    assert lines[-1] == '00000299.png (9,9,1) 1'


def test_the_recipe_is_kept_beside_the_data(folder):
    assert LmdbWriter(folder, {'kind': 'camera shake', 'count': 300, 'kernel_size': 9, 'seed': 4}).finished


def test_pixels_are_rounded_to_parts_of_the_brightest():
    kernel = np.array([[0, 0.13, 0], [0.17, 0.5, 0], [0, 0, 0.2]])
    values = cv2.imdecode(np.frombuffer(encode_kernel(kernel), np.uint8), cv2.IMREAD_UNCHANGED)
    assert values.dtype == np.uint16
    assert values.tolist() == [[0, 17039, 0], [22282, 65535, 0], [0, 0, 26214]]
    np.testing.assert_allclose(decode_kernel(encode_kernel(kernel)), kernel, rtol=1e-4)


def test_workers_change_nothing(folder, tmp_path):
    prepare_kernels(tmp_path / 'b.lmdb', SMALL, workers=2)
    alone, together = LmdbReader(folder), LmdbReader(tmp_path / 'b.lmdb')
    assert together.lines == alone.lines
    assert all(together[key] == alone[key] for key in alone.keys)


@pytest.mark.parametrize('workers', [0, 1])
def test_a_killed_preparation_goes_on_and_ends_as_an_uninterrupted_one(tmp_path, workers):
    recipe = KernelRecipe(count=1600, kernel_size=5, seed=1)
    code = (
        'import os, signal, sys\n'
        'from basis_blur.data import kernel_lmdb\n'
        'from basis_blur.data.kernel_lmdb import KernelRecipe, prepare_kernels\n'
        'kernel_lmdb.SECONDS_PER_COMMIT = 0\n'  # or a fast machine commits only once, at the end
        'watch = lambda done: done >= 1000 and os.kill(os.getpid(), signal.SIGKILL)\n'
        f'prepare_kernels(sys.argv[1], {recipe!r}, {workers}, watch)'
    )
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a.lmdb')], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / 'a.lmdb').exists()
    counts = []
    result = prepare_kernels(tmp_path / 'a.lmdb', recipe, watch=counts.append)
    assert 1000 <= result.resumed < 1600  # what was told is there
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (result.resumed, 1600)
    prepare_kernels(tmp_path / 'b.lmdb', recipe)
    resumed, straight = KernelLmdb(tmp_path / 'a.lmdb'), KernelLmdb(tmp_path / 'b.lmdb')
    assert len(resumed) == recipe.count
    assert all(np.array_equal(resumed[number], straight[number]) for number in range(recipe.count))
    meta_info = [(tmp_path / name / 'meta_info.txt').read_text() for name in ('a.lmdb', 'b.lmdb')]
    assert meta_info[0] == meta_info[1]


def test_a_finished_folder_is_left_as_it_is(folder):
    before = (folder / 'data.mdb').stat().st_mtime_ns
    assert prepare_kernels(folder, SMALL) == (300, True)
    assert (folder / 'data.mdb').stat().st_mtime_ns == before


def test_another_recipe_is_refused(folder):
    with pytest.raises(InputError, match=r'finished with count 300 \(now 301\), seed 4 \(now 0\); repeat'):
        prepare_kernels(folder, KernelRecipe(301, 9, 0))


def test_kernels_of_another_version_are_not_mixed_in(tmp_path):
    path = tmp_path / 'a.lmdb'
    with LmdbWriter(path, {'kind': 'camera shake', 'count': 300, 'kernel_size': 9, 'seed': 4}) as writer:
        wrong = shake_kernels(1, 9, seed=5)[0]
        writer.put(b'00000000', encode_kernel(wrong), '00000000.png (9,9,1) 1')
    with pytest.raises(InputError, match='kernel 0 of .* begun with another version'):
        prepare_kernels(path, SMALL)
    assert not path.exists()


@pytest.mark.parametrize(
    ('numbers', 'found'), [((0,), 'number of kernels is 0'), ((1, 8), 'size is 8'), ((1, 33, -1), 'seed is -1')]
)
def test_recipes_that_cannot_be_drawn_are_refused(numbers, found):
    with pytest.raises(InputError, match=found):
        KernelRecipe(*numbers)


def test_a_truncated_folder_is_named(folder):
    os.truncate(folder / 'data.mdb', (folder / 'data.mdb').stat().st_size // 2)
    with pytest.raises(InputError, match=r'truncated: it has \d+ bytes, expected at least \d+'):
        KernelLmdb(folder)


@pytest.mark.parametrize(
    ('picture', 'found'),
    [
        (b'no picture', '10 bytes are not a picture'),
        (cv2.imencode('.png', np.ones((9, 7), np.uint16))[1].tobytes(), r'shape \(9, 7\), expected gray'),
        (cv2.imencode('.png', np.ones((9, 9, 3), np.uint8))[1].tobytes(), r'shape \(9, 9, 3\), expected gray'),
        (cv2.imencode('.png', np.zeros((9, 9), np.uint16))[1].tobytes(), 'all black'),
        (encode_kernel(np.eye(7)), 'has 7 pixels a side, expected 9'),
    ],
)
def test_entries_that_are_no_kernels_are_named(tmp_path, picture, found):
    write(tmp_path / 'a.lmdb', [encode_kernel(np.eye(9)), picture])
    kernels = KernelLmdb(tmp_path / 'a.lmdb')
    np.testing.assert_allclose(kernels[0], np.eye(9) / 9, rtol=1e-6)
    with pytest.raises(InputError, match=f'kernel "00000001".*{found}'):
        kernels[1]


def test_numbers_outside_are_an_index_error_so_that_iteration_ends(folder):
    kernels = KernelLmdb(folder)
    np.testing.assert_array_equal(kernels[-1], kernels[299])
    with pytest.raises(IndexError):
        kernels[300]
    assert sum(1 for _ in kernels) == 300


def test_forked_and_pickled_readers_read_the_same(folder):
    kernels = KernelLmdb(folder)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kernels))[7], kernels[7])
    child = os.fork()
    if not child:
        os._exit(0 if kernels[7].sum() > 0.99 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_two_readers_of_one_folder_live_side_by_side(folder):
    first, second = KernelLmdb(folder), KernelLmdb(folder)
    np.testing.assert_array_equal(first[5], second[5])
