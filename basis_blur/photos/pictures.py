"""Pictures of a blur field, for people: kernels drawn over the photo, and the basis with its mixing.

Everything returns an (H, W, 3) uint8 RGB array and leaves its arguments alone; `write_picture` saves one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from basis_blur.field.blur_field import BlurField, PixelField
from basis_blur.field.local_kernels import LocalKernels
from basis_blur.foundation.errors import InputError
from basis_blur.photos.photo import Photo
from basis_blur.photos.png import encode_png
from basis_blur.photos.writing import write_samples

# A picture's longer side lies between these, in pixels: small photos are magnified by whole numbers, large ones shrunk.
SHORTEST_PICTURE, LONGEST_PICTURE = 900, 2000
LIFT = 0.6  # exponent of the light of a drawn kernel, which shows faint paths
CELLS = 16  # largest number of kernels along the longer side of a photo
SMALLEST_CELL = 44  # smallest side of the square of a kernel, pixels of the picture
SMALLEST_RADIUS = 5  # smallest radius of a square, pixels of the kernel; so a sharp place is drawn as a dot
VISIBLE = 0.04  # share of a kernel's brightest pixel below which a pixel is no part of its path
MOST_COVERED = 0.1  # share of its square above which a kernel is drawn translucent
PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg')  # suffixes of pictures that are written

PAPER = np.array([22, 24, 28], np.uint8)  # colour of the background, RGB
TEXT, FAINT_TEXT = (222, 224, 228), (150, 154, 162)  # colours of text, RGB
Piece = tuple[int, str, tuple[int, int, int]]  # text of a line: distance from its side in pixels, words, colour
STRIP = 34  # height of a line of text, pixels
GAP = 12  # distance between pictures, pixels

# Share of its colour that the photo under the kernels keeps, and the levels that its black and its white become.
COLOUR_KEPT, UNDER_INK = 0.35, (14, 132)
# Colours of paths by their direction, RGB, in steps of 30 degrees anticlockwise from the horizontal.
INKS = np.array(
    [(255, 190, 60), (165, 225, 80), (60, 222, 190), (85, 165, 255), (185, 135, 255), (255, 125, 155)], np.float32
)
DOT_INK = np.array([250, 250, 250], np.float32)  # colour of a dot, RGB


def draw_kernel_grid(photo: Tensor, field: LocalKernels, cells: int = CELLS) -> np.ndarray:
    """Draw the point spread functions of a grid of pixels over the dimmed photo.

    Each is drawn around its pixel as a path of light, as bright as it can be. All are magnified by one factor, so a
    longer path is a stronger blur. The colour of a path tells the direction of the motion, so all that moved alike
    looks alike. A scale and a legend of the colours stand below, where the picture is wide enough.

    Args:
        photo: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        field: blur of that photo, N = 1.
        cells: largest number of kernels along the longer side; there are fewer where they would be too small to see.

    Raises:
        ValueError: the field is of several photos, or of another size than the photo.
    """
    return _kernel_grids(photo, [field], cells)[0]


def draw_kernel_grids(photo: Tensor, fields: Mapping[str, LocalKernels], cells: int = CELLS) -> dict[str, np.ndarray]:
    """Draw several fields of one photo to compare them, such as an estimate and the truth.

    All are drawn at the same pixels and magnified by one factor, so that paths of equal length look so. Each has its
    name above.

    Args:
        photo: (3 or 1, H, W) or with N = 1; sRGB-like in [0, 1].
        fields: map from a name to a blur of that photo, N = 1.
        cells: largest number of kernels along the longer side.

    Returns:
        map from each name to its picture, all of one size.

    Raises:
        ValueError: there is no field, or one is of several photos or of another size than the photo.
    """
    if not fields:
        raise ValueError('there is no field to draw, expected at least one.')
    return {
        name: with_title(name, picture)
        for name, picture in zip(fields, _kernel_grids(photo, list(fields.values()), cells), strict=True)
    }


def png_of_field(field: BlurField | PixelField, side: int = SHORTEST_PICTURE) -> bytes:
    """Return the kernels of the first photo of a field, each at its place, on dark paper, as a PNG file.

    Args:
        field: blur of one photo or several.
        side: largest length of the longer side of the picture, pixels.
    """
    one = field[0]
    picture = draw_kernel_grid(torch.zeros(1, 1, 1).expand(1, *one.image_size), one)
    return encode_png(resized_picture(picture, 1, side), Photo(torch.empty(0)))


def _kernel_grids(photo: Tensor, fields: Sequence[LocalKernels], cells: int) -> list[np.ndarray]:
    """Return the pictures of `draw_kernel_grids` without titles, whose arguments and errors these are.

    Where the kernels of neighbouring places would overlap, fewer places are shown.
    """
    pixels = rgb_levels(photo)
    height, width = pixels.shape[:2]
    for field in fields:
        _check_single(field)
        if field.image_size != (height, width):
            raise ValueError(
                f'the photo is {height}x{width} pixels and the field {field.image_size[0]}x{field.image_size[1]}; '
                'give the photo that the field belongs to.'
            )
    scale = _picture_scale(height, width)
    canvas = _under_ink(_resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale)))))
    cell = max(max(canvas.shape[:2]) / cells, SMALLEST_CELL) / scale
    rows, columns, points = _points(fields[0], cell)
    sampled = [_kernels_at(field, points) for field in fields]
    radius = max(map(_common_radius, sampled))
    if 2 * radius + 1 > cell:  # they would be drawn smaller than they are
        rows, columns, points = _points(fields[0], 2 * radius + 1)
        sampled = [_kernels_at(field, points) for field in fields]
    side = max(3, round(0.94 * scale * min(height / len(rows), width / len(columns))))
    return [_grid_picture(canvas, scale, side, points, _middle(kernels, radius)) for kernels in sampled]


def _grid_picture(
    canvas: np.ndarray, scale: float, side: int, points: list[tuple[int, int]], kernels: np.ndarray
) -> np.ndarray:
    """Draw kernels (M, K, K), `side` pixels of the picture each, at their pixels of the photo."""
    light = np.zeros(canvas.shape[:2], np.float32)
    colour = np.zeros(canvas.shape, np.float32)
    for (row, column), kernel in zip(points, kernels, strict=True):
        path = _path_of_light(kernel, side)
        top, left = round((row + 0.5) * scale) - side // 2, round((column + 0.5) * scale) - side // 2
        window, inside = _overlap(light.shape, path.shape, top, left)
        light[window] = path[inside]
        colour[window] = _direction_colour(kernel)
    picture = _inked(canvas, light, colour)
    legend = _grid_legend(picture.shape[1], side / kernels.shape[-1], scale)
    return picture if legend is None else np.vstack([picture, legend])


def draw_basis_montage(field: BlurField, tile: int = 150, least: float = 0.002) -> np.ndarray:
    """Draw basis kernels, each above the map of its mixing coefficients, those that do most of the work first.

    Args:
        field: blur of one photo, N = 1.
        tile: side of a kernel and of the space for a map, in pixels.
        least: smallest share of the photo of an element that is drawn; the last line says how many are not.

    Raises:
        ValueError: the field is of several photos.
    """
    _check_single(field)
    basis, mixing = (each[0].detach().float().cpu().numpy() for each in (field.kernels, field.mixing))
    shares = mixing.mean((1, 2))
    order = [b for b in np.argsort(-shares, kind='stable') if shares[b] >= min(least, shares.max())]
    kernels = dict(zip(order, _middle(basis[order], _common_radius(basis[order])), strict=True))
    height, width = (max(1, round(length * tile / max(mixing.shape[1:]))) for length in mixing.shape[1:])
    cards = []
    for b in order:
        kernel = _kernel_tile(kernels[b], tile)
        share = _resize(_colour(mixing[b], cv2.COLORMAP_VIRIDIS), (height, width))
        margin = (tile - width) // 2
        share = np.hstack([_paper(height, margin), share, _paper(height, tile - width - margin)])
        title = _line(tile, [(0, f'kernel {b}', TEXT)], [(0, f'{100 * shares[b]:.1f} %', FAINT_TEXT)])
        cards.append(np.vstack([title, kernel, _paper(4, tile), share]))
    montage = _tiled(cards, _columns(len(cards), cards[0].shape[0] / tile))
    return np.vstack([montage, _montage_legend(montage.shape[1], len(shares) - len(order), len(shares))])


def draw_kernel_sets(sets: dict[str, Tensor], tile: int = 64) -> np.ndarray:
    """Draw sets of kernels beside each other, each under its name, each kernel as bright as it can be.

    Args:
        sets: map from a name to kernels (M, K, K), M >= 1; the same M and K in all.
        tile: side of a kernel in pixels.

    Raises:
        ValueError: there is none, or they differ in shape.
    """
    shapes = {tuple(kernels.shape) for kernels in sets.values()}
    if len(shapes) != 1:
        raise ValueError(f'the sets have the shapes {sorted(shapes)}, expected one shape (M, K, K).')
    pictures = []
    for name, kernels in sets.items():
        tiles = [_kernel_tile(kernel, tile) for kernel in kernels.detach().float().cpu().numpy()]
        sheet = _tiled(tiles, _columns(len(tiles), 1))
        pictures.append(np.vstack([_line(sheet.shape[1], [(GAP, name, TEXT)]), sheet]))
    return _tiled(pictures, len(pictures))


def _kernel_tile(kernel: np.ndarray, side: int) -> np.ndarray:
    """Draw a kernel (K, K) on side x side pixels, as bright as it can be; faint paths are lifted (`LIFT`)."""
    picture = _colour(_normalised(kernel) ** LIFT, cv2.COLORMAP_INFERNO)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_NEAREST)


def draw_sigma(sigma: Tensor, side: int = SHORTEST_PICTURE) -> np.ndarray:
    """Draw how unsure a network is of the kernel of each pixel: the brighter the less sure, with a scale below.

    Args:
        sigma: (1, H, W) or with N = 1; >= 0. The brightest colour is its largest value, which the scale tells.
        side: the longer side of the picture, in pixels.

    Raises:
        ValueError: the shape is another.
    """
    if sigma.ndim not in (3, 4) or sigma.numel() != sigma.shape[-2] * sigma.shape[-1]:
        raise ValueError(f'sigma has shape {tuple(sigma.shape)}, expected (1, H, W).')
    values = sigma.detach().float().cpu().reshape(sigma.shape[-2:]).numpy()
    height, width = (max(1, round(length * side / max(values.shape))) for length in values.shape)
    picture = _resize(_colour(_normalised(values), cv2.COLORMAP_VIRIDIS), (height, width))
    text = f'sigma 0 to {values.max():.3g}, mean {values.mean():.3g}'
    return np.vstack([picture, _line(picture.shape[1], [(12, text, TEXT)])])


def with_title(title: str, picture: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) with a line of text above."""
    return np.vstack([_line(picture.shape[1], [(GAP, title, TEXT)]), picture])


