"""A training state that is damaged in its structure is refused before the first step, or can be gone on with."""

import copy
import random
from collections import Counter

import pytest
import torch

from basis_blur.bridges.basicsr.training_state import read_state
from basis_blur.foundation.errors import InputError

STAGES = {
    'AdamW, cosine': {},
    'AdamW, float16': {'amp': 'fp16'},
    'SGD, steps': {
        'optim_g': {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9},
        'scheduler': {'type': 'MultiStepLR', 'milestones': [50], 'gamma': 0.5},
    },
}
MUTATIONS = 60  # number of mutations of each stage
STRANGE = (
    None, True, -1, 0, 1, 3.5, 2**70, 1e308, float('nan'), float('inf'), 'x', '', b'x', [], {}, (), [[]], [None],
    {0: {}}, Counter({'x': 1}), torch.zeros(0), torch.zeros(3), torch.tensor(float('nan')), torch.zeros(2, 3, 3, 3), 1j,
)  # fmt: skip


def places(value, path=()):
    """Yield the path of every value within a nested one; of a list, of the first entries."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, (list, tuple)) else ()
    )
    for key, each in entries:
        yield (*path, key)
        yield from places(each, (*path, key))


def changed(value, path, change):
    """Return a copy of a nested value with one entry taken out, renamed, or another."""
    key, *rest = path
    result = list(value) if isinstance(value, tuple) else copy.copy(value)
    if rest:
        result[key] = changed(value[key], rest, change)
    elif change == 'taken out' and not isinstance(value, tuple):
        del result[key]
    elif change == 'renamed' and isinstance(value, dict):
        result['zzz'] = result.pop(key)
    else:
        result[key] = copy.deepcopy(change)
    return tuple(result) if isinstance(value, tuple) else result


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.filterwarnings('ignore')
def test_a_state_with_a_changed_structure_is_refused_or_can_be_gone_on_with(
    stage, tmp_path, options, build, batches, train
):
    opt = options(train=STAGES[stage])
    model = build(opt)
    train(model, batches(), 1, 2)
    model.save(0, 2)
    path = tmp_path / 'training_states' / '2.state'
    sound = torch.load(path, weights_only=True)
    draw = random.Random(0)
    refused = 0
    for _ in range(MUTATIONS):
        where = draw.choice(list(places(sound)))
        change = draw.choice(('taken out', 'renamed', *STRANGE))
        torch.save(changed(sound, where, change), path)
        model = build(opt)
        try:
            model.resume_training(read_state(path))
        except InputError:
            refused += 1
            continue
        try:
            train(model, batches(2), 3, 4)
            model.save(0, 4)
        except InputError:
            pass  # a loss that is no number any more
        except Exception as error:
            raise AssertionError(f'{"/".join(map(str, where))}, {change!r}: {error!r}') from error
    assert MUTATIONS // 3 < refused < MUTATIONS


@pytest.mark.parametrize('stage', STAGES)
def test_a_state_of_the_last_iteration_is_sound(stage, tmp_path, options, build, batches, train):
    opt = options(train={**STAGES[stage], 'total_iter': 100})
    model = build(opt)
    train(model, batches(), 1, 100)
    model.save(4, 100)
    build(opt).resume_training(read_state(tmp_path / 'training_states' / '100.state'))


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (
            lambda state: state['optimizers'][0]['param_groups'][0].update(amsgrad=True),
            'amsgrad is True, expected False',
        ),
        (lambda state: state['optimizers'][0]['param_groups'][0].update(betas=(-1, 0.9)), 'Invalid beta'),
        (lambda state: state['optimizers'][0]['state'][0].update(step=torch.tensor(-1.0)), 'step of a weight is not a'),
        (
            lambda state: state['optimizers'][0]['state'][1]['exp_avg'].fill_(torch.nan),
            'exp_avg of a weight is not num',
        ),
        (lambda state: state['schedulers'][0].update(cumulative_period=[1]), 'NoneType'),
        (lambda state: state['schedulers'][0].update(last_epoch=50), 'last_epoch is 50, expected at most 1'),
        (lambda state: state['scaler'].update(scale='inf'), "scale is 'inf', expected a float > 0"),
        (lambda state: state['scaler'].update(growth_factor=0.5), r'growth_factor is 0\.5, expected a float > 1'),
    ],
)
def test_what_is_wrong_is_named(options, build, batches, train, tmp_path, change, found):
    opt = options(train={'amp': 'fp16'})
    model = build(opt)
    train(model, batches(), 1, 1)
    model.save(0, 1)
    state = read_state(tmp_path / 'training_states' / '1.state')
    change(state)
    with pytest.raises(InputError, match=found):
        build(opt).resume_training(state)
