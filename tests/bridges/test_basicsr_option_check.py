"""An option file that trains or tests our models is understood completely before anything is done with it."""

import copy
from types import NoneType
from typing import ClassVar

import pytest
import torch

import basis_blur.plugin  # noqa: F401
from basis_blur.bridges.basicsr.option_check import check_options
from basis_blur.bridges.basicsr.option_file import (
    OUR_LINE,
    apply_overrides,
    convert_number_texts,
    read_option_file,
    value_of_text,
)
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import Option, OptionError


class StandInModel:
    """What a model of ours declares."""

    __module__ = 'basis_blur.models.stand_in'
    OPTIONS: ClassVar[dict] = {
        '': {'network_g': Option((dict,))},
        'train': {
            'optim_g': Option((dict,)),
            'scheduler': Option((dict,)),
            'kernel_opt': Option((dict, NoneType), None),
            'pixel_opt': Option((dict, NoneType), None),
            'ema_decay': Option((float,), 0.0),
        },
        'val': {'grid': Option((bool,), True), 'metrics': Option((dict, NoneType), None)},
    }


@pytest.fixture
def opt(tmp_path, monkeypatch):
    """The options of a training without fault."""
    from basicsr.utils.registry import MODEL_REGISTRY

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'StandInModel', StandInModel)
    (tmp_path / 'photos').mkdir()
    return {
        'plugin': 'basis_blur.plugin.loaded',
        'name': 'a_run',
        'model_type': 'StandInModel',
        'num_gpu': 'auto',
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'Photos',
                'type': 'SyntheticBlurDataset',
                'dataroot_gt': str(tmp_path / 'photos'),
                'kernel_size': 33,
                'batch_size_per_gpu': 2,
                'num_worker_per_gpu': 0,
            },
        },
        'network_g': {'type': 'BasisKPN', 'num_feat': 8},
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'train': {
            'total_iter': 10,
            'optim_g': {'type': 'AdamW', 'lr': '1e-4', 'betas': [0.9, 0.99]},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5},
            'kernel_opt': {'type': 'KernelLoss', 'p': 2},
        },
        'val': {'val_freq': 5, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 5, 'use_tb_logger': False},
    }


def change(opt, path, value):
    """Set opt[a][b] for the path 'a:b'; the value `del` deletes."""
    *sections, last = path.split(':') if isinstance(path, str) else [path]
    for name in sections:
        opt = opt[name]
    if value is del_:
        del opt[last]
    else:
        opt[last] = value


del_ = object()


def test_a_file_without_fault_passes_and_is_not_changed(opt):
    before = copy.deepcopy(opt)
    check_options(opt, is_train=True)
    assert opt == before


