"""A photo before and after, to be looked at: one picture of both, and a page with a slider between them.

    Comparison(before, after, title='harbour.jpg', doubts=[...]).save('harbour.html')     or .png, .jpg

The page is one file of HTML that needs no other: it opens in any browser, without a network, and can be sent by mail.
What a large photo gains is seen at full size only, so a detail at full size stands below a photo that is shrunk.
"""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from basis_blur.field.local_kernels import LocalKernels
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path
from basis_blur.foundation.numbers import GAMMA
from basis_blur.ops.windows import fullest_window
from basis_blur.photos.jpeg import encode_jpeg
from basis_blur.photos.photo import Photo
from basis_blur.photos.pictures import (
    GAP,
    PICTURE_SUFFIXES,
    draw_kernel_grid,
    put_side_by_side,
    resized_picture,
    rgb_levels,
    with_title,
    write_picture,
)

PAGE_SUFFIXES = ('.html', '.htm')  # suffixes of pages
BEFORE, AFTER = 'before', 'after'  # titles of the photos
# The longer side of a photo, pixels: in the picture, whose two photos stand beside each other, and on the page.
SHORTEST_IN_PICTURE, LONGEST_IN_PICTURE, LONGEST_ON_PAGE = 600, 1200, 2560
DETAIL = (900, 600)  # width and height of the detail at full size, pixels


@dataclass(frozen=True, eq=False)
class Comparison:
    """A photo before and after its blur was removed.

    Args:
        before, after: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1]; of one size.
        title: title of the page and of the picture, such as the name of the file.
        kernels: a picture of the blur, such as `draw_kernel_grid` returns; None for none.
        doubts: sentences on why the result may be wrong.
        notes: sentences on how it was made.
        icc: colour profile of the photos, for the page; None for sRGB.

    Raises:
        ValueError: the photos differ in size.
    """

    before: Tensor
    after: Tensor
    title: str = ''
    kernels: np.ndarray | None = None
    doubts: Sequence[str] = ()
    notes: Sequence[str] = ()
    icc: bytes | None = None

    def __post_init__(self) -> None:
        if self.before.shape[-2:] != self.after.shape[-2:]:
            raise ValueError(
                f'the photo is {tuple(self.before.shape[-2:])} before and {tuple(self.after.shape[-2:])} after (rows, '
                'columns), expected one size; crop both alike.'
            )

    def picture(self) -> np.ndarray:
        """Return both photos beside each other, (H, W, 3) uint8 RGB; below them a detail at full size, if they are
        shrunk. Small photos are magnified by a whole number."""
        levels = [rgb_levels(photo) for photo in (self.before, self.after)]
        shown = [resized_picture(each, SHORTEST_IN_PICTURE, LONGEST_IN_PICTURE) for each in levels]
        blank = np.zeros((len(shown[0]), GAP, 3), np.uint8)
        rows = [put_side_by_side([with_title(BEFORE, shown[0]), blank, with_title(AFTER, shown[1])])]
        if shown[0].shape[0] < levels[0].shape[0]:
            width = shown[0].shape[1]
            place = most_detailed(levels[1], width, round(width * DETAIL[1] / DETAIL[0]))
            parts = [
                with_title(f'{name}, a detail at full size', each[place])
                for name, each in zip((BEFORE, AFTER), levels, strict=True)
            ]
            rows.append(put_side_by_side([parts[0], np.zeros((1, GAP, 3), np.uint8), parts[1]]))
        width = max(row.shape[1] for row in rows)
        return np.vstack([np.pad(row, [(0, 0), (0, width - row.shape[1]), (0, 0)]) for row in rows])

    def page(self) -> str:
        """Return the page: HTML that holds its pictures, its style and its script, and asks for nothing else."""
        levels = [rgb_levels(photo) for photo in (self.before, self.after)]
        height, width = levels[0].shape[:2]
        shown = [resized_picture(each, 1, LONGEST_ON_PAGE) for each in levels]
        share = shown[0].shape[1] / width
        words = f'{width} x {height} pixels' + ('' if share == 1 else f', shown at {share:.0%} of their size')
        parts = [self._slider(shown, f'The whole photo: {words}')]
        if share < 1:
            place = most_detailed(levels[1], *DETAIL)
            parts.append(self._slider([each[place] for each in levels], 'A detail at full size'))
        if self.kernels is not None:
            parts.append(_figure(_uri(self.kernels), 'The blur that was found, drawn over the photo'))
        told = [f'<li class="doubt">{escape(each)}</li>' for each in self.doubts]
        told += [f'<li>{escape(each)}</li>' for each in self.notes]
        words = f'<ul>{"".join(told)}</ul>' if told else ''
        title = escape(self.title) or 'Before and after'
        return _PAGE.format(title=title, words=words, parts='\n'.join(parts), style=_STYLE, script=_SCRIPT)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, or the picture, as the suffix of the name says; whole or not at all.

        Args:
            path: name ending in .html, .htm, .png or .jpg.

        Raises:
            InputError: the suffix is another.
            OSError: the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix in PAGE_SUFFIXES:
            with atomic_path(path) as partial:
                partial.write_bytes(self.page().encode('utf-8', 'backslashreplace'))
        elif suffix in PICTURE_SUFFIXES:
            write_picture(path, self.picture())
        else:
            raise InputError(f'{path} ends in "{suffix}", expected .html, .png or .jpg; name the comparison so.')

    def _slider(self, levels: Sequence[np.ndarray], words: str) -> str:
        icc = self.icc if self.before.shape[-3] == 3 else None
        before, after = (_uri(each, icc) for each in levels)
        return (
            f'<figure><div class="slider" style="max-width:{levels[0].shape[1]}px"><img src="{after}" alt="{AFTER}">'
            f'<img class="over" src="{before}" alt="{BEFORE}"><span class="left">{BEFORE}</span>'
            f'<span class="right">{AFTER}</span><i></i><input type="range" min="0" max="100" step="0.1" value="50" '
            f'aria-label="border between {BEFORE} and {AFTER}"></div><figcaption>{escape(words)}.</figcaption></figure>'
        )


