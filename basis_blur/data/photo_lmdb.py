"""Turn a folder of photos, with their objects, into the LMDBs that training reads.

OUT/photos.lmdb holds the photos as they were encoded (8-bit gray or colour JPEG and PNG, byte for byte) or as PNG
(all else), OUT/masks.lmdb under equal keys their label maps as PNG: 0 = background, 1..n the objects, see
`segmentation`. Memory stays flat: a bounded number of photos is under way at any time. Each photo is decoded once
to prove that it can be.

Convention: a photo is upright as its EXIF orientation says, and so is its label map.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from basis_blur.data.lmdb_store import LmdbWriter
from basis_blur.data.segmentation import Annotation, open_annotations
from basis_blur.data.worker_pool import WorkerPool
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file, real_path
from basis_blur.photos.decoding import decode_photo, decode_tiff_photo
from basis_blur.photos.exif import orientation_of
from basis_blur.photos.formats import DATA_SUFFIXES, JPEG_SUFFIXES, TIFF_BEGINS
from basis_blur.photos.photo import MAX_BYTES
from basis_blur.photos.pillow_warnings import no_warnings
from basis_blur.photos.png import SIGNATURE, without_texts

LONGEST_KEY = 200  # longest part of a name in a key, characters; longer names end in a digest
ENTRIES_CHECKED = 100  # number of entries, spread over all, that are read again at the end, about
PHOTOS_PER_COMMIT = 100  # number of photos after which the LMDB is committed
SECONDS_PER_COMMIT = 1.0  # time after which it is committed at the latest
PNG_LEVEL = 1  # level of compression, 0 to 9
PNG_DEPTH = 24  # the byte of a PNG that tells the bits per channel


@dataclass(frozen=True)
class PhotoSource:
    """The source of photos and their annotations.

    Args:
        photos: a folder, searched with its sub-folders.
        masks: the annotations, as `segmentation.open_annotations` takes them, or None.
        mask_format: one of `segmentation.FORMS`.
        min_size: pixels; photos whose shorter side is less are left out.
        classes: names of the objects that count, as `segmentation.open_annotations` takes them; empty for all.
        min_object: pixels; photos whose largest object is smaller are left out. 0 keeps photos without any.
    """

    photos: Path
    masks: Path | None = None
    mask_format: str = 'none'
    min_size: int = 1
    classes: tuple[str, ...] = ()
    min_object: int = 0


Watch = Callable[[Iterable[Any], int, int], Iterable[Any]]


@dataclass
class Preparation:
    """A report of `prepare_photos`: `photos` in the LMDB, of them `unmasked` new ones without annotation, `objects` in
    the new ones, `resumed` that were there before; left out are those `too_small`, `without_object` of the size that is
    wanted, and unusable (`bad`: name -> reason)."""

    photos: int = 0
    unmasked: int = 0
    objects: int = 0
    resumed: int = 0
    too_small: int = 0
    without_object: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    was_finished: bool = False


def prepare_photos(
    source: PhotoSource,
    out: str | os.PathLike[str],
    workers: int = 0,
    skip_bad: bool = False,
    watch: Watch = lambda steps, total, done: steps,
) -> Preparation:
    """Write OUT/photos.lmdb and, where there are masks, OUT/masks.lmdb, or finish what an earlier call left.

    Args:
        source: the photos and masks.
        out: a folder, made if missing.
        workers: processes that read and check photos, see `WorkerPool`; 0 does it in this one.
        skip_bad: whether photos that cannot be used are left out; otherwise the first of them ends the work, and what
            was done is kept for the next call.
        watch: function that is given an iterator with a step for each remaining photo once it is safely on the disk,
            the number of all and of those done, and returns an iterator; for progress bars.

    Raises:
        InputError: there are no photos, none has an annotation, one cannot be used, objects are wanted of photos
            without annotations, or `out` was prepared with other parameters.
        OSError: the disk is full or cannot be written.
    """
    photos = list_photos(source)
    annotations = open_annotations(source.mask_format, source.masks, source.photos, source.classes)
    masked = source.mask_format != 'none'
    if source.min_object and not masked:
        raise InputError(
            f'the least object is {source.min_object} pixels, but the mask format is "none"; give masks and their '
            'format.'
        )
    jobs = [
        _Job(key, source.photos / name, annotations.find(name), source.min_size, source.min_object)
        for key, name in zip(make_keys(photos), photos, strict=True)
    ]
    if masked and not any(job.annotation for job in jobs):
        raise InputError(
            f'none of the {len(jobs)} photos in {source.photos} has a mask in {source.masks or source.photos}; the '
            f'format "{source.mask_format}" expects equal names, such as the one for {photos[0]}.'
        )
    parameters: dict[str, Any] = {
        'photos': str(real_path(source.photos)),
        'masks': str(real_path(source.masks)) if source.masks else None,
        'mask_format': source.mask_format,
        'min_size': source.min_size,
    }
    if source.classes:
        parameters['classes'] = sorted(source.classes)
    if source.min_object:
        parameters['min_object'] = source.min_object
    with ExitStack() as stack:
        pool = stack.enter_context(WorkerPool(workers))
        stores = [stack.enter_context(LmdbWriter(Path(out) / 'photos.lmdb', parameters))]
        if masked:
            stores.append(stack.enter_context(LmdbWriter(Path(out) / 'masks.lmdb', parameters)))
        result = _fill(stores, jobs, pool, skip_bad, watch)
        if not result.was_finished:
            _check(stores)
            for store in reversed(stores):  # photos.lmdb appears last, and with it the whole is finished
                store.finish()
    return result


def list_photos(source: PhotoSource) -> list[str]:
    """Return the photos' names relative to their folder, with '/' between folders, sorted.

    Hidden files and folders are left out, and what lies in a mask folder below the photo folder. For 'ade20k' only
    JPEG files are photos, the PNG files beside them being masks.

    Raises:
        InputError: the folder is missing or has no photo.
    """
    folder = Path(source.photos)
    if not folder.is_dir():
        raise InputError(f'{folder} is not a folder; expected a folder of photos.')
    suffixes = _suffixes(source)
    names = [name for name in _files(source) if _is_photo(name, suffixes)]
    if not names:
        raise InputError(f'{folder} has no photo ({", ".join(suffixes)}), also not in its sub-folders.')
    return sorted(names)


def list_others(source: PhotoSource) -> list[str]:
    """Return the names of the files that `list_photos` leaves out, but for annotations; sorted."""
    annotations = ('.png', '.json', '.txt', '.csv', '.mat') if source.mask_format != 'none' else ()
    suffixes = _suffixes(source)
    return sorted(
        name for name in _files(source) if not _is_photo(name, suffixes) and not name.lower().endswith(annotations)
    )


def _suffixes(source: PhotoSource) -> tuple[str, ...]:
    return JPEG_SUFFIXES if source.mask_format == 'ade20k' else DATA_SUFFIXES


def _is_photo(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not name.rpartition('/')[2].startswith('.')


def _files(source: PhotoSource) -> Iterator[str]:
    """Return the files of the photo folder, without those in hidden folders and in that of the masks."""
    masks = real_path(source.masks) if source.masks else None
    for place, folders, files in os.walk(source.photos):
        folders[:] = [name for name in folders if not name.startswith('.') and real_path(Path(place, name)) != masks]
        yield from ((Path(place) / name).relative_to(source.photos).as_posix() for name in files)


def make_keys(names: list[str]) -> list[str]:
    """Return for each name a key that BasicSR can use: unique, ASCII, without '.', '/' and space.

    A key is the name without its suffix, '/' written as '__' and other special characters as '_'. Where that is long
    or would not be unique, the beginning of the name's SHA-256 sum is added.
    """
    plain = [re.sub(r'[^A-Za-z0-9_-]', '_', name.rpartition('.')[0].replace('/', '__')) for name in names]
    counts: dict[str, int] = {}
    for key in plain:
        counts[key.lower()] = counts.get(key.lower(), 0) + 1
    return [
        key
        if counts[key.lower()] == 1 and len(key) <= LONGEST_KEY
        else f'{key[:LONGEST_KEY]}_{hashlib.sha256(name.encode()).hexdigest()[:10]}'
        for key, name in zip(plain, names, strict=True)
    ]


@dataclass(frozen=True)
class _Job:
    key: str
    photo: Path
    annotation: Annotation | None
    min_size: int
    min_object: int


@dataclass(frozen=True)
class _Entry:
    """A photo and its label map, encoded; without bytes where it is left out, and `small_object` where for that."""

    photo: bytes = b''
    small_object: bool = False
    photo_line: str = ''
    mask: bytes = b''
    mask_line: str = ''
    objects: int = 0


def _fill(stores: list[LmdbWriter], jobs: list[_Job], pool: WorkerPool, skip_bad: bool, watch: Watch) -> Preparation:
    if stores[0].finished:
        return Preparation(photos=len(stores[0]), was_finished=True)
    if stores[-1].finished:  # an earlier call ended between the two last steps
        return Preparation(photos=len(stores[0]), resumed=len(stores[0]))
    _discard_strangers(stores, {job.key.encode() for job in jobs})
    todo = [job for job in jobs if not all(job.key.encode() in store for store in stores)]
    result = Preparation(resumed=len(jobs) - len(todo))
    for _ in watch(_steps(stores, todo, pool, skip_bad, result), len(jobs), result.resumed):
        pass
    result.photos = len(stores[0])
    if not result.photos:
        raise InputError(
            f'no photo is left: {result.too_small} are too small, {result.without_object} have no object of the size '
            f'that is wanted, and {len(result.bad)} are unusable.'
        )
    return result


def _steps(
    stores: list[LmdbWriter], todo: list[_Job], pool: WorkerPool, skip_bad: bool, result: Preparation
) -> Iterator[None]:
    """Do the jobs, and yield as often as there are any: once for each, when it is committed."""
    waiting, committed_at = 0, time.monotonic()
    for job, outcome in zip(todo, pool.map(_attempt, todo), strict=True):
        if isinstance(outcome, InputError):
            if not skip_bad:
                raise outcome
            result.bad[str(job.photo)] = str(outcome)
        elif outcome.small_object:
            result.without_object += 1
        elif not outcome.photo:
            result.too_small += 1
        else:
            stores[0].put(job.key.encode(), outcome.photo, outcome.photo_line)
            for store in stores[1:]:
                store.put(job.key.encode(), outcome.mask, outcome.mask_line)
            result.objects += outcome.objects
            result.unmasked += job.annotation is None
        waiting += 1
        if waiting == PHOTOS_PER_COMMIT or time.monotonic() - committed_at >= SECONDS_PER_COMMIT:
            _commit(stores)
            yield from itertools.repeat(None, waiting)
            waiting, committed_at = 0, time.monotonic()
    _commit(stores)
    yield from itertools.repeat(None, waiting)


def _commit(stores: list[LmdbWriter]) -> None:
    for store in stores:  # together, since a photo is done when it is in all of them
        store.commit()


def _discard_strangers(stores: list[LmdbWriter], keys: set[bytes]) -> None:
    """Remove photos that were prepared earlier and have left the folder since."""
    for store in stores:
        for key in [key for key in store.keys() if key not in keys]:  # noqa: SIM118, a store is no dictionary
            store.discard(key)


def _attempt(job: _Job) -> _Entry | InputError:
    try:
        return _encode(job)
    except InputError as error:
        return error


def _encode(job: _Job) -> _Entry:
    content, suffix, size, channels, level = _read_photo(job.photo)
    if min(size) < job.min_size:
        return _Entry()
    labels = np.zeros(size, np.uint8) if job.annotation is None else job.annotation.label_map(job.photo, size)
    if np.count_nonzero(labels == 1) < job.min_object:  # 1 is the largest
        return _Entry(small_object=True)
    return _Entry(
        photo=content,
        photo_line=f'{job.key}{suffix} ({size[0]},{size[1]},{channels}) {level}',
        mask=_encode_png(labels),
        mask_line=f'{job.key}.png ({size[0]},{size[1]},1) {PNG_LEVEL}',
        objects=int(labels.max()),
    )


def _read_photo(path: Path) -> tuple[bytes, str, tuple[int, int], int, int]:
    """Return the bytes to store, their suffix, (H, W), the number of channels, and the PNG level (0 as it was)."""
    check_is_file(path, MAX_BYTES)
    try:
        content = path.read_bytes()
        if content.startswith(TIFF_BEGINS):
            photo = decode_tiff_photo(content, path)
            return _encode_png(photo), '.png', photo.shape[:2], photo.shape[2], PNG_LEVEL
        bare = without_texts(path, content) if content.startswith(SIGNATURE) else content
        with no_warnings(), Image.open(io.BytesIO(bare)) as picture:
            kind, mode = picture.format, picture.mode
            picture.load()
            width, height = picture.size
            if orientation_of(picture.info.get('exif')) > 4:
                width, height = height, width
    except InputError as error:
        raise InputError(f'{str(error).removesuffix(".")}, or leave it out with --skip-bad.') from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f'{path} cannot be read as a photo ({error}); replace it, or leave it out with --skip-bad.'
        ) from error
    if mode in ('CMYK', 'LAB', 'F', 'I') and kind != 'PNG':
        raise InputError(
            f'{path} is a {mode} {kind}; expected gray or RGB of 8 or 16 bit; convert it, '
            'or leave it out with --skip-bad.'
        )
    channels = 1 if mode in ('1', 'L', 'I') or mode.startswith('I;16') else 3
    if kind == 'JPEG' or (kind == 'PNG' and mode in ('1', 'L', 'P', 'RGB') and content[PNG_DEPTH] <= 8):
        return content, '.jpg' if kind == 'JPEG' else '.png', (height, width), channels, 0
    pixels = decode_photo(content, str(path))[..., : 3 if channels == 3 else 1]
    return _encode_png(pixels), '.png', pixels.shape[:2], channels, PNG_LEVEL


def _encode_png(pixels: np.ndarray) -> bytes:
    done, content = cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise RuntimeError(f'a picture of shape {pixels.shape} and {pixels.dtype} cannot be encoded as PNG.')
    return content.tobytes()


def _check(stores: list[LmdbWriter]) -> None:
    """Compare keys, and decode a sample of photos and masks, before the LMDBs get their final names."""
    counts = [len(store) for store in stores]
    if len(set(counts)) > 1:
        raise RuntimeError(f'there are {counts[0]} photos but {counts[1]} masks.')
    step = max(1, counts[0] // ENTRIES_CHECKED)
    for number, keys in enumerate(zip(*(store.keys() for store in stores), strict=True)):
        if len(set(keys)) > 1:
            raise RuntimeError(f'photo {keys[0]!r} stands beside mask {keys[1]!r}.')
        if number % step == 0:
            sizes = []
            for store, key in zip(stores, keys, strict=True):
                content = store.get(key)
                pixels = None if content is None else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
                if pixels is None:
                    raise RuntimeError(f'the entry {key!r} of {store.path} cannot be decoded.')
                sizes.append(pixels.shape[:2])
            if len(set(sizes)) > 1:
                raise RuntimeError(f'photo {keys[0]!r} has size {sizes[0]}, but its mask {sizes[1]}.')
