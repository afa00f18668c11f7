"""Draw the pictures of the README again, from photos of scikit-image, by the cases of the demo.

    python scripts/readme_pictures.py [--output docs/pictures]

The photos may be used by anybody: the astronaut is NASA's, in the public domain; the coffee is by Rachel Michetti, the
clock by Stefan van der Walt, both without restrictions. The line under each picture is printed, for the README.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from demo import CLOCK, MODERATE, PHOTOS, SEVERE, Shake, with_true_blur
from torch import Tensor

import basis_blur as bb
from basis_blur.metrics.psnr import psnr
from basis_blur.photos.pictures import (
    draw_kernel_grid,
    draw_kernel_sets,
    draw_side_by_side,
    put_side_by_side,
    with_title,
    write_picture,
)
from basis_blur.photos.reading import read_photo

ROOT = Path(__file__).resolve().parents[1]
FAILURE = Shake('coffee.png', 65, 31, 'A failure')
INSET = 0.25  # side of a kernel, of the photo's height
SHOWN = 59  # pixels of a kernel that are drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=ROOT / 'docs' / 'pictures', help='(default: docs/pictures)')
    args = parser.parse_args()
    deblurrer = bb.Deblurrer.pretrained()
    for name, case in (('before_after', SEVERE), ('gallery_shake', MODERATE), ('gallery_failure', FAILURE)):
        sharp, blurred, truth = case.scene()
        result = deblurrer(blurred)
        middle = torch.tensor([[side // 2 for side in blurred.shape[-2:]]])
        found = result.field.kernels_at(middle)[0, 0]
        picture = put_side_by_side([
            titled('blurred, and the true kernel', blurred, truth.kernels[0, 0]),
            titled('restored, and the kernel that was found', result.pixels, found),
        ])  # fmt: skip
        write_picture(args.output / f'{name}.jpg', picture)
        best = with_true_blur(blurred, truth)
        before, after, most = (psnr(each, sharp).item() for each in (blurred, result.pixels, best))
        said = ' '.join(map(str, result.doubts)) or 'no warning'
        print(f'{name}: {before:.1f} dB, restored {after:.1f} dB, with the true kernel {most:.1f} dB; {said}')
    result = deblurrer(photo := read_photo(PHOTOS / CLOCK).pixels)
    size = photo.shape[-2:]
    grid = draw_kernel_grid(photo, result.field, cells=8)
    grid = cv2.resize(grid[: round(grid.shape[1] * size[0] / size[1])], size[::-1], interpolation=cv2.INTER_AREA)
    grid = torch.from_numpy(grid).permute(2, 0, 1)[None] / 255
    pictures = {'blurred': photo, 'the blur that is seen': grid, 'restored': result.pixels}
    write_picture(args.output / 'gallery_clock.jpg', draw_side_by_side(pictures))
    print(f'gallery_clock: {" ".join(map(str, (*result.notes, *result.doubts)))}')
    return 0


def titled(title: str, photo: Tensor, kernel: Tensor) -> np.ndarray:
    """Draw a photo (1, 3, H, W) with its name above and the middle of a kernel in its lower left corner."""
    pixels = photo[0].mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy().copy()
    side = round(INSET * len(pixels))
    missing = (SHOWN - kernel.shape[-1]) // 2  # negative where it is larger
    shown = torch.nn.functional.pad(kernel.cpu(), [missing] * 4)
    drawn = draw_kernel_sets({'': shown[None]}, tile=10 * SHOWN)
    frame = (drawn.shape[1] - 10 * SHOWN) // 2
    drawn = drawn[len(drawn) - frame - 10 * SHOWN : len(drawn) - frame, frame : frame + 10 * SHOWN]
    pixels[-side - 8 : -8, 8 : side + 8] = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA)
    return with_title(title, pixels)


if __name__ == '__main__':
    sys.exit(main())