@pytest.mark.parametrize(
    ('path', 'value', 'found'),
    [
        ('nane', 'x', 'unknown key "nane". Did you mean "name"?'),
        (5, 'x', 'unknown key "5"'),
        ('train:total_iter', 2.5, '"total_iter" is 2.5, expected a whole number'),
        ('train:total_iter', '10', '"total_iter" is \'10\' (str), expected a whole number'),
        ('num_gpu', 'all', '"num_gpu" is \'all\''),
        ('num_gpu', del_, 'lacks the key "num_gpu"'),
        ('model_type', 'StandInModle', 'no model of this name is registered. Did you mean "StandInModel"?'),
        ('model_type', del_, 'lacks the key "model_type"'),
        ('network_k', {'type': 'BasisKPN'}, 'unknown key "network_k". Did you mean "network_g"?'),
        ('network_g', del_, 'lacks the key "network_g"'),
        ('network_g:type', 'BasisKNP', 'Did you mean "BasisKPN"?'),
        ('network_g:type', 'SRVGGNetComapct', 'Did you mean "SRVGGNetCompact"?'),
        ('network_g:num_faet', 8, 'network_g has the unknown key "num_faet". Did you mean "num_feat"?'),
        ('network_g:num_feat', 'wide', '"num_feat" is \'wide\' (str), expected a whole number'),
        ('network_g:norm', 'batch', "expected one of 'none', 'group'"),
        ('datasets:trian', {}, 'datasets has the unknown key "trian". Did you mean "train"?'),
        ('datasets:train', del_, 'datasets lacks the section "train"'),
        ('datasets:train:type', 'SyntheticBlurDataSet', 'Did you mean "SyntheticBlurDataset"?'),
        ('datasets:train:kernelsize', 33, 'datasets: train has the unknown key "kernelsize". Did you mean'),
        ('datasets:train:batch_size_per_gpu', del_, 'lacks the key "batch_size_per_gpu"'),
        ('datasets:train:dataroot_gt', 'no/such/folder', 'no/such/folder, which does not exist'),
        ('datasets:train:persistent_workers', True, 'needs "num_worker_per_gpu"'),
        ('path:pretrain_network_g', 'no/such.pth', 'no/such.pth, which does not exist'),
        ('path:resume_state', 'no/such.state', 'no/such.state, which does not exist'),
        ('path:pretrain_network_k', None, 'Did you mean "pretrain_network_g"?'),
        ('train:total_iters', 5, 'Did you mean "total_iter"?'),
        ('train:total_iter', 'many', 'expected a whole number'),
        ('train:optim_g:type', 'AdamV', 'Did you mean "Adam"?'),
        ('train:optim_g', {'type': 'SparseAdam', 'lr': 1}, 'SparseAdam cannot make a step: SparseAdam does not'),
        ('train:optim_g:weigth_decay', 0, 'Did you mean "weight_decay"?'),
        ('train:optim_g:lr', 'small', 'expected a number'),
        ('train:scheduler:type', 'MultiStepsLR', 'Did you mean "MultiStepLR"?'),
        ('train:scheduler:milestone', [5], 'Did you mean "milestones"?'),
        ('train:kernel_opt:type', 'KernalLoss', 'Did you mean "KernelLoss"?'),
        ('train:kernel_opt:pp', 1, 'train: kernel_opt has the unknown key "pp"'),
        ('val:val_freq', del_, 'val lacks the key "val_freq"'),
        ('val:grd', True, 'Did you mean "grid"?'),
        ('val:metrics:psnr:type', 'calculate_psrn', 'Did you mean "calculate_psnr"?'),
        ('logger:print_freq', 'often', 'logger: "print_freq"'),
        ('logger:prnt_freq', 1, 'Did you mean "print_freq"?'),
        ('logger:wandb', {'project': 'p'}, 'write "use_tb_logger: true"'),
        ('logger:wandb', {'projct': 'p'}, 'Did you mean "project"?'),
        ('val:metrics:psnr:crop_borders', 4, 'Did you mean "crop_border"?'),
        ('val:metrics:psnr:better', 'sideways', "\"better\" is 'sideways', expected one of 'higher', 'lower'"),
        ('val:metrics:psnr:test_y_channel', 'maybe', '"test_y_channel" is \'maybe\' (str), expected true or false'),
        ('val:metrics:psnr', {'type': 'calculate_psnr'}, 'val: metrics: psnr lacks the key "crop_border"'),
        ('val:metrics:psnr', 'calculate_psnr', 'expected a group with "type'),
        ('val:metrics', ['psnr'], 'val: "metrics" is'),
        ('train:scheduler', {'type': 'MultiStepLR', 'milestones': [5], 'restarts': [0, 1]}, 'cannot be built'),
        ('train:scheduler', {'type': 'CosineAnnealingRestartLR', 'periods': [5, 5]}, 'cannot be built'),
        ('train:pixel_opt', {'type': 'L1Loss', 'los_weight': 1}, 'Did you mean "loss_weight"?'),
        ('network_g', {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feets': 3}, 'Did you mean "num_feat"?'),
    ],
)
def test_a_fault_is_named_with_what_was_meant(opt, path, value, found):
    change(opt, path, value)
    with pytest.raises(OptionError) as error:
        check_options(opt, is_train=True)
    assert found in str(error.value)


@pytest.mark.parametrize(('package', 'change'), [
    ('tensorboard', {'use_tb_logger': True}),
    ('wandb', {'use_tb_logger': True, 'wandb': {'project': 'p', 'resume_id': None}}),
])  # fmt: skip
def test_a_logger_that_is_not_installed_is_told_but_for_trials(opt, monkeypatch, package, change):
    opt['logger'].update(change)
    monkeypatch.setattr(
        'basis_blur.bridges.basicsr.option_check.find_spec', lambda name: None if name == package else 1
    )
    with pytest.raises(OptionError, match=f'pip install {package}'):
        check_options(opt, is_train=True)
    check_options({**opt, 'name': 'debug_run'}, is_train=True)


@pytest.fixture
def pairs(opt, tmp_path):
    """The options of a training on pairs of BasicSR's data set."""
    opt['datasets']['train'] = {
        'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': str(tmp_path), 'dataroot_lq': str(tmp_path),
        'io_backend': {'type': 'disk'}, 'gt_size': 64, 'use_hflip': True, 'use_rot': True,
        'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0,
    }  # fmt: skip
    return {**opt, 'scale': 1}


@pytest.mark.parametrize(
    ('path', 'value', 'found'),
    [
        ('scale', del_, 'lacks the key "scale"'),
        ('datasets:train:gt_size', del_, 'lacks the key "gt_size"'),
        ('datasets:train:gt_size', 0, '"gt_size" is 0'),
        ('datasets:train:use_rot', del_, 'lacks the key "use_rot"'),
        ('datasets:train:use_hflp', True, 'Did you mean "use_hflip"?'),
        ('datasets:train:io_backend', del_, '"io_backend" is None'),
        ('datasets:train:io_backend', {'type': 'memcached'}, 'memcached needs "server_list_cfg" and "client_cfg"'),
        ('datasets:train:color', 'y', '"color: y" gives luminance alone, but network_g takes colours'),
        ('datasets:train:std', [1, 0, 1], '"std" is [1, 0, 1], expected 3 numbers, each > 0'),
        ('datasets:train:mean', ['a'], '"mean" is [\'a\'], expected 3 numbers; ~ for none'),
        ('datasets:train:io_backend', {'type': 'disc'}, "'disc'}, expected {type: disk}"),
        ('datasets:train:batch_size_per_gpu', del_, 'lacks the key "batch_size_per_gpu"'),
        ('datasets:train:meta_info_file', 'no.txt', 'no.txt, which does not exist'),
    ],
)
def test_basicsrs_pairs_are_understood_where_our_models_train_on_them(pairs, path, value, found):
    check_options(pairs, is_train=True)
    change(pairs, path, value)
    with pytest.raises(OptionError) as error:
        check_options(pairs, is_train=True)
    assert found in str(error.value)


@pytest.mark.parametrize(
    ('model', 'val', 'found'),
    [
        ('BasisBlurModel', {'metrics': {}}, 'unknown key "metrics"'),
        ('SelfSupervisedReblurModel', {'metrics': {}}, 'unknown key "metrics"'),
        ('KernelFlowModel', {'metrics': {}}, 'unknown key "metrics"'),
        ('NonUniformRLModel', {'rl': {'iteratoins': 3}}, 'val: rl has the unknown key "iteratoins". Did you mean'),
        ('NonUniformRLModel', {'rl': {'iterations': 'x'}}, 'val: rl: "iterations"'),
    ],
)
def test_a_model_refuses_what_it_would_not_read(opt, model, val, found):
    opt = {**opt, 'model_type': model, 'val': {'save_img': False, **val}, 'datasets': {}}
    opt = {key: opt[key] for key in opt if key not in ('train', 'logger')}
    with pytest.raises(OptionError) as error:
        check_options(opt, is_train=False)
    assert found in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize(('path', 'value'), [('num_gpu', 1), ('datasets:train:prefetch_mode', 'cuda')])
def test_options_for_a_gpu_are_refused_where_there_is_none(opt, path, value):
    change(opt, path, value)
    with pytest.raises(OptionError, match='torch finds no GPU'):
        check_options(opt, is_train=True)


def test_what_basicsr_adds_while_reading_is_known(opt):
    opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=True, root_path='.')
    opt['path'].update(dict.fromkeys(('experiments_root', 'models', 'training_states', 'log', 'visualization'), 'x'))
    opt['datasets']['train']['phase'] = 'train'
    check_options(opt, is_train=True)


def test_a_resumed_training_does_not_need_the_file_it_once_started_from(opt, tmp_path):
    (tmp_path / '5.state').touch()
    opt['path'].update(resume_state=str(tmp_path / '5.state'), pretrain_network_g='gone.pth')
    check_options(opt, is_train=True)


def test_a_test_needs_no_training_sections(opt):
    opt['datasets'] = {'test_1': {**opt['datasets']['train'], 'name': 'One'}}
    for section in ('train', 'logger'):
        del opt[section]
    check_options(opt, is_train=False)
    del opt['val']
    with pytest.raises(OptionError, match='lacks the key "val"'):
        check_options(opt, is_train=False)


def test_of_foreign_models_only_the_names_of_types_are_checked(opt, tmp_path):
    opt = {
        'model_type': 'SRModel',
        'whatever': 1,
        'datasets': {'train': {'type': 'PairedImageDataset', 'anything': 2, 'dataroot_lq': str(tmp_path)}},
        'network_g': {'type': 'EDSR', 'unheard_of': 3},
        'train': {'pixel_opt': {'type': 'L1Loss', 'strange': 4}},
    }
    check_options(opt, is_train=True)
    opt['network_g']['type'] = 'EDSRR'
    with pytest.raises(OptionError, match='Did you mean "EDSR"'):
        check_options(opt, is_train=True)
    opt['network_g']['type'] = 'EDSR'
    opt['datasets']['train']['dataroot_lq'] = 'no/such/folder'
    with pytest.raises(OptionError, match='no/such/folder'):
        check_options(opt, is_train=True)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('~', None), ('None', None), ('true', True), ('False', False), ('12', 12), ('-1', -1), ('0.5', 0.5),
        ('1e-4', 1e-4), ('!!float 2', 2.0), ('010', 10), ('[1, 1e-3, None, x]', [1, 1e-3, None, 'x']),
        ('12:30', '12:30'), ('on', 'on'), ('e5', 'e5'), ('a b', 'a b'), ('', ''),
    ],
)  # fmt: skip
def test_values_of_the_command_line_mean_what_a_reader_expects(text, value):
    assert value_of_text(text) == value
    assert type(value_of_text(text)) is type(value)


