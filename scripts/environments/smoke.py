"""Install the wheel of this checkout into fresh environments, use it there as a newcomer would, and print a table.

    python scripts/environments/smoke.py                         # all environments whose Python is found
    python scripts/environments/smoke.py wheel-3.13 newest       # some of them
    python scripts/environments/smoke.py --list

Every environment is a virtual one in a temporary folder, which is removed afterwards; the newest PyTorch with its CUDA
libraries takes 6 GB there. Pythons are looked for as `python3.X` on PATH and among those of pyenv. pip may need the
network. The exit code is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
OLDEST = ('torch==2.4.0', 'numpy==1.26.4', 'opencv-python==4.10.0.84', 'lmdb==1.4.1', 'pillow==10.1.0')
OLDEST_MORE = ('scikit-image==0.24.0', 'tifffile==2023.8.12', 'safetensors==0.4.3', 'tqdm==4.60.0', 'pyyaml==6.0.1')


@dataclass(frozen=True)
class Environment:
    """What is installed, in order; '{wheel}' stands for the wheel of this checkout."""

    name: str
    python: str
    installs: tuple[tuple[str, ...], ...]
    basicsr: bool = False
    what: str = ''
    forks: bool = False


PINNED = ('-c', str(REPOSITORY / 'constraints.txt'))
ENVIRONMENTS = (
    *(
        Environment(f'wheel-3.{minor}', f'3.{minor}', (('torch',), ('{wheel}',)), what='the wheel alone, no extra')
        for minor in (10, 11, 12, 13)
    ),
    Environment(
        'constraints',
        '3.11',
        ((*PINNED, 'torch', 'setuptools', 'wheel'), (*PINNED, '--no-build-isolation', '{wheel}[basicsr]')),
        basicsr=True,
        what='constraints.txt with `[basicsr]`, as `make` installs it',
    ),
    Environment(
        'newest',
        '3.11',
        (('torch', 'torchvision', 'setuptools<81', 'wheel'), ('--no-build-isolation', '{wheel}[basicsr]')),
        basicsr=True,
        what='everything unpinned, `[basicsr]`, a torchvision that suits torch',
    ),
    Environment(
        'oldest',
        '3.10',
        (OLDEST, OLDEST_MORE, ('setuptools<81', 'wheel'), ('--no-build-isolation', 'basicsr==1.3.4.9'), ('{wheel}',)),
        basicsr=True,
        what='the lower bound of every dependency, basicsr 1.3.4.9',
    ),
    Environment(
        'fork',
        '3.11',
        ((*PINNED, 'torch'), ('{wheel}',)),
        what='beside forks with a `basicsr` of their own',
        forks=True,
    ),
)

OPTIONS = """plugin: !!python/name:basis_blur.plugin.loaded
name: tiny
model_type: BasisBlurModel
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: Photos
    type: SyntheticBlurDataset
    dataroot_gt: photos
    patch_size: 32
    num_worker_per_gpu: 1
    batch_size_per_gpu: 1
network_g: {type: BasisKPN, num_feat: 2, num_kernels: 2}
path: {pretrain_network_g: ~, resume_state: ~}
train:
  total_iter: 2
  optim_g: {type: Adam, lr: 1e-4}
  scheduler: {type: MultiStepLR, milestones: [100], gamma: 0.5}
  reblur_opt: {type: ReblurLoss}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: false}
"""
PHOTOS = """
import numpy as np
from pathlib import Path
from PIL import Image
Path('photos').mkdir()
for index in range(4):
    coarse = np.random.default_rng(index).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((96, 96), Image.BICUBIC).save(f'photos/{index}.png')
"""
# A fork made from a BasicSR before 1.3: no registries, and no __init__.py, so that a basicsr of pip would shadow it.
OLD_FORK = {
    'basicsr/data/__init__.py': 'def create_dataloader():\n    return "its own"\n',
    'basicsr/train.py': 'from basicsr.data import create_dataloader\nprint(create_dataloader())\n',
}
# A fork with registries, which has a network of the same name as one of ours, and one that its own script adds later.
REGISTRY = """
class Registry:
    def __init__(self, name):
        self._name, self._obj_map = name, {}
    def _do_register(self, name, obj):
        assert name not in self._obj_map, f"An object named '{name}' was already registered"
        self._obj_map[name] = obj
    def register(self, obj=None):
        if obj is None:
            return lambda each: (self._do_register(each.__name__, each), each)[1]
        self._do_register(obj.__name__, obj)
    def get(self, name):
        return self._obj_map[name]
    def __iter__(self):
        return iter(self._obj_map.items())
