"""Camera-shake kernels in an LMDB folder of BasicSR's layout: preparing, and reading.

Entry '00000000' is kernel number 0 of a seed, and so on, as a 16-bit gray PNG. A value v stands for v / 65535 of the
brightest pixel:

    v = round(65535 k / max k)          k' = v / sum v

so that a kernel that is read sums to 1 and differs from the one that was drawn by at most about max k / 65535 in a
pixel. Kernel number i depends on (seed, i) alone; therefore a preparation that was killed goes on with the first number
that is missing, and its result is that of an uninterrupted one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np

from basis_blur.data.lmdb_store import LmdbReader, LmdbWriter
from basis_blur.data.worker_pool import WorkerPool
from basis_blur.foundation.errors import InputError
from basis_blur.simulation.camera_shake import shake_kernels

LARGEST_SAMPLE = 65535  # largest sample of 16 bits, to which the largest number of a kernel is scaled
PNG_LEVEL = 1  # level of compression, 0 to 9
KERNELS_PER_JOB = 250  # number of kernels that a worker draws at a time
KERNELS_CHECKED = 100  # number of kernels, spread over all, that are read again at the end
SECONDS_PER_COMMIT = 1.0  # time between two commits to the LMDB
# Keys have eight digits, so that they stand in the order of their numbers.
LARGEST_COUNT = 10**8
LARGEST_SIZE = 255  # largest side of a kernel, pixels
LARGEST_SEED = 2**63 - 1  # largest seed


@dataclass(frozen=True)
class KernelRecipe:
    """The values that the contents of a kernel LMDB depend on.

    Args:
        count: number of kernels, 1 to 10^8.
        kernel_size: K, odd, 5 to 255.
        seed: 0 to 2^63 - 1.

    Raises:
        InputError: a number is out of its range.
    """

    count: int
    kernel_size: int = 33
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= LARGEST_COUNT:
            raise InputError(f'the number of kernels is {self.count}, expected 1 to {LARGEST_COUNT}.')
        if not 5 <= self.kernel_size <= LARGEST_SIZE or self.kernel_size % 2 == 0:
            raise InputError(
                f'the kernel size is {self.kernel_size}, expected an odd number of pixels >= 5 and <= {LARGEST_SIZE}.'
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InputError(f'the seed is {self.seed}, expected >= 0 and <= {LARGEST_SEED}.')


class Preparation(NamedTuple):
    """A report of `prepare_kernels`: kernels that were there before, and whether the folder was finished already."""

    resumed: int
    was_finished: bool


def prepare_kernels(
    path: str | os.PathLike[str],
    recipe: KernelRecipe,
    workers: int = 0,
    watch: Callable[[int], None] = lambda done: None,
) -> Preparation:
    """Write an LMDB folder of camera-shake kernels, or finish one that an earlier call left unfinished.

    Args:
        path: the folder, its name ending in '.lmdb'; it gets this name when it is complete and checked.
        recipe: recipe of the kernels.
        workers: number of processes that draw; 0 draws in this one.
        watch: function that is called from time to time with the number of kernels that are safely on the disk.

    Raises:
        InputError: `path` was begun or finished with another recipe, or is being written by another process.
        OSError: the disk is full or cannot be written.
    """
    with WorkerPool(workers) as pool, LmdbWriter(path, {'kind': 'camera shake', **asdict(recipe)}) as writer:
        resumed = len(writer)
        if writer.finished:
            return Preparation(resumed, True)
        line = f'.png ({recipe.kernel_size},{recipe.kernel_size},1) {PNG_LEVEL}'
        jobs = (
            (recipe, first, min(first + KERNELS_PER_JOB, recipe.count))
            for first in range(resumed, recipe.count, KERNELS_PER_JOB)
        )
        watch(resumed)
        number = resumed
        committed_at = time.monotonic()
        for pictures in pool.map(_draw_and_encode, jobs):
            for picture in pictures:
                writer.put(_key(number).encode(), picture, _key(number) + line)
                number += 1
            if time.monotonic() - committed_at >= SECONDS_PER_COMMIT:
                writer.commit()
                committed_at = time.monotonic()
            watch(len(writer))
        writer.commit()
        watch(len(writer))
        _check(writer, recipe)
        writer.finish()
    return Preparation(resumed, False)


def encode_kernel(kernel: np.ndarray) -> bytes:
    """Return a kernel as a 16-bit gray PNG.

    Args:
        kernel: (K, K) floating point; >= 0, not all 0.
    """
    values = np.rint(kernel * (LARGEST_SAMPLE / kernel.max())).astype(np.uint16)
    done, picture = cv2.imencode('.png', values, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise RuntimeError(f'a kernel of shape {kernel.shape} cannot be encoded as PNG.')
    return picture.tobytes()


def decode_kernel(picture: bytes) -> np.ndarray:
    """Return the kernel that a gray PNG, of 8 or 16 bit, holds.

    Returns:
        (K, K) float32; >= 0, sums to 1.

    Raises:
        InputError: the bytes are no picture, it is not square, gray and of an odd size, or all black.
    """
    values = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED) if picture else None
    if values is None:
        raise InputError(f'its {len(picture)} bytes are not a picture.')
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] % 2 == 0:
        raise InputError(f'it is a picture of shape {values.shape}, expected gray, square, of an odd size.')
    total = values.sum(dtype=np.float64)
    if total == 0:
        raise InputError('it is all black.')
    return (values / total).astype(np.float32)


class KernelLmdb:
    """The kernels of an LMDB folder, in the order of its meta_info.txt; a sequence for any number of processes.

    The files are opened at the first use in each process, so a loader's workers may inherit or be sent it.

    Args:
        path: a folder that `prepare_kernels` wrote, or one of BasicSR's layout with gray PNG entries of one size.
        reader: class that reads it.

    Raises:
        InputError: the folder is missing, truncated, no LMDB, or its first entry is no kernel.
    """

    def __init__(self, path: str | os.PathLike[str], reader: type[LmdbReader] = LmdbReader):
        self._reader = reader(path)
        if not self._reader.keys:
            raise InputError(f'{path} holds no kernel; prepare it with basis-blur prep-kernels.')
        self._kernel_size: int = self._read(0).shape[0]

    @property
    def kernel_size(self) -> int:
        """K, the side of every kernel in pixels."""
        return self._kernel_size

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return kernel number `index`, (K, K) float32, which sums to 1.

        Raises:
            IndexError: there is no such number.
            InputError: the entry is missing, is no kernel, or has another size than the first one.
        """
        kernel = self._read(index)
        if kernel.shape[0] != self._kernel_size:
            raise InputError(
                f'{self._reader.path}: the kernel "{self._reader.keys[index]}" has {kernel.shape[0]} pixels a side, '
                f'expected {self._kernel_size} as the first one; prepare the LMDB again with kernels of one size.'
            )
        return kernel

    def _read(self, index: int) -> np.ndarray:
        key = self._reader.keys[index]
        try:
            return decode_kernel(self._reader[key])
        except InputError as error:
            raise InputError(
                f'{self._reader.path}: the kernel "{key}" cannot be used: {error} '
                'Prepare the LMDB again with basis-blur prep-kernels.'
            ) from error