def test_overrides_reach_into_sections_and_name_an_unknown_one():
    opt = {'train': {'optim_g': {'lr': 1}}}
    apply_overrides(opt, ['train:optim_g:lr=1e-4', 'name=x'])
    assert opt == {'train': {'optim_g': {'lr': 1e-4}}, 'name': 'x'}
    with pytest.raises(InputError, match='no section "optim"\\. Did you mean "optim_g"'):
        apply_overrides(opt, ['train:optim:lr=1'])
    with pytest.raises(InputError, match='has no "="'):
        apply_overrides(opt, ['train'])


def test_number_texts_become_numbers_where_numbers_stand():
    opt = {
        'name': '1e5',
        'train': {'optim_g': {'type': '1e5', 'lr': '1e-4'}, 'scheduler': {'milestones': ['2.5E+1', 'e5']}},
        'datasets': {'train': {'dataroot_gt': '1e5', 'noise_std': ['1e-3', 0.5]}},
    }
    convert_number_texts(opt)
    assert opt == {
        'name': '1e5',
        'train': {'optim_g': {'type': '1e5', 'lr': 1e-4}, 'scheduler': {'milestones': [25.0, 'e5']}},
        'datasets': {'train': {'dataroot_gt': '1e5', 'noise_std': [1e-3, 0.5]}},
    }


