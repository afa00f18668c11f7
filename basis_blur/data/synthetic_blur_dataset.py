"""Training samples for non-uniform blur: photos whose objects and camera moved  [C21, Alg. 1, A.3].

For a sample these ingredients are drawn:

    1. a window of the photo, of patch_size + K - 1 pixels a side, with its label map, perhaps mirrored and turned
    2. up to `max_objects` of its objects
    3. a kernel for the background and one for each object
    4. an illumination and a noise level

`simulation.scene_blur` makes lq, gt, kernels, mixing and weight of them, either here (`synthesis: worker`) or later, in
batch, on the training device (`synthesis: device`); the numbers are the same.

Seeds: sample number `index` of a validation depends on (seed, index) only. A training of BasicSR asks for a sample by a
`Draw`, made of (manual_seed, epoch, place in the epoch), see `sample_stream`; the sample depends on (seed, draw), so
the same `manual_seed` gives the same run, resumed or not, with any number of workers. If another loader asks by a plain
index, the sample depends on (seed, torch.initial_seed(), number of samples drawn before, index). Torch's seed differs
between workers, ranks and, where workers are started again, epochs; where they are not, the number differs.

No global generator is used, unlike in the usual data sets of BasicSR, whose `worker_init_fn` repeats the same numpy
seeds in every epoch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from basis_blur.data.data_section import read_data_section
from basis_blur.data.kernel_lmdb import KernelLmdb
from basis_blur.data.lmdb_store import LmdbReader
from basis_blur.data.photo_lmdb import PhotoSource, list_photos
from basis_blur.data.sample_stream import Draw
from basis_blur.data.segmentation import FORMS, open_annotations
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.foundation.options import Option, OptionError
from basis_blur.photos.decoding import decode_photo, photo_size
from basis_blur.simulation.camera_shake import motion_kernel, shake_kernel
from basis_blur.simulation.scene_blur import (
    MAX_OBJECTS,
    MIN_OBJECT_PIXELS,
    Extras,
    Ingredients,
    blur_scene,
    choose_objects,
    fill_slots,
)

MOTION_SHARE = 0.5  # chance that a kernel drawn for an object is motion along a line or arc, not camera shake
LAMP_RADIUS = (1.0, 5.0)  # range of the radius of a light source, pixels
LAMP_LIGHT = (2.0, 50.0)  # range of the light of a light source, where 1 is white; its logarithm is uniform


class SyntheticBlurDataset(Dataset[Any]):
    """Synthetic blurred photos with their true blur.

    Args:
        opt: section of an option file; `OPTIONS` describes its keys.

    Photos smaller than the window are enlarged to it, with a warning.

    Raises:
        OptionError: an option is unknown or has a wrong value.
        InputError: the photos, masks or kernels cannot be read or do not fit together.
    """

    OPTIONS: ClassVar[dict[str, Option]] = {
        'dataroot_gt': Option(
            (str,), is_path=True, meaning='Sharp photos, a folder, or photos.lmdb of "basis-blur prep-lmdb".',
        ),
        'dataroot_masks': Option(
            (str, NoneType), None, is_path=True,
            meaning='Object masks, a folder, a file of COCO, or masks.lmdb; ~ takes each photo for a single object.',
        ),
        'mask_format': Option(
            (str, NoneType), None, choices=FORMS, meaning='Format of the masks; an LMDB holds label maps, ~.',
        ),
        'dataroot_kernels': Option(
            (str, NoneType), None, is_path=True,
            meaning='LMDB of kernels, made by "basis-blur prep-kernels"; ~ draws new kernels for each sample.',
        ),
        'io_backend': Option((dict,), {'type': 'disk'}, meaning='{type: disk} for folders or {type: lmdb}.'),
        'kernel_size': Option((int,), 33, least=5, odd=True, meaning='K, the side of the kernels, pixels.'),
        'patch_size': Option((int,), 256, least=1, meaning='Side of the blurred photo, pixels.'),
        'max_objects': Option(
            (int,), MAX_OBJECTS, least=0, most=255, meaning='Largest number of objects that move on their own.',
        ),
        'min_object_pixels': Option(
            (int,), MIN_OBJECT_PIXELS, least=1,
            meaning='Number of pixels within the window below which an object moves with the background.',
        ),
        'gamma': Option((float,), GAMMA, above=0, meaning='Exponent of the photos, light = photo ** gamma.'),
        'illumination': Option(
            (list,), (0.5, 1.5), above=0, is_range=True, meaning='Range of the factor on the light of a scene.',
        ),
        'noise_std': Option(
            (list,), (0.0, 0.0), least=0, is_range=True,
            meaning='Range of the standard deviation of the noise, in linear light.',
        ),
        'resize': Option(
            (list,), (1.0, 1.0), above=0, is_range=True,
            meaning='Range of the factor by which a photo is scaled before its window is cut, equally likely by its '
            'logarithm, so that a network does not take soft photos for blurred ones. [C21] has no such thing.',
        ),
        'still_share': Option(
            (float,), 0.0, least=0, most=1,
            meaning='Chance that the camera or an object did not move. [C21] has no such thing.',
        ),
        'jpeg_quality': Option(
            (list, NoneType), None, least=1, most=100, is_range=True,
            meaning='Range of the quality with which the blurred photo is compressed as a camera would; ~: it is not. '
            'Needs "synthesis: worker". [C21] has no such thing.',
        ),
        'clean_share': Option(
            (float,), 0.0, least=0, most=1,
            meaning='Chance that a photo is left without noise and compression. [C21] has no such thing.',
        ),
        'photons': Option(
            (list, NoneType), None, least=1, is_range=True,
            meaning='Range of the number of photons of white light in a pixel, whose noise is added; ~ for none.',
        ),
        'light_sources': Option(
            (int,), 0, least=0, meaning='Largest number of lamps, discs far brighter than white, that are added.',
        ),
        'divide_masks': Option(
            (bool,), True,
            meaning='Whether blurred masks are divided by their sum; false is Alg. 1 of [C21] as printed.',
        ),
        'use_hflip': Option((bool,), True, meaning='Whether a training mirrors windows at random.'),
        'use_rot': Option((bool,), True, meaning='Whether a training turns windows at random.'),
        'synthesis': Option(
            (str,), 'worker', choices=('worker', 'device'),
            meaning="Where scenes are blurred: by the loader's processes, or in batch on the device that trains.",
        ),
        'seed': Option((int, NoneType), None, least=0, meaning='Seed of the samples; ~ is 0.'),
        'samples_per_epoch': Option(
            (int, NoneType), None, least=1,
            meaning='Number of samples of an epoch, each of a random photo; ~ takes each photo once.',
        ),
    }  # fmt: skip
    READER: ClassVar[type[LmdbReader]] = LmdbReader  # class that reads LMDBs

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__()
        self.opt, where, self.is_train = read_data_section(opt, self.OPTIONS)
        _check_jpeg(self.opt, where)
        self._seed = self.opt['seed'] or 0
        self._side = self.opt['patch_size'] + self.opt['kernel_size'] - 1
        self._drawn = 0
        self._photos = _open_photos(self.opt, where, self.READER)
        self._kernels = _open_kernels(self.opt, where, self.READER)
        _warn_of_small(self._photos.sizes(), self._side, where)

    def __len__(self) -> int:
        return self.opt['samples_per_epoch'] or len(self._photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return what `blur_scene` returns, or its ingredients, with the photo's name as `key` and `lq_path`.

        Raises:
            InputError: a photo or its mask is damaged or they differ in size.
        """
        draw = index if isinstance(index, Draw) else None
        index = range(len(self))[index]
        generator = self._generator(index, draw)
        key, photo, labels = self._photos.read(self._number_of_photo(index, generator))
        sharp, labels = self._window(photo, labels, generator)
        labels = choose_objects(labels, generator, self.opt['max_objects'], self.opt['min_object_pixels'])
        ingredients: Ingredients = {
            'sharp': torch.from_numpy(np.ascontiguousarray(sharp[..., ::-1].transpose(2, 0, 1))),
            'labels': torch.from_numpy(labels),
            'kernels': self._draw_kernels(int(labels.max()), generator),
            'illumination': torch.tensor(generator.uniform(*self.opt['illumination']), dtype=torch.float32),
            'noise_std': torch.tensor(generator.uniform(*self.opt['noise_std']), dtype=torch.float32),
            'noise_seed': torch.tensor(int(generator.integers(2**62)), dtype=torch.int64),
        }
        # No number is drawn where the share is 0, so that a seed keeps the samples that it had in earlier versions.
        clean = self.opt['clean_share'] > 0 and generator.random() < self.opt['clean_share']
        if clean:
            ingredients['noise_std'] = torch.zeros_like(ingredients['noise_std'])
        ingredients = {**ingredients, **self._draw_extras(clean, generator)}
        in_batch = self.opt['synthesis'] == 'device'
        sample: Mapping[str, Any] = ingredients if in_batch else blur_scene(ingredients, self.opt['gamma'])
        if self.opt['jpeg_quality'] is not None and not clean:
            sample = {**sample, 'lq': _as_jpeg(sample['lq'], round(generator.uniform(*self.opt['jpeg_quality'])))}
        return {**sample, 'key': key, 'lq_path': key}

    def _generator(self, index: int, draw: Draw | None) -> np.random.Generator:
        if self.is_train and draw is not None:
            entropy = (self._seed, *draw.entropy, index)
        elif self.is_train:
            # With sign and over 64 bits, torch's seed is no valid entropy as it is.
            entropy = (self._seed, torch.initial_seed() % 2**64, self._drawn, index)
            self._drawn += 1
        else:
            entropy = (self._seed, index)
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))

    def _number_of_photo(self, index: int, generator: np.random.Generator) -> int:
        if self.opt['samples_per_epoch'] is None:
            return index
        if self.is_train:
            return int(generator.integers(len(self._photos)))
        return index * len(self._photos) // len(self) if len(self) < len(self._photos) else index % len(self._photos)

    def _window(
        self, photo: np.ndarray, labels: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut a random window out of photo and labels, mirrored and turned, after scaling both."""
        low, high = np.log(self.opt['resize'])
        # Options that are off draw no number, so that the samples of a seed do not depend on them.
        factor = np.exp(generator.uniform(low, high)) if low < high else np.exp(low)
        photo, labels = _resize(photo, labels, factor, self._side)
        top, left = (int(generator.integers(size - self._side + 1)) for size in labels.shape)
        window = np.s_[top : top + self._side, left : left + self._side]
        photo, labels = photo[window], labels[window]
        mirror, upset, transpose = generator.random(3) < 0.5
        if self.is_train:
            if self.opt['use_hflip'] and mirror:
                photo, labels = photo[:, ::-1], labels[:, ::-1]
            if self.opt['use_rot'] and upset:
                photo, labels = photo[::-1], labels[::-1]
            if self.opt['use_rot'] and transpose:
                photo, labels = photo.swapaxes(0, 1), labels.swapaxes(0, 1)
        return photo, labels

    def _draw_kernels(self, objects: int, generator: np.random.Generator) -> torch.Tensor:
        if self._kernels is not None:
            kernels = [self._kernels[int(generator.integers(len(self._kernels)))] for _ in range(objects + 1)]
        else:
            kernels = [shake_kernel(generator, self.opt['kernel_size'])]
            for _ in range(objects):
                draw = motion_kernel if generator.random() < MOTION_SHARE else shake_kernel
                kernels.append(draw(generator, self.opt['kernel_size']))
        if self.opt['still_share']:
            point = np.zeros_like(kernels[0])
            point[self.opt['kernel_size'] // 2, self.opt['kernel_size'] // 2] = 1
            kernels = [point if generator.random() < self.opt['still_share'] else kernel for kernel in kernels]
        return fill_slots(torch.from_numpy(np.stack(kernels)), self.opt['max_objects'] + 1)

    def _draw_extras(self, clean: bool, generator: np.random.Generator) -> Extras:
        """Return what options add to a scene that are off by default; those that are off draw no number."""
        extras: Extras = {}
        if self.opt['photons'] is not None:
            count = np.exp(generator.uniform(*np.log(self.opt['photons'])))
            extras['photons'] = torch.tensor(0.0 if clean else count, dtype=torch.float32)
        if self.opt['light_sources']:
            lamps = np.zeros((self.opt['light_sources'], 4), np.float32)
            for lamp in lamps[: int(generator.integers(self.opt['light_sources'] + 1))]:
                place = generator.uniform(0, self._side, 2)
                lamp[:] = (*place, generator.uniform(*LAMP_RADIUS), np.exp(generator.uniform(*np.log(LAMP_LIGHT))))
            extras['lamps'] = torch.from_numpy(lamps)
        if not self.opt['divide_masks']:
            extras['divided'] = torch.tensor(False)
        return extras


class _Photos(Protocol):
    """Sharp photos with their label maps."""

    def __len__(self) -> int: ...

    def sizes(self) -> list[tuple[int, int]]:
        """Return (H, W) of every photo."""

    def read(self, number: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Return name, photo (H, W, 3) uint8 in the order blue, green, red, and labels (H, W) uint8."""


class _LmdbPhotos:
    def __init__(self, photos: str, masks: str | None, reader: type[LmdbReader]):
        self._photos = reader(photos)
        self._masks = reader(masks) if masks else None
        if self._masks and self._masks.keys != self._photos.keys:
            strange = sorted(set(self._masks.keys) ^ set(self._photos.keys))
            raise InputError(
                f'{photos} has {len(self._photos)} photos and {masks} has {len(self._masks)} masks, and "{strange[0]}" '
                'is in one of them only; use two that were prepared together.'
            )

    def __len__(self) -> int:
        return len(self._photos)

    def sizes(self) -> list[tuple[int, int]]:
        try:
            shapes = [line.split('(')[1].split(')')[0].split(',') for line in self._photos.lines]
            return [(int(shape[0]), int(shape[1])) for shape in shapes]
        except (IndexError, ValueError) as error:
            raise InputError(
                f'{self._photos.path}: meta_info.txt has a line not of the form "name.jpg (h,w,c) 0"; prepare it again.'
            ) from error

    def read(self, number: int) -> tuple[str, np.ndarray, np.ndarray]:
        key = self._photos.keys[number]
        photo = decode_photo(self._photos[key], f'the entry "{key}" of {self._photos.path}')
        if self._masks is None:
            return key, photo, np.zeros(photo.shape[:2], np.uint8)
        labels = cv2.imdecode(np.frombuffer(self._masks[key], np.uint8), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
            raise InputError(f'the entry "{key}" of {self._masks.path} is no gray PNG of 8 bit; prepare it again.')
        if labels.shape != photo.shape[:2]:
            raise InputError(
                f'the mask "{key}" of {self._masks.path} has {_size_text(labels)} pixels, but its photo in '
                f'{self._photos.path} has {_size_text(photo)}; use two LMDBs that were prepared together.'
            )
        return key, photo, labels


class _FolderPhotos:
    def __init__(self, photos: str, masks: str | None, mask_format: str):
        self._folder = Path(photos).expanduser()
        source = PhotoSource(self._folder, Path(masks).expanduser() if masks else None, mask_format)
        self._names = list_photos(source)
        annotations = open_annotations(mask_format, source.masks, self._folder)
        self._annotations = [annotations.find(name) for name in self._names]
        if mask_format != 'none' and not any(self._annotations):
            raise InputError(
                f'none of the {len(self._names)} photos in {photos} has a mask in {masks or photos}; the format '
                f'"{mask_format}" expects equal names, such as the one for {self._names[0]}.'
            )

    def __len__(self) -> int:
        return len(self._names)

    def sizes(self) -> list[tuple[int, int]]:
        return [photo_size(self._folder / name) for name in self._names]

    def read(self, number: int) -> tuple[str, np.ndarray, np.ndarray]:
        name = self._names[number]
        path = self._folder / name
        photo = decode_photo(path.read_bytes(), str(path))
        annotation = self._annotations[number]
        if annotation is None:
            return name, photo, np.zeros(photo.shape[:2], np.uint8)
        return name, photo, annotation.label_map(path, photo.shape[:2])


def _as_jpeg(photo: torch.Tensor, quality: int) -> torch.Tensor:
    """Return a photo (3, H, W), in the order red, green, blue, as a JPEG file of that quality shows it, in [0, 1]."""
    pixels = (photo.clamp(0, 1) * 255).round().byte().movedim(0, 2).numpy()
    _, content = cv2.imencode('.jpg', cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    shown = cv2.imdecode(content, cv2.IMREAD_COLOR)
    if shown is None:
        raise RuntimeError(f'a JPEG of quality {quality} and {len(content)} bytes cannot be decoded.')
    return torch.from_numpy(cv2.cvtColor(shown, cv2.COLOR_BGR2RGB)).movedim(2, 0).to(photo.dtype) / 255


def _size_text(pixels: np.ndarray) -> str:
    return f'{pixels.shape[1]}x{pixels.shape[0]}'


def _resize(photo: np.ndarray, labels: np.ndarray, factor: float, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale photo and labels by a factor, or by a larger one if a side would have less than `least` pixels."""
    height, width = labels.shape
    factor = max(factor, least / min(height, width))
    if factor == 1:
        return photo, labels
    size = (max(least, round(width * factor)), max(least, round(height * factor)))
    return (
        cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA),
        cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST),
    )


def _warn_of_small(sizes: Sequence[tuple[int, int]], side: int, where: str) -> None:
    small = sum(min(size) < side for size in sizes)
    if small:
        warnings.warn(
            f'{where}: {small} of {len(sizes)} photos have less than the {side} pixels that a sample takes, and are '
            'enlarged; they are blurred to begin with. Prepare the photos with --min-size to leave them out.',
            stacklevel=3,
        )


def _open_photos(opt: Mapping[str, Any], where: str, reader: type[LmdbReader]) -> _Photos:
    backend = opt['io_backend'].get('type')
    if backend == 'lmdb':
        if opt['mask_format'] not in (None, 'none' if opt['dataroot_masks'] is None else 'labels'):
            raise OptionError(
                f'{where}: "mask_format" is {opt["mask_format"]!r}, but an LMDB holds label maps; leave it out.'
            )
        return _LmdbPhotos(opt['dataroot_gt'], opt['dataroot_masks'], reader)
    if backend == 'disk':
        return _FolderPhotos(opt['dataroot_gt'], opt['dataroot_masks'], opt['mask_format'] or 'none')
    raise OptionError(f'{where}: "io_backend" has the type {backend!r}, expected disk or lmdb.')


def _open_kernels(opt: Mapping[str, Any], where: str, reader: type[LmdbReader]) -> KernelLmdb | None:
    if opt['dataroot_kernels'] is None:
        return None
    kernels = KernelLmdb(opt['dataroot_kernels'], reader)
    if kernels.kernel_size != opt['kernel_size']:
        raise OptionError(
            f'{where}: "kernel_size" is {opt["kernel_size"]}, but the kernels in {opt["dataroot_kernels"]} have '
            f'{kernels.kernel_size} pixels a side; make them agree.'
        )
    return kernels


def _check_jpeg(opt: Mapping[str, Any], where: str) -> None:
    if opt['jpeg_quality'] is not None and opt['synthesis'] == 'device':
        raise OptionError(f'{where}: "jpeg_quality" needs synthesis: worker; leave one of the two out.')