DATASET_REGISTRY, ARCH_REGISTRY, MODEL_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY = map(Registry, "abcde")
"""
NEW_FORK = {
    'basicsr/__init__.py': 'import basicsr.archs\n',
    'basicsr/utils/__init__.py': '',
    'basicsr/utils/registry.py': REGISTRY,
    'basicsr/archs/__init__.py': (
        'from basicsr.utils.registry import ARCH_REGISTRY\n@ARCH_REGISTRY.register()\nclass NAFNet: pass\n'
    ),
    'train.py': (
        'import basicsr\nfrom basicsr.utils.registry import ARCH_REGISTRY\n'
        '@ARCH_REGISTRY.register()\nclass MPRNet: pass\n'
        'print({ARCH_REGISTRY.get(name).__module__ for name in ("NAFNet", "MPRNet")})\n'
    ),
}


@dataclass
class Place:
    """An environment that is being tried: its virtual environment, and a folder to work in."""

    environment: Environment
    venv: Path
    work: Path
    log: list[str] = field(default_factory=list)

    def run(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the virtual environment; what it says is kept in the log."""
        command = [str(self.venv / 'bin' / words[0]), *words[1:]]
        plain = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}
        done = subprocess.run(command, cwd=folder or self.work, capture_output=True, text=True, check=False, env=plain)
        self.log.append(f'$ {" ".join(words)}\n{done.stdout}{done.stderr}[{done.returncode}]\n')
        return done

    def write(self, files: dict[str, str], folder: str) -> Path:
        """Write files below a folder of the work, and return it."""
        for name, text in files.items():
            path = self.work / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self.work / folder


def deblurs(place: Place) -> bool:
    """A photo is deblurred by the shipped networks, and its kernels are written."""
    place.run('python', '-c', PHOTOS)
    first = place.run('basis-blur', 'deblur', 'photos/0.png', '-o', 'sharp.png')
    second = place.run('basis-blur', 'kernels', 'photos/0.png', '-o', 'blur.npz')
    made = (place.work / 'sharp.png').is_file() and (place.work / 'blur.npz').is_file()
    return made and first.returncode == second.returncode == 0


def lists_option_files(place: Place) -> bool:
    """The shipped option files are listed, and one is printed."""
    listed, printed = place.run('basis-blur', 'options'), place.run('basis-blur', 'options', 'train_basis')
    return 'kpn_b8k33_quick' in listed.stdout and printed.stdout.startswith('plugin: ')


def doctor_is_content(place: Place) -> bool:
    """`doctor` ends with 0."""
    return place.run('basis-blur', 'doctor').returncode == 0


def trains(place: Place) -> bool:
    """Two iterations of training by BasicSR, with a worker; without BasicSR, one sentence says what to install."""
    (place.work / 'tiny.yml').write_text(OPTIONS)
    done = place.run('basis-blur', 'train', 'tiny.yml')
    if place.environment.basicsr:
        return done.returncode == 0 and (place.work / 'experiments/tiny/models/net_g_2.pth').is_file()
    return done.returncode == 2 and "pip install 'basis_blur[basicsr]'" in done.stderr


def stock_basicsr_knows_us(place: Place) -> bool:
    """`import basicsr`, nothing else, and BasicSR builds a network of ours; or there is no BasicSR to import."""
    code = 'import basicsr.archs as a; print(a.build_network({"type": "BasisKPN", "num_feat": 2}).__module__)'
    done = place.run('python', '-c', code)
    if place.environment.basicsr:
        return done.returncode == 0 and 'basis_blur.archs' in done.stdout
    return done.stderr.endswith("No module named 'basicsr'\n")


def forks_train_as_ever(place: Place) -> bool:
    """Neither kind of fork notices that basis_blur is installed beside it."""
    old, new = place.write(OLD_FORK, 'old_fork'), place.write(NEW_FORK, 'new_fork')
    script = 'import os, sys; sys.path.insert(0, "."); import runpy; runpy.run_path({!r}, run_name="__main__")'
    first = place.run('python', '-c', script.format('basicsr/train.py'), folder=old)
    second = place.run('python', '-c', script.format('train.py'), folder=new)
    quiet = not first.stderr and 'Traceback' not in second.stderr
    return quiet and first.stdout == 'its own\n' and 'basis_blur' not in second.stdout and second.returncode == 0


def runs_nothing_that_lies_about(place: Place) -> bool:
    """A preparation with a worker, in a folder of modules that lie in wait, runs none of them."""
    trap = 'open("CANARY", "w")\nraise ImportError("a trap")\n'
    names = (
        'argparse',
        'cv2',
        'json',
        'lmdb',
        'multiprocessing',
        'numpy',
        'random',
        'signal',
        'socket',
        'torch',
        'tqdm',
    )
    folder = place.write({f'{name}.py': trap for name in names}, 'traps')
    recipe = ('prep-kernels', '-n', '3', '--kernel-size', '5', '--workers', '1', '-o')
    command = place.run('basis-blur', *recipe, 'a.lmdb', folder=folder)
    module = place.run('python', '-m', 'basis_blur', *recipe, 'b.lmdb', folder=folder)
    return command.returncode == module.returncode == 0 and not (folder / 'CANARY').exists()


