"""What neither pyproject.toml nor setup.cfg can say.

1. The start-up hook goes beside the package, in wheels and in editable installs.
2. The option files and configs, which lie at the top of the repository, go into the package, in wheels.
3. The README's pictures and links lead somewhere on a package index too, if BASIS_BLUR_REPOSITORY in the environment
   is the address that the repository is published at, such as https://example.org/somebody/basis_blur.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

HOOK_SOURCE = Path('basis_blur') / 'bridges' / 'basicsr' / 'hook.py'
HOOK_MODULE = '_basis_blur_hook.py'
START_UP_FILE = 'basis_blur_hook.pth'
# One line, because Python executes those lines of a .pth file that begin with "import".
START_UP_LINE = "import os; os.environ.get('BASIS_BLUR_HOOK', 'on') != 'off' and __import__('_basis_blur_hook')\n"


class BuildHook(Command):
    """Copy the hook as a module of its own and write the `.pth` line that imports it at start-up."""

    description = 'install the start-up hook that registers basis_blur in BasicSR'
    editable_mode = False

    def initialize_options(self):
        self.build_lib = None

    def finalize_options(self):
        self.set_undefined_options('build_py', ('build_lib', 'build_lib'))

    def run(self):
        # An editable wheel ignores the build folder, but takes what lies in its install folder.
        folder = Path(self.get_finalized_command('install').install_lib if self.editable_mode else self.build_lib)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HOOK_MODULE).write_text(HOOK_SOURCE.read_text(encoding='utf-8'), encoding='utf-8')
        (folder / START_UP_FILE).write_text(START_UP_LINE, encoding='utf-8')

    def get_outputs(self):
        return [] if self.editable_mode else [str(Path(self.build_lib, name)) for name in (HOOK_MODULE, START_UP_FILE)]

    def get_output_mapping(self):
        return {}

    def get_source_files(self):
        return [str(HOOK_SOURCE)]


class BuildShipped(Command):
    """Copy the option files and configs to where `basis_blur.foundation.shipped` looks for them."""

    description = 'copy option files and configs into the package'
    editable_mode = False  # an editable install has them where they are

    def initialize_options(self):
        self.build_lib = None

    def finalize_options(self):
        self.set_undefined_options('build_py', ('build_lib', 'build_lib'))

    def run(self):
        for target, source in self.get_output_mapping().items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self):
        return list(self.get_output_mapping())

    def get_output_mapping(self):
        shipped = Path(self.build_lib, 'basis_blur', 'shipped')
        return {} if self.editable_mode else {str(shipped / source): source for source in self.get_source_files()}

    def get_source_files(self):
        return sorted(map(str, [*Path('options').glob('*.yml'), *Path('configs').rglob('*.py')]))


def readme(repository):
    """Return the README as a package index shows it, where relative links lead nowhere."""
    text = Path('README.md').read_text(encoding='utf-8')
    if not repository:
        return text
    repository = repository.rstrip('/')
    text = re.sub(r'(!\[[^]]*\]\()(?!\w+:)', rf'\g<1>{repository}/raw/HEAD/', text)
    text = re.sub(r'((?<!!)\[[^]]*\]\()(?!\w+:)', rf'\g<1>{repository}/blob/HEAD/', text)
    return text.replace('<this repository>', repository)


repository = os.environ.get('BASIS_BLUR_REPOSITORY', '')
build.sub_commands += [('build_hook', None), ('build_shipped', None)]
setup(
    cmdclass={'build_hook': BuildHook, 'build_shipped': BuildShipped},
    long_description=readme(repository),
    long_description_content_type='text/markdown',
    project_urls={
        **({'Source': repository} if repository else {}),
        'Basis kernels (paper)': 'https://arxiv.org/abs/2102.01026',
        'BasicSR': 'https://github.com/XPixelGroup/BasicSR',
    },
)
