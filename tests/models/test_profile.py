"""The profile of a training tells how long steps take and wait, and layouts leave the numbers as they are."""

import json

import pytest
import torch

from basis_blur.foundation.options import OptionError
from basis_blur.models import profile as profiles
from basis_blur.models.profile import PROFILE_FILE, Profile


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by what the test says."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(profiles.time, 'perf_counter', lambda: Clock.now)
    return Clock


def measured(folder, clock, waiting, computing):
    """A profile of steps that take and wait so long."""
    profile = Profile(folder, len(computing), 8, torch.device('cpu'), {'run': 'toy'})
    for wait, work in zip(waiting, computing, strict=True):
        clock.now += wait
        profile.begin()
        clock.now += work
        profile.end()
    return profile


def test_medians_are_told_and_the_first_step_apart(tmp_path, clock):
    # A validation lies before the fourth step, and the first one compiles.
    profile = measured(tmp_path, clock, [0, 0.1, 0.1, 50, 0.1], [30, 0.3, 0.3, 0.5, 0.3])
    told = json.loads((tmp_path / PROFILE_FILE).read_text())
    assert told == profile.result()
    assert told['seconds'] == {'waiting': 0.1, 'computing': 0.3, 'first': 30}
    assert told['samples_per_second'] == pytest.approx(8 / 0.4)
    assert told['waiting_share'] == pytest.approx(0.25)
    assert told['limited_by'] == 'data'
    assert (told['run'], told['iterations'], told['batch']) == ('toy', 5, 8)
    assert told['peak_memory_mb'] is None or told['peak_memory_mb'] > 1


def test_a_training_that_seldom_waits_is_limited_by_its_steps(tmp_path, clock):
    assert measured(tmp_path, clock, [0, 0.01, 0.01], [1, 1, 1]).result()['limited_by'] == 'compute'


def test_nothing_is_measured_unless_it_is_wanted_nor_twice(tmp_path, clock):
    assert not Profile(tmp_path, None, 1, torch.device('cpu'), {}).is_taken
    measured(tmp_path, clock, [0, 1], [1, 1])
    assert not Profile(tmp_path, 5, 1, torch.device('cpu'), {}).is_taken


def test_a_training_writes_the_profile_of_its_first_iterations(options, build, batches, train, tmp_path):
    opt = options(path={'log': str(tmp_path)}, datasets={'train': {'batch_size_per_gpu': 2}})
    opt['logger'] = {'profile_iters': 3}
    model = build(opt)
    train(model, batches(), 1, 2)
    assert not (tmp_path / PROFILE_FILE).exists()
    train(model, batches(), 3, 5)
    told = json.loads((tmp_path / PROFILE_FILE).read_text())
    assert (told['iterations'], told['batch'], told['network'], told['precision']) == (3, 2, 'ToyNet', 'float32')
    assert told['seconds']['computing'] > 0


@pytest.mark.parametrize('layout', [{'channels_last': True}, {'compile': 'eager'}])
def test_a_layout_changes_neither_the_training_nor_the_files(options, build, batches, train, layout):
    torch.manual_seed(1)
    plain = build(options())
    torch.manual_seed(1)
    other = build(options(train=layout))
    weight = next(other.get_bare_model(other.net_g).parameters())
    assert weight.is_contiguous(memory_format=torch.channels_last) == ('channels_last' in layout)
    torch.manual_seed(2)
    expected = train(plain, batches(), 1, 3)
    torch.manual_seed(2)
    found = train(other, batches(), 1, 3)
    torch.testing.assert_close(
        [each['l_pix'] for each in found], [each['l_pix'] for each in expected], rtol=1e-3, atol=0
    )
    other.save(0, 3)
    saved = torch.load(other.opt['path']['models'] + '/net_g_3.pth', weights_only=True)['params']
    assert saved.keys() == plain.get_bare_model(plain.net_g).state_dict().keys()
    assert all(value.is_contiguous() for value in saved.values())


def test_compilers_are_known_by_name(options, build):
    with pytest.raises(OptionError, match='compile'):
        build(options(train={'compile': 'fast'}))


def test_the_scores_of_the_last_validation_are_kept(options, build, batches, tmp_path):
    model = build(options(path={'log': str(tmp_path)}))

    for iteration, level in ((5, 0.75), (10, 0.25)):
        loader = torch.utils.data.DataLoader(Named([{'lq': torch.full((3, 2, 2), level)}]))
        model.validation(loader, iteration, None)
    assert json.loads((tmp_path / 'scores.json').read_text()) == {'held_out': {'iteration': 10, 'level': 0.25}}


class Named(list):
    """A data set with the options that BasicSR gives it."""

    opt = {'name': 'held_out'}  # noqa: RUF012