def put_side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Put pictures beside each other, with their tops in one line and paper below those that are lower."""
    height = max(len(picture) for picture in pictures)
    return np.hstack([np.vstack([each, _paper(height - len(each), each.shape[1])]) for each in pictures])


def draw_side_by_side(photos: dict[str, Tensor]) -> np.ndarray:
    """Draw photos of one size beside each other, each with its name above.

    Args:
        photos: map from a name to a photo (3 or 1, H, W), or with N = 1; sRGB-like in [0, 1].

    Raises:
        ValueError: there is none, or they differ in size.
    """
    pictures = {name: rgb_levels(photo) for name, photo in photos.items()}
    sizes = {picture.shape[:2] for picture in pictures.values()}
    if len(sizes) != 1:
        raise ValueError(f'the photos have the sizes {sorted(sizes)}, expected one size.')
    named = [np.vstack([_line(each.shape[1], [(0, name, TEXT)]), each]) for name, each in pictures.items()]
    return _tiled(named, len(named))


def write_picture(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write a picture, whole or not at all; the suffix chooses the format.

    Args:
        path: name ending in .png or .jpg.
        picture: (H, W, 3) uint8, RGB.

    Raises:
        InputError: the suffix is neither of these.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise InputError(f'{path} ends in "{suffix}", expected .png or .jpg; give the picture one of these names.')
    write_samples(path, picture)


def _check_single(field: LocalKernels) -> None:
    if len(field) != 1:
        raise ValueError(f'the field is of {len(field)} photos, expected one; index it, as in field[0].')


def rgb_levels(photo: Tensor) -> np.ndarray:
    """Return a photo (3 or 1, H, W), or with N = 1, sRGB-like in [0, 1], as a picture (H, W, 3) uint8.

    Raises:
        ValueError: the shape is another.
    """
    if photo.ndim == 4 and photo.shape[0] == 1:
        photo = photo[0]
    if photo.ndim != 3 or photo.shape[0] not in (1, 3):
        raise ValueError(f'the photo has shape {tuple(photo.shape)}, expected (3, H, W) or (1, H, W).')
    pixels = photo.detach().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().expand(3, -1, -1)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


# ----------------------------------------------------------------------------------------------------- kernel grid


def _picture_scale(height: int, width: int, shortest: int = SHORTEST_PICTURE, longest: int = LONGEST_PICTURE) -> float:
    """Return the factor by which a photo is drawn: a whole number up to 8, or less than 1 for a large photo."""
    longer = max(height, width)
    if longer > longest:
        return longest / longer
    return float(min(8, -(-shortest // longer)))


def resized_picture(picture: np.ndarray, shortest: int, longest: int) -> np.ndarray:
    """Return a picture (H, W, 3), magnified by a whole number or shrunk.

    Args:
        picture: (H, W, 3).
        shortest, longest: lengths between which the longer side of the result lies, pixels.
    """
    height, width = picture.shape[:2]
    scale = _picture_scale(height, width, shortest, longest)
    return picture if scale == 1 else _resize(picture, (max(1, round(height * scale)), max(1, round(width * scale))))


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture drawn on `size`, (H, W), pixels: means of areas if it shrinks, else interpolated."""
    smaller = size[0] < picture.shape[0]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _under_ink(picture: np.ndarray) -> np.ndarray:
    """Darken and mostly remove the colour, so that the ink stands out on any photo; float32."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    low, high = UNDER_INK
    return low + (high - low) / 255 * (gray + COLOUR_KEPT * (picture - gray))


def _points(field: LocalKernels, cell: float) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Return the rows and columns of a grid of pixels, and the pixels themselves."""
    rows, columns = (_grid(length, cell) for length in field.image_size)
    return rows, columns, [(row, column) for row in rows for column in columns]


