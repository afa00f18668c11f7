"""Changes to BasicSR's data sets of photos: they name a file that they cannot use, and skip files that are no photos.

PairedImageDataset and its like take every file of a folder for a photo, also Thumbs.db, compare the numbers of files by
an assertion, and end after hours at a damaged photo with `'NoneType' object has no attribute 'astype'`. Functions that
their modules look up by name are replaced: those that list a folder or an LMDB, and the one that decodes a photo. They
return the same as the originals, except for the order: sorted, where the originals take the file system's.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from unicodedata import normalize

import basicsr.data.paired_image_dataset as paired
import basicsr.data.single_image_dataset as single
import cv2
import lmdb
import numpy as np
from torch.utils.data import Dataset

from basis_blur.bridges.basicsr.presence import register_when_complete
from basis_blur.data.lmdb_store import META_FILE
from basis_blur.foundation.errors import InputError
from basis_blur.photos.decoding import decode_photo, is_a_photo_name, photo_size
from basis_blur.photos.formats import DATA_SUFFIXES

PAIRED: list[ModuleType] = [paired]
KINDS: list[type[Dataset]] = [paired.PairedImageDataset, single.SingleImageDataset]
with suppress(ImportError):  # an older BasicSR has none
    import basicsr.data.realesrgan_paired_dataset as realesrgan_paired

    PAIRED.append(realesrgan_paired)
    KINDS.append(realesrgan_paired.RealESRGANPairedDataset)
SIZE_IN_LMDB = re.compile(r'(\S+) \((\d+),(\d+),\d+\)')  # line of an LMDB with the name and size of a photo


def mend(replace: Callable[[Any, str, Callable[[Callable], Callable]], None]) -> None:
    """Make the changes.

    Args:
        replace: puts `make(original)` in the place of `owner.name`, once: replace(owner, name, make).
    """
    for module in PAIRED:
        replace(module, 'paired_paths_from_folder', lambda original: pairs_of_folders)
        replace(module, 'paired_paths_from_lmdb', lambda original: pairs_of_lmdbs)
    replace(single, 'scandir', lambda original: _photos_under)
    for module in (*PAIRED, single):
        replace(module, 'imfrombytes', _decode_or_complain)
    for kind in KINDS:
        replace(kind, '__getitem__', _name_the_file)


def photos_in(folder: str | Path) -> list[str]:
    """Return the names of the photos in a folder, sorted; what else lies there is counted in a warning.

    Raises:
        InputError: it is no folder, is an LMDB, or holds no photo.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f'{folder} is not a folder; expected a folder of photos.')
    files = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith('.'))
    photos = [name for name in files if is_a_photo_name(name, DATA_SUFFIXES)]
    others = sorted(set(files) - set(photos))
    if not photos:
        if (folder / 'data.mdb').is_file():
            raise InputError(f'{folder} is an LMDB and not a folder of photos; write "io_backend: {{type: lmdb}}".')
        below = sum(path.is_dir() for path in folder.iterdir())
        raise InputError(
            f'{folder} has no photo ({", ".join(DATA_SUFFIXES)}), but {len(others)} other files and {below} folders; '
            'give a folder with photos in it.'
        )
    if others:
        named = ', '.join(others[:3]) + (f' and {len(others) - 3} more' if len(others) > 3 else '')
        warnings.warn(f'{folder}: {named} left out: the suffix is not that of a photo.', stacklevel=2)
    return photos


def _photos_under(folder: str, suffix: Any = None, recursive: bool = False, full_path: bool = False) -> Iterator[str]:
    return (str(Path(folder, name)) if full_path else name for name in photos_in(folder))


