"""Label maps: which pixels of a photo belong to which object, from the annotations of several data sets.

Every form becomes one label map per photo: (H, W) uint8, 0 = background, 1..n the objects from the largest to the
smallest, at most 255 of them; smaller ones join the background. A photo without annotation has no label map.

| form         | annotations                                                                                        |
|--------------|----------------------------------------------------------------------------------------------------|
| labels       | folder of PNG with whole-number labels, of the photos' relative names; 0 = background              |
| ade20k       | X_seg.png of the full ADE20K: red and green hold the class, blue the object; by default beside X.jpg |
| ade20k_2016  | scene-parsing challenge: folder of PNG with a class 0..150 per pixel, of the photos' relative names |
| coco         | instances json: polygons and run lengths (lists and compressed text)                               |
| none         | nothing: all is background                                                                         |

ade20k: every annotated object counts. ade20k_2016 knows classes only, so an object is a connected region of one
class, and the classes of SURROUNDINGS_2016 (wall, sky, road...), which do not move by themselves, are background.
coco: where objects overlap, the smaller one is in front; crowds, which have no motion in common, are background.

Classes: which objects count can be chosen, as [C21] chose persons and cars; all else is background then. A class is
given by its name, or by its number in the annotations: `category_id` of coco, 1 to 150 of ade20k_2016, the position in
the index of ade20k, of which the names in MOVING_2021 alone are known here. Label maps know no classes.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file, parse_json
from basis_blur.photos.folders import normal_name
from basis_blur.photos.pillow_warnings import no_warnings

FORMS = ('none', 'labels', 'ade20k', 'ade20k_2016', 'coco')  # formats of masks
MOST_OBJECTS = 255  # largest number of objects of a photo, since labels are uint8

# Number among the 150 classes of the 2016 challenge -> name, for classes that do not move by themselves.
SURROUNDINGS_2016 = {
    1: 'wall', 2: 'building', 3: 'sky', 4: 'floor', 5: 'tree', 6: 'ceiling', 7: 'road', 9: 'window', 10: 'grass',
    11: 'cabinet', 12: 'sidewalk', 14: 'earth', 15: 'door', 17: 'mountain', 18: 'plant', 19: 'curtain', 22: 'water',
    26: 'house', 27: 'sea', 28: 'mirror', 29: 'rug', 30: 'field', 33: 'fence', 35: 'rock', 36: 'wardrobe',
    39: 'railing', 41: 'base', 43: 'column', 46: 'counter', 47: 'sand', 49: 'skyscraper', 50: 'fireplace',
    52: 'grandstand', 53: 'path', 54: 'stairs', 55: 'runway', 59: 'screen door', 60: 'stairway', 61: 'river',
    62: 'bridge', 63: 'bookcase', 64: 'blind', 69: 'hill', 71: 'countertop', 73: 'palm', 74: 'kitchen island',
    78: 'bar', 80: 'hovel', 85: 'tower', 87: 'awning', 89: 'booth', 92: 'dirt track', 95: 'land', 96: 'bannister',
    97: 'escalator', 100: 'buffet', 102: 'stage', 105: 'fountain', 107: 'canopy', 110: 'swimming pool',
    114: 'waterfall', 122: 'step', 129: 'lake', 134: 'hood', 141: 'pier',
}  # fmt: skip
CLASSES_2016 = 150  # number of classes of the 2016 challenge
# Name -> number, for classes that move by themselves: of the 2016 challenge, and of the full data set.
MOVING_2016 = {
    'person': 13, 'car': 21, 'boat': 77, 'bus': 81, 'truck': 84, 'airplane': 91, 'van': 103, 'ship': 104,
    'minibike': 117, 'animal': 127, 'bicycle': 128,
}  # fmt: skip
MOVING_2021 = {'person': 1831, 'car': 401}


class Annotation(Protocol):
    """The annotations of one photo; small and ready to be sent to another process."""

    def label_map(self, photo: Path, size: tuple[int, int]) -> np.ndarray:
        """Return (H, W) uint8 labels for a photo of `size` (H, W); raise InputError where they do not fit it."""


class Annotations(Protocol):
    """The annotations of a data set."""

    def find(self, name: str) -> Annotation | None:
        """Return what is known of a photo, named relative to the photo folder with '/' between folders."""


def open_annotations(
    form: str, path: str | os.PathLike[str] | None, photos: str | os.PathLike[str], classes: Sequence[str] = ()
) -> Annotations:
    """Open the annotations of a photo folder.

    Args:
        form: one of FORMS.
        path: json file for 'coco', None for 'none', a folder for all others; by default the photo folder for
            'ade20k'.
        photos: the photo folder.
        classes: names or numbers of those whose objects count; empty for all that the form has.

    Raises:
        InputError: the form is unknown or has no classes, a class is unknown, `path` is missing, superfluous or of
            the wrong kind, or the json is damaged.
    """
    if form not in FORMS:
        raise InputError(f'the mask format is {form!r}, expected one of {", ".join(FORMS)}.')
    if classes and form in ('none', 'labels'):
        raise InputError(
            f'classes are given ({", ".join(classes)}), but the mask format "{form}" knows none; leave them out.'
        )
    if form == 'none':
        if path is not None:
            raise InputError(
                f'masks are given ({path}) with the mask format "none"; name their format, one of {FORMS[1:]}.'
            )
        return _NoAnnotations()
    if path is None:
        if form != 'ade20k':
            raise InputError(f'the mask format is "{form}" but no masks are given; give their folder or file.')
        path = photos
    path = Path(path)
    if form == 'coco':
        return _CocoAnnotations(path, classes)
    if not path.is_dir():
        raise InputError(f'{path} is not a folder; the mask format "{form}" expects a folder of PNG files.')
    ending, decode = {
        'labels': ('.png', _objects_of_labels),
        'ade20k': ('_seg.png', partial(_objects_of_ade20k, chosen=_numbers_of(classes, MOVING_2021, form))),
        'ade20k_2016': ('.png', partial(_objects_of_classes, chosen=_numbers_of(classes, MOVING_2016, form))),
    }[form]
    return _FolderAnnotations(path, ending, decode)


def _numbers_of(classes: Sequence[str], known: dict[str, int], form: str) -> frozenset[int]:
    """Return the numbers of classes that are given by name or by number."""
    numbers = set()
    for name in classes:
        number = known.get(name, int(name) if name.isascii() and name.isdigit() else None)
        if number is None:
            raise InputError(
                f'the class {name!r} is not known by name in the mask format "{form}"; give its number in the '
                f'annotations, or one of {", ".join(sorted(known))}.'
            )
        numbers.add(number)
    return frozenset(numbers)


class _NoAnnotations:
    def find(self, name: str) -> None:
        return None


@dataclass(frozen=True)
class _FolderAnnotations:
    folder: Path
    ending: str
    decode: Any

    def find(self, name: str) -> Annotation | None:
        relative = str(PurePosixPath(name).parent / (PurePosixPath(name).stem + self.ending))
        for form in (None, 'NFC', 'NFD'):  # a Mac decomposes the letters of names
            file = self.folder / (relative if form is None else unicodedata.normalize(form, relative))
            if file.is_file():
                return _FileAnnotation(file, self.decode)
        return None


@dataclass(frozen=True)
class _FileAnnotation:
    file: Path
    decode: Any

    def label_map(self, photo: Path, size: tuple[int, int]) -> np.ndarray:
        check_is_file(self.file)
        try:
            with no_warnings(), Image.open(self.file) as picture:
                values = np.asarray(picture)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f'{self.file} cannot be read as a picture ({error}); replace or remove it.') from error
        if values.shape[:2] != tuple(size):
            raise InputError(
                f'the mask {self.file} has {_size_text(values.shape)} pixels, but its photo {photo} has '
                f'{_size_text(size)}; make them agree, or remove one of them.'
            )
        try:
            return _largest_first(self.decode(values))
        except ValueError as error:
            raise InputError(f'{self.file}: {error}') from error


def _objects_of_labels(values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or values.dtype.kind not in 'uib' or values.min() < 0:
        raise ValueError(
            f'expected one channel of whole numbers >= 0 in a label map, found shape {values.shape} of {values.dtype}.'
        )
    return values.astype(np.int64)


def _objects_of_ade20k(values: np.ndarray, chosen: Collection[int] = ()) -> np.ndarray:
    if values.ndim != 3 or values.shape[2] < 3 or values.dtype != np.uint8:
        raise ValueError(
            f'expected red, green and blue of 8 bit in an ADE20K segmentation, found shape {values.shape} of '
            f'{values.dtype}; for one class per pixel use the format "ade20k_2016".'
        )
    red, green, blue = (values[..., channel].astype(np.int64) for channel in range(3))
    kind = red // 10 * 256 + green
    counts = np.isin(kind, list(chosen)) if chosen else kind > 0
    return np.where(counts & (blue > 0), kind * 256 + blue, 0)


def _objects_of_classes(values: np.ndarray, chosen: Collection[int] = ()) -> np.ndarray:
    if values.ndim != 2 or values.dtype != np.uint8 or values.max() > CLASSES_2016:
        raise ValueError(
            f'expected one channel of 8 bit with classes 0 to {CLASSES_2016}, found shape {values.shape} of '
            f'{values.dtype} up to {values.max()}; for *_seg.png use the format "ade20k".'
        )
    objects = np.zeros(values.shape, np.int64)
    found = 0
    there = np.setdiff1d(np.unique(values), [0])
    for kind in np.intersect1d(there, list(chosen)) if chosen else np.setdiff1d(there, [*SURROUNDINGS_2016]):
        count, regions = cv2.connectedComponents((values == kind).astype(np.uint8), connectivity=8)
        objects += np.where(regions > 0, regions + found, 0)
        found += count - 1
    return objects


def _largest_first(objects: np.ndarray) -> np.ndarray:
    """Renumber objects 1..n by decreasing size, 0 staying 0; equal sizes keep the order of their numbers."""
    if objects.max() < 2**16:  # counting is ten times faster than the sorting of `unique`
        sizes, places = np.bincount(objects.ravel()), objects
        sizes[0] = 0
    else:
        names, places, sizes = np.unique(objects, return_inverse=True, return_counts=True)
        sizes[names == 0] = 0
    order = np.argsort(-sizes, kind='stable')
    order = order[sizes[order] > 0][:MOST_OBJECTS]
    numbers = np.zeros(len(sizes), np.uint8)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[places.reshape(objects.shape)]


class _CocoAnnotations:
    def __init__(self, path: Path, classes: Sequence[str] = ()):
        check_is_file(path)
        try:
            content = parse_json(path.read_bytes())
            names = {entry['id']: entry['file_name'] for entry in content['images']}
            sizes = {entry['id']: (entry['height'], entry['width']) for entry in content['images']}
            shapes: dict[Any, list[Any]] = {identity: [] for identity in names}
            known = {entry['name']: entry['id'] for entry in content['categories']} if classes else {}
            chosen = _numbers_of(classes, known, 'coco')
            for entry in content.pop('annotations'):
                if not entry.get('iscrowd') and (not chosen or entry['category_id'] in chosen):
                    shapes[entry['image_id']].append(_compact(entry['segmentation']))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise InputError(f'{path} is not a file; the mask format "coco" expects an instances json.') from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'{path} is not a COCO instances json ({type(error).__name__}: {error}); expected "images" with id, '
                'file_name, height, width and "annotations" with image_id and segmentation; for classes, "categories" '
                'with id and name, and category_id.'
            ) from error
        self._of_name = {
            normal_name(name): _CocoAnnotation(path, sizes[identity], shapes[identity])
            for identity, name in names.items()
        }

    def find(self, name: str) -> Annotation | None:
        name = normal_name(name)
        return self._of_name.get(name) or self._of_name.get(PurePosixPath(name).name)


@dataclass(frozen=True)
class _CocoAnnotation:
    source: Path
    size: tuple[int, int]
    shapes: list[Any]

    def label_map(self, photo: Path, size: tuple[int, int]) -> np.ndarray:
        if tuple(size) != tuple(self.size):
            raise InputError(
                f'{self.source} gives {_size_text(self.size)} pixels for {photo}, but the photo has '
                f'{_size_text(size)}; its masks belong to another version of the photo.'
            )
        try:
            masks = [decode_segmentation(shape, self.size) for shape in self.shapes]
        except (ValueError, TypeError) as error:  # TypeError: there is no number where one is expected
            raise InputError(f'{self.source}: an object of {photo}: {error}') from error
        objects = np.zeros(self.size, np.int64)
        for number, mask in enumerate(sorted(masks, key=np.count_nonzero, reverse=True), start=1):
            objects[mask] = number
        return _largest_first(objects)


def _compact(segmentation: Any) -> Any:
    """Keep polygons as arrays, which take a tenth of the memory of lists."""
    if isinstance(segmentation, dict):
        return {'size': segmentation['size'], 'counts': segmentation['counts']}
    return [np.asarray(polygon, np.float32).reshape(-1, 2) for polygon in segmentation]


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool mask of a COCO segmentation.

    Args:
        segmentation: polygons, each (M, 2) or a flat list x, y, x, y...; or run lengths down the columns,
            {'size': [H, W], 'counts': list or compressed text}, beginning with a run outside the object.
        size: (H, W) of the photo.

    Raises:
        ValueError: the run lengths are of another size, or do not fill it.
    """
    if isinstance(segmentation, dict):
        return _decode_runs(segmentation, size)
    mask = np.zeros(size, bool)
    for polygon in segmentation:
        _fill(mask, np.asarray(polygon, np.float64).reshape(-1, 2))
    return mask


