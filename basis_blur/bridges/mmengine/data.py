"""The data sets of basis_blur and pairs of photos, as mmengine's models take them.

    sample        {'inputs': photo (3, H, W) or kernel (K, K), 'data_samples': {name: value}}

A loader needs `collate_fn=dict(type='default_collate')`, which makes one tensor of a batch, and, where its workers
start again with every epoch, `worker_init_fn=dict(type='basis_blur.seed_worker')`: mmengine's own gives the workers of
every epoch the same random numbers. With `sampler=dict(type='InfiniteDraws')` those of a training sample are a function
of the seed and of its place in the training alone, whatever the workers.

LMDBs of photos, masks and kernels are read through mmengine's file backends.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import numpy as np
import torch
from mmengine.dataset import BaseDataset, InfiniteSampler
from mmengine.fileio import get, get_file_backend, join_path
from torch import Tensor
from torch.utils.data import Dataset

from basis_blur.data import guessed_photo_dataset, kernel_dataset, synthetic_blur_dataset
from basis_blur.data.lmdb_store import LmdbReader, Store
from basis_blur.data.sample_stream import Draw, seeded_by
from basis_blur.foundation.errors import InputError
from basis_blur.photos.decoding import decode_photo
from basis_blur.photos.formats import DATA_SUFFIXES
from basis_blur.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS, TRANSFORMS


@FUNCTIONS.register_module()
def seed_worker(worker_id: int, **_: Any) -> None:
    """Give a loader's worker random numbers of its own, which differ between workers, processes and epochs.

    Args:
        worker_id: torch has already seeded the worker with it and the epoch; mixed in here is the process's rank.
    """
    rank = int(os.environ.get('RANK', 0))  # every launcher of mmengine sets it
    words = np.random.SeedSequence((torch.initial_seed() % 2**64, rank)).generate_state(4)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
    random.seed(int(words[2]))
    np.random.seed(int(words[3]))  # noqa: NPY002 (other people's transforms draw from it)


@DATA_SAMPLERS.register_module()
class InfiniteDraws(InfiniteSampler):
    """mmengine's InfiniteSampler, whose indices are draws: they seed what is random in their samples.

    A resumed training so sees the samples of an uninterrupted one, see `basis_blur.data.sample_stream`. Its arguments
    are those of `InfiniteSampler`.
    """

    def _infinite_indices(self) -> Iterator[int]:
        for place, index in enumerate(super()._infinite_indices()):
            yield Draw(index, (self.seed, place))


class BackendReader(LmdbReader):
    """Read a finished LMDB folder through mmengine's file backend for LMDBs, from any number of processes.

    What is in the folder is told, and checked, as by `LmdbReader`: mmengine's backend cannot list keys.
    """

    def open_store(self) -> Store:
        """Return mmengine's backend, as a store."""
        return _BackendStore(self.path)


class _BackendStore:
    def __init__(self, path: Path):
        self._path = path
        self._backend = get_file_backend(backend_args={'backend': 'lmdb', 'db_path': str(path)})

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._backend.get(key.decode())
        except lmdb.Error as error:
            raise InputError(
                f'{self._path / "data.mdb"} is damaged ({error}); prepare it again or copy it again.'
            ) from error


class _SyntheticBlurs(synthetic_blur_dataset.SyntheticBlurDataset):
    READER = BackendReader


class _Kernels(kernel_dataset.KernelDataset):
    READER = BackendReader


class _OfOptionFile(Dataset[Any]):
    """A data set of `basis_blur.data`, with the options of a section of an option file by keyword.

    Args:
        phase: 'train' or 'val'.
        options: keys of such a section.
    """

    SOURCE: ClassVar[type[Any]]  # class of the data set
    SEEN: ClassVar[str]  # name of what the network sees of a sample

    def __init__(self, phase: str = 'train', **options: Any):
        self.source = self.SOURCE({'phase': phase, **options})

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with seeded_by(index):
            return packed(self.source[index], self.SEEN)


@DATASETS.register_module()
class SyntheticBlurDataset(_OfOptionFile):
    """`basis_blur.data.SyntheticBlurDataset`; its options by keyword.

    Args:
        phase: 'train' or 'val'.
        options: keys of a section of an option file, such as dataroot_gt and patch_size.

    Raises:
        OptionError: an option is unknown or has a wrong value.
        InputError: the photos, masks or kernels cannot be read or do not fit together.
    """

    SOURCE = _SyntheticBlurs

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.source[index]
        return packed(sample, 'lq' if 'lq' in sample else 'sharp')


@DATASETS.register_module()
class KernelDataset(_OfOptionFile):
    """`basis_blur.data.KernelDataset`; its options by keyword.

    Args:
        phase: 'train' or 'val'.
        options: keys of a section of an option file, such as dataroot and hold_out.

    Raises:
        OptionError: an option is unknown or has a wrong value.
        InputError: the kernels cannot be read.
    """

    SOURCE, SEEN = _Kernels, 'kernel'


@DATASETS.register_module()
class GuessedPhotoDataset(_OfOptionFile):
    """`basis_blur.data.GuessedPhotoDataset`; its options by keyword.

    Args:
        phase: 'train' or 'val'.
        options: keys of a section of an option file, such as dataroot and patch_size.

    Raises:
        OptionError: an option is unknown or has a wrong value.
        InputError: the guesses cannot be read, or none is trusted.
    """

    SOURCE, SEEN = guessed_photo_dataset.GuessedPhotoDataset, 'lq'