def comparison_of(
    before: Photo,
    after: Tensor,
    field: LocalKernels | None = None,
    *,
    title: str = '',
    doubts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Comparison:
    """Return the comparison of a photo with what was made of it.

    A photo in linear light is shown sRGB-like, since no profile says that it is linear.

    Args:
        before: the photo as it was read.
        after: (1, 3 or 1, H, W) in [0, 1]; the restored photo.
        field: the blur that was removed, to be drawn; None for none.
        title, doubts, notes: fields of a `Comparison`.
    """
    exponent = 1.0 if before.icc is not None or before.gamma is None else before.gamma / GAMMA
    one, other = (each.detach().float() for each in (before.pixels, after))
    if exponent != 1:
        one, other = (each.clamp(0, 1) ** exponent for each in (one, other))
    kernels = None if field is None else draw_kernel_grid(one, field)
    return Comparison(one, other, title, kernels, doubts, notes, before.icc)


def detail_of(photo: Photo, side: int) -> tuple[Photo, tuple[int, int]]:
    """Return the part of a photo with the most edges, of at most `side` pixels a side, and its first row and column."""
    rows, columns = most_detailed(rgb_levels(photo.pixels), side, side)
    pixels = photo.pixels[..., rows, columns].contiguous()
    alpha = None if photo.alpha is None else photo.alpha[..., rows, columns].contiguous()
    return dataclasses.replace(photo, pixels=pixels, alpha=alpha), (rows.start, columns.start)


def most_detailed(levels: np.ndarray, width: int, height: int) -> tuple[slice, slice]:
    """Return where a picture (H, W, 3) has the most edges: rows and columns of a window of at most this size."""
    height, width = min(height, levels.shape[0]), min(width, levels.shape[1])
    step = 8
    gray = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (-(-gray.shape[1] // step), -(-gray.shape[0] // step)), interpolation=cv2.INTER_AREA)
    # The fourth root keeps one strong edge from outweighing a window that is full of them.
    edges = torch.from_numpy(np.abs(cv2.Laplacian(small, cv2.CV_32F)) ** 0.5)
    top, left = fullest_window(edges, max(1, height // step), max(1, width // step))
    top, left = min(top * step, levels.shape[0] - height), min(left * step, levels.shape[1] - width)
    return slice(top, top + height), slice(left, left + width)


def _uri(levels: np.ndarray, icc: bytes | None = None) -> str:
    encoded = encode_jpeg(np.ascontiguousarray(levels), dataclasses.replace(_BARE, icc=icc))
    return 'data:image/jpeg;base64,' + base64.b64encode(encoded).decode()


def _figure(source: str, words: str) -> str:
    return f'<figure><img src="{source}" alt="{escape(words)}"><figcaption>{escape(words)}.</figcaption></figure>'


_BARE = Photo(torch.empty(0))
_STYLE = """
:root { color-scheme: dark; }
body { margin: 0 auto; padding: 1.5rem; max-width: 1500px; background: #16181c; color: #dee0e4;
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
ul { padding: 0; margin: 0 0 1rem; list-style: none; color: #aaaeb6; }
.doubt { color: #ffce6b; border-left: 3px solid #ffbe3c; padding-left: .6rem; margin: .3rem 0; }
figure { margin: 0 0 2rem; }
figure > img { max-width: 100%; border-radius: 6px; }
figcaption { color: #969aa2; font-size: .9rem; margin-top: .4rem; }
.slider { position: relative; --x: 50%; border-radius: 6px; overflow: hidden; line-height: 0; }
.slider img { width: 100%; height: auto; user-select: none; }
.slider .over { position: absolute; inset: 0; height: 100%; clip-path: inset(0 calc(100% - var(--x)) 0 0); }
.slider i { position: absolute; top: 0; bottom: 0; left: var(--x); width: 2px; margin-left: -1px; background: #fff;
  box-shadow: 0 0 6px #000a; pointer-events: none; }
.slider i::after { content: "\\2194"; position: absolute; top: 50%; left: 50%; width: 36px; height: 36px;
  transform: translate(-50%, -50%); border-radius: 50%; background: #fff; color: #16181c; text-align: center;
  font: 20px/36px system-ui, sans-serif; box-shadow: 0 0 8px #000a; }
.slider span { position: absolute; top: .7rem; padding: .35rem .7rem; border-radius: 1rem; background: #000a;
  color: #fff; font-size: .8rem; line-height: 1; pointer-events: none; }
.left { left: .7rem; } .right { right: .7rem; }
.slider input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }
.slider:focus-within { outline: 2px solid #ffbe3c; }
"""
_SCRIPT = """
for (const slider of document.querySelectorAll('.slider')) {
  const input = slider.querySelector('input');
  const show = () => slider.style.setProperty('--x', input.value + '%');
  input.addEventListener('input', show);
  slider.addEventListener('pointermove', event => {
    if (!event.buttons) return;
    const box = slider.getBoundingClientRect();
    input.value = 100 * (event.clientX - box.left) / box.width;
    show();
  });
  show();
}
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{words}
{parts}
<script>{script}</script>
</body>
</html>
"""
