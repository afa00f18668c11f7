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
        'RestorerModel',
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


class Foreign:
    """A network of another project, under whatever name a test gives it."""

    def __new__(cls, name):
        return type(name, (), {'__module__': 'somebody.else'})


@pytest.fixture
def archs():
    """BasicSR's registry of networks, whose entries are afterwards what they were before."""
    registry = importlib.import_module('basicsr.utils.registry').ARCH_REGISTRY
    before = dict(registry._obj_map)
    yield registry
    registry._obj_map.clear()
    registry._obj_map.update(before)


@pytest.mark.parametrize('suffix', [None, 'basicsr'])
@pytest.mark.parametrize('name', ['NAFNet', 'BasisKPN'])
def test_a_project_that_registers_a_name_of_ours_later_has_it(archs, name, suffix):
    ours, theirs = archs.get(name), Foreign(name)
    assert archs.register(suffix=suffix)(theirs) is theirs
    assert archs.get(name) is theirs
    assert archs.get(f'{name}_basis_blur') is ours
    with pytest.raises(AssertionError, match='already registered'):  # as ever, of two of their own
        archs.register(Foreign(name), suffix=suffix)


@pytest.mark.parametrize('suffix', [None, 'basicsr'])
def test_a_project_that_registered_a_name_of_ours_before_keeps_it(archs, suffix):
    ours = {name: component for name, component in archs if component.__module__.startswith('basis_blur.')}
    for name in ours:
        del archs._obj_map[name]
    theirs = Foreign('NAFNet')
    archs.register(theirs, suffix=suffix)
    plugin.register()
    assert archs.get('NAFNet') is theirs
    assert archs.get('NAFNet_basis_blur') is ours['NAFNet']
    assert {name: archs.get(name) for name in ours if name != 'NAFNet'}.items() <= ours.items()


def test_registration_is_all_or_nothing(archs):
    for name in [name for name, component in archs if component.__module__.startswith('basis_blur.')]:
        del archs._obj_map[name]
    archs._obj_map['UFPNet_basis_blur'] = Foreign('UFPNet')
    before = dict(iter(archs))
    with pytest.raises(RuntimeError, match=r'cannot register "UFPNet_basis_blur" in BasicSR: somebody\.else did so'):
        plugin.register()
    assert dict(iter(archs)) == before


def test_the_option_files_line_names_a_text():
    assert isinstance(plugin.loaded, str)
