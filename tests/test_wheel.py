"""What a wheel and an editable wheel carry beside the package, and what their metadata say."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parents[1]
ADDRESS = 'https://example.org/somebody/basis_blur'


@pytest.fixture(scope='module')
def wheels(tmp_path_factory):
    """The files of the wheel and of the editable wheel that setup.py builds, unpacked."""
    if not (REPOSITORY / 'setup.py').is_file():
        pytest.skip('the tests run on an installed package, without its setup.py')
    source = tmp_path_factory.mktemp('source')
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(REPOSITORY / name, source)
    for name in ('options', 'configs'):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('__init__.py', 'foundation/__init__.py', 'foundation/shipped.py', 'foundation/errors.py'):
        (source / 'basis_blur' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / 'basis_blur' / name, source / 'basis_blur' / name)
    hook = source / 'basis_blur' / 'bridges' / 'basicsr' / 'hook.py'
    hook.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / hook.relative_to(source), hook)
    code = 'from setuptools import build_meta as b; b.build_wheel("wheel"); b.build_editable("editable")'
    environment = {**os.environ, 'BASIS_BLUR_REPOSITORY': ADDRESS}
    subprocess.run([sys.executable, '-c', code], cwd=source, check=True, capture_output=True, env=environment)
    folders = {}
    for kind in ('wheel', 'editable'):
        folders[kind] = source / f'site_{kind}'
        (wheel,) = (source / kind).glob('*.whl')
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folders[kind])
    return folders


@pytest.mark.parametrize('kind', ['wheel', 'editable'])
def test_both_kinds_of_wheel_start_the_hook(wheels, kind):
    folder = wheels[kind]
    (record,) = folder.glob('*.dist-info/RECORD')
    assert {'_basis_blur_hook.py', 'basis_blur_hook.pth'} <= {line.split(',')[0] for line in record.open()}
    code = f'import site, sys; site.addsitedir({str(folder)!r}); print(sys.meta_path)'
    for switch, there in (('on', True), ('off', False)):
        environment = {**os.environ, 'BASIS_BLUR_HOOK': switch}
        done = subprocess.run(
            [sys.executable, '-S', '-c', code], capture_output=True, text=True, check=True, env=environment
        )
        assert ('BasicSRFinder' in done.stdout) is there
        assert not done.stderr


def test_a_wheel_finds_its_option_files_and_configs_by_name(wheels):
    code = (
        'from basis_blur.foundation.shipped import files\n'
        'for kind in ("options", "configs"): print(*files(kind).values(), sep="\\n")'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=wheels['wheel'], capture_output=True, text=True, check=True)
    found = [Path(line) for line in done.stdout.split()]
    top = [*(REPOSITORY / 'options').glob('*.yml'), *(REPOSITORY / 'configs').glob('*.py')]
    assert {path.name for path in found} == {path.name for path in top}
    for path in found:
        assert path.is_relative_to(wheels['wheel'] / 'basis_blur')
        assert path.read_bytes() == (REPOSITORY / path.parent.name / path.name).read_bytes()
    base = wheels['wheel'] / 'basis_blur' / 'shipped' / 'configs' / '_base_'
    assert {path.name for path in base.iterdir()} == {
        path.name for path in (REPOSITORY / 'configs/_base_').glob('*.py')
    }


def test_the_description_has_no_link_that_leads_nowhere_on_an_index(wheels):
    (metadata,) = wheels['wheel'].glob('*.dist-info/METADATA')
    text = metadata.read_text(encoding='utf-8')
    assert re.search(rf'!\[.*\]\({ADDRESS}/raw/HEAD/docs/pictures/before_after.jpg\)', text)
    assert f'({ADDRESS}/blob/HEAD/docs/reliability.md)' in text
    assert f'git clone {ADDRESS}' in text
    assert not re.findall(r'\]\((?!https?://)[^)]*', text)
    assert f'Project-URL: Source, {ADDRESS}' in text