def _kernels_at(field: LocalKernels, points: list[tuple[int, int]]) -> np.ndarray:
    kernels = field.kernels_at(torch.tensor(points, device=field.device))[0]
    return kernels.detach().float().cpu().numpy()


def _grid(length: int, cell: float) -> list[int]:
    """Return evenly spaced pixels, as many as fit with `cell` pixels each."""
    number = max(1, int(length / cell + 1e-6))
    return [int((index + 0.5) * length / number) for index in range(number)]


def _common_radius(kernels: np.ndarray) -> int:
    """Return the smallest radius, pixels, of a square around the middle with the path of every kernel (M, K, K)."""
    middle = kernels.shape[-1] // 2
    visible = kernels >= VISIBLE * kernels.max((1, 2), keepdims=True)
    rows, columns = np.nonzero(visible.any(0))
    reach = int(max(np.abs(rows - middle).max(), np.abs(columns - middle).max()))
    return min(middle, max(reach + 1, SMALLEST_RADIUS))


def _middle(kernels: np.ndarray, radius: int) -> np.ndarray:
    """Return the middle of kernels (M, K, K), with zeros around if it is larger than they are."""
    middle = kernels.shape[-1] // 2
    if radius > middle:
        around = radius - middle
        return np.pad(kernels, [(0, 0)] * (kernels.ndim - 2) + [(around, around)] * 2)
    kept = slice(middle - radius, middle + radius + 1)
    return kernels[..., kept, kept]


