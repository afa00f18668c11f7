"""What setup.cfg cannot say: the start-up hook goes beside the package, in wheels and in editable installs."""

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


build.sub_commands.append(('build_hook', None))
setup(cmdclass={'build_hook': BuildHook})