def test_our_plugin_line_is_the_only_python_that_is_read(tmp_path):
    file = tmp_path / 'options.yml'
    file.write_text(f'{OUR_LINE}\nname: x\n')
    assert read_option_file(file) == {'plugin': 'basis_blur.plugin.loaded', 'name': 'x'}
    witness = tmp_path / 'executed'
    for tag in (f'!!python/object/apply:os.mkdir ["{witness}"]', '!!python/name:os.system', '!!python/tuple [1]'):
        file.write_text(f'name: x\nother: {tag}\n')
        with pytest.raises(InputError, match=r'line 2, column 8: the tag "!!python/.* is refused'):
            read_option_file(file)
    assert not witness.exists()


def test_plain_types_may_be_named_and_no_others(tmp_path):
    file = tmp_path / 'options.yml'
    file.write_text('lr: !!float 1e-4\nname: !!str 5\n')
    assert read_option_file(file) == {'lr': 1e-4, 'name': '5'}
    for tag in ('!!binary aGVsbG8=', '!!set {a}', '!Ref x', '!<tag:yaml.org,2002:python/name:os.system> x'):
        file.write_text(f'name: x\nother: {tag}\n')
        with pytest.raises(InputError, match=r'line 2, column 8: the tag ".*is refused'):
            read_option_file(file)


