"""The configs of mmengine and the option files of BasicSR describe the same trainings."""

import re
from pathlib import Path

import pytest
import torch

mmengine = pytest.importorskip('mmengine', reason='mmengine is not installed; "pip install basis_blur[mmengine]"')

from mmengine.config import Config  # noqa: E402

import basis_blur.plugin  # noqa: E402, F401
from basis_blur.archs import ARCHS  # noqa: E402
from basis_blur.bridges.basicsr.option_check import section_options  # noqa: E402
from basis_blur.bridges.basicsr.option_file import convert_number_texts, read_option_file  # noqa: E402
from basis_blur.data.guessed_photo_dataset import GuessedPhotoDataset  # noqa: E402
from basis_blur.data.kernel_dataset import KernelDataset  # noqa: E402
from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset  # noqa: E402
from basis_blur.foundation.options import options_of, read_options  # noqa: E402
from basis_blur.models.optimisation import build_optimiser  # noqa: E402
from basis_blur.plugin import COMPONENTS  # noqa: E402

ROOT = Path(__file__).parents[2]
# Configs that share out another's training among processes; they are not trainings of their own.
SHARED_OUT = ('kpn_b25k33_ade20k_fsdp', 'ufpnet_k19_gopro_deepspeed')
CONFIGS = [path for path in sorted((ROOT / 'configs').glob('*.py')) if path.stem not in SHARED_OUT]
LOSSES = ('reblur', 'kernel', 'divergence', 'restoration', 'pixel', 'consistency', 'nll')
WEIGHTS = {
    'pretrained': 'pretrain_network_g', 'pretrained_flow': 'pretrain_flow', 'pretrained_decoder': 'pretrain_decoder',
    'pretrained_estimator': 'pretrain_estimator', 'blur': 'pretrain_blur', 'fusion': 'pretrain_fusion',
}  # fmt: skip
OF_MODELS = ('kernel_p1_iter', 'freeze_estimator')
COMPONENT = {each.__name__: each for kind in COMPONENTS.values() for each in kind}
DATASETS = {
    'SyntheticBlurDataset': SyntheticBlurDataset, 'KernelDataset': KernelDataset,
    'GuessedPhotoDataset': GuessedPhotoDataset,
}  # fmt: skip


