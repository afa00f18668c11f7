# ruff: noqa: E501  A case is read best as a line.
"""Option files that would run code, lack something, or have values that no one can mean."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from case_parts import CANARY, RUN, Case, Good, samples_of_forms, write

TRAINING = """plugin: !!python/name:basis_blur.plugin.loaded
name: a_run
model_type: KernelFlowModel
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: kernels
    type: KernelDataset
    dataroot: {kernels}
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
network_g: {{type: KernelFlow, kernel_size: 5, num_blocks: 2, hidden: 4}}
path: {{pretrain_network_g: ~, resume_state: ~}}
train:
  total_iter: 1
  optim_g: {{type: Adam, lr: 0.001}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [1], eta_min: 0.000001}}
  nll_opt: {{type: FlowNLLLoss}}
val: {{save_img: false, val_freq: 1}}
logger: {{print_freq: 1, save_checkpoint_freq: 1, use_tb_logger: false}}
"""


BLURRING = """name: a_run
model_type: BasisBlurModel
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: photos
    type: SyntheticBlurDataset
    dataroot_gt: {photos}
    dataroot_masks: {masks}
    dataroot_kernels: {kernels}
    io_backend: {{type: lmdb}}
    kernel_size: {size}
    patch_size: 32
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
network_g: {{type: BasisKPN, num_feat: 1, num_kernels: 2}}
path: {{pretrain_network_g: {weights}}}
train:
  total_iter: 1
  optim_g: {{type: Adam, lr: 0.001}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [1], eta_min: 0.000001}}
  kernel_opt: {{type: KernelLoss}}
logger: {{print_freq: 1, save_checkpoint_freq: 1, use_tb_logger: false}}
"""


TESTING = """name: a_test
model_type: NonUniformRLModel
num_gpu: 0
datasets:
  test: {{name: photos, type: PairedImageDataset, dataroot_gt: {gt}, dataroot_lq: {lq}, io_backend: {{type: disk}}}}
