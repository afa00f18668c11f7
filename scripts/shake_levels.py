"""Draw what the shake search sees on its way: for each size of a photo the kernel and the scene of few edges.

    python scripts/shake_levels.py OUT.jpg [PHOTO]

Without PHOTO, a photo of scikit-image is blurred by a simulated shake, and the true kernel stands at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
import torch.nn.functional as F
from torch import Tensor

import basis_blur as bb
from basis_blur.estimation.shake.kernels import resized
from basis_blur.estimation.shake.schedule import search
from basis_blur.estimation.shake.search import VARIANTS, gray_light, network_start
from basis_blur.foundation.numbers import GAMMA
from basis_blur.photos.pictures import write_picture
from basis_blur.photos.reading import read_photo

SIDE, KERNEL_SIDE, GAP = 300, 120, 8  # pixels of the picture
SIZE = 33


def main() -> None:
    """Search a photo, and draw every level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT.jpg')
    parser.add_argument('photo', type=Path, nargs='?', metavar='PHOTO')
    args = parser.parse_args()
    photo, true = (read_photo(args.photo).pixels, None) if args.photo else example()
    start = network_start(bb.load_network('correlation_kpn'), photo, GAMMA)
    columns = [column(photo, start[0])]

    def watch(level: int, kernels: Tensor, scenes: Tensor) -> None:
        columns.append(column(scenes.clamp(0, 1) ** (1 / GAMMA), resized(kernels, SIZE)[0]))

    search(gray_light(photo, GAMMA), resized(start, SIZE), VARIANTS[0], watch=watch)
    if true is not None:
        columns.append(column(*true))
    write_picture(args.out, np.concatenate(columns, 1))


def example() -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return a photo blurred by a simulated shake, and the sharp photo with its kernel."""
    sharp = read_photo(Path(skimage.__file__).parent / 'data' / 'astronaut.png').pixels
    kernel = torch.from_numpy(bb.shake_kernels(1, SIZE, 4, 17)[0])
    size = [side - SIZE + 1 for side in sharp.shape[-2:]]
    field = bb.BlurField(kernel[None, None], torch.ones(1, 1, *size))
    blurred = bb.to_srgb(bb.BasisBlur(field)(bb.to_linear(sharp)).clamp(0, 1))
    noise = 0.004 * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    return (blurred + noise).clamp(0, 1), (field.inside(sharp), kernel)


def column(photo: Tensor, kernel: Tensor) -> np.ndarray:
    """Draw a photo above its kernel, (h, w, 3) of uint8."""
    side = min(photo.shape[-2:])
    top, left = ((have - side) // 2 for have in photo.shape[-2:])
    square = photo[..., top : top + side, left : left + side].expand(-1, 3, -1, -1)
    shown = F.interpolate(square, size=(SIDE, SIDE), mode='area' if side > SIDE else 'nearest')[0]
    light = F.interpolate((kernel / kernel.max())[None, None].sqrt(), size=(KERNEL_SIDE, KERNEL_SIDE))[0].expand(
        3, -1, -1
    )
    margin = (SIDE - KERNEL_SIDE) // 2
    below = F.pad(light, (margin, SIDE - KERNEL_SIDE - margin, GAP, GAP))
    drawn = F.pad(torch.cat([shown, below], 1), (0, GAP, 0, 0), value=1.0)
    return (drawn.movedim(0, -1) * 255).round().byte().numpy()


if __name__ == '__main__':
    main()