def plain(value):
    """Lists, dicts and numbers as YAML has them."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def whole_loss(section, gamma):
    """A loss with the defaults filled in; the gamma of the photos is that of the data set unless the loss says it."""
    if section is None:
        return None
    if section['type'] not in COMPONENT:  # of BasicSR, whose losses have this default
        return {'loss_weight': 1.0, **section}
    given = {key: value for key, value in section.items() if key != 'type'}
    known = options_of(COMPONENT[section['type']])
    if section['type'] in ('ReblurLoss', 'RestorationLoss'):
        given.setdefault('gamma', gamma)
    return {'type': section['type'], **read_options(given, known, 'loss')}


def whole_network(section):
    section = dict(section)
    kind = ARCHS[section.pop('type')]
    with torch.device('meta'):
        return kind.__name__, plain(dict(kind(**plain(section)).hyper_parameters))


def data_of(section, pairs):
    if section['type'] in DATASETS:
        options = DATASETS[section['type']].OPTIONS
        values = {key: value for key, value in section.items() if key in options}
        whole = {**{key: option.default for key, option in options.items()}, **values}
        return plain({**whole, 'seed': whole.get('seed') or 0})
    return pairs


def whole_optimiser(section):
    """The type, and all arguments of the optimiser that it builds."""
    return section['type'], plain(build_optimiser(section, [torch.zeros(1)]).defaults)


def schedule(kind, arguments, warmup, end):
    if kind == 'MultiStepLR':
        return kind, plain({key: arguments[key] for key in ('milestones', 'gamma')}), warmup
    periods = plain(arguments.get('periods', [end]))
    return kind, periods, plain(arguments.get('restart_weights', [1])), arguments['eta_min'], warmup


def of_option_file(path):
    opt = read_option_file(path)
    convert_number_texts(opt)
    train, model = opt['train'], COMPONENT[opt['model_type']]
    options = {key: option.default for key, option in section_options(model, 'train', True).items()} | train
    kind = {'CosineAnnealingRestartLR': 'cosine'}.get(train['scheduler']['type'], train['scheduler']['type'])
    warmup, end = max(options['warmup_iter'], 0), train['total_iter']
    gamma = opt['datasets']['train'].get('gamma', 2.2)
    data = {
        phase: data_of(section, [section.get('dataroot_lq'), section.get('dataroot_gt'), section.get('gt_size')])
        for phase, section in opt['datasets'].items()
    }
    return {
        'model': opt['model_type'],
        'network': whole_network(opt['network_g']),
        'losses': {key: whole_loss(options.get(f'{key}_opt'), gamma) for key in LOSSES},
        'weights that it begins with': sorted(key for key in WEIGHTS.values() if opt['path'].get(key) is not None),
        'options of the model': {key: options.get(key) or None for key in OF_MODELS},
        'iterations': end,
        'optimiser': whole_optimiser(train['optim_g']),
        'clipping': options['grad_clip_norm'],
        'schedule': schedule(kind, train['scheduler'], warmup, end),
        'average': options['ema_decay'],
        'batch': opt['datasets']['train']['batch_size_per_gpu'],
        'data': data,
        'validation': opt['val']['val_freq'],
        'checkpoints': opt['logger']['save_checkpoint_freq'],
        'log': opt['logger']['print_freq'],
    }


def of_config(path):
    config = Config.fromfile(path).to_dict()
    model, end = config['model'], config['train_cfg']['max_iters']
    schedulers = config['param_scheduler']
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    *warmups, last = schedulers
    warmup = warmups[0]['end'] if warmups else 0
    kind = last['type']
    if kind == 'CosineAnnealingLR':  # to the end, unless it is said how long
        last['periods'] = [last['T_max'] + last.get('begin', 0) if 'T_max' in last else end]
    kind = {'CosineAnnealingLR': 'cosine', 'CosineRestartLR': 'cosine'}.get(kind, kind)
    averages = [hook['decay'] for hook in config['custom_hooks'] if hook['type'] == 'EMAHook']
    gamma = model.get('gamma', 2.2)
    data = {}
    for phase in ('train', 'val'):
        section = config[f'{phase}_dataloader']['dataset']
        sizes = [step['size'] for step in section.get('pipeline', ()) if step['type'] == 'CropPhotoPair']
        pairs = [section.get('dataroot_lq'), section.get('dataroot_gt'), sizes[0] if sizes else None]
        data[phase] = data_of(section, pairs)
    return {
        'model': model['type'],
        'network': whole_network(model['net']),
        'losses': {key: whole_loss(model.get(key), gamma) for key in LOSSES},
        'weights that it begins with': sorted(
            theirs for ours, theirs in WEIGHTS.items() if model.get(ours) is not None
        ),
        'options of the model': {key: model.get(key) or None for key in OF_MODELS},
        'iterations': end,
        'optimiser': whole_optimiser(config['optim_wrapper']['optimizer']),
        'clipping': config['optim_wrapper'].get('clip_grad', {}).get('max_norm'),
        'schedule': schedule(kind, last, warmup, end),
        'average': averages[0] if averages else 0.0,
        'batch': config['train_dataloader']['batch_size'],
        'data': data,
        'validation': config['train_cfg']['val_interval'],
        'checkpoints': config['default_hooks']['checkpoint']['interval'],
        'log': config['default_hooks']['logger']['interval'],
    }


def twin_of(path):
    """The option file that the head of a config names."""
    return ROOT / re.search(r'options/train_\w+\.yml', path.read_text())[0]


def test_there_are_configs_and_each_has_a_twin_of_its_own():
    assert len(CONFIGS) >= 12
    assert len({twin_of(path) for path in CONFIGS}) == len(CONFIGS)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_config_and_its_option_file_describe_one_training(path):
    ours, theirs = of_config(path), of_option_file(twin_of(path))
    assert ours == theirs
