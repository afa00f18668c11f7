"""Importing the plugin registers basis_blur in BasicSR, once and without taking anybody's name."""

import importlib

import pytest

from basis_blur import plugin

NAMES = {
    'ARCH': {
        'BasisKPN',
        'KernelFlow',
        'LatentKernelNet',
        'UFPNet',
        'NAFNet',
        'MIMOUNet',
        'MPRNet',
        'DeblurGANGenerator',
    },
    'LOSS': {'ReblurLoss', 'KernelLoss', 'ConsistencyLoss', 'PSNRLoss', 'PixelReblurLoss', 'FlowNLLLoss'},
    'DATASET': {'SyntheticBlurDataset', 'KernelDataset'},
    'METRIC': {'calculate_psnr_realblur', 'calculate_ssim_realblur'},
    'MODEL': {
        'BasisBlurModel',
        'NonUniformRLModel',
        'UFPNetModel',
        'BlurToDeblurModel',
        'SelfSupervisedReblurModel',
        'KernelFlowModel',
    },
}


@pytest.mark.parametrize(('kind', 'names'), NAMES.items())
def test_components_are_registered_under_their_names(kind, names):
    registry = getattr(importlib.import_module('basicsr.utils.registry'), f'{kind}_REGISTRY')
    for name in names:
        assert registry.get(name).__name__ == name
        assert registry.get(name).__module__.startswith('basis_blur.')


def test_registering_twice_changes_nothing():
    before = {registry: dict(iter(registry)) for registry in plugin.COMPONENTS}
    plugin.register()
    assert {registry: dict(iter(registry)) for registry in plugin.COMPONENTS} == before


def test_a_name_that_somebody_else_registered_is_an_error(monkeypatch):
    arch_registry = importlib.import_module('basicsr.utils.registry').ARCH_REGISTRY
    foreign = type('BasisKPN', (), {'__module__': 'somebody.else'})
    monkeypatch.setitem(arch_registry._obj_map, 'BasisKPN', foreign)
    with pytest.raises(RuntimeError, match=r'cannot register "BasisKPN" in BasicSR: somebody\.else did so before'):
        plugin.register()


def test_the_option_files_line_names_a_text():
    assert isinstance(plugin.loaded, str)