network_g: {{type: BasisKPN, num_feat: 1, num_kernels: 2}}
path: {{pretrain_network_g: {weights}}}
scale: 1
val: {{save_img: true, suffix: ~, metrics: {{psnr: {{type: calculate_psnr, crop_border: 0}}}}}}
"""


def trains(change: Callable[[str, Path], str | bytes], *more: str) -> Callable[[Path, Good], list[Any]]:
    """A training by the sound option file as `change` makes it."""

    def maker(here: Path, good: Good) -> list[Any]:
        text = change(TRAINING.format(kernels=good.kernels), here)
        write('o.yml', text)(here)
        return ['train', 'o.yml', *more]

    return maker


def blurs(**changes: Any) -> Callable[[Path, Good], list[Any]]:
    """A training on blurred photos with other inputs: each change is made by a function of folder and sound inputs."""

    def maker(here: Path, good: Good) -> list[Any]:
        values = {
            'photos': good.photos_lmdb,
            'masks': good.masks_lmdb,
            'kernels': good.large_kernels,
            'weights': '~',
            'size': 33,
        }
        values.update({key: make(here, good) for key, make in changes.items()})
        write('o.yml', BLURRING.format(**values))(here)
        return ['train', 'o.yml']

    return maker


def hostile_options() -> Iterator[Case]:
    """Option files that would run code or take memory."""
    title = 'option files: hostile'
    touch = '["touch {here}/' + CANARY + '"]'
    tags = {
        'apply os.system': '!!python/object/apply:os.system ' + touch,
        'apply subprocess': '!!python/object/apply:subprocess.check_output [[touch, {here}/' + CANARY + ']]',
        'apply eval': '!!python/object/apply:builtins.eval ["open(\'{here}/' + CANARY + "', 'w')\"]",
        'new Popen': '!!python/object/new:subprocess.Popen [[touch, {here}/' + CANARY + ']]',
        'object': '!!python/object:pathlib.Path {{}}',
        'name': '!!python/name:os.system',
        'name of ours': '!!python/name:basis_blur.plugin.register',
        'name with a tail': '!!python/name:basis_blur.plugin.loaded.x',
        'module': '!!python/module:antigravity',
        'full tag': '!<tag:yaml.org,2002:python/object/apply:os.system> ' + touch,
        'tuple': '!!python/tuple [1, 2]',
        'another tag': '!Ref x',
        'binary': '!!binary aGVsbG8=',
        'set': '!!set {{a, b}}',
    }
    for name, text in tags.items():
        says = 'line' if name in ('binary', 'tuple', 'set') else r'tag.*line|line.*tag'
        yield Case(
            title, name, trains(lambda opt, here, text=text: opt + 'x: ' + text.format(here=here) + '\n'), says,
            short=name in ('apply os.system', 'name'), whole=name in ('apply os.system', 'full tag'),
        )  # fmt: skip
    declared = '%TAG !y! tag:yaml.org,2002:python/object/apply:\n---\n'
    yield Case(
        title,
        'declared tag',
        trains(lambda opt, here: declared + opt + f'x: !y!os.system ["touch {here}/{CANARY}"]\n'),
        'line',
    )
    yield Case(
        title,
        'as a key',
        trains(lambda opt, here: opt + f'? !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n: 1\n'),
        'line',
    )
    yield Case(
        title,
        'in a merge',
        trains(lambda opt, here: opt + f'<<: !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n'),
        'line',
    )
    yield Case(
        title,
        'in a test',
        lambda here, good: [
            'test',
            write(
                'o.yml',
                TESTING.format(gt=good.photos, lq=good.photos, weights=good.kpn)
                + f'x: !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n',
            )(here),
        ],
        'line',
        whole=True,
    )
    yield Case(
        title, 'plugin of another', trains(lambda opt, here: opt.replace('plugin.loaded', 'cli.main.main')), 'line 1'
    )
    yield Case(
        title,
        'second document',
        trains(lambda opt, here: opt + f'---\nx: !!python/object/apply:os.system ["touch {here}/{CANARY}"]\n'),
        'line',
    )
    code = '__import__("os").system("touch {here}/' + CANARY + '")'
    for entry in ('train:x=[{code}]', 'x"]=1;{code}#=1', 'manual_seed=[{code}]'):
        yield Case(
            title,
            f'--force_yml {entry}',
            lambda here, good, entry=entry: [
                *trains(lambda opt, here: opt)(here, good),
                '--force_yml',
                entry.format(code=code.format(here=here)),
            ],
            '',
        )
    laughs = 'a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n' + ''.join(
        f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 12)
    )
    yield Case(title, 'bomb of aliases', trains(lambda opt, here: opt + laughs), 'alias', short=True, whole=True)
    yield Case(
        title,
        'bomb of aliases under a known key',
        trains(lambda opt, here: laughs + opt.replace('periods: [1]', 'periods: *a11')),
        'alias',
    )
    maps = 'b0: &b0 {x: 1}\n' + ''.join(
        f'b{n}: &b{n} {{' + ', '.join(f'k{m}: *b{n - 1}' for m in range(9)) + '}\n' for n in range(1, 12)
    )
    yield Case(title, 'bomb of mappings', trains(lambda opt, here: opt + maps), 'alias')
    merges = 'm0: &m0 {x: 1}\n' + ''.join(
        f'm{n}: &m{n} {{<<: [{", ".join([f"*m{n - 1}"] * 9)}]}}\n' for n in range(1, 12)
    )
    yield Case(title, 'bomb of merges', trains(lambda opt, here: opt + merges), 'alias')
    yield Case(title, 'recursive list', trains(lambda opt, here: opt + 'x: &x [*x]\n'), 'alias')
    yield Case(
        title,
        'recursive section',
        trains(
            lambda opt, here: opt.replace('\ntrain:\n', '\ntrain: &t\n').replace(
                'total_iter: 1', 'total_iter: 1\n  again: *t'
            )
        ),
        'alias',
    )
    yield Case(title, 'merge of itself', trains(lambda opt, here: opt + 'x: &x {<<: *x}\n'), 'alias')
    yield Case(title, 'deep lists', trains(lambda opt, here: opt + 'x: ' + '[' * 50000), 'nested|deep')
    yield Case(title, 'deep mappings', trains(lambda opt, here: opt + 'x: ' + '{a: ' * 20000), 'nested|deep')
    yield Case(
        title, 'long number', trains(lambda opt, here: opt.replace('total_iter: 1', 'total_iter: ' + '9' * 10000)), ''
    )
    yield Case(
        title,
        'number in base 60',
        trains(lambda opt, here: opt.replace('total_iter: 1', 'total_iter: 1' + ':59' * 3000)),
        '',
    )
    yield Case(title, '50 MB of comment', trains(lambda opt, here: opt + '#' * 50_000_000), 'MB|bytes')
    yield Case(
        title,
        'name that leaves the folder',
        trains(lambda opt, here: opt.replace('name: a_run', 'name: ../../outside')),
        'name',
    )
    yield Case(
        title, 'name with a zero byte', trains(lambda opt, here: opt.replace('name: a_run', 'name: "a\\0b"')), 'name'
    )
    yield Case(
        title, 'absolute name', trains(lambda opt, here: opt.replace('name: a_run', f'name: {here}/elsewhere')), 'name'
    )


def broken_options() -> Iterator[Case]:
    """Option files that are no YAML, lack something, or have values that no one can mean."""
    title = 'option files: broken'
    noise = random.Random(0).randbytes(2000)
    for name, text in {
        'empty': b'', 'binary': noise, 'zero bytes': bytes(100), 'photo': samples_of_forms()['png'], 'utf-16': TRAINING.encode('utf-16'),
        'latin': 'name: caf\xe9\n'.encode('latin1'), 'a list': b'- a\n- b\n', 'a word': b'hello\n', 'null': b'~\n', 'a number': b'5\n',
        'json cut off': b'{"name": "x", "train": {', 'control characters': b'name: a\x07b\n', 'unknown alias': b'a: *b\n', 'key twice': b'name: a\nname: b\n',
        'key of a list': b'? [a]\n: 1\n', 'key of a mapping': b'{{a: 1}: 2}\n', 'numbers as keys': b'1: 2\n3: 4\n', 'merge of a number': b'<<: 5\n', 'impossible date': b'a: 2023-99-99\n',
        'bad float': b'a: !!float x\n', 'bad int': b'a: !!int x\n', 'bad bool': b'a: !!bool x\n', 'bad timestamp': b'a: !!timestamp x\n', 'sign only': b'a: !!int "-"\n', 'empty float': b'a: !!float ""\n',
    }.items():  # fmt: skip
        yield Case(
            title,
            name,
            trains(lambda opt, here, text=text: text),
            r'o\.yml|option file',
            short=name in ('empty', 'binary'),
            whole=name == 'empty',
        )
    yield Case(title, 'tabs', trains(lambda opt, here: opt.replace('    name', '\tname')), 'line')
    yield Case(title, 'cut off', trains(lambda opt, here: opt[:400]), '')
    for section in ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path', 'train', 'logger'):
        yield Case(
            title,
            f'without {section}',
            trains(lambda opt, here, section=section: drop(opt, section)),
            section,
            short=section == 'train',
        )
    for section in ('datasets', 'network_g', 'path', 'train', 'val', 'logger'):
        for value in ('5', '[a, b]', 'text'):
            yield Case(
                title,
                f'{section}: {value}',
                trains(lambda opt, here, section=section, value=value: drop(opt, section) + f'{section}: {value}\n'),
                section,
            )
    values = {
        'manual_seed: 0': ('-1', '1e30', '99999999999999999999', '.nan', 'abc', '[1]'),
        'num_gpu: 0': ('-1', '99', '.inf', 'abc', '1.5'),
        'name: a_run': ('5', '~', '""', '.', '[a]', 'a/../../b'),
        'model_type: KernelFlowModel': ('Nothing', '~', '5'),
        'num_worker_per_gpu: 0': ('-1', '99999999', '1.5', 'two'),
        'batch_size_per_gpu: 2': ('-1', '0', '1.5', '99999999999999999999'),
        'total_iter: 1': ('-1', '0', '.nan', '.inf', '1e300', 'many'),
        'lr: 0.001': ('-1', '.nan', '.inf', 'x', '~', '1e400'),
        'periods: [1]': ('[]', '[0]', '[-1]', '[a]', '5', '~', '[.nan]'),
        'eta_min: 0.000001': ('.nan', '[1]'),
        'type: Adam': ('Adma', 'LBFGS', '5', '~'),
        'print_freq: 1': ('0', '-1', '.nan', 'x'),
        'save_checkpoint_freq: 1': ('0', '-1', '.nan'),
        'hidden: 4': ('0', '-1', '99999999999', '.nan', 'x'),
        'kernel_size: 5': ('0', '-5', '4', '7', '99999999', '.nan'),
        'num_blocks: 2': ('0', '-1', '100000000'),
        'type: FlowNLLLoss': ('KernelLoss', 'FlowNLLLoss, loss_weight: .nan', 'FlowNLLLoss, x: 1', 'Nothing'),
        'save_img: false': ('maybe', '5'),
        'pretrain_network_g: ~': ('nowhere.pth', '5', '/', '/dev/zero'),
        'resume_state: ~': ('nowhere.state', '5', '/', '/dev/zero'),
    }  # fmt: skip
    left = (RUN,)
    for line, wrongs in values.items():
        key = line.split(':')[0]
        for wrong in wrongs:
            name = f'{key}: {wrong}'
            yield Case(
                title,
                name,
                trains(lambda opt, here, line=line, key=key, wrong=wrong: opt.replace(line, f'{key}: {wrong}')),
                '',
                may_leave=left,
                talks=True,
                short=name == 'print_freq: 0',
            )
    for key, wrongs in {
        'ema_decay': ('2', '-1', '.nan'),
        'grad_clip_norm': ('-1', '0', '.inf'),
        'warmup_iter': ('.nan', '-99', 'x'),
        'amp': ('fp8',),
    }.items():
        for wrong in wrongs:
            yield Case(
                title,
                f'{key}: {wrong}',
                trains(
                    lambda opt, here, key=key, wrong=wrong: opt.replace(
                        'total_iter: 1', f'total_iter: 1\n  {key}: {wrong}'
                    )
                ),
                '',
                may_leave=left,
                talks=True,
            )
    for key, wrongs in {
        'dataset_enlarge_ratio': ('0', '-1', '.nan', '1e30'),
        'hold_out': ('-1', '6', '99', '1.5'),
        'prefetch_mode': ('gpu', 'cuda'),
        'persistent_workers': ('true',),
        'num_prefetch_queue': ('-1, prefetch_mode: cpu',),
        'io_backend': ('5', '{type: disk}', '{}'),
        'nothing': ('1',),
    }.items():
        for wrong in wrongs:
            if ',' in wrong:
                wrong = wrong.replace(', ', '\n    ')
            yield Case(
                title,
                f'{key}: {wrong.split(chr(10))[0]}',
                trains(
                    lambda opt, here, key=key, wrong=wrong: opt.replace(
                        'batch_size_per_gpu: 2', f'batch_size_per_gpu: 2\n    {key}: {wrong}'
                    )
                ),
                '',
                may_leave=left,
                talks=True,
            )
    yield Case(
        title,
        'val_freq: 0',
        trains(lambda opt, here: opt.replace('val_freq: 1', 'val_freq: 0')),
        'val_freq',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'betas: [2, 2]',
        trains(lambda opt, here: opt.replace('lr: 0.001', 'lr: 0.001, betas: [2, 2]')),
        'betas?|beta',
        may_leave=left,
        talks=True,
    )
    yield Case(
        title,
        'betas: 5',
        trains(lambda opt, here: opt.replace('lr: 0.001', 'lr: 0.001, betas: 5')),
        'optim_g',
        may_leave=left,
        talks=True,
    )
    for entry in (
        '',
        '=',
        'a',
        'a=1=2',
        ':=',
        'nothing:x=1',
        'train:total_iter=',
        'train:total_iter=nan',
        'name=',
        'train=5',
        'datasets:train=~',
        'train:optim_g:lr=[',
        '"]=1',
    ):
        yield Case(
            title,
            f'--force_yml {entry!r}',
            trains(lambda opt, here: opt, '--force_yml', entry),
            '',
            may_leave=left,
            talks=True,
        )
    for more in (['--launcher', 'pytorch'], ['--launcher', 'slurm'], ['--launcher', 'x'], ['--local_rank', 'x']):
        yield Case(title, ' '.join(more), trains(lambda opt, here: opt, *more), '', may_leave=left, talks=True)


def drop(text: str, section: str) -> str:
    """Return an option file without one of its sections."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if not line.startswith(' '):
            inside = line.startswith(f'{section}:')
        if not inside:
            kept.append(line)
    return ''.join(kept)
