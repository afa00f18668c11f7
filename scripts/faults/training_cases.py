"""Trainings on pairs of photos, and from damaged states."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from case_parts import RUN, Case, Good, Make
from small_files import encoded, flipped, picture, png_header, png_of_chunks, write

PAIRED = """name: a_run
model_type: UFPNetModel
num_gpu: 0
manual_seed: 0
scale: 1
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: gt
    dataroot_lq: lq
    io_backend: {type: disk}
    gt_size: 32
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 0
    batch_size_per_gpu: 1
  val: {name: held_out, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq, io_backend: {type: disk}}
network_g: {type: NAFNet, width: 2, enc_blocks: [1], middle_blocks: 1, dec_blocks: [1]}
path: {pretrain_network_g: ~, resume_state: ~}
train:
  total_iter: 2
  optim_g: {type: Adam, lr: 0.001}
  scheduler: {type: CosineAnnealingRestartLR, periods: [2], eta_min: 0.000001}
  pixel_opt: {type: PSNRLoss}
val: {save_img: false, val_freq: 2, pbar: false, metrics: {psnr: {type: calculate_psnr, crop_border: 0}}}
logger: {print_freq: 1, save_checkpoint_freq: 1}
"""


def pairs(
    change: Callable[[Path], Any] = lambda here: None, *changes: tuple[str, str], more: tuple[str, ...] = ()
) -> Make:
    """A training on two pairs of photos, after a change of its folder and replacements in its option file."""

    def maker(here: Path, good: Good) -> list[Any]:
        text = PAIRED
        for old, new in changes:
            if old not in text:
                raise ValueError(f'{old!r} is not in the option file.')
            text = text.replace(old, new)
        for side in ('gt', 'lq'):
            (here / side).mkdir()
            for name in ('a', 'b'):
                write(f'{side}/{name}.png', encoded(picture(seed=ord(name)), 'PNG'))(here)
        change(here)
        write('o.yml', text)(here)
        return ['train', 'o.yml', *more]

    return maker


def damaged_state(change: Callable[[Path], Any]) -> Make:
    """A training that is to go on from a state that `change` has damaged, with another beside it."""

    def maker(here: Path, good: Good) -> list[Any]:
        folder = here / 'experiments' / 'a_run'
        for name in ('models', 'training_states'):
            (folder / name).mkdir(parents=True)
        for number in (1, 2):
            state = {'epoch': 0, 'iter': number, 'optimizers': [{'state': {}, 'param_groups': [{'lr': 0.1}]}]}
            torch.save({**state, 'schedulers': [{'last_epoch': 1}]}, folder / 'training_states' / f'{number}.state')
            torch.save({'params': {}}, folder / 'models' / f'net_g_{number}.pth')
        change(folder / 'training_states' / '2.state')
        return pairs(more=('--auto_resume',))(here, good)

    return maker


def trainings() -> Iterator[Case]:
    """Trainings that could not work, in their data, their options or the state that they would go on from."""
    title = 'trainings'

    def case(name: str, make: Make, says: str, **more: Any) -> Case:
        return Case(title, name, make, says, may_leave=more.pop('may_leave', (r'experiments',)), talks=True, **more)

    for name, change, says in (
        ('another name', lambda f: (f / 'lq/b.png').rename(f / 'lq/b_blur.png'), r'b\.png'),
        ('one less', lambda f: (f / 'lq/b.png').unlink(), r'b\.png'),
        ('one more', lambda f: shutil.copy(f / 'lq/b.png', f / 'lq/c.png'), r'c\.png'),
        ('another suffix', lambda f: (f / 'lq/b.png').rename(f / 'lq/b.jpg'), r'b\.jpg'),
        ('another size', lambda f: write('lq/b.png', encoded(picture(44), 'PNG'))(f), r'b\.png has'),
        ('too small', lambda f: [write(f'{s}/b.png', encoded(picture(20), 'PNG'))(f) for s in ('gt', 'lq')], '48x20'),
        ('no photo', lambda f: write('lq/b.png', b'no photo')(f), r'b\.png'),
        ('empty photo', lambda f: write('gt/b.png', b'')(f), r'b\.png'),
        ('bomb', lambda f: write('gt/b.png', png_of_chunks(png_header(60000, 60000)))(f), r'b\.png'),
        ('empty folder', lambda f: [(f / 'lq' / n).unlink() for n in ('a.png', 'b.png')], 'lq has no photo'),
        ('only Thumbs.db', lambda f: [(f / 'lq' / n).rename(f / f'lq/{n}.db') for n in ('a.png', 'b.png')], 'no photo'),
    ):
        yield case(f'pairs: {name}', pairs(change), says, short=name in ('another name', 'bomb'))
    for suffix, form in (('.png', 'PNG'), ('.jpg', 'JPEG')):
        yield case(
            f'pairs: cut off {form}',
            pairs(
                lambda f, suffix=suffix, form=form: [
                    [(f / side / f'{name}.png').unlink() for name in ('a', 'b')]
                    and write(f'{side}/a{suffix}', encoded(picture(), form)[: -40 if side == 'lq' else None])(f)
                    for side in ('gt', 'lq')
                ]
            ),
            rf'lq/a\{suffix} is cut off',
            may_leave=(RUN, r'experiments(/a_run(/(models|training_states|visualization))?)?'),
        )
    for name, old, new, says in (
        ('batch of 3 of 2 photos', 'batch_size_per_gpu: 1', 'batch_size_per_gpu: 3', 'fill one batch of 3'),
        ('half of 2 photos in batches of 2', 'batch_size_per_gpu: 1',
         'batch_size_per_gpu: 2\n    dataset_enlarge_ratio: 0.5', 'fill one batch of 2'),
        ('misspelt metric argument', 'crop_border', 'crop_borders', 'crop_borders'),
        ('impossible metric argument', 'crop_border: 0', 'crop_border: 24', 'val: metrics: psnr'),
        ('negative metric argument', 'crop_border: 0', 'crop_border: -3', 'val: metrics: psnr'),
        ('wandb without TensorBoard', 'print_freq: 1', 'print_freq: 1, wandb: {project: p}', 'wandb'),
        ('no gt_size', '    gt_size: 32\n', '', 'gt_size'),
        ('no scale', 'scale: 1\n', '', 'scale'),
        ('no io_backend', '    io_backend: {type: disk}\n', '', 'io_backend'),
        ('misspelt key of pairs', 'use_hflip', 'use_hflp', 'use_hflp'),
        ('LMDB that is a folder', 'io_backend: {type: disk}\n    gt', 'io_backend: {type: lmdb}\n    gt', 'LMDB'),
        ('a number in quotes', 'total_iter: 2', 'total_iter: "2"', "total_iter. is '2'"),
        ('part of an iteration', 'total_iter: 2', 'total_iter: 2.5', 'a whole number'),
        ('a key that is a number', 'scale: 1\n', 'scale: 1\n5: 3\n', 'unknown key "5"'),
        ('sparse gradients only', 'type: Adam,', 'type: SparseAdam,', 'SparseAdam cannot make a step'),
        ('luminance for a network of colours', '    gt_size', '    color: y\n    gt_size', 'in_channels: 1'),
        ('spread of 0', '    gt_size', '    std: [1, 0, 1]\n    gt_size', 'each > 0'),
        ('memcached without its files', '{type: disk}\n    gt', '{type: memcached}\n    gt', 'server_list_cfg'),
        ('a score that is better sideways', 'crop_border: 0', 'crop_border: 0, better: sideways', 'sideways'),
        ('NIQE of small photos', 'calculate_psnr', 'calculate_niqe', 'cannot be computed of photos of 48x40'),
        ('misspelt key of a loss', '{type: PSNRLoss}', '{type: L1Loss, los_weight: 1}', 'los_weight'),
    ):  # fmt: skip
        yield case(name, pairs(lambda here: None, (old, new)), says, may_leave=(), short=name.startswith('batch of 3'))
    for name, change, says in (
        ('empty', lambda path: path.write_bytes(b''), 'goes on from 1.state'),
        ('cut off', lambda path: os.truncate(path, path.stat().st_size // 2), 'goes on from 1.state'),
        ('a flipped bit', lambda path: path.write_bytes(flipped(path.read_bytes(), 0, 64, 500)), 'state'),
        ('no state', lambda path: torch.save({'iter': 2}, path), 'is not a training state'),
        ('a text for the epoch', lambda path: torch.save({**torch.load(path), 'epoch': 'x'}, path), 'epoch'),
        ('no number', lambda path: path.rename(path.with_name('²0.state')), '1.state|net_g|does not fit|checkpoint'),
    ):
        yield case(f'state: {name}', damaged_state(change), says, may_leave=('.*',))