def _decode_runs(runs: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    counts = runs['counts']
    if isinstance(counts, (str, bytes)):
        counts = _decompress(counts)
    height, width = size
    if tuple(runs['size']) != tuple(size) or min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(
            f'run lengths for {_size_text(runs["size"])} pixels add up to {sum(counts)}, '
            f'expected {height * width} for {_size_text(size)} pixels.'
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T.copy()


def _decompress(text: str | bytes) -> list[int]:
    """Decode COCO's text: 5 bits a character from code 48 on, a sixth for 'more follow'; from the fourth number on
    each is the difference to the one two before it."""
    if isinstance(text, str):
        text = text.encode()
    counts: list[int] = []
    number = shift = 0
    for code in text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f'compressed run lengths hold the character {chr(code)!r}.')
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number, shift = 0, 0
    return counts


def _fill(mask: np.ndarray, polygon: np.ndarray) -> None:
    """Set the pixels whose centre (column + 1/2, row + 1/2) lies inside a polygon, by the even-odd rule.

    Every edge flips all pixels to the right of it in the rows whose centres it crosses.
    """
    height, width = mask.shape
    start, end = polygon, np.roll(polygon, -1, axis=0)
    upward = start[:, 1] > end[:, 1]
    low, high = np.where(upward[:, None], end, start), np.where(upward[:, None], start, end)
    first = np.clip(np.ceil(low[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(high[:, 1] - 0.5), 0, height).astype(np.int64)
    lengths = last - first
    edge = np.repeat(np.arange(len(polygon)), lengths)
    row = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
    column = np.clip(np.ceil(low[edge, 0] + slope * (row + 0.5 - low[edge, 1]) - 0.5), 0, width).astype(np.int64)
    if not len(row):
        return
    top, bottom, left, right = row.min(), row.max() + 1, column.min(), column.max() + 1
    flips = np.zeros((bottom - top, right - left), np.int32)
    np.add.at(flips, (row - top, column - left), 1)
    inside = np.cumsum(flips, axis=1) % 2 == 1
    mask[top:bottom, left:right] |= inside[:, : width - left]


def _size_text(size: tuple[int, ...]) -> str:
    return f'{size[1]}x{size[0]}'
