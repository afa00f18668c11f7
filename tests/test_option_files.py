"""Every option file can be read, checked and built from, without the data and weights that it names."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
import yaml
from vgg_weights import vgg_state

import basis_blur.plugin  # noqa: F401 (registers what the files name)

from basicsr.utils.options import ordered_yaml  # isort: skip
from basis_blur.archs import ARCHS  # isort: skip
from basis_blur.bridges.basicsr.option_check import check_options  # isort: skip
from basis_blur.bridges.basicsr.option_file import OUR_LINE, read_option_file  # isort: skip
from basis_blur.foundation.options import OptionError  # isort: skip

FILES = sorted((Path(__file__).parents[1] / 'options').glob('*.yml'))
ids = [path.name for path in FILES]


def paths_in(section: Mapping) -> Iterator[str]:
    """The files and folders that must exist for a run."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from paths_in(value)
        elif isinstance(value, str) and key.startswith(('dataroot', 'pretrain_')):
            yield value


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Read a file, and check it where all that it names exists; machine-independent, so on the CPU."""

    def check(path: Path) -> dict:
        opt = read_option_file(path)
        opt['num_gpu'] = 0
        for name in paths_in(opt):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        if opt.get('train', {}).get('pixel_opt', {}).get('type') == 'VGGLoss':  # whose weights are read
            vgg = tmp_path / opt['train']['pixel_opt']['weights']
            vgg.parent.mkdir(parents=True, exist_ok=True)
            torch.save(vgg_state(), vgg)
        monkeypatch.chdir(tmp_path)
        check_options(opt, is_train='train' in opt)
        return opt

    return check


def test_there_are_option_files():
    assert {'train_basis.yml', 'train_basis_quick.yml', 'test_basis.yml'} <= set(ids)


@pytest.mark.parametrize('path', FILES, ids=ids)
def test_its_options_are_known_and_its_network_can_be_built(path, checked):
    opt = checked(path)
    for key in [key for key in opt if key.startswith('network_')]:
        hyper_parameters = dict(opt[key])
        with torch.device('meta'):
            ARCHS[hyper_parameters.pop('type')](**hyper_parameters)


@pytest.mark.parametrize('path', FILES, ids=ids)
def test_basicsr_reads_the_same_from_it_as_we_do(path):
    with open(path) as file:
        opt = yaml.load(file, Loader=ordered_yaml()[0])
    ours = read_option_file(path)
    del opt['plugin'], ours['plugin']
    assert opt == ours


@pytest.mark.parametrize('path', FILES, ids=ids)
def test_it_loads_the_plugin_and_says_where_it_comes_from(path):
    lines = path.read_text().splitlines()
    assert lines[0] == OUR_LINE
    header = [line for line in lines[1:] if line.startswith('#')]
    assert any('[C21]' in line or '[F23]' in line for line in header)
    assert any(line.startswith('# Expected') for line in header)


@pytest.mark.parametrize('path', FILES, ids=ids)
def test_a_run_has_the_name_of_its_file(path):
    assert read_option_file(path)['name'] == path.stem


def test_the_check_would_see_a_fault(checked):
    opt = checked(FILES[ids.index('train_basis.yml')])
    faulty = copy.deepcopy(opt)
    faulty['train']['kernel_p1_itr'] = 5
    with pytest.raises(OptionError, match='kernel_p1_iter'):
        check_options(faulty, is_train=True)


def test_the_papers_epochs_become_iterations():
    opt = read_option_file(FILES[ids.index('train_basis.yml')])
    epoch = 5888 // opt['datasets']['train']['batch_size_per_gpu']
    assert opt['train']['total_iter'] == 1200 * epoch
    assert opt['train']['kernel_p1_iter'] == 300 * epoch + 1
    assert opt['train']['scheduler']['milestones'] == [count * epoch for count in range(150, 1200, 150)]
    assert opt['train']['scheduler']['gamma'] == 0.5
    assert opt['train']['optim_g'] == {'type': 'Adam', 'lr': 1e-4}


@pytest.mark.parametrize('number', [15, 25, 40])
def test_the_ablation_is_a_matter_of_options(number):
    hyper_parameters = dict(read_option_file(FILES[ids.index('train_basis.yml')])['network_g'], num_kernels=number)
    with torch.device('meta'):
        net = ARCHS[hyper_parameters.pop('type')](**hyper_parameters)
    assert net.mixing_head.tail[2].weight.shape[0] == net.kernel_head.tail[2].weight.shape[0] == number
