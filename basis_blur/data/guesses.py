"""Guesses of sharp photos, made of blurred ones alone, for training: how they are written and read.

    OUT/blurred/NAME.png    the blurred photo, upright, 8 bits, perhaps made smaller
    OUT/guess/NAME.png      the guess of the sharp one
    OUT/trust/NAME.png      how far each pixel is trusted: trust = value / 255
    OUT/told/NAME.json      how the guess was made; it is written last, and says that the photo is done
    OUT/settings.json       what all guesses were made with

Interrupted at any moment, the preparation goes on with the photos that are not done.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from basis_blur.deblurring.deblurrer import Deblurrer
from basis_blur.deblurring.guess import Guess, guess_of, record_of, trust_of
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.files import atomic_path, hold_lock, release_lock, remove_partials
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.camera_response import to_linear, to_srgb
from basis_blur.photos.folders import list_photos, listed, normal_name
from basis_blur.photos.formats import READ_SUFFIXES
from basis_blur.photos.photo import Photo
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

BLURRED, GUESS, TRUST, TOLD, SETTINGS = 'blurred', 'guess', 'trust', 'told', 'settings.json'
LOCK = '.lock'  # file by which a preparation keeps others out of its folder
# A function of (photos to do, number of all, number of those that are done) that passes the photos on, as a bar does.
Watch = Callable[[Iterable[Any], int, int], Iterable[Any]]


class GuessFiles(NamedTuple):
    """The files of one guess."""

    blurred: Path
    guess: Path
    trust: Path
    told: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> GuessFiles:
        """Return the files of the photo `name`, without suffix, in a folder of guesses."""
        blurred, guess, trust = (folder / kind / f'{name}.png' for kind in (BLURRED, GUESS, TRUST))
        return cls(blurred, guess, trust, folder / TOLD / f'{name}.json')


@dataclass(frozen=True)
class Prepared:
    """What a preparation made.

    Args:
        photos: number of guesses in the folder.
        resumed: number of those that were there before.
        trusted: number of those with a trust above 0.
        bad: reasons for which photos have none, by the name of the file.
    """

    photos: int
    resumed: int
    trusted: int
    bad: dict[str, str]


def prepare_guesses(
    photos: Path,
    out: Path,
    deblurrer: Deblurrer,
    gamma: float = GAMMA,
    longest_side: int | None = None,
    watch: Watch | None = None,
) -> Prepared:
    """Restore the photos of a folder, and write what a training takes.

    A photo whose estimate is not trusted is not restored: its guess is the photo itself, with a trust of 0.

    Args:
        photos: folder of blurred photos; those of its sub-folders are left out.
        out: folder to write.
        deblurrer: what restores them.
        gamma: exponent of the photos in the training, to which those that tell another are brought.
        longest_side: side to which larger photos are made smaller first, pixels; their blur becomes smaller too.
        watch: function that goes through the photos that are not done, and shows how far it is.

    Raises:
        InputError: there is no photo, two have the same name, none can be used, `out` holds guesses made otherwise,
            or another process is writing there.
        OSError: a file cannot be written.
    """
    todo = _named(photos)
    _check_settings(out, {'gamma': gamma, 'longest_side': longest_side})
    lock = hold_lock(out / LOCK, f'{out} is being written by another process; wait for its end, or name another.')
    try:
        for kind in (BLURRED, GUESS, TRUST, TOLD):
            remove_partials(out / kind)
        return _prepare(todo, out, deblurrer, gamma, longest_side, watch)
    finally:
        if lock is not None:
            release_lock(lock)


def _prepare(
    todo: dict[str, Path],
    out: Path,
    deblurrer: Deblurrer,
    gamma: float,
    longest_side: int | None,
    watch: Watch | None,
) -> Prepared:
    deblurrer = dataclasses.replace(deblurrer, settings=dataclasses.replace(deblurrer.settings, gamma=gamma))
    files = {name: GuessFiles.of(out, name) for name in todo}
    missing = [name for name in todo if not files[name].told.exists()]
    bad: dict[str, str] = {}
    for name in missing if watch is None else watch(missing, len(todo), len(todo) - len(missing)):
        try:
            photo = _seen(read_photo(todo[name]), gamma, longest_side)
            guess, told = _guessed(deblurrer, photo, gamma)
        except InputError as error:
            bad[todo[name].name] = sentence_of(error)
            continue
        for path, pixels in zip(files[name][:3], (photo, guess.photo, guess.trust), strict=True):
            write_photo(path, pixels.clamp(0, 1))
        told = {'photo': todo[name].name, 'size': list(photo.shape[-2:]), **told}
        with atomic_path(files[name].told) as partial:
            partial.write_text(json.dumps(told, allow_nan=False) + '\n', encoding='utf-8')
    done = [read_told(path.told) for path in files.values() if path.told.exists()]
    if not done:
        raise InputError(f'none of the {len(todo)} photos can be used: {next(iter(bad.values()))}')
    return Prepared(len(done), len(todo) - len(missing), sum(each['trust'] > 0 for each in done), bad)


def _guessed(deblurrer: Deblurrer, photo: Tensor, gamma: float) -> tuple[Guess, dict[str, Any]]:
    """Return the guess of a photo, and how it was made."""
    estimate = deblurrer.estimate(photo)
    if trust_of(estimate) == 0:
        guess = Guess(photo, torch.zeros_like(photo[:, :1]))
        return guess, record_of(guess, estimate)
    result = dataclasses.replace(deblurrer, estimator=lambda *_: estimate)(photo)
    guess = guess_of(photo, result, gamma)
    return guess, record_of(guess, estimate, result.doubts)


def read_told(path: Path) -> dict[str, Any]:
    """Return how a guess was made.

    Raises:
        InputError: the file is damaged.
    """
    try:
        told = json.loads(path.read_text(encoding='utf-8'))
        return {**told, 'trust': float(told['trust']), 'mean_trust': float(told['mean_trust'])}
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f'{path} is no record of a guess; delete it, and prepare the folder again.') from error


def names_in(folder: Path) -> list[str]:
    """Return the names of the guesses of a folder that are done, in order.

    Raises:
        InputError: there is none.
    """
    found = sorted(path.stem for path in (folder / TOLD).glob('*.json')) if (folder / TOLD).is_dir() else []
    if not found:
        raise InputError(f'{folder} holds no guesses; make them by "basis-blur prep-guesses PHOTOS -o {folder}".')
    return found


def _named(photos: Path) -> dict[str, Path]:
    """Return the photos of a folder by their names without suffix."""
    if not photos.is_dir():
        raise InputError(f'{photos} is not a folder; expected a folder of blurred photos.')
    found: dict[str, Path] = {}
    listing = list_photos(photos, READ_SUFFIXES)
    for path in listing.photos:
        first = found.setdefault(normal_name(path.stem), path)
        if first is not path:
            raise InputError(f'{first} and {path} differ by their suffix alone; rename one of them.')
    if not found:
        others = f', but {listed(listing.others)}' if listing.others else ''
        raise InputError(f'there is no photo in {photos}{others}; give a folder of blurred photos.')
    return found


def _check_settings(out: Path, settings: dict[str, Any]) -> None:
    """Write the settings of the guesses, or raise InputError where those in the folder were made with others."""
    path = out / SETTINGS
    if not path.exists():
        if out.is_dir() and os.listdir(out):
            raise InputError(f'{out} is not empty and holds no guesses; name another folder.')
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(settings) + '\n', encoding='utf-8')
        return
    try:
        before = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise InputError(f'{path} is damaged; name another folder, or delete this one.') from error
    if before != settings:
        raise InputError(f'{out} was made with {_words(before)}, not {_words(settings)}; name another folder.')


def _words(settings: dict[str, Any]) -> str:
    return ', '.join(f'{name.replace("_", " ")} {value}' for name, value in settings.items())


def _seen(photo: Photo, gamma: float, longest_side: int | None) -> Tensor:
    """Return the pixels of a photo in 8 bits, with another gamma, and smaller by means over areas, as is wanted."""
    pixels, size = photo.pixels, photo.pixels.shape[-2:]
    if photo.gamma is not None and photo.gamma != gamma:
        pixels = to_srgb(to_linear(pixels, photo.gamma), gamma)
    if longest_side is not None and max(size) > longest_side:
        smaller = [max(1, round(side * longest_side / max(size))) for side in size]
        pixels = F.interpolate(pixels, smaller, mode='bilinear', antialias=True, align_corners=False)
    return (pixels.clamp(0, 1) * 255).round() / 255
