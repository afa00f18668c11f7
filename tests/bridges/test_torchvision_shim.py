"""BasicSR can be imported beside any torchvision; where torchvision suits it, nothing is changed.

Each test is a process of its own, because an import happens once. `torchvision` is a stand-in of a few lines.
"""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.processes


@pytest.fixture
def run(tmp_path):
    """Run code beside a torchvision that consists of the given files; return its output."""

    def run(files, code):
        for name, text in files.items():
            path = tmp_path / 'torchvision' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        code = f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n' + textwrap.dedent(code)
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split('\n')

    return run


def test_a_torchvision_for_another_torch_can_be_imported(run):
    fake = 'import torch\n@torch.library.register_fake("torchvision::nms")\ndef nms(dets, scores, iou): pass\n'
    out = run(
        {
            '__init__.py': fake,
            'transforms/__init__.py': '',
            'transforms/functional.py': 'def rgb_to_grayscale(img, num_output_channels=1): return ("gray", img)',
        },
        """
        import gc
        from basis_blur.bridges import torchvision_shim
        torchvision_shim.install()
        torchvision_shim.install()
        gc.collect()
        import torchvision
        from torchvision.transforms.functional_tensor import rgb_to_grayscale
        print(rgb_to_grayscale(3))
        print(len(torchvision_shim.active()))
        """,
    )
    assert out[:2] == ["('gray', 3)", '2']


def test_a_library_that_loads_declares_its_operators_itself(run):
    """Whatever the library is called; a schema that was declared before would end the process."""
    out = run(
        {
            '_C_of_another_year.so': '',
            '__init__.py': """
                import torch
                library = torch.library.Library('torchvision', 'DEF')
                library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
            """,
            'transforms/__init__.py': '',
            'transforms/functional_tensor.py': 'rgb_to_grayscale = "the real one"',
        },
        """
        from basis_blur.bridges import torchvision_shim
        torchvision_shim.install()
        from torchvision.transforms.functional_tensor import rgb_to_grayscale
        print(rgb_to_grayscale)
        print(torchvision_shim.active())
        """,
    )
    assert out[:2] == ['the real one', '[]']


def test_a_torchvision_that_fails_for_another_reason_tells_it_itself(run):
    out = run(
        {'__init__.py': 'raise RuntimeError("compiled for another CUDA")'},
        """
        from basis_blur.bridges import torchvision_shim
        torchvision_shim.install()
        try:
            import torchvision
        except RuntimeError as error:
            print(error)
        print(torchvision_shim.active())
        """,
    )
    assert out[:2] == ['compiled for another CUDA', '[]']