def _key(number: int) -> str:
    return f'{number:08d}'


def _draw_and_encode(job: tuple[KernelRecipe, int, int]) -> list[bytes]:
    recipe, first, last = job
    return [encode_kernel(kernel) for kernel in shake_kernels(last - first, recipe.kernel_size, recipe.seed, first)]


def _check(writer: LmdbWriter, recipe: KernelRecipe) -> None:
    """Count the entries and compare a sample with the kernels they stand for, before the folder gets its name."""
    if len(writer) != recipe.count:
        raise RuntimeError(f'{writer.partial} holds {len(writer)} kernels, expected {recipe.count}.')
    for number in np.unique(np.linspace(0, recipe.count - 1, KERNELS_CHECKED).astype(int)):
        drawn = shake_kernels(1, recipe.kernel_size, recipe.seed, int(number))[0]
        if not _stands_for(writer.get(_key(number).encode()), drawn):
            raise InputError(
                f'kernel {number} of {writer.partial} is not the one that is drawn now: the folder is damaged or was '
                'begun with another version of basis-blur; delete it to begin again.'
            )


def _stands_for(picture: bytes | None, drawn: np.ndarray) -> bool:
    try:
        kernel = decode_kernel(picture or b'')
    except InputError:
        return False
    # Rounding moves a pixel by half a step, and the sum by half a step per bright pixel.
    tolerance = drawn.max() * (1 + np.count_nonzero(drawn) * drawn.max()) / LARGEST_SAMPLE
    return kernel.shape == drawn.shape and bool(np.abs(kernel - drawn).max() <= tolerance)