def pairs_of_folders(folders: Sequence[str], keys: Sequence[str], filename_tmpl: str) -> list[dict[str, str]]:
    """Return the paths of the photos of two folders, paired by name: BasicSR's `paired_paths_from_folder`.

    Args:
        folders: folders of the blurred and of the sharp photos.
        keys: names of the two, such as ['lq', 'gt'].
        filename_tmpl: template that makes the name of a blurred photo from that of the sharp one, without suffix.

    Returns:
        {'lq_path': ..., 'gt_path': ...} of each sharp photo, by name.

    Raises:
        InputError: a photo is without partner.
    """
    (first, second), (first_key, second_key) = folders, keys
    # A file system may keep a letter and its accent as one character or as two; both are the same name.
    found = {normalize('NFC', name): name for name in photos_in(first)}
    wanted = {normalize('NFC', name): name for name in photos_in(second)}
    wrong_template = InputError(
        f'"filename_tmpl" is {filename_tmpl!r}, expected the name with {{}} where that of the sharp photo stands, such '
        'as "{}_blur".'
    )
    try:
        expected = {
            normalize('NFC', filename_tmpl.format(Path(name).stem)) + Path(name).suffix: partner
            for name, partner in wanted.items()
        }
    except (IndexError, KeyError, ValueError, AttributeError) as error:
        raise wrong_template from error
    if len(expected) < len(wanted):
        raise wrong_template
    missing = sorted(set(expected) - set(found))
    strange = sorted(set(found) - set(expected))
    if missing or strange:
        raise InputError(_without_partner(folders, (len(found), len(wanted)), expected, missing, strange))
    return [
        {f'{first_key}_path': str(Path(first, found[name])), f'{second_key}_path': str(Path(second, partner))}
        for name, partner in expected.items()
    ]


def _without_partner(
    folders: Sequence[str], counts: tuple[int, int], expected: dict[str, str], missing: list[str], strange: list[str]
) -> str:
    first, second = folders
    here, there = f'{first} ({_counted(counts[0])})', f'{second} ({_counted(counts[1])})'
    if not missing:
        return (
            f'{Path(first, strange[0])} has no partner in {there}{_neither(strange)}; add the sharp photos, or remove '
            'the blurred ones.'
        )
    wanted = missing[0]
    found = f'{Path(second, expected[wanted])} has no partner "{wanted}" in {here}'
    same_stem = [name for name in strange if Path(name).stem == Path(wanted).stem]
    if same_stem:
        return f'{found}, only "{same_stem[0]}"; convert one of them: the photos of a pair need the same suffix.'
    others = f', where "{strange[0]}" is without partner' if strange else ''
    return (
        f'{found}{others}{_neither(missing)}; give both photos of a pair the same name, or say how the names differ, '
        'such as by filename_tmpl: "{}_blur".'
    )


def _neither(names: list[str]) -> str:
    return f', and neither have {len(names) - 1} others' if len(names) > 1 else ''


def _counted(number: int) -> str:
    return f'{number} photo{"s" if number != 1 else ""}'


def pairs_of_lmdbs(folders: Sequence[str], keys: Sequence[str]) -> list[dict[str, str]]:
    """Return the keys of two LMDBs, paired: BasicSR's `paired_paths_from_lmdb`.

    Raises:
        InputError: one of them is no LMDB of photos, or they do not have the same keys.
    """
    first, second = ([line.split('.')[0] for line in lmdb_lines(folder)] for folder in folders)
    strange = sorted(set(first) ^ set(second))
    if strange:
        raise InputError(
            f'{folders[0]} has {len(first)} photos and {folders[1]} has {len(second)}, and "{strange[0]}" is in one '
            'of them only; use two that were prepared together.'
        )
    return [{f'{key}_path': name for key in keys} for name in sorted(first)]


def lmdb_lines(folder: str | Path) -> list[str]:
    """Return the lines of an LMDB's meta_info.txt, one for each photo.

    Raises:
        InputError: the folder is no LMDB of BasicSR's form, or is empty.
    """
    path = Path(folder).expanduser()
    if path.suffix != '.lmdb' or not (path / 'data.mdb').is_file():
        raise InputError(
            f'{folder} is not an LMDB of photos, a folder "NAME.lmdb" with data.mdb and {META_FILE}; for a folder of '
            'photos write "io_backend: {type: disk}".'
        )
    try:
        lines = (path / META_FILE).read_text(encoding='utf-8').splitlines()
    except FileNotFoundError as error:
        raise InputError(f'{folder} has no {META_FILE}; prepare the LMDB again.') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{path / META_FILE} is no text ({error}); prepare the LMDB again.') from error
    if not lines:
        raise InputError(f'{path / META_FILE} is empty: the LMDB has no photos; prepare it again.')
    return lines


