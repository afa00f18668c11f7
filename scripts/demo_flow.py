"""The flow prior from kernels to a restored photo, on photos that ship with scikit-image; no download.

    python scripts/demo_flow.py [--output results/demo_flow]

1. prepares LMDBs of sharp photos and of simulated camera-shake kernels of 19x19 pixels, in datasets/demo;
2. trains the three stages small, through BasicSR: the flow of kernels, the network that finds each pixel's kernel, and
   UFPNet, which restores with them (options/train_kernel_flow_quick.yml, train_latent_kernel_quick.yml,
   train_ufpnet_quick.yml);
3. restores a photo that was not trained on, blurred here by simulated camera shake, so that there is a truth.

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

import torch
from demo import DATA, KERNELS, PHOTOS, ROOT, SHARP_PHOTO, command, prepare_photos, shaken, step

import basis_blur as bb
from basis_blur.metrics.psnr import psnr
from basis_blur.photos.pictures import draw_kernel_grid, draw_side_by_side, draw_sigma, write_picture
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

STAGES = ('train_kernel_flow_quick', 'train_latent_kernel_quick', 'train_ufpnet_quick')
KERNEL_SIZE = 19
EXPERIMENTS = ROOT / 'experiments'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=ROOT / 'results' / 'demo_flow')
    args = parser.parse_args()
    started = time.perf_counter()
    try:
        step('1/5  Data sets from the photos of scikit-image')
        prepare_photos()
        kernels = (DATA / 'flow_kernels.lmdb').relative_to(ROOT)
        command('prep-kernels', '-o', kernels, '-n', str(KERNELS), '--kernel-size', str(KERNEL_SIZE))
        for number, stage in enumerate(STAGES, 2):
            step(f'{number}/5  Training {stage}.yml through BasicSR')
            command('train', Path('options') / f'{stage}.yml')
        step('5/5  Restoring a photo it has not seen')
        line = show(args.output)
    except subprocess.CalledProcessError as error:
        print(f'The demo stops, because this command failed: {" ".join(error.cmd)}', file=sys.stderr)
        return error.returncode
    print(f'\n{line}\n\nPictures and scores are in {args.output}. {time.perf_counter() - started:.0f} s in all.')
    return 0


def show(output: Path) -> str:
    """Write the pictures, and return the line of scores that is also written."""
    net = bb.load_network(EXPERIMENTS / STAGES[2] / 'models' / 'net_g_latest.pth', expect='UFPNet')
    sharp, blurred, _ = shaken(read_photo(PHOTOS / SHARP_PHOTO).pixels, KERNEL_SIZE)
    restored = bb.restore(net, blurred)
    with torch.no_grad():
        found = net(blurred)
    operator = bb.PixelBlur(found.pixel_kernels)
    reblurred = (operator @ bb.ReplicatePad(operator.field))(sharp).clamp(0, 1)
    write_photo(output / 'blurred.png', blurred)
    write_photo(output / 'restored.png', restored)
    write_picture(output / 'before_after.png', draw_side_by_side({'blurred': blurred, 'restored': restored}))
    write_picture(output / 'kernel_grid.png', draw_kernel_grid(blurred, operator.field))
    write_picture(output / 'uncertainty.png', draw_sigma(found.sigma))
    for path in sorted((EXPERIMENTS / STAGES[0] / 'visualization').rglob('*.png'))[-1:]:
        shutil.copyfile(path, output / 'flow_samples.png')
    scores = {
        'psnr_blurred': psnr(blurred, sharp).item(),
        'psnr_restored': psnr(restored, sharp).item(),
        'psnr_reblurred': psnr(reblurred, blurred).item(),
        'mean_sigma': found.sigma.mean().item(),
    }
    line = (
        f'coffee, simulated shake: PSNR blurred {scores["psnr_blurred"]:.2f} dB, restored '
        f'{scores["psnr_restored"]:.2f} dB; the sharp photo, blurred by the estimated kernels, against the blurred '
        f'one {scores["psnr_reblurred"]:.2f} dB; mean uncertainty {scores["mean_sigma"]:.3f}.'
    )
    (output / 'scores.txt').write_text(line + '\n')
    (output / 'scores.json').write_text(json.dumps(scores, indent=2) + '\n')
    return line


if __name__ == '__main__':
    sys.exit(main())
