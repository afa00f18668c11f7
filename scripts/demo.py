"""What basis_blur does, in a few minutes, on photos that ship with scikit-image; no download.

    python scripts/demo.py [--output results/demo] [--only-photos]

1. restores three photos with what is shipped: two that are blurred here by a simulated camera shake, one of them
   severely, so that there is a truth to score against, and scikit-image's clock, which moved while it was taken;
2. prepares LMDBs of sharp photos and of simulated camera-shake kernels, in datasets/demo;
3. trains an estimator of kernels and a flow of kernels small, through BasicSR, by options/train_correlation_quick.yml
   and the first iterations of options/train_kernel_flow_quick.yml, and draws what each knew before, on the way and at
   the end, beside the truth.

All of it ends in one page, index.html. A second call reuses the data sets and trains again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
import torch
from demo_page import Section, loss_curve, write_page
from torch import Tensor

import basis_blur as bb
from basis_blur.estimation.shake.search import removal_for
from basis_blur.foundation.numbers import GAMMA
from basis_blur.losses.flow_nll_loss import bits_per_dimension, kernel_nll
from basis_blur.metrics.kernel import field_errors
from basis_blur.metrics.psnr import psnr
from basis_blur.photos.pictures import (
    draw_basis_montage,
    draw_kernel_grid,
    draw_kernel_grids,
    draw_kernel_sets,
    write_picture,
)
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = Path(skimage.__file__).parent / 'data'
DATA = ROOT / 'datasets' / 'demo'
EXPERIMENTS = ROOT / 'experiments'
TRAINING_PHOTOS = (
    'astronaut.png', 'brick.png', 'camera.png', 'coins.png', 'grass.png', 'gravel.png', 'hubble_deep_field.jpg',
    'motorcycle_left.png', 'rocket.jpg', 'text.png',
)  # fmt: skip
VALIDATION_PHOTOS = ('chelsea.png',)
SHARP_PHOTO = 'coffee.png'
KERNELS = 4000
KERNEL_SIZE = 33  # side of the kernels of train_basis_quick.yml, pixels
TRAINED_SIZE = 19  # side of the kernels that are trained here, pixels
HELD_OUT_SEED = 1  # the training kernels are those of seed 0
NOISE = 0.005  # standard deviation that is added to a simulated photo, before it is rounded to 8 bits
FLOW_ITERATIONS = 600
SHOWN_KERNELS = 16
SHOWN_SHAKES = (6, 7)  # two long ones, which point in different directions
HALVES = 12.0  # how narrow the place is where they meet
ESTIMATOR, FLOW = 'train_correlation_quick', 'train_kernel_flow_quick'


@dataclass(frozen=True)
class Shake:
    """A sharp photo that is blurred by one simulated camera shake.

    Args:
        photo: file of scikit-image.
        kernel_size: side of the kernel, pixels.
        number: number of the kernel in the series of `HELD_OUT_SEED`.
        title: caption for the reader.
    """

    photo: str
    kernel_size: int
    number: int
    title: str

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f'{Path(self.photo).stem}_{self.kernel_size}_{self.number}'

    def scene(self) -> tuple[Tensor, Tensor, bb.BlurField]:
        """Return the sharp photo without its border, the blurred one with noise and in 8 bits, and the true field."""
        kernel = torch.from_numpy(bb.shake_kernels(1, self.kernel_size, HELD_OUT_SEED, self.number))[None]
        photo, radius = read_photo(PHOTOS / self.photo).pixels, self.kernel_size // 2
        sharp = photo[..., radius:-radius, radius:-radius]
        field = bb.BlurField(kernel, torch.ones(1, 1, *sharp.shape[-2:]))
        blurred = bb.to_srgb(bb.BasisBlur(field)(bb.to_linear(photo)).clamp(0, 1))
        noise = NOISE * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
        return sharp, (blurred + noise).clamp(0, 1).mul(255).round() / 255, field


SEVERE = Shake('astronaut.png', 65, 0, 'A severe camera shake')
MODERATE = Shake('coffee.png', 33, 32, 'A camera shake')
CLOCK = 'clock_motion.png'
# Of all shakes that the two were chosen from: 6 photos, kernels of two sizes, 3 of each; `--tried` makes them again.
TRIED_PHOTOS = ('astronaut.png', 'rocket.jpg', 'motorcycle_left.png', 'coffee.png', 'camera.png', 'chelsea.png')
CHOICE = (
    'The sharp photo was blurred here by a simulated camera shake, in linear light, with noise and 8 bits, so that the '
    'result can be scored. The two shakes of this page were chosen because they show what is possible. Of 36 like '
    'them, the search found a kernel for 25, which gained 5.1 dB on the mean, the best 11.5 dB, while two lost 5.7 and '
    '6.9 dB without a warning; 8 got the field of the network and gained 1.6 dB; 3 were left alone. docs/shake.md '
    'scores photos that nobody chose.'
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=ROOT / 'results' / 'demo', help='(default: results/demo)')
    parser.add_argument('--only-photos', action='store_true', help='train nothing')
    parser.add_argument('--tried', action='store_true', help='only print the scores of the 36 shakes of the page')
    args = parser.parse_args()
    if args.tried:
        return print_tried()
    started = time.perf_counter()
    sections = []
    try:
        step('1/3  Restoring three photos with the shipped networks')
        for section in restored_photos(args.output):
            print(f'{section.title}: {section.line}', flush=True)
            sections.append(section)
        if not args.only_photos:
            step('2/3  Data sets from the photos of scikit-image')
            prepare()
            step('3/3  Training an estimator and a flow of kernels through BasicSR')
            for section in (trained_estimator(args.output), trained_flow(args.output)):
                print(f'{section.title}: {section.line}', flush=True)
                sections.append(section)
    except subprocess.CalledProcessError as error:
        print(f'The demo stops, because this command failed: {" ".join(error.cmd)}', file=sys.stderr)
        return error.returncode
    page = args.output / 'index.html'
    took = time.perf_counter() - started
    write_page(page, 'basis_blur: what make demo made', sections, f'Made in {took:.0f} s.')
    (args.output / 'scores.json').write_text(
        json.dumps({each.title: each.scores for each in sections}, indent=2) + '\n'
    )
    print(f'\nOpen {page} in a browser. {took:.0f} s in all.')
    return 0


def step(title: str) -> None:
    print(f'\n\033[1m{title}\033[0m' if sys.stdout.isatty() else f'\n{title}', flush=True)


def command(*arguments: str | Path) -> None:
    """Run a command of basis-blur as a user would, and show it."""
    print(f'$ basis-blur {" ".join(map(str, arguments))}', flush=True)
    subprocess.run([sys.executable, '-m', 'basis_blur', *map(str, arguments)], check=True, cwd=ROOT)


# --------------------------------------------------------------------------------------------------- 1. three photos


def restored_photos(output: Path) -> Iterator[Section]:
    """Restore the three photos, write their pictures and yield what the page shows of each."""
    deblurrer = bb.Deblurrer.pretrained()
    for case in (SEVERE, MODERATE):
        yield restored_shake(output / case.name, case, deblurrer)
    result = show(output / 'clock', read_photo(PHOTOS / CLOCK).pixels, deblurrer)
    yield Section(
        'A photo that was really blurred',
        'the network sees that the clock moved sideways; it becomes round again, with ripples at its sides, and its '
        'hands stay blurred.',
        ' '.join((
            'A clock that moved while it was photographed; nobody knows the sharp photo.',
            *map(as_sentence, (*result.notes, *map(str, result.doubts))),
        )),
        folder='clock',
        pictures=(('kernel_grid.png', 'the estimated blur over the photo: each path is that of light at its place'),),
    )  # fmt: skip


def as_sentence(text: str) -> str:
    """Return a note or a doubt with a capital letter, as it stands among other sentences."""
    return text[:1].upper() + text[1:]


def print_tried() -> int:
    """Restore all shakes that the two of the page were chosen from, and print their scores."""
    deblurrer = bb.Deblurrer.pretrained()
    for size in (33, 65):
        for index, photo in enumerate(TRIED_PHOTOS):
            for number in range(10 * index, 10 * index + 3):
                case = Shake(photo, size, number, '')
                sharp, blurred, _ = case.scene()
                result = deblurrer(blurred)
                before, after = psnr(blurred, sharp).item(), psnr(result.pixels, sharp).item()
                warned = ', warned of' if result.doubts else ''
                print(
                    f'{case.name}: {before:.2f} dB, restored {after:.2f} dB, by {result.estimates[0].source}{warned}',
                    flush=True,
                )
    return 0


def restored_shake(folder: Path, case: Shake, deblurrer: bb.Deblurrer) -> Section:
    """Blur a photo, restore it, write the pictures and return what the page shows of it."""
    sharp, blurred, truth = case.scene()
    result = show(folder, blurred, deblurrer)
    estimate = result.estimates[0]
    ceiling = with_true_blur(blurred, truth)
    write_photo(folder / 'restored_with_true_kernel.png', ceiling)
    write_photo(folder / 'sharp.png', sharp)
    scores = {
        'psnr_blurred': psnr(blurred, sharp).item(),
        'psnr_restored': psnr(result.pixels, sharp).item(),
        'psnr_restored_with_true_kernel': psnr(ceiling, sharp).item(),
    }
    pictures = [('kernel_grid.png', 'the estimated blur over the photo')]
    if hasattr(estimate, 'kernel'):
        scores['agreement'] = estimate.agreement
        write_picture(folder / 'kernels.png', draw_kernel_pair(estimate.kernel, truth.kernels[0, 0]))
        pictures.insert(0, ('kernels.png', 'the kernel that was found in the photo, and the one that blurred it'))
    line = (
        f'PSNR blurred {scores["psnr_blurred"]:.1f} dB, restored {scores["psnr_restored"]:.1f} dB, restored with the '
        f'true kernel {scores["psnr_restored_with_true_kernel"]:.1f} dB.'
    )
    words = CHOICE if case is SEVERE else 'This photo was blurred here as the one above, by another shake.'
    return Section(case.title, line, words, folder.name, tuple(pictures), scores=scores)


def draw_kernel_pair(found: Tensor, truth: Tensor):
    """Draw two kernels (K, K) beside each other; the smaller one on a canvas of the larger."""
    size = max(found.shape[-1], truth.shape[-1])
    found, truth = (
        torch.nn.functional.pad(each, [(size - each.shape[-1]) // 2] * 4)[None] for each in (found.cpu(), truth.cpu())
    )
    return draw_kernel_sets({'estimated': found, 'true': truth}, tile=max(1, 260 // size) * size)


def with_true_blur(blurred: Tensor, truth: bb.BlurField) -> Tensor:
    """Restore a photo with its true blur, removed as that of a camera shake which was found."""
    estimate = bb.Estimate(truth, 'true', removal_for(blurred, GAMMA))
    return bb.Deblurrer(lambda photo, gamma, progress=None: estimate)(blurred).pixels


def show(folder: Path, photo: Tensor, deblurrer: bb.Deblurrer) -> bb.Deblurred:
    """Restore a photo and write the pictures of it."""
    result = deblurrer(photo)
    write_photo(folder / 'blurred.png', photo)
    write_photo(folder / 'restored.png', result.photo)
    write_picture(folder / 'kernel_grid.png', draw_kernel_grid(photo, result.field, cells=8))
    return result


# ------------------------------------------------------------------------------------------------ 2. data, 3. training


def prepare() -> None:
    prepare_photos()
    for name, size in (('kernels.lmdb', KERNEL_SIZE), ('flow_kernels.lmdb', TRAINED_SIZE)):
        target = (DATA / name).relative_to(ROOT)
        command('prep-kernels', '-o', target, '-n', str(KERNELS), '--kernel-size', str(size))


def prepare_photos() -> None:
    """Make the LMDBs of photos to train on and to validate with."""
    for split, names in (('train', TRAINING_PHOTOS), ('val', VALIDATION_PHOTOS)):
        folder = DATA / f'{split}_photos'
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(PHOTOS / name, folder / name)
        command('prep-lmdb', folder.relative_to(ROOT), '-o', (DATA / split).relative_to(ROOT))


def train(name: str, *changes: str) -> Path:
    """Train by an option file, and return the folder of its weights."""
    changes = ('logger:loss_log_freq=1', 'logger:use_tb_logger=false', *changes)
    command('train', Path('options') / f'{name}.yml', '--force_yml', *changes)
    return EXPERIMENTS / name / 'models'


def snapshots(models: Path) -> dict[int, Path]:
    """Return the weights that a training kept, by their iteration."""
    found = {path.stem.removeprefix('net_g_'): path for path in models.glob('net_g_*.pth')}
    return {int(number): found[number] for number in sorted(found, key=lambda each: each.zfill(9)) if number.isdigit()}


def trained_estimator(output: Path) -> Section:
    """Train an estimator small, and draw what it sees in a photo that it was not trained on."""
    folder = output / 'estimator'
    models = train(ESTIMATOR, 'datasets:val:samples_per_epoch=2', 'val:save_img=false')
    photo = read_photo(PHOTOS / VALIDATION_PHOTOS[0]).pixels
    blurred, truth = two_halves(photo)
    stages = snapshots(models)
    torch.manual_seed(0)
    nets = {
        'untrained': type(bb.load_network(stages[max(stages)]))(**bb.load_network(stages[max(stages)]).hyper_parameters)
    }
    nets |= {f'after {number} iterations': bb.load_network(path) for number, path in stages.items()}
    fields = {name: bb.estimate_blur(net, blurred) for name, net in nets.items()}
    scores = {name: field_errors(field, truth)['kernel_correlation'].item() for name, field in fields.items()}
    scores['no blur'] = field_errors(no_blur(truth), truth)['kernel_correlation'].item()
    pictures = []
    for index, (name, picture) in enumerate(draw_kernel_grids(blurred, {**fields, 'truth': truth}, cells=7).items()):
        write_picture(folder / f'grid_{index}.png', picture)
        score = f': correlation with the true kernels {scores[name]:.2f}' if name in scores else ''
        pictures.append((f'grid_{index}.png', f'{name}{score}'))
    write_picture(folder / 'basis_and_mixing.png', draw_basis_montage(fields[list(fields)[-1]]))
    pictures.append(('basis_and_mixing.png', 'at the end: the kernels, and where in the photo each of them is used'))
    line = (
        f'correlation of its kernels with the true ones {scores["untrained"]:.2f} untrained, '
        f'{scores[list(fields)[-1]]:.2f} after {max(stages)} iterations; no blur at all has {scores["no blur"]:.2f}.'
    )
    words = (
        f'A CorrelationKPN of 0.3 M parameters sees {16 * max(stages)} synthetic scenes of ten photos. The cat is not '
        'among them, and its left and right half are blurred by two shakes. The network learns how long a blur is, '
        'and its direction; the shipped one, trained for hours, also knows its shape.'
    )
    curve = loss_curve(EXPERIMENTS / ESTIMATOR / 'losses.jsonl', 'l_divergence', 'divergence from the true kernels')
    return Section(
        'Training: an estimator learns to see blur', line, words, folder.name, tuple(pictures), curve, scores
    )


def trained_flow(output: Path) -> Section:
    """Train a flow of kernels small, and draw what it takes for a kernel."""
    folder = output / 'flow'
    iterations = str(FLOW_ITERATIONS)
    models = train(
        FLOW, f'train:total_iter={iterations}', f'train:scheduler:periods=[{iterations}]', f'val:val_freq={iterations}',
        'logger:save_checkpoint_freq=100',
    )  # fmt: skip
    stages = snapshots(models)
    chosen = [stages[number] for number in (100, max(stages))]
    nets = [bb.load_network(path) for path in chosen]
    untrained = type(nets[0])(**nets[0].hyper_parameters).eval()
    untrained.set_normalization(nets[0].normalization.item())
    truth = torch.from_numpy(bb.shake_kernels(400, TRAINED_SIZE, HELD_OUT_SEED))
    code = torch.randn(SHOWN_KERNELS, untrained.dims, generator=torch.Generator().manual_seed(0))
    sets, scores = {'simulated shakes (the truth)': truth[:SHOWN_KERNELS]}, {}
    names = ('untrained', 'after 100 iterations', f'after {max(stages)} iterations')
    for name, net in zip(names, (untrained, *nets), strict=True):
        with torch.no_grad():
            sets[name] = net.decode(code).view(-1, TRAINED_SIZE, TRAINED_SIZE)
            scores[name] = bits(net, truth)
    write_picture(folder / 'samples.png', draw_kernel_sets(sets, tile=57))
    line = ', '.join(f'{name} {score:.2f}' for name, score in scores.items())
    words = (
        'A KernelFlow learns which kernels a shaking hand makes, as a map between them and normal noise. Here are '
        'kernels, and what it makes of the same noise before training and after. It is the first of three stages; '
        'make demo-flow trains all of them.'
    )
    curve = loss_curve(EXPERIMENTS / FLOW / 'losses.jsonl', 'l_nll', 'minus log-likelihood, nats')
    return Section(
        'Training: a flow learns what kernels look like',
        f'bits per pixel of kernels it has not seen: {line}.',
        words,
        folder.name,
        (('samples.png', 'kernels, and samples of the flow'),),
        curve,
        scores,
    )


def bits(net: bb.KernelFlow, kernels: Tensor) -> float:
    """Return the bits that a flow needs for a pixel of kernels (M, K, K), in steps of 1/720 of its normalization."""
    noise = torch.rand(kernels.shape, generator=torch.Generator().manual_seed(0))
    return bits_per_dimension(kernel_nll(net, kernels, noise), net.dims).mean().item()


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
    one, other = torch.from_numpy(bb.shake_kernels(2, kernel_size, HELD_OUT_SEED))
    kernels = torch.stack([(1 - share) * one + share * other for share in (0.0, 0.35, 0.65, 1.0)])
    field = bb.BlurField(kernels[None], mixing[None])
    light = bb.camera_response(bb.BasisBlur(field)(bb.to_linear(photo)))
    noise = 0.003 * torch.randn(light.shape, generator=torch.Generator().manual_seed(0))
    return sharp, bb.to_srgb((light + noise).clamp(0, 1)), field


def two_halves(photo: Tensor) -> tuple[Tensor, bb.BlurField]:
    """Blur the halves of a photo by two shakes, with a little noise; return that photo and the true field."""
    radius = TRAINED_SIZE // 2
    height, width = (side - 2 * radius for side in photo.shape[-2:])
    right = torch.sigmoid(torch.linspace(-HALVES, HALVES, width)).expand(height, width)
    kernels = [bb.shake_kernels(1, TRAINED_SIZE, HELD_OUT_SEED, number) for number in SHOWN_SHAKES]
    kernels = torch.from_numpy(np.concatenate(kernels))
    field = bb.BlurField(kernels[None], torch.stack([1 - right, right])[None])
    light = bb.BasisBlur(field)(bb.to_linear(photo))
    noise = 0.003 * torch.randn(light.shape, generator=torch.Generator().manual_seed(0))
    return bb.to_srgb((light + noise).clamp(0, 1)), field


def no_blur(field: bb.BlurField) -> bb.BlurField:
    """The field of a photo of the same size whose pixels stay where they are."""
    kernel = torch.zeros(1, 1, field.kernel_size, field.kernel_size)
    kernel[..., field.kernel_size // 2, field.kernel_size // 2] = 1
    return bb.BlurField(kernel, torch.ones(1, 1, *field.image_size))


if __name__ == '__main__':
    sys.exit(main())
