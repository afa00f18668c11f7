"""The examples of the documentation run, and what they assert holds."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip('matplotlib', reason='matplotlib is not installed; "pip install basis_blur[docs]"')
FOLDER = Path(__file__).parents[2] / 'docs' / 'examples'
EXAMPLES = sorted(FOLDER.glob('[0-9]*.py'))


@pytest.mark.slow
@pytest.mark.parametrize('path', EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_it_runs(path, monkeypatch):
    import matplotlib
    from matplotlib import pyplot

    if 'deepinv' in path.read_text():
        from basis_blur.bridges import torchvision_shim

        torchvision_shim.install()
        pytest.importorskip('deepinv', reason='deepinv is not installed; "pip install basis_blur[deepinv]"')
    matplotlib.use('agg')
    monkeypatch.syspath_prepend(FOLDER)
    torch.set_default_dtype(torch.float32)
    names = runpy.run_path(str(path))
    sys.modules.pop('drawing', None)
    pyplot.close('all')
    assert names['__doc__'].strip().splitlines()[1].startswith('====')  # the title, without which it is in no gallery