def _normalised(values: np.ndarray) -> np.ndarray:
    return (values / max(values.max(), 1e-12)).astype(np.float32)


def _path_of_light(kernel: np.ndarray, side: int) -> np.ndarray:
    """Return a kernel magnified to `side` pixels, in [0, 1]; dim parts are brightened so that the whole path shows.

    A kernel that is no path but spread over its square is translucent, so that the photo is not covered.
    """
    larger = side > len(kernel)
    path = cv2.resize(_normalised(kernel), (side, side), interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)
    covered = _normalised(kernel).mean()
    return min(1.0, math.sqrt(MOST_COVERED / covered)) * _normalised(np.clip(path, 0, 1)) ** LIFT


def _direction_colour(kernel: np.ndarray) -> np.ndarray:
    """Return the colour of a kernel's main axis; white for a kernel without one, such as a dot."""
    weights = kernel / max(kernel.sum(), 1e-12)
    along_y, along_x = np.indices(kernel.shape)
    along_y, along_x = along_y - (weights * along_y).sum(), along_x - (weights * along_x).sum()
    xx, yy, xy = ((weights * product).sum() for product in (along_x**2, along_y**2, along_x * along_y))
    spread = math.hypot((xx - yy) / 2, xy)
    longer, shorter = (math.sqrt(max(0.0, (xx + yy) / 2 + sign * spread)) for sign in (1, -1))
    elongation = (longer - shorter) / (longer + shorter + 0.5)  # half a pixel: the path of a still camera
    return _ink(math.atan2(-xy, (xx - yy) / 2) / 2, min(1.0, 1.3 * elongation))


