"""The whole path through basis_blur, on photos that ship with scikit-image; no download.

    python scripts/demo.py [--output results/demo]

1. prepares LMDBs of sharp photos and of simulated camera-shake kernels, in datasets/demo;
2. trains options/train_basis_quick.yml through BasicSR, which validates with Richardson-Lucy at its end;
3. estimates and removes the blur of two photos that were not trained on: a real one, scikit-image's blurred clock,
   and a sharp one that is blurred here by simulated camera shake, so that there is a truth to score against. It does so
   with the shipped networks, which were trained for longer, and with the one trained here, in trained_here/.

A second call reuses the data sets and trains again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import skimage
import torch
from torch import Tensor

import basis_blur as bb
from basis_blur.deblurring.deblurrer import Deblurred
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.psnr import psnr
from basis_blur.photos.pictures import draw_basis_montage, draw_kernel_grid, draw_side_by_side, write_picture
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo
from basis_blur.simulation.camera_shake import shake_kernels

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = Path(skimage.__file__).parent / 'data'
DATA = ROOT / 'datasets' / 'demo'
OPTIONS = ROOT / 'options' / 'train_basis_quick.yml'
TRAINING_PHOTOS = (
    'astronaut.png', 'brick.png', 'camera.png', 'coins.png', 'grass.png', 'gravel.png', 'hubble_deep_field.jpg',
    'motorcycle_left.png', 'rocket.jpg', 'text.png',
)  # fmt: skip
VALIDATION_PHOTOS = ('chelsea.png',)
BLURRED_PHOTO = 'clock_motion.png'
SHARP_PHOTO = 'coffee.png'
KERNELS = 4000
KERNEL_SIZE = 33  # side of the kernels that blur the coffee, pixels
HELD_OUT_SEED = 1  # the training kernels are those of seed 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=ROOT / 'results' / 'demo')
    args = parser.parse_args()
    started = time.perf_counter()
    try:
        step('1/3  Data sets from the photos of scikit-image')
        prepare()
        step('2/3  Training a light BasisKPN through BasicSR')
        weights = train()
        step('3/3  Estimating and removing the blur of photos it has not seen')
        lines = [
            f'{name}: {restore(deblurrer, args.output / folder)}'
            for name, deblurrer, folder in (
                ('Shipped networks', bb.Deblurrer.pretrained(), ''),
                ('Network trained here', bb.Deblurrer.pretrained(weights), 'trained_here'),
            )
        ]
    except subprocess.CalledProcessError as error:
        print(f'The demo stops, because this command failed: {" ".join(error.cmd)}', file=sys.stderr)
        return error.returncode
    scores = '\n'.join(lines)
    print(f'\n{scores}\n\nPictures and scores are in {args.output}. {time.perf_counter() - started:.0f} s in all.')
    return 0


def step(title: str) -> None:
    print(f'\n\033[1m{title}\033[0m' if sys.stdout.isatty() else f'\n{title}', flush=True)


def command(*arguments: str | Path) -> None:
    """Run a command of basis-blur as a user would, and show it."""
    print(f'$ basis-blur {" ".join(map(str, arguments))}', flush=True)
    subprocess.run([sys.executable, '-m', 'basis_blur', *map(str, arguments)], check=True, cwd=ROOT)


def prepare() -> None:
    prepare_photos()
    command('prep-kernels', '-o', (DATA / 'kernels.lmdb').relative_to(ROOT), '-n', str(KERNELS))


def prepare_photos() -> None:
    """Make the LMDBs of photos to train on and to validate with."""
    for split, names in (('train', TRAINING_PHOTOS), ('val', VALIDATION_PHOTOS)):
        folder = DATA / f'{split}_photos'
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(PHOTOS / name, folder / name)
        command('prep-lmdb', folder.relative_to(ROOT), '-o', (DATA / split).relative_to(ROOT))


def train() -> Path:
    command('train', OPTIONS.relative_to(ROOT))
    return ROOT / 'experiments' / OPTIONS.stem / 'models' / 'net_g_latest.pth'


def restore(deblurrer: bb.Deblurrer, output: Path) -> str:
    """Write the pictures, and return the line of scores that is also written."""
    show(output / 'clock', read_photo(PHOTOS / BLURRED_PHOTO).pixels, deblurrer)

    sharp, blurred, true_field = shaken(read_photo(PHOTOS / SHARP_PHOTO).pixels, KERNEL_SIZE)
    result = show(output / 'coffee', blurred, deblurrer)
    field, restored = result.field, result.photo
    with_true_kernels = bb.deblur(blurred, true_field)
    write_photo(output / 'coffee' / 'restored_with_true_kernels.png', with_true_kernels)
    write_picture(output / 'coffee' / 'true_kernel_grid.png', draw_kernel_grid(blurred, true_field))
    scores = {
        'psnr_blurred': psnr(blurred, sharp).item(),
        'psnr_restored': psnr(restored, sharp).item(),
        'psnr_restored_with_true_kernels': psnr(with_true_kernels, sharp).item(),
        'kernel_correlation': field_errors(field, true_field)['kernel_correlation'].item(),
        'kernel_correlation_of_no_blur': field_errors(no_blur(true_field), true_field)['kernel_correlation'].item(),
    }
    line = (
        f'coffee, simulated shake: PSNR blurred {scores["psnr_blurred"]:.2f} dB, restored '
        f'{scores["psnr_restored"]:.2f} dB, restored with the true kernels '
        f'{scores["psnr_restored_with_true_kernels"]:.2f} dB; correlation of the estimated kernels with the true ones '
        f'{scores["kernel_correlation"]:.3f} (of no blur at all: {scores["kernel_correlation_of_no_blur"]:.3f}).'
    )
    (output / 'scores.txt').write_text(line + '\n')
    (output / 'scores.json').write_text(json.dumps(scores, indent=2) + '\n')
    return line


def shaken(photo: Tensor, kernel_size: int) -> tuple[Tensor, Tensor, bb.BlurField]:
    """Blur a sharp photo as by a camera that shakes and rolls: four kernels, one per corner, fade into each other.

    Returns:
        the sharp photo without its border, the blurred one with a little noise, and the true field.
    """
    radius = kernel_size // 2
    sharp = photo[..., radius:-radius, radius:-radius]
    down, right = (torch.linspace(0, 1, size) for size in sharp.shape[-2:])
    down, right = down[:, None], right[None]
    mixing = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
    one, other = torch.from_numpy(shake_kernels(2, kernel_size, HELD_OUT_SEED))
    kernels = torch.stack([(1 - share) * one + share * other for share in (0.0, 0.35, 0.65, 1.0)])
    field = bb.BlurField(kernels[None], mixing[None])
    light = bb.camera_response(bb.BasisBlur(field)(bb.to_linear(photo)))
    noise = 0.003 * torch.randn(light.shape, generator=torch.Generator().manual_seed(0))
    return sharp, bb.to_srgb((light + noise).clamp(0, 1)), field


def no_blur(field: bb.BlurField) -> bb.BlurField:
    """The field of a photo of the same size whose pixels stay where they are."""
    kernel = torch.zeros(1, 1, field.kernel_size, field.kernel_size)
    kernel[..., field.kernel_size // 2, field.kernel_size // 2] = 1
    return bb.BlurField(kernel, torch.ones(1, 1, *field.image_size))


def show(folder: Path, photo: Tensor, deblurrer: bb.Deblurrer) -> Deblurred:
    """Restore a photo and write the pictures of it."""
    result = deblurrer(photo)
    write_photo(folder / 'blurred.png', photo)
    write_photo(folder / 'restored.png', result.photo)
    write_picture(folder / 'kernel_grid.png', draw_kernel_grid(photo, result.field))
    write_picture(folder / 'basis_and_mixing.png', draw_basis_montage(result.field))
    write_picture(folder / 'before_after.png', draw_side_by_side({'blurred': photo, 'restored': result.photo}))
    return result


if __name__ == '__main__':
    sys.exit(main())