def check_sizes(dataset: Any, where: str) -> None:
    """Compare the sizes of the photos of a PairedImageDataset, from their headers or the LMDB's list.

    Args:
        dataset: data set; any other kind is passed over, subclasses too.
        where: the section of the option file, for messages.

    Raises:
        InputError: two photos of a pair do not fit together, or are smaller than the window of a training.
    """
    if type(dataset) is not paired.PairedImageDataset or not dataset.paths:  # subclasses may read pairs in another way
        return
    scale = dataset.opt.get('scale', 1)
    window = dataset.opt['gt_size'] // scale if dataset.opt['phase'] == 'train' else 1
    lmdb_of = {'lq_path': '', 'gt_path': ''}
    if dataset.io_backend_opt.get('type') == 'lmdb':
        lmdb_of = {'lq_path': f'{dataset.lq_folder}: ', 'gt_path': f'{dataset.gt_folder}: '}
    for entry, (lq, gt) in zip(dataset.paths, _sizes_of_pairs(dataset), strict=True):
        names = {key: lmdb_of[key] + entry[key] for key in lmdb_of}
        larger = tuple(side * scale for side in lq)
        # In validation BasicSR crops a larger sharp photo, as sets for super-resolution have them.
        fits = larger == gt if dataset.opt['phase'] == 'train' else larger[0] <= gt[0] and larger[1] <= gt[1]
        if not fits:
            times = f' of which the second must be {scale} times the first' if scale != 1 else ' expected the same size'
            raise InputError(
                f'{where}: {names["lq_path"]} has {_text(lq)} pixels and {names["gt_path"]} has {_text(gt)},{times}; '
                'replace or remove the pair.'
            )
        if min(lq) < window:
            raise InputError(
                f'{where}: {names["lq_path"]} has {_text(lq)} pixels, but a sample takes {window}x{window}; remove the '
                'pair, or write a smaller "gt_size".'
            )


def _sizes_of_pairs(dataset: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    if dataset.io_backend_opt.get('type') != 'lmdb':
        return ((photo_size(names['lq_path']), photo_size(names['gt_path'])) for names in dataset.paths)
    sizes = []
    for folder in (dataset.lq_folder, dataset.gt_folder):
        lines = lmdb_lines(folder)
        matches = [match for line in lines if (match := SIZE_IN_LMDB.match(line)) is not None]
        if len(matches) < len(lines):
            return itertools.repeat(((1 << 30,) * 2,) * 2, len(dataset.paths))  # a list that tells no sizes
        sizes.append({match[1].split('.')[0]: (int(match[2]), int(match[3])) for match in matches})
    return ((sizes[0][names['lq_path']], sizes[1][names['gt_path']]) for names in dataset.paths)


def _text(size: tuple[int, int]) -> str:
    return f'{size[1]}x{size[0]}'


def _decode_or_complain(original: Callable) -> Callable:
    def imfrombytes(content, flag='color', float32=False):
        if flag != 'color':
            return original(content, flag=flag, float32=float32)
        photo = decode_photo(bytes(content), 'a photo')
        return photo.astype(np.float32) / 255 if float32 else photo

    return imfrombytes


def _name_the_file(original: Callable) -> Callable:
    def getitem(self, index):
        try:
            return original(self, index)
        except (InputError, ValueError, TypeError, AttributeError, cv2.error, lmdb.Error) as error:
            if self.file_client is not None:
                _blame(self, index)
            raise InputError(f'{_names(self, index)} cannot be used ({error}); replace or remove it.') from error

    return getitem


def _names(dataset: Any, index: int) -> str:
    entry = dataset.paths[index]
    return ' with '.join(entry.values()) if isinstance(entry, dict) else str(entry)


def _blame(dataset: Any, index: int) -> None:
    """Raise an InputError that names the photo of a sample that cannot be decoded, if it is one."""
    entry = dataset.paths[index]
    entries = entry.items() if isinstance(entry, dict) else [('lq_path', entry)]
    for key, path in entries:
        content = dataset.file_client.get(path, key.removesuffix('_path'))
        if content is None:
            raise InputError(f'the LMDB has no entry "{path}", though its {META_FILE} lists it; prepare it again.')
        folder = getattr(dataset, f'{key.removesuffix("_path")}_folder', '')
        of_lmdb = not Path(path).is_file()
        decode_photo(bytes(content), f'the entry "{path}" of {folder}' if of_lmdb else str(path))


register_when_complete(__name__)