def _ink(angle: float, strength: float) -> np.ndarray:
    """Return RGB levels of an angle, radians, anticlockwise from the horizontal, of period pi; strength in [0, 1]."""
    step, share = divmod(angle / math.pi % 1 * len(INKS), 1)
    hue = (1 - share) * INKS[int(step) % len(INKS)] + share * INKS[(int(step) + 1) % len(INKS)]
    return strength * hue + (1 - strength) * DOT_INK


def _overlap(
    canvas: tuple[int, ...], stamp: tuple[int, ...], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a stamp lies on the canvas, and the part of it that lies there."""
    rows = slice(max(0, top), min(canvas[0], top + stamp[0]))
    columns = slice(max(0, left), min(canvas[1], left + stamp[1]))
    inside = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    return (rows, columns), inside


def _inked(canvas: np.ndarray, light: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Lay the light over the canvas, with a soft shadow that parts it from a bright background."""
    shadow = np.clip(1.5 * cv2.GaussianBlur(cv2.dilate(light, np.ones((5, 5), np.uint8)), (0, 0), 3), 0, 1)
    shaded = canvas * (1 - 0.7 * shadow[..., None])
    return np.rint(shaded + (colour - shaded) * light[..., None]).clip(0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------- text and layout


def _paper(height: int, width: int) -> np.ndarray:
    return np.tile(PAPER, (height, width, 1))


def _line(width: int, left: Sequence[Piece], right: Sequence[Piece] = (), height: int = STRIP) -> np.ndarray:
    """Return a strip with a line of text."""
    image = Image.fromarray(_paper(height, width))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for distance, text, colour in left:
        draw.text((distance, height // 2), text, colour, font, anchor='lm')
    for distance, text, colour in right:
        draw.text((width - distance, height // 2), text, colour, font, anchor='rm')
    return np.array(image)


def _text_width(text: str) -> int:
    return math.ceil(ImageFont.load_default(15).getlength(text))


def _grid_legend(width: int, magnification: float, scale: float) -> np.ndarray | None:
    """Return a strip with the scale of paths and the colours of directions; None if there is no room."""
    length = min((5, 10, 20, 50), key=lambda pixels: abs(pixels * magnification - 60))
    bar = max(1, round(length * magnification))
    scale_text = f'{length} px of motion (paths drawn {magnification / scale:.1f} x life size)'
    direction_text = 'direction'
    start = 12 + bar + 10
    end = width - 12 - len(INKS) * 30 - 10
    if start + _text_width(scale_text) + 30 + _text_width(direction_text) > end:
        return None
    strip = _line(width, [(start, scale_text, TEXT)], [(width - end, direction_text, TEXT)])
    middle = STRIP // 2
    strip[middle - 1 : middle + 1, 12 : 12 + bar] = TEXT
    for x in (12, 12 + bar - 1):
        strip[middle - 5 : middle + 5, x] = TEXT
    for index in range(len(INKS)):
        angle = index * math.pi / len(INKS)
        x = end + 10 + 30 * index + 15
        dx, dy = 10 * math.cos(angle), -10 * math.sin(angle)
        one, other = ((round(8 * (x + s * dx)), round(8 * (middle + s * dy))) for s in (-1, 1))
        cv2.line(strip, one, other, _ink(angle, 1.0).tolist(), 3, cv2.LINE_AA, 3)
    return strip


def _montage_legend(width: int, left_out: int, number: int) -> np.ndarray:
    """Return a strip of text on the meaning of the maps, with as many lines as the width needs."""
    texts = ['kernels above, their mixing below, by their share of the photo']
    if left_out:
        texts.append(f'{left_out} of {number} kernels are hardly used and not shown')
    lines: list[tuple[str, str]] = []
    for text in texts:
        for word in text.split():
            if lines and lines[-1][0] is text and _text_width(f'{lines[-1][1]} {word}') <= width - 2 * GAP:
                lines[-1] = (text, f'{lines[-1][1]} {word}')
            else:
                lines.append((text, word))
    ramp = _resize(_colour(np.linspace(0, 1, 100)[None], cv2.COLORMAP_VIRIDIS), (10, 100))
    scale = _line(width, [(GAP, '0', TEXT), (GAP + 122, '1', TEXT)])
    scale[STRIP // 2 - 5 : STRIP // 2 + 5, GAP + 14 : GAP + 114] = ramp[:, : max(0, width - GAP - 14)]
    return np.vstack([*(_line(width, [(GAP, text, TEXT)], height=22) for _, text in lines), scale])


def _colour(values: np.ndarray, colours: int) -> np.ndarray:
    """Return values in [0, 1] as colours, RGB, by one of OpenCV's maps."""
    levels = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, colours), cv2.COLOR_BGR2RGB)


def _columns(number: int, tallness: float) -> int:
    """Return the number of columns for a montage of about 4 : 3 with few empty places."""
    return min(
        range(1, number + 1),
        key=lambda n: abs(math.log(n / (math.ceil(number / n) * tallness) / 1.33)) + 0.15 * (-number % n),
    )


def _tiled(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Put pictures of one size into rows, with gaps between and around."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    canvas = _paper(rows * (height + GAP) + GAP, columns * (width + GAP) + GAP)
    for index, picture in enumerate(pictures):
        top, left = GAP + index // columns * (height + GAP), GAP + index % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = picture
    return canvas
