"""A list of the files of a folder that are photos, and of those that are left out."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from basis_blur.photos.formats import VIDEO_SUFFIXES

MOST_NAMES = 5  # largest number of names that a sentence lists


class Listing(NamedTuple):
    """The contents of a folder, in the order of the names.

    Args:
        photos: the photos.
        others: names of the other files.
        folders: names of the folders, which are not looked into.
    """

    photos: list[Path]
    others: list[str]
    folders: list[str]

    @property
    def left_out(self) -> str:
        """A sentence on the other files; empty where there are none."""
        number = len(self.others)
        videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in self.others)
        words = '; videos are not restored' if videos else ''
        return f'left out: {number} file{"s" if number > 1 else ""} ({listed(self.others)}{words})' if number else ''


def list_photos(folder: str | os.PathLike[str], suffixes: Sequence[str]) -> Listing:
    """List a folder.

    Hidden files are no photos, whatever their suffix: macOS writes a "._x.jpg" beside x.jpg on other file systems.

    Args:
        folder: the folder.
        suffixes: suffixes of photos, in lower case, with their dots.

    Raises:
        OSError: the folder cannot be read.
    """
    photos, others, folders = [], [], []
    for path in sorted(Path(folder).iterdir()):
        if path.is_dir():
            folders.append(path.name)
        elif not path.name.startswith('.') and path.suffix.lower() in suffixes and path.is_file():
            photos.append(path)
        else:
            others.append(path.name)
    return Listing(photos, others, folders)


def normal_name(name: str) -> str:
    """Return a name in the normal form NFC, for comparisons: file systems of a Mac hand out decomposed letters."""
    return unicodedata.normalize('NFC', name)


def listed(names: Sequence[str]) -> str:
    """Return some of the names and how many more there are."""
    more = f' and {len(names) - MOST_NAMES} more' if len(names) > MOST_NAMES else ''
    return ', '.join(names[:MOST_NAMES]) + more
