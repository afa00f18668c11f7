"""Scores of blurs, for `basis-blur evaluate --kernels`: against true ones, and by blurring the sharp photo with them.

kernel_l1, kernel_l2, kernel_correlation     against --true-kernels, means over a grid of pixels (`metrics.kernel`)
reblur_psnr, reblur_ssim                     the sharp photo of --gt, blurred with the field, against that of --blurred
                                             [C21, Eq. 3]; what lies outside the photo is mirrored
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from basis_blur.cli.side_by_side import Judged, methods_of, same_names
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.photos.folders import list_photos, normal_name
from basis_blur.photos.formats import READ_SUFFIXES

if TYPE_CHECKING:
    from basis_blur.field.blur_field import BlurField

FIELD_SUFFIXES = ('.npz',)
OF_DEBLUR = '_kernels'  # ending of the names that `deblur --save-kernels` gives to fields, without suffix
TRUTH, BLURRED, SHARP = '--true-kernels', '--blurred', '--gt'


def judge(args: argparse.Namespace) -> dict[str, dict[str, Judged]]:
    """Return the scores of all blurs, by method and name.

    Raises:
        InputError: a file or folder is missing, or names differ.
    """
    from tqdm import tqdm

    given: dict[str, Path] = {**methods_of(args.kernels)}
    others = {TRUTH: args.true_kernels, BLURRED: args.blurred, SHARP: args.gt}
    methods = list(given)
    given.update((name, path) for name, path in others.items() if path is not None)
    alone = [path for path in given.values() if path.is_file()]
    if alone and len(alone) < len(given):
        raise InputError(f'{alone[0]} is a file and others are folders; give files of one photo, or folders of many.')
    files = {name: _files(name, path, name in (BLURRED, SHARP), bool(alone)) for name, path in given.items()}
    names = same_names(files)
    judged: dict[str, dict[str, Judged]] = {method: {} for method in methods}
    with tqdm(total=len(names) * len(methods), unit='blur', desc='evaluate', disable=None) as bar:
        for name in names:
            for method in methods:
                path = files[method][name]
                try:
                    judged[method][name] = Judged(
                        path, _scores(path, {key: files[key][name] for key in files}, args.gamma)
                    )
                except (InputError, OSError) as error:
                    judged[method][name] = Judged(path, None, sentence_of(error))
                    message = f'basis-blur evaluate: {method}: {name}: {sentence_of(error)}'
                    tqdm.write(message, file=sys.stderr)
                bar.update()
    return judged


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError if options contradict each other or need others."""
    if (args.blurred is None) != (args.gt is None):
        raise InputError(f'{BLURRED} and {SHARP} belong together: the sharp photo is blurred and compared; give both.')
    if args.blurred is None and args.true_kernels is None:
        raise InputError(f'--kernels have nothing to be compared with; give {TRUTH}, or {BLURRED} and {SHARP}.')
    for name in ('protocol', 'sheet', 'perceptual'):
        if getattr(args, name):
            raise InputError(f'--{name} goes with --restored; leave it out beside --kernels.')
    if args.gamma is not None and args.gamma < 1:
        raise InputError(f'--gamma is {args.gamma:g}, expected at least 1 to blur a photo again.')


def _files(name: str, path: Path, of_photos: bool, is_alone: bool) -> dict[str, Path]:
    """Return files by the names that pair them, fields without "_kernels"; a single file has an empty name."""
    if is_alone:
        return {'': path}
    if not path.is_dir():
        raise InputError(f'there is no file or folder {path} (looked from {Path.cwd()}); correct the path.')
    suffixes = READ_SUFFIXES if of_photos else FIELD_SUFFIXES
    found = list_photos(path, suffixes).photos
    if not found:
        raise InputError(f'the folder {path} of {name} holds no {"photo" if of_photos else "blur field (.npz)"}.')
    ending = '' if of_photos else OF_DEBLUR
    files = {normal_name(file.stem.removesuffix(ending)): file for file in found}
    if len(files) < len(found):
        raise InputError(f'{path} holds a name more than once; keep one of each, whatever its suffix.')
    return files


def _scores(path: Path, files: Mapping[str, Path], gamma: float | None) -> dict[str, float]:
    """Return the scores of one blur.

    Raises:
        InputError: a file cannot be used, or sizes differ.
        OSError: a file cannot be read.
    """
    from basis_blur.metrics.kernel import field_errors

    field = _read(path)
    scores: dict[str, float] = {}
    if TRUTH in files:
        truth = _read(files[TRUTH])
        if len(field) != len(truth):
            raise InputError(f'{path} holds {len(field)} photos and {files[TRUTH]} {len(truth)}, expected one number.')
        try:
            scores.update((key, value.mean().item()) for key, value in field_errors(field, truth).items())
        except ValueError as error:
            raise InputError(f'{path} and {files[TRUTH]}: {error}') from error
    if BLURRED in files:
        scores.update(_reblurred(field, path, files, gamma))
    return scores


def _read(path: Path) -> BlurField:
    import torch

    from basis_blur.field.blur_field import BlurField

    return BlurField.load(path).to(torch.float32)


def _reblurred(field: BlurField, path: Path, files: Mapping[str, Path], gamma: float | None) -> dict[str, float]:
    from basis_blur.foundation.numbers import GAMMA
    from basis_blur.metrics.reblur import reblur_score
    from basis_blur.photos.reading import read_photo

    sharp, blurred = (read_photo(files[key]).pixels for key in (SHARP, BLURRED))
    sizes = [tuple(each) for each in (field.image_size, sharp.shape[-2:], blurred.shape[-2:])]
    if len(set(sizes)) > 1 or len(field) != 1:
        raise InputError(
            f'{path} is of {len(field)} photos of {sizes[0]} pixels, {files[SHARP]} has {sizes[1]} and '
            f'{files[BLURRED]} {sizes[2]} (height, width); give those of one photo.'
        )
    score = reblur_score(field, sharp, blurred, GAMMA if gamma is None else gamma)
    return {'reblur_psnr': score.psnr, 'reblur_ssim': score.ssim}
