"""Every command that an option file or docs/papers.md prints does what it says: it runs, and makes what is needed.

A command is a comment line, indented by four spaces, that begins with `basis-blur` or `torchrun`. The commands of a
file's "Before" come first, with those of the files that they train from; then the file itself is trained or tested,
then its other commands. Photos are few and small, networks narrow, trainings one step long; nothing else is changed.
What the processes of `torchrun` do is tested elsewhere; here their options are read.
"""

import dataclasses
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from vgg_weights import vgg_state

from basis_blur.archs import ARCHS
from basis_blur.bridges.basicsr.option_file import read_option_file
from basis_blur.cli.main import build_parser, main
from basis_blur.data import benchmark_sets

ROOT = Path(__file__).parents[1]
OPTIONS = ROOT / 'options'
PAPERS = ROOT / 'docs' / 'papers.md'
SHIPPED = ROOT / 'basis_blur' / 'weights' / 'trained'
FILES = sorted(OPTIONS.glob('*.yml'))
PHOTO = Path(skimage.__file__).parent / 'data' / 'astronaut.png'
KERNELS = 24  # a light flow is trained on batches of 4 of those that are not held out
SMALL = {
    'train:total_iter': 1, 'train:warmup_iter': -1, 'val:val_freq': 100, 'val:save_img': 'false', 'val:tile': 'none',
    'logger:save_checkpoint_freq': 100, 'logger:use_tb_logger': 'false', 'num_gpu': 0,
    'datasets:train:num_worker_per_gpu': 0, 'datasets:train:persistent_workers': 'false',
    'datasets:train:pin_memory': 'false', 'datasets:train:batch_size_per_gpu': 1, 'datasets:train:gt_size': 40,
    'datasets:train:patch_size': 48, 'datasets:val:patch_size': 48, 'datasets:val:samples_per_epoch': 1,
    'datasets:train:samples_per_epoch': 4, 'datasets:train:hold_out': KERNELS // 2,
    'datasets:val:hold_out': KERNELS // 2, 'datasets:train:dataset_enlarge_ratio': 1,
    'datasets:train:least_trust': 0.0,
}  # fmt: skip
NARROW = {
    'BasisKPN': {'num_feat': 2},
    'UFPNet': {'width': 2, 'enc_blocks': '[1,1,1,1]', 'estimator_width': 2},
    'NAFNet': {'width': 2, 'enc_blocks': '[1,1,1,1]'},
    'LatentKernelNet': {'width': 2},
    'DeblurGANGenerator': {'width': 2, 'num_blocks': 1},
    'MIMOUNet': {'width': 4, 'num_res': 1},
    'MPRNet': {'width': 4, 'unet_step': 2, 'full_size_step': 2, 'num_cab': 1},
}


