"""Pictures of a blur field, for people: kernels drawn over the photo, and the basis with its mixing.

Everything returns an (H, W, 3) uint8 RGB array and leaves its arguments alone; `write_picture` saves one.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from basis_blur.errors import InputError
from basis_blur.field import BlurField
from basis_blur.files import atomic_path

# A picture's longer side lies between these, in pixels: small photos are magnified by whole numbers, large ones shrunk.
SHORTEST_PICTURE, LONGEST_PICTURE = 900, 2000
CELLS = 12  # kernels along the longer side of a photo, at most
INK = np.array([255, 214, 92], np.float32)
PAPER = np.array([24, 26, 30], np.uint8)
TEXT = (225, 225, 225)
DIMMED = 0.6


def draw_kernel_grid(photo: Tensor, field: BlurField, cells: int = CELLS) -> np.ndarray:
    """Draw the point spread functions of a grid of pixels over the dimmed photo.

    Each is drawn around its pixel, from black (no light) to its own brightest spot, and magnified to its cell, all by
    the same factor: a longer path is a stronger blur.

    Args:
        photo: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        field: of that photo, N = 1.
        cells: kernels along the longer side, at most; fewer where they would be smaller than their K pixels.

    Raises:
        ValueError: the field is of several photos, or of another size than the photo.
    """
    pixels = _to_rgb(photo)
    height, width = pixels.shape[:2]
    _check_single(field)
    if field.image_size != (height, width):
        raise ValueError(
            f'the photo is {height}x{width} pixels and the field {field.image_size[0]}x{field.image_size[1]}; '
            'give the photo that the field belongs to.'
        )
    scale = _picture_scale(height, width)
    canvas = _dim(_resize(pixels, (round(width * scale), round(height * scale))))
    side = max(max(height, width) / cells, field.kernel_size)
    rows, columns = (_grid(length, side) for length in (height, width))
    points = torch.tensor([[row, column] for row in rows for column in columns])
    kernels = field.kernels_at(points.to(field.mixing.device))[0].float().cpu().numpy()
    pitch = min(_pitch(rows, height), _pitch(columns, width)) * scale
    size = max(3, int(0.9 * pitch))
    for (row, column), kernel in zip(points.tolist(), kernels, strict=True):
        _stamp(canvas, kernel, round((row + 0.5) * scale), round((column + 0.5) * scale), size)
    return canvas


def draw_basis_montage(field: BlurField, tile: int = 132, least: float = 0.002) -> np.ndarray:
    """Draw basis kernels, each above the map of its mixing coefficients, those that do most of the work first.

    Args:
        field: N = 1.
        tile: side of a kernel and width of a map, in pixels.
        least: elements with a smaller share of the photo are not drawn; a last line says how many.

    Raises:
        ValueError: the field is of several photos.
    """
    _check_single(field)
    kernels, mixing = (each[0].float().cpu().numpy() for each in (field.kernels, field.mixing))
    shares = mixing.mean((1, 2))
    order = [b for b in np.argsort(-shares) if shares[b] >= least]
    map_size = _fit_into(mixing.shape[1:], tile)
    columns = min(len(order), 5 if len(order) <= 15 else 7)
    pictures = []
    for b in order:
        kernel = _colour(_normalised(kernels[b]) ** 0.6, cv2.COLORMAP_INFERNO)
        kernel = cv2.resize(kernel, (tile, tile), interpolation=cv2.INTER_NEAREST)
        share = _resize(_colour(mixing[b], cv2.COLORMAP_VIRIDIS), map_size[::-1])
        share = _centred(share, map_size[0], tile)
        pictures.append(np.vstack([_label(f'{b}: {100 * shares[b]:.1f} %', tile), kernel, _gap(4, tile), share]))
    montage = _tiled(pictures, columns, 10)
    left_out = len(shares) - len(order)
    caption = 'kernel above, its mixing below: dark 0, yellow 1'
    if left_out:
        caption += f'; {left_out} of {len(shares)} hardly used'
    text_width = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] + 20
    montage = _widened(montage, text_width)
    return np.vstack([montage, _label(caption, montage.shape[1])])


def draw_side_by_side(photos: dict[str, Tensor]) -> np.ndarray:
    """Draw photos of one size beside each other, each with its name above.

    Args:
        photos: name to (3 or 1, H, W), or with N = 1; sRGB-like in [0, 1].

    Raises:
        ValueError: there is none, or they differ in size.
    """
    pictures = {name: _to_rgb(photo) for name, photo in photos.items()}
    sizes = {picture.shape[:2] for picture in pictures.values()}
    if len(sizes) != 1:
        raise ValueError(f'the photos have the sizes {sorted(sizes)}, expected one size.')
    labelled = [np.vstack([_label(name, picture.shape[1]), picture]) for name, picture in pictures.items()]
    return _tiled(labelled, len(labelled), 8)


def write_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a picture, whole or not at all; the suffix chooses the format.

    Args:
        path: ends in .png or .jpg.
        picture: (H, W, 3) uint8, RGB.

    Raises:
        InputError: there is no format of that suffix.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ('.png', '.jpg', '.jpeg'):
        raise InputError(f'{path} ends in "{suffix}", expected .png or .jpg; give the picture one of these names.')
    _, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    with atomic_path(path) as partial:
        partial.write_bytes(data.tobytes())


def _check_single(field: BlurField) -> None:
    if len(field) != 1:
        raise ValueError(f'the field is of {len(field)} photos, expected one; index it, as in field[0].')


def _to_rgb(photo: Tensor) -> np.ndarray:
    if photo.ndim == 4 and photo.shape[0] == 1:
        photo = photo[0]
    if photo.ndim != 3 or photo.shape[0] not in (1, 3):
        raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (3, H, W) or (1, H, W).')
    pixels = photo.detach().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().expand(3, -1, -1)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _picture_scale(height: int, width: int) -> float:
    longer = max(height, width)
    if longer > LONGEST_PICTURE:
        return LONGEST_PICTURE / longer
    return float(min(8, -(-SHORTEST_PICTURE // longer)))


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _dim(picture: np.ndarray) -> np.ndarray:
    """Darken and half remove the colour, so that the ink stands out on any photo."""
    gray = picture.mean(2, keepdims=True)
    return (DIMMED * (gray + picture) / 2).astype(np.uint8)


def _grid(length: int, side: float) -> list[int]:
    """Evenly spaced pixels, as many as fit with `side` pixels each."""
    number = max(1, int(length // side))
    return [int((index + 0.5) * length / number) for index in range(number)]


def _pitch(positions: list[int], length: int) -> float:
    return length / len(positions)


def _stamp(canvas: np.ndarray, kernel: np.ndarray, row: int, column: int, size: int) -> None:
    """Draw a kernel of `size` picture pixels around a point, cut off at the canvas."""
    ink = cv2.resize(
        _normalised(kernel), (size, size), interpolation=cv2.INTER_CUBIC if size > len(kernel) else cv2.INTER_AREA
    )
    ink = np.clip(ink, 0, 1)[..., None] ** 0.6
    top, left = row - size // 2, column - size // 2
    rows, columns = slice(max(0, top), top + size), slice(max(0, left), left + size)
    window = canvas[rows, columns]
    ink = ink[rows.start - top :, columns.start - left :][: window.shape[0], : window.shape[1]]
    window[:] = (window * 0.8 * (1 - ink) + INK * ink).astype(np.uint8)


def _normalised(values: np.ndarray) -> np.ndarray:
    return (values / max(values.max(), 1e-12)).astype(np.float32)


def _colour(values: np.ndarray, colours: int) -> np.ndarray:
    levels = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, colours), cv2.COLOR_BGR2RGB)


def _fit_into(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _gap(height: int, width: int) -> np.ndarray:
    return np.tile(PAPER, (height, width, 1))


def _label(text: str, width: int) -> np.ndarray:
    strip = _gap(22, width)
    return cv2.putText(strip, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, TEXT, 1, cv2.LINE_AA)


def _centred(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = _gap(height, width)
    left = (width - picture.shape[1]) // 2
    canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def _widened(picture: np.ndarray, width: int) -> np.ndarray:
    missing = width - picture.shape[1]
    return picture if missing <= 0 else np.hstack([picture, _gap(picture.shape[0], missing)])


def _tiled(pictures: list[np.ndarray], columns: int, gap: int) -> np.ndarray:
    """Put pictures of one size into rows, with gaps between and around."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    canvas = _gap(gap + rows * (height + gap), gap + columns * (width + gap))
    for index, picture in enumerate(pictures):
        top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas
