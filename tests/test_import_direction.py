"""The rooms of the house are stacked: a module may import from its own floor or one below, never from above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import basis_blur

PACKAGE = Path(basis_blur.__file__).parent
FLOORS = [
    {'foundation'},
    {'field', 'ops'},
    {'simulation', 'photos', 'archs'},
    {'restoration', 'metrics'},
    {'estimation'},
    {'losses'},
    {'weights'},
    {'deblurring'},
    {'data'},
    {'models'},
    {'bridges', 'registry'},
    {'plugin'},
    {'cli', '__main__'},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_rooms(path: Path) -> set[str]:
    parts = ('basis_blur', *path.relative_to(PACKAGE).with_suffix('').parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(parts[: len(parts) - node.level]) + '.' if node.level else ''
            module = base + (node.module or '')
            names.add(module.rstrip('.'))
            names.update(f'{module.rstrip(".")}.{alias.name}' for alias in node.names)
    rooms = {name.split('.')[1] for name in names if name.startswith('basis_blur.')}
    return {room for room in rooms if room in FLOOR_OF}


def test_every_module_stands_on_a_known_floor():
    assert {room_of(path) for path in MODULES} <= set(FLOOR_OF)


@pytest.mark.parametrize('path', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    floor = FLOOR_OF[room_of(path)]
    upward = {room for room in imported_rooms(path) if FLOOR_OF[room] > floor}
    assert not upward, f'{path.relative_to(PACKAGE)} on floor {floor} imports {sorted(upward)} from above'


def test_using_the_package_loads_neither_basicsr_nor_its_company():
    heavy = ['basicsr', 'mmengine', 'torchvision', 'cv2', 'matplotlib', 'PIL', 'lmdb']
    code = f'import sys; from basis_blur import *; print([name for name in {heavy} if name in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_importing_the_package_does_not_wait_for_torch():
    code = 'import sys, basis_blur; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'False'