def uninstalls(place: Place) -> bool:
    """`pip uninstall` takes the start-up hook with it."""
    done = place.run('python', '-m', 'pip', 'uninstall', '-y', 'basis_blur')
    return done.returncode == 0 and not list(place.venv.rglob('*basis_blur*'))


CHECKS: dict[str, Callable[[Place], bool]] = {
    'deblur': deblurs,
    'options': lists_option_files,
    'doctor': doctor_is_content,
    'train': trains,
    'stock BasicSR': stock_basicsr_knows_us,
    'traps': runs_nothing_that_lies_about,
    'forks': forks_train_as_ever,
    'uninstall': uninstalls,
}


def find_python(version: str) -> str | None:
    """Return a Python of a version such as '3.12' that starts, None if there is none."""
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'), 'versions')
    for candidate in (shutil.which(f'python{version}'), *pyenv.glob(f'{version}.*/bin/python{version}')):
        if candidate and subprocess.run([candidate, '--version'], capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the checkout, which stays as it is."""
    source = folder / 'source'
    skipped = shutil.ignore_patterns('.git', '.venv', '__pycache__', 'build', '*.egg-info', 'results', 'datasets')
    shutil.copytree(REPOSITORY, source, ignore=skipped)
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '-w', str(folder), str(source)]
    subprocess.run(command, check=True)
    shutil.rmtree(source)
    (wheel,) = folder.glob('basis_blur-*.whl')
    return wheel


def versions(place: Place) -> dict[str, str]:
    """Return the versions that were installed."""
    done = place.run('python', '-m', 'pip', 'list', '--format', 'json')
    return {each['name'].lower(): each['version'] for each in json.loads(done.stdout)}


def try_out(environment: Environment, python: str, wheel: Path, folder: Path) -> dict:
    """Install one environment, make its checks, and return what was seen."""
    place = Place(environment, folder / 'venv', folder / 'work')
    place.work.mkdir(parents=True)
    subprocess.run([python, '-m', 'venv', str(place.venv)], check=True)
    begin = time.monotonic()
    for install in environment.installs:
        words = [word.replace('{wheel}', str(wheel)) for word in install]
        if place.run('python', '-m', 'pip', 'install', '--no-compile', *words).returncode:
            return {'name': environment.name, 'installed': False, 'log': place.log}
    row = {'name': environment.name, 'installed': True, 'seconds': time.monotonic() - begin}
    row['bytes'] = sum(path.stat().st_size for path in place.venv.rglob('*') if path.is_file())
    row['versions'] = versions(place)
    wanted = {name: check for name, check in CHECKS.items() if name != 'forks' or environment.forks}
    row['checks'] = {name: check(place) for name, check in wanted.items()}
    return {**row, 'log': place.log}


def line_of(environment: Environment, row: dict | None) -> str:
    """Return the row of the table."""
    start = f'| `{environment.name}` | {environment.python} | {environment.what} |'
    if row is None:
        return f'{start} no such Python here | | |'
    if not row['installed']:
        return f'{start} **cannot be installed** | | |'
    found = ', '.join(
        f'{name} {row["versions"][name]}' for name in ('torch', 'numpy', 'basicsr') if name in row['versions']
    )
    checks = ', '.join(name if passed else f'**{name} fails**' for name, passed in row['checks'].items())
    return f'{start} {found} | {row["seconds"]:.0f} s, {row["bytes"] / 1e9:.1f} GB | {checks} |'


def main() -> int:
    """Try the environments that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', metavar='NAME', nargs='*', help='environments to try (default: all)')
    parser.add_argument('--list', action='store_true', help='list them')
    parser.add_argument('--folder', type=Path, help="where to make them (default: the system's temporary folder)")
    parser.add_argument('--json', type=Path, help='write what was seen to a file')
    args = parser.parse_args()
    chosen = [each for each in ENVIRONMENTS if each.name in args.names or not args.names]
    if unknown := set(args.names) - {each.name for each in ENVIRONMENTS}:
        parser.error(f'there is no environment {", ".join(sorted(unknown))}; --list tells which there are')
    if args.list:
        for each in chosen:
            print(f'{each.name:<12} Python {each.python}: {each.what}')
        return 0
    rows = []
    print('| environment | Python | what it is | versions | to install | what works |\n|---|---|---|---|---|---|')
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        wheel = build_wheel(Path(folder))
        for environment in chosen:
            python, row = find_python(environment.python), None
            if python is not None:
                row = try_out(environment, python, wheel, Path(folder, environment.name))
                shutil.rmtree(Path(folder, environment.name))
                rows.append(row)
            print(line_of(environment, row), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1))
    failed = [row for row in rows if not row['installed'] or not all(row['checks'].values())]
    for row in failed:
        print(f'\n== {row["name"]}', *row['log'], sep='\n', file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