def commands_of(path: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Return the commands under "Before" and the others, as words."""
    before, others, here = [], [], None
    lines = iter(line[1:] for line in path.read_text().splitlines() if line.startswith('#'))
    for line in lines:
        if not line.strip():
            here = None
        elif not line.startswith(' ' * 5):
            here = before if line.strip().startswith('Before') else others
            assert 'basis-blur ' not in line, f'{path.name}: a command within a sentence: {line}'
        elif is_command(line):
            while line.endswith('\\'):
                line = line[:-1] + next(lines)
            (others if here is None else here).append(shlex.split(line))
    return before, others


def commands_of_page(path: Path) -> list[list[str]]:
    """Return the commands of a page, as words."""
    return [shlex.split(line) for line in path.read_text().splitlines() if is_command(f' {line}')]


def is_command(line: str) -> bool:
    return re.match(r' {5}(OMP_NUM_THREADS=1 )?(basis-blur|torchrun) ', line) is not None


def words_of_basis_blur(command: list[str]) -> list[str]:
    """Return the arguments of `basis-blur`, by whatever it is started."""
    words = [word for word in command if word != 'OMP_NUM_THREADS=1']
    if words[0] == 'torchrun':
        words = words[words.index('basis_blur') :]
        place = words.index('--launcher')
        assert words[place + 1] == 'pytorch'
        del words[place : place + 2]
    return words[1:]


class Workshop:
    """A folder in which commands run, each once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: set[str] = set()

    def run_file(self, path: Path) -> None:
        """Do what a file says comes before it, and train or test by it, unless that was done."""
        if path.name in self.done:
            return
        self.done.add(path.name)
        for command in commands_of(path)[0]:
            self.run(words_of_basis_blur(command))
        self._work(['train' if 'train' in read_option_file(path) else 'test', path.stem])

    def run(self, words: list[str]) -> None:
        """Run a command of `basis-blur`, unless that was done, after the trainings whose weights it names."""
        if words[0] == 'deblur':
            for name in runs_in(words):
                self.run_named(name)
        if words[0] in ('train', 'test'):
            assert OPTIONS / f'{words[1]}.yml' in FILES, f'{words[1]} is no option file'
            self.run_file(OPTIONS / f'{words[1]}.yml')
        if words[0] == 'samples':
            for command in commands_of(OPTIONS / f'{words[1]}.yml')[0]:
                self.run(words_of_basis_blur(command))
        if words[2:] == [] or shlex.join(words) in self.done:
            return
        self.done.add(shlex.join(words))
        if words[0] in ('train', 'test'):
            self._work(words)
        else:
            words = [self._stand_in(word) for word in words]
            if '-n' in words:
                words[words.index('-n') + 1] = str(KERNELS)
            finish(words + (['--workers', '0'] if words[0] in ('prep-lmdb', 'prep-kernels') else []))

    def _work(self, words: list[str]) -> None:
        """Train or test, small, after what the run begins with."""
        path = OPTIONS / f'{words[1]}.yml'
        words = [word.replace('SHIPPED', str(SHIPPED)) for word in words]
        for name in named_runs(path, words):
            self.run_named(name)
        if '--force_yml' not in words:
            words = [*words, '--force_yml']
        finish([*words, *small(path, words)])

    def run_named(self, name: str) -> None:
        """Train the network of a run, unless that was done."""
        if (self.folder / 'experiments' / name).exists():
            return
        if OPTIONS / f'{name}.yml' in FILES:
            self.run_file(OPTIONS / f'{name}.yml')
            return
        for command in (each for path in FILES for each in commands_of(path)[1]):
            if f'name={name}' in command:
                self.run(words_of_basis_blur(command))
                return
        pytest.fail(f'experiments/{name} is needed, and no command makes it')

    def _stand_in(self, word: str) -> str:
        name, equals, value = word.rpartition('=')
        if not re.fullmatch(r'[A-Z][A-Za-z0-9_]+(\.zip|\.npz|\.pth)?', value):
            return word
        given = self.folder / 'given' / value
        return f'{name}{equals}{given if given.exists() else given.with_suffix(".png")}'


def named_runs(path: Path, words: list[str]) -> Iterator[str]:
    """The runs whose weights a command begins with."""
    opt = read_option_file(path)
    changed = {word.partition('=')[0] for word in words}
    values = [value for key, value in opt['path'].items() if f'path:{key}' not in changed]
    yield from runs_in([*values, *(word.partition('=')[2] for word in words)])


def runs_in(words: list) -> list[str]:
    """The runs whose weights some words name."""
    return [found[1] for word in words if (found := re.match(r'experiments/(\w+)/models/', str(word)))]


def small(path: Path, words: list[str]) -> list[str]:
    """The changes that make a run of an option file small, of options that it has."""
    opt = read_option_file(path)
    changes = dict(SMALL)
    if 'KernelDataset' in (section.get('type') for section in opt['datasets'].values()):
        changes['datasets:train:batch_size_per_gpu'] = 4
    if has(opt, 'train:view_size'):
        changes['train:view_size'] = 32
    kind = opt['network_g']['type']
    if any(word.startswith('network_g:restorer=') for word in words):
        changes['network_g:estimator_width'] = NARROW[kind]['estimator_width']
    elif not path.stem.endswith(('quick', 'light')):  # those are narrow, and begin with shipped weights
        changes |= {f'network_g:{key}': value for key, value in NARROW.get(kind, {}).items()}
    return [f'{keys}={value}' for keys, value in changes.items() if keys.startswith('network_g') or has(opt, keys)]


def has(opt: dict, keys: str) -> bool:
    *sections, last = keys.split(':')
    for section in sections:
        opt = opt.get(section, {})
    return last in opt


def finish(words: list[str]) -> None:
    """Run a command in this process."""
    sys.argv = ['basis-blur']
    build_parser(words[0]).parse_args(words)
    assert main(words) == 0, shlex.join(words)


def photo(path: Path, side: int, corner: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(PHOTO) as picture:
        picture.crop((corner, corner, corner + side, corner + side)).save(path)


def person(side: int) -> np.ndarray:
    labels = np.zeros((side, side), np.uint8)
    labels[40:-40, 40:-40] = 1
    return labels


@pytest.fixture(scope='module')
def workshop(tmp_path_factory):
    """What a user has: photos with masks, and downloads of benchmarks, all of one or two photos."""
    folder = tmp_path_factory.mktemp('headers')
    given = folder / 'given'
    for corner, part in ((0, 'TRAINING'), (100, 'VALIDATION')):
        photo(given / f'{part}_PHOTOS' / 'a.png', 300, corner)
        (given / f'{part}_LABELS').mkdir()
        Image.fromarray(person(300)).save(given / f'{part}_LABELS' / 'a.png')
        photo(given / f'{part}_BLURRED' / 'a.png', 96, corner)
        photo(given / f'ADE20K_{part}' / 'a.jpg', 300, corner)
        kind = 1831 * person(300).astype(int)
        colours = np.stack([kind // 256 * 10, kind % 256, person(300)], 2).astype(np.uint8)
        Image.fromarray(colours).save(given / f'ADE20K_{part}' / 'a_seg.png')
    with zipfile.ZipFile(given / 'GOPRO_Large.zip', 'w') as archive:
        for split in ('train', 'test'):
            for kind in ('blur', 'sharp'):
                photo(given / 'one.png', 64)
                archive.write(given / 'one.png', f'GOPRO_Large/{split}/GOPR0/{kind}/000001.png')
    for name in ('train/a.png', 'test/test-close-ups/b.png', 'GT/a.png', 'GT/b.png'):
        photo(given / 'HIDE' / name, 64)
    for variant, suffix in (('J', ''), ('R', '_BM3D')):
        root = f'RealBlur-{variant}{suffix}_ECC_IMCORR_centroid_itensity_ref'
        for scene, split in ((1, 'train'), (2, 'test')):
            for kind in ('blur', 'gt'):
                photo(given / 'RealBlur' / root / f'scene{scene:03}' / kind / f'{kind}_1.png', 64)
            line = ' '.join(f'{root}/scene{scene:03}/{kind}/{kind}_1.png' for kind in ('gt', 'blur'))
            (given / 'RealBlur' / f'RealBlur_{variant}_{split}_list.txt').write_text(line + '\n')
    for name in ('Blurry1_1', 'GroundTruth1_1_198'):
        photo(given / 'KOEHLER' / f'{name}.png', 64)
    vgg = folder / 'experiments' / 'pretrained_models' / 'vgg19-dcbb9e9d.pth'
    vgg.parent.mkdir(parents=True)
    torch.save(vgg_state(), vgg)
    photo(given / 'PHOTO.png', 96)
    photo(given / 'SHARP.png', 96)
    torch.save(
        {'params': ARCHS['NAFNet'](width=2, enc_blocks=(1,), dec_blocks=(1,)).state_dict()}, given / 'WEIGHTS.pth'
    )
    (given / 'FLOWS').mkdir()
    for name in ('FLOW.npz', 'FLOWS/a.npz'):
        np.savez(given / name, flow=np.ones((1, 2, 96, 96), np.float32))
    photo(given / 'PHOTOS' / 'a.png', 96)
    return Workshop(folder)


@pytest.fixture
def here(workshop, monkeypatch):
    monkeypatch.chdir(workshop.folder)
    monkeypatch.setattr(sys, 'argv', ['basis-blur'])
    monkeypatch.setattr(benchmark_sets, 'BENCHMARKS', {
        name: dataclasses.replace(each, splits={split: benchmark_sets.Split(1) for split in each.splits})
        for name, each in benchmark_sets.BENCHMARKS.items()
    })  # fmt: skip
    torch.set_default_dtype(torch.float32)
    return workshop


@pytest.mark.parametrize('path', FILES, ids=[path.stem for path in FILES])
def test_its_commands_run(here, path):
    here.run_file(path)
    for command in commands_of(path)[1]:
        words = words_of_basis_blur(command)
        if command[0] == 'torchrun':
            build_parser(words[0]).parse_args(words)
            assert words[0] == 'train'
            assert OPTIONS / f'{words[1]}.yml' == path
        else:
            here.run(words)


def test_commands_in_heads_of_configs_are_those_of_option_files():
    known = {shlex.join(command) for path in FILES for command in commands_of(path)[0]}
    heads = ''.join(path.read_text() for path in (ROOT / 'configs').rglob('*.py'))
    commands = re.findall(r'basis-blur \S+ .*-o .*', heads)
    assert commands
    assert set(commands) <= known


def outputs_before(path: Path) -> set[str]:
    """What the commands that come before a file write, those of the files that it begins with among them."""
    found = set()
    for command in commands_of(path)[0]:
        words = words_of_basis_blur(command)
        found |= {words[words.index('-o') + 1]} if '-o' in words else outputs_before(OPTIONS / f'{words[1]}.yml')
    return found


@pytest.mark.parametrize('path', FILES, ids=[path.stem for path in FILES])
def test_its_data_are_made_by_what_comes_before(path):
    outputs = outputs_before(path)
    for section in read_option_file(path)['datasets'].values():
        for key, value in section.items():
            if key.startswith('dataroot'):
                assert any(value == output or value.startswith(f'{output}/') for output in outputs), f'{key}: {value}'


def test_the_commands_of_the_page_about_the_papers_run(here):
    commands = commands_of_page(PAPERS)
    assert len(commands) > 5
    for command in commands:
        if not any('NAME' in word for word in command):
            here.run(words_of_basis_blur(command))


def cells_of_page(path: Path, column: str) -> list[list[list[str]]]:
    """Return what stands in code in the rows of each table that has a column of this name, cell by cell."""
    tables = re.findall(r'(?:^\|.*\n)+', path.read_text(), re.M)
    rows = [[line.strip('|').split('|') for line in table.splitlines()] for table in tables]
    return [
        [[', '.join(re.findall('`([^`]+)`', cell)) for cell in row] for row in table[2:]]
        for table in rows
        if column in (cell.strip() for cell in table[0])
    ]


def test_every_row_of_the_tables_of_both_papers_can_be_restored_and_scored(here):
    for command in commands_of_page(PAPERS):
        if command[1] == 'prep-dataset':
            here.run(words_of_basis_blur(command))
    kernels, restorers = [
        each for each in commands_of_page(PAPERS) if each[1] == 'deblur' and 'results/NAME/SET' in each
    ]
    (evaluate,) = [each for each in commands_of_page(PAPERS) if 'PROTOCOL' in each]
    (sets,), (of_kernels, of_restorers) = cells_of_page(PAPERS, 'SET'), cells_of_page(PAPERS, 'NAME')
    assert len(sets) == 5
    # Every row on one set, and every set by one row; of the networks of [C21], which take long, one restores.
    rows = [(kernels, of_kernels[0][1], sets[4])]
    rows += [(restorers, name, sets[number % 5]) for number, (_, name, _) in enumerate(of_restorers)]
    for deblur, name, (_, chosen, protocol) in rows:
        protocol, _, gamma = protocol.partition(', ')
        filling = {'NAME': name, 'SET': chosen, 'PROTOCOL': protocol}
        more = shlex.split(gamma) if deblur is kernels else []
        here.run(words_of_basis_blur([filled(word, filling) for word in deblur] + more))
        restored = here.folder / 'results' / name / chosen
        blurred = sorted((here.folder / 'datasets' / chosen / 'test' / 'blur').iterdir())
        assert sorted(each.name for each in restored.iterdir()) == [each.name for each in blurred]
        for each in blurred:  # what a network of one step makes cannot be aligned
            shutil.copy(each, restored)
        here.run(words_of_basis_blur([filled(word, filling) for word in evaluate]))
    for _, name, _ in of_kernels:
        here.run_named(name)
        assert (here.folder / 'experiments' / name / 'models' / 'net_g_latest.pth').exists()


def filled(word: str, filling: dict[str, str]) -> str:
    return re.sub('NAME|SET|PROTOCOL', lambda found: filling[found[0]], word)
