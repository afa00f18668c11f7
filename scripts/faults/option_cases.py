# ruff: noqa: E501  A case is read best as a line.
"""Option files that would run code, lack something, or have values that no one can mean."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from case_parts import CANARY, RUN, Case, Good, Make, cases
from small_files import samples_of_forms, write

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


def trains(change: Callable[[str, Path], str | bytes], *more: str) -> Make:
    """A training by the sound option file as `change` makes it."""

    def maker(here: Path, good: Good) -> list[Any]:
        text = change(TRAINING.format(kernels=good.kernels), here)
        write('o.yml', text)(here)
        return ['train', 'o.yml', *more]

    return maker


def blurs(**changes: Any) -> Make:
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


def runs_test(more: str = '') -> Make:
    """A test by the sound option file with `more` at its end, in which {here} stands for the folder."""

    def maker(here: Path, good: Good) -> list[Any]:
        text = TESTING.format(gt=good.photos, lq=good.photos, weights=good.kpn) + more.replace('{here}', str(here))
        return ['test', write('o.yml', text)(here)]

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
    calls = '!!python/object/apply:os.system ["touch {here}/' + CANARY + '"]'
    code = '__import__("os").system("touch {here}/' + CANARY + '")'

    def changed(change: Callable[[str], str]) -> Make:
        """A training by the option file as `change` makes it, in which {here} stands for the folder."""
        return trains(lambda opt, here: change(opt).replace('{here}', str(here)))

    def adding(text: str) -> Make:
        return changed(lambda opt: opt + text)

    def replacing(old: str, new: str) -> Make:
        return changed(lambda opt: opt.replace(old, new))

    def nested(letter: str, first: str, further: Callable[[int, str], str]) -> str:
        """Return anchors of which each repeats the one before nine times."""
        lines = [f'{letter}0: &{letter}0 {first}']
        lines += [f'{letter}{n}: &{letter}{n} {further(n, f"*{letter}{n - 1}")}' for n in range(1, 12)]
        return '\n'.join(lines) + '\n'

    laughs = nested('a', f'[{", ".join(["ha"] * 9)}]', lambda n, alias: f'[{", ".join([alias] * 9)}]')
    maps = nested('b', '{x: 1}', lambda n, alias: '{' + ', '.join(f'k{m}: {alias}' for m in range(9)) + '}')
    merges = nested('m', '{x: 1}', lambda n, alias: '{<<: [' + ', '.join([alias] * 9) + ']}')
    section_in_itself = '\ntrain: &t\n  again: *t\n'
    yield from cases(title, {
        'declared tag': (changed(lambda opt: '%TAG !y! tag:yaml.org,2002:python/object/apply:\n---\n' + opt + calls.replace('!!python/object/apply:', 'x: !y!') + '\n'), 'line'),
        'as a key': (adding(f'? {calls}\n: 1\n'), 'line'),
        'in a merge': (adding(f'<<: {calls}\n'), 'line'),
        'in a test': (runs_test(f'x: {calls}\n'), 'line', {'whole': True}),
        'plugin of another': (replacing('plugin.loaded', 'cli.main.main'), 'line 1'),
        'second document': (adding(f'---\nx: {calls}\n'), 'line'),
        **{
            f'--force_yml {entry}': (lambda here, good, entry=entry: trains(lambda opt, here: opt, '--force_yml', entry.format(code=code.format(here=here)))(here, good), '')
            for entry in ('train:x=[{code}]', 'x"]=1;{code}#=1', 'manual_seed=[{code}]')
        },
        'bomb of aliases': (adding(laughs), 'alias', {'short': True, 'whole': True}),
        'bomb of aliases under a known key': (changed(lambda opt: laughs + opt.replace('periods: [1]', 'periods: *a11')), 'alias'),
        'bomb of mappings': (adding(maps), 'alias'),
        'bomb of merges': (adding(merges), 'alias'),
        'recursive list': (adding('x: &x [*x]\n'), 'alias'),
        'recursive section': (replacing('\ntrain:\n', section_in_itself), 'alias'),
        'merge of itself': (adding('x: &x {<<: *x}\n'), 'alias'),
        'deep lists': (adding('x: ' + '[' * 50000), 'nested|deep'),
        'deep mappings': (adding('x: ' + '{a: ' * 20000), 'nested|deep'),
        'long number': (replacing('total_iter: 1', 'total_iter: ' + '9' * 10000), ''),
        'number in base 60': (replacing('total_iter: 1', 'total_iter: 1' + ':59' * 3000), ''),
        '50 MB of comment': (adding('#' * 50_000_000), 'MB|bytes'),
        'name that leaves the folder': (replacing('name: a_run', 'name: ../../outside'), 'name'),
        'name with a zero byte': (replacing('name: a_run', 'name: "a\\0b"'), 'name'),
        'absolute name': (replacing('name: a_run', 'name: {here}/elsewhere'), 'name'),
    })  # fmt: skip


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
        make = trains(lambda opt, here, text=text: text)
        yield Case(title, name, make, r'o\.yml|option file', short=name in ('empty', 'binary'), whole=name == 'empty')
    yield Case(title, 'tabs', trains(lambda opt, here: opt.replace('    name', '\tname')), 'line')
    yield Case(title, 'cut off', trains(lambda opt, here: opt[:400]), '')
    for section in ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path', 'train', 'logger'):
        make = trains(lambda opt, here, section=section: drop(opt, section))
        yield Case(title, f'without {section}', make, section, short=section == 'train')
    for section in ('datasets', 'network_g', 'path', 'train', 'val', 'logger'):
        for value in ('5', '[a, b]', 'text'):
            line = f'{section}: {value}'
            make = trains(lambda opt, here, section=section, line=line: drop(opt, section) + f'{line}\n')
            yield Case(title, line, make, section)
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
    added = {
        'total_iter: 1\n  {}': {'ema_decay': ('2', '-1', '.nan'), 'grad_clip_norm': ('-1', '0', '.inf'), 'warmup_iter': ('.nan', '-99', 'x'), 'amp': ('fp8',)},
        'batch_size_per_gpu: 2\n    {}': {
            'dataset_enlarge_ratio': ('0', '-1', '.nan', '1e30'), 'hold_out': ('-1', '6', '99', '1.5'), 'prefetch_mode': ('gpu', 'cuda'), 'persistent_workers': ('true',),
            'num_prefetch_queue': ('-1\n    prefetch_mode: cpu',), 'io_backend': ('5', '{type: disk}', '{}'), 'nothing': ('1',),
        },
        'lr: 0.001, {}': {'betas': ('[2, 2]', '5')},
    }  # fmt: skip
    says = {'val_freq: 0': 'val_freq', 'betas: [2, 2]': 'betas?|beta', 'betas: 5': 'optim_g'}
    changes = {}  # name -> what stands in the sound file, what shall
    for line, wrongs in {**values, 'val_freq: 1': ('0',)}.items():
        key = line.split(':')[0]
        changes |= {f'{key}: {wrong}': (line, f'{key}: {wrong}') for wrong in wrongs}
    for place, keys in added.items():
        line = place.removesuffix('{}').rstrip('\n, ')
        for key, wrongs in keys.items():
            changes |= {f'{key}: {wrong}': (line, place.replace('{}', f'{key}: {wrong}')) for wrong in wrongs}
    for name, change in changes.items():
        make = trains(lambda opt, here, change=change: opt.replace(*change))
        name = name.split('\n')[0]
        yield Case(title, name, make, says.get(name, ''), may_leave=(RUN,), talks=True, short=name == 'print_freq: 0')
    entries = ('', '=', 'a', 'a=1=2', ':=', 'nothing:x=1', 'train:total_iter=', 'train:total_iter=nan', 'name=', 'train=5', 'datasets:train=~', 'train:optim_g:lr=[', '"]=1')  # fmt: skip
    words = {f'--force_yml {entry!r}': ['--force_yml', entry] for entry in entries}
    words |= {
        text: text.split() for text in ('--launcher pytorch', '--launcher slurm', '--launcher x', '--local_rank x')
    }
    for name, more in words.items():
        yield Case(title, name, trains(lambda opt, here: opt, *more), '', may_leave=(RUN,), talks=True)


def drop(text: str, section: str) -> str:
    """Return an option file without one of its sections."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if not line.startswith(' '):
            inside = line.startswith(f'{section}:')
        if not inside:
            kept.append(line)
    return ''.join(kept)