@DATASETS.register_module()
class PhotoPairDataset(BaseDataset):
    """Pairs of a blurred and a sharp photo of one name, through mmengine's file backends.

    Args:
        dataroot_lq: folder of the blurred photos, or an LMDB of prep-lmdb.
        dataroot_gt: folder or LMDB of the sharp photos.
        pipeline: transforms; they begin with `LoadPhotoPair` and end with `PackPhotoPair`.
        backend_args: arguments of mmengine, for folders, such as dict(backend='petrel').
        others: keyword arguments of `BaseDataset`, such as test_mode and indices.

    Raises:
        InputError: there is no photo, or one is in one of the two places only.
    """

    def __init__(
        self,
        dataroot_lq: str,
        dataroot_gt: str,
        pipeline: Sequence[dict[str, Any]],
        backend_args: dict[str, Any] | None = None,
        **others: Any,
    ):
        self.roots = {'lq': str(dataroot_lq), 'gt': str(dataroot_gt)}
        self.backend_args = backend_args
        super().__init__(pipeline=list(pipeline), **others)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with seeded_by(index):
            return super().__getitem__(index)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the names of the pairs, and where their photos are."""
        places = {name: _photos_in(root, self.backend_args) for name, root in self.roots.items()}
        strange = sorted(set(places['lq']) ^ set(places['gt']))
        if strange:
            raise InputError(
                f'"{strange[0]}" and {len(strange) - 1} more are in only one of {self.roots["lq"]} and '
                f'{self.roots["gt"]}; expected the same names in both.'
            )
        if not places['lq']:
            raise InputError(f'there is no photo in {self.roots["lq"]}; expected {", ".join(DATA_SUFFIXES)}.')
        return [
            {'key': key, **{name: {'path': places[name][key], 'backend_args': self._backend(name)} for name in places}}
            for key in places['lq']
        ]

    def _backend(self, name: str) -> dict[str, Any] | None:
        root = self.roots[name]
        return {'backend': 'lmdb', 'db_path': root} if root.endswith('.lmdb') else self.backend_args


@TRANSFORMS.register_module()
class LoadPhotoPair:
    """Read both photos: 'lq' and 'gt' become (H, W, 3) uint8, red first.

    Raises:
        InputError: a photo cannot be read, or the two differ in size.
    """

    def __call__(self, results: Mapping[str, Any]) -> dict[str, Any]:
        photos = {name: _read_photo(results[name]) for name in ('lq', 'gt')}
        sizes = {name: photo.shape[:2] for name, photo in photos.items()}
        if sizes['lq'] != sizes['gt']:
            raise InputError(f'the photos "{results["key"]}" have {sizes} pixels; expected equal sizes.')
        return {**results, **photos}


@TRANSFORMS.register_module()
class CropPhotoPair:
    """Cut the same random window out of both photos.

    Args:
        size: side of the window in pixels.

    Raises:
        InputError: a photo is smaller.
    """

    def __init__(self, size: int):
        self.size = size

    def __call__(self, results: Mapping[str, Any]) -> dict[str, Any]:
        height, width = results['lq'].shape[:2]
        if min(height, width) < self.size:
            raise InputError(
                f'the photo "{results["key"]}" has {width}x{height} pixels, the window {self.size}; make it smaller.'
            )
        top, left = (int(torch.randint(side - self.size + 1, ())) for side in (height, width))
        window = np.s_[top : top + self.size, left : left + self.size]
        return {**results, **{name: results[name][window] for name in ('lq', 'gt')}}


@TRANSFORMS.register_module()
class TurnPhotoPair:
    """Mirror both photos, and turn them by quarters, at random."""

    def __call__(self, results: Mapping[str, Any]) -> dict[str, Any]:
        mirror, upset, transpose = (torch.rand(3) < 0.5).tolist()
        turned = {}
        for name in ('lq', 'gt'):
            photo = results[name][:, ::-1] if mirror else results[name]
            photo = photo[::-1] if upset else photo
            turned[name] = photo.swapaxes(0, 1) if transpose else photo
        return {**results, **turned}


@TRANSFORMS.register_module()
class PackPhotoPair:
    """Make the sample: photos (3, H, W) float32 in [0, 1]."""

    def __call__(self, results: Mapping[str, Any]) -> dict[str, Any]:
        photos = {name: _to_tensor(results[name]) for name in ('lq', 'gt')}
        return {'inputs': photos['lq'], 'data_samples': {'gt': photos['gt'], 'key': results['key']}}


def packed(sample: Mapping[str, Any], seen: str) -> dict[str, Any]:
    """Return a sample of BasicSR's form in mmengine's.

    Args:
        sample: values by name.
        seen: the name of what the model sees.
    """
    return {'inputs': sample[seen], 'data_samples': {key: value for key, value in sample.items() if key != seen}}


def _photos_in(root: str, backend_args: dict[str, Any] | None) -> dict[str, str]:
    """Return the photos of a place: their names, and the paths by which a backend reads them."""
    if root.endswith('.lmdb'):
        return {key: key for key in LmdbReader(root).keys}
    names = sorted(get_file_backend(root, backend_args=backend_args).list_dir_or_file(root, list_dir=False))
    return {
        str(Path(name).with_suffix('')): join_path(root, name, backend_args=backend_args)
        for name in names
        if name.lower().endswith(DATA_SUFFIXES)
    }


def _read_photo(place: Mapping[str, Any]) -> np.ndarray:
    content = get(place['path'], backend_args=place['backend_args'])
    return decode_photo(bytes(content or b''), str(place['path']))[..., ::-1]


def _to_tensor(photo: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float() / 255