def test_aliases_are_read_but_not_when_they_multiply(tmp_path):
    file = tmp_path / 'options.yml'
    file.write_text('a: &a {lr: 1}\nb: *a\nc: {<<: *a, x: 2}\n')
    assert read_option_file(file) == {'a': {'lr': 1}, 'b': {'lr': 1}, 'c': {'lr': 1, 'x': 2}}
    tenfold = ''.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]\n' for n in range(1, 5))
    file.write_text('a0: &a0 [1, 2]\n' + tenfold)
    with pytest.raises(InputError, match='line 5, .*aliases written out'):
        read_option_file(file)
    file.write_text('x: &x [*x]\n')
    with pytest.raises(InputError, match='line 1, .*alias stands inside'):
        read_option_file(file)


@pytest.mark.parametrize('name', ['', ' ', '.', '..', '../x', 'a/b', '/a', 'a\\b', 'a\nb'])
def test_a_run_keeps_to_its_folder(opt, name):
    with pytest.raises(OptionError, match='"name" is'):
        check_options({**opt, 'name': name}, is_train=True)


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('manual_seed', -1),
        ('manual_seed', 2**32),
        ('datasets:train:batch_size_per_gpu', 0),
        ('datasets:train:num_worker_per_gpu', -1),
        ('train:total_iter', 0),
        ('val:val_freq', 0),
        ('logger:print_freq', 0),
        ('network_g:num_feat', -8),
        ('network_g:num_feat', 10**9),
        ('train:optim_g:lr', -1),
        ('train:scheduler:milestones', 5),
        ('train:kernel_opt:p', 3),
    ],
)
def test_a_value_out_of_its_range_is_named_before_anything_is_built(opt, path, value):
    change(opt, path, value)
    with pytest.raises(InputError, match=path.split(':')[-2 if 'optim' in path or 'network' in path else -1]):
        check_options(opt, is_train=True)


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('name: x\ntrain: {a: 1\n', 'line 3'),
        ('x: ' + '[' * 60, 'line 1, column 53: it is nested more than 50 levels'),
        ('x: !!int y\n', 'line 1, column 4: "y" cannot be read as "int"'),
        ('x: 2023-99-99\n', 'line 1, column 4: "2023-99-99" cannot be read'),
        ('x: 1' + '0' * 50, 'is a number of more than'),
        ('? [a]\n: 1\n', 'line 1'),
        ('name: x\n\tval: 1\n', 'line 2'),
        ('train:\n  a: 1\n  a: 2\n', 'line 3, column 3: the key "a" stands there twice'),
        ('- a\n- b\n', 'holds list, expected an option file'),
        ('', 'holds NoneType'),
        ('name: \x00', 'cannot be read as an option file'),
    ],
)
def test_a_file_that_is_no_option_file_is_refused_with_its_place(tmp_path, text, found):
    file = tmp_path / 'options.yml'
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read_option_file(file)
    assert found in str(error.value)
    assert '\n' not in str(error.value)


@pytest.fixture
def foreign_network(monkeypatch):
    """A NAFNet of a project, registered beside that of basis_blur."""
    from basicsr.utils.registry import ARCH_REGISTRY

    foreign = type('NAFNet', (), {'__module__': 'somebody.else'})
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'NAFNet', foreign)


def test_a_name_that_means_two_things_is_an_error_where_ours_is_asked_for(opt, foreign_network):
    opt['network_g'] = {'type': 'NAFNet', 'width': 4}
    with pytest.raises(
        OptionError, match=r'is "NAFNet", which is registered by somebody\.else and also .*_basis_blur"'
    ):
        check_options(opt, is_train=True)
    opt['network_g']['type'] = 'NAFNet_basis_blur'
    check_options(opt, is_train=True)
    opt['network_g']['wdith'] = 4
    with pytest.raises(OptionError, match='wdith'):  # it is ours, so its options are checked
        check_options(opt, is_train=True)


def test_a_projects_own_option_file_has_the_projects_own_network(opt, foreign_network):
    del opt['plugin']
    opt['model_type'] = 'SRModel'
    opt['network_g'] = {'type': 'NAFNet', 'whatever': 1}
    check_options(opt, is_train=True)
