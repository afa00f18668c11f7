"""What basis_blur changes in BasicSR, each change tried where it is needed."""

import os
import sys
import types
from collections import Counter, OrderedDict

import pytest
import torch
from option_text import FILE

import basis_blur.plugin  # noqa: F401
from basis_blur.bridges.basicsr import in_use, run_folder, running
from basis_blur.bridges.basicsr import mended as compatibility
from basis_blur.bridges.basicsr.resuming import load_resume_state
from basis_blur.data.sample_stream import SampleStream
from basis_blur.foundation import files, interrupts
from basis_blur.foundation.errors import InputError


@pytest.fixture
def run_options(tmp_path):
    """Options of a run, as BasicSR's reader returns them, with two states in its folder."""
    folder = tmp_path / 'somewhere' / 'run'
    paths = {name: str(folder / name) for name in ('models', 'training_states')}
    for path in paths.values():
        (tmp_path / path).mkdir(parents=True)
    for iteration in (900, 1000):
        state = {
            'epoch': 1,
            'iter': iteration,
            'optimizers': [{'state': {0: {'exp_avg': torch.ones(2)}}, 'param_groups': [{'lr': 1e-4}]}],
            'schedulers': [OrderedDict(milestones=Counter([5]))],
        }
        torch.save(state, f'{paths["training_states"]}/{iteration}.state')
        torch.save({}, f'{paths["models"]}/net_g_{iteration}.pth')
    return {
        'auto_resume': False,
        'network_g': {'type': 'SRVGGNetCompact'},
        'path': {**paths, 'resume_state': None, 'pretrain_network_g': None, 'experiments_root': str(folder)},
    }


def test_a_run_without_a_state_starts_afresh(run_options):
    assert load_resume_state(run_options) is None
    run_options['auto_resume'] = True
    run_options['path']['training_states'] = 'no/such/folder'
    assert load_resume_state(run_options) is None


def test_the_named_state_is_loaded_with_its_network(run_options):
    run_options['path']['resume_state'] = run_options['path']['training_states'] + '/900.state'
    state = load_resume_state(run_options)
    assert state['iter'] == 900
    assert state['schedulers'][0]['milestones'] == Counter([5])
    assert run_options['path']['pretrain_network_g'] == run_options['path']['models'] + '/net_g_900.pth'


def test_auto_resume_takes_the_newest_state_of_the_runs_own_folder(run_options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # which has no folder "experiments", where BasicSR would look
    run_options['auto_resume'] = True
    (tmp_path / run_options['path']['training_states'] / 'best.state').touch()
    assert load_resume_state(run_options)['iter'] == 1000
    assert run_options['path']['resume_state'].endswith('1000.state')


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut off', b'no such thing'])
def test_a_damaged_state_is_named(run_options, tmp_path, content):
    path = tmp_path / run_options['path']['training_states'] / '900.state'
    path.write_bytes(content)
    run_options['path']['resume_state'] = str(path)
    with pytest.raises(InputError, match=r'900\.state cannot be read as a training state'):
        load_resume_state(run_options)


def test_a_checkpoint_is_no_state(run_options):
    run_options['path']['resume_state'] = run_options['path']['models'] + '/net_g_900.pth'
    with pytest.raises(InputError, match=r'is not a training state; name an ITERATION\.state'):
        load_resume_state(run_options)


def test_a_state_executes_nothing(run_options, tmp_path):
    path = tmp_path / 'foreign.state'
    torch.save({'epoch': 0, 'iter': 0, 'optimizers': print, 'schedulers': []}, path)
    run_options['path']['resume_state'] = str(path)
    with pytest.raises(InputError, match='cannot be read as a training state'):
        load_resume_state(run_options)


@pytest.mark.parametrize('older', [True, False])
def test_a_flipped_bit_in_a_state_is_found_and_the_sentence_tells_the_way_on(run_options, tmp_path, older):
    folder = tmp_path / run_options['path']['training_states']
    if not older:
        (folder / '900.state').unlink()
    (folder / '²0.state').touch()  # a digit to Python, and not a number
    path = folder / '1000.state'
    content = path.read_bytes()
    ones = torch.ones(2).numpy().tobytes()
    path.write_bytes(content.replace(ones, b'\x01' + ones[1:], 1))
    run_options['auto_resume'] = True
    with pytest.raises(InputError, match='check sum of .* is wrong') as error:
        load_resume_state(run_options)
    way = (
        f'or write "path: resume_state: {folder}/900.state"'
        if older
        else 'there is no older one beside it: start afresh'
    )
    assert way in str(error.value)
    if older:  # the first way that the sentence tells
        path.unlink()
        assert load_resume_state(run_options)['iter'] == 900


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        ({'epoch': 'x'}, '"epoch" is \'x\''),
        ({'iter': -1}, '"iter" is -1'),
        ({'optimizers': 5}, '"optimizers" is no list'),
        ({'schedulers': [1]}, '"schedulers" is no list'),
        ({'validated': [1]}, '"validated" is no list'),
        ({'scaler': 1}, '"scaler" is no group'),
        ({'best_metric_results': {'v': {'psnr': {'val': 'x', 'iter': 1, 'better': 'higher'}}}}, 'best_metric_results'),
        ({'best_metric_results': []}, 'best_metric_results'),
    ],
)
def test_a_state_with_a_wrong_entry_is_refused(run_options, change, found):
    path = run_options['path']['training_states'] + '/900.state'
    state = torch.load(path, weights_only=True)
    torch.save({**state, **change}, path)
    run_options['path']['resume_state'] = path
    with pytest.raises(InputError, match='is a damaged training state') as error:
        load_resume_state(run_options)
    assert found in str(error.value)


@pytest.mark.skipif(files.fcntl is None, reason='needs POSIX file locks')
def test_the_folder_of_a_run_belongs_to_one_process(run_options, tmp_path):
    folder = tmp_path / 'runs' / 'a_run'
    options = {'path': {'experiments_root': str(folder)}}
    run_folder.lock_folder(options, 'experiments_root')
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run_folder._Lock.held = None  # that of the parent, which was not inherited
            run_folder.lock_folder({**options, 'rank': 1}, 'experiments_root')  # only the first process locks
            run_folder.lock_folder(options, 'experiments_root')
        except InputError as error:
            code = 0 if 'give this run another "name"' in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not folder.exists()
    run_folder.lock_folder(options, 'experiments_root')


def test_a_state_without_its_network_is_named(run_options, tmp_path):
    (tmp_path / run_options['path']['models'] / 'net_g_900.pth').unlink()
    run_options['path']['resume_state'] = run_options['path']['training_states'] + '/900.state'
    with pytest.raises(InputError, match=r'belongs to .*net_g_900\.pth, which does not exist'):
        load_resume_state(run_options)


def test_every_change_is_made_once():
    import basicsr.train
    from basicsr.utils import options

    assert len(compatibility.active()) == 7
    functions = (options.parse_options, basicsr.train.parse_options, basicsr.train.load_resume_state)
    compatibility.apply()
    assert (options.parse_options, basicsr.train.parse_options, basicsr.train.load_resume_state) == functions


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A `__main__` with the functions of BasicSR's train.py, which have not been called yet."""
    module = types.ModuleType('__main__')
    module.__file__ = str(tmp_path / 'basicsr' / 'train.py')
    module.load_resume_state = lambda opt: 'the original'
    monkeypatch.setitem(sys.modules, '__main__', module)
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)
    return module


def test_a_running_train_script_gets_our_load_resume_state(script, run_options, capsys):
    compatibility.apply()
    run_options['model_type'] = 'SRModel'
    assert script.load_resume_state(run_options) is None
    run_options['model_type'] = 'SRModell'
    with pytest.raises(SystemExit) as stop:
        script.load_resume_state(run_options)
    assert stop.value.code == 2
    assert 'Did you mean "SRModel"?' in capsys.readouterr().err


def test_a_running_test_script_checks_its_options_before_it_makes_folders(script, capsys):
    made = []
    script.__file__ = script.__file__.replace('train.py', 'test.py')
    del script.load_resume_state
    script.test_pipeline, script.make_exp_dirs = None, made.append
    compatibility.apply()
    good, bad = {'model_type': 'SRModel'}, {'model_type': 'SRModell'}
    script.make_exp_dirs(good)
    with pytest.raises(SystemExit):
        script.make_exp_dirs(bad)
    assert made == [good]
    assert 'Did you mean "SRModel"?' in capsys.readouterr().err


def test_other_scripts_stay_as_they_are(script):
    script.__file__ = '/somewhere/my_own_train.py'
    before = script.load_resume_state
    compatibility.apply()
    assert script.load_resume_state is before


def test_a_user_mistake_deep_inside_a_script_is_a_sentence(script, capsys):
    compatibility.apply()
    with pytest.raises(SystemExit) as stop:
        sys.excepthook(InputError, InputError('the photo is damaged.'), None)
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'basis_blur: the photo is damaged.\n'
    sys.excepthook(ZeroDivisionError, ZeroDivisionError('a defect'), None)
    assert 'ZeroDivisionError: a defect' in capsys.readouterr().err


class Trained:
    """A model in the middle of a training."""

    def __init__(self):
        self.opt = {'path': {'training_states': 'states'}, 'dist': False}
        self.saved = []

    def save(self, epoch, iteration):
        self.saved.append((epoch, iteration))


def test_ctrl_c_in_a_script_of_basicsr_saves_and_says_how_to_go_on(script, monkeypatch, capsys):
    compatibility.apply()
    model = Trained()
    monkeypatch.setattr(running.Training, 'model', model)
    # After the last step, BasicSR's loop begins one epoch more.
    monkeypatch.setattr(running.Training, 'stream', types.SimpleNamespace(epoch=3))
    monkeypatch.setattr(running.Training, 'epoch', 2)
    monkeypatch.setattr(running.Training, 'iterations_done', 7)
    with pytest.raises(SystemExit) as stop:
        sys.excepthook(interrupts.SafeStop, interrupts.SafeStop(), None)
    assert stop.value.code == 130
    assert model.saved == [(2, 7)]
    assert 'iteration 7 is done and saved in states; go on with the same command and --auto_resume.' in (
        capsys.readouterr().err
    )


def read(monkeypatch, *arguments):
    """What BasicSR's reader, as its train.py knows it, makes of a command line."""
    import basicsr.train

    monkeypatch.setattr(sys, 'argv', ['train.py', *map(str, arguments)])
    return basicsr.train.parse_options('.', is_train=True)[0]


@pytest.fixture
def keep_generators():
    """BasicSR's reader seeds the global generators."""
    with torch.random.fork_rng():
        yield


@pytest.mark.usefixtures('keep_generators')
def test_the_command_lines_exponents_are_numbers(tmp_path, monkeypatch):
    (tmp_path / 'o.yml').write_text(FILE)
    opt = read(monkeypatch, '-opt', tmp_path / 'o.yml', '--force_yml', 'train:optim_g:lr=1e-4', 'train:x=-2')
    assert opt['train'] == {'optim_g': {'lr': 1e-4}, 'x': -2}


@pytest.mark.usefixtures('keep_generators')
@pytest.mark.parametrize(
    ('text', 'arguments', 'found'),
    [
        (FILE.replace('SRModel', 'SRModell'), (), 'Did you mean "SRModel"'),
        (FILE.replace('num_gpu: 0\n', ''), (), 'num_gpu'),
        (FILE + 'bad: [', (), 'cannot be read as an option file: line'),
        ('- a\n', (), 'holds list, expected an option file'),
        (FILE, ('--force_yml', 'trian:x=1'), 'no section "trian". Did you mean "train"?'),
        (FILE, ('--force_yml', 'nonsense'), "--force_yml 'nonsense' has no"),
        (FILE, ('--force_yml', 'a=b=c'), 'has more than one "="'),
        (FILE, ('--force_yml', 'train:"=1'), 'a key has other characters'),
        (FILE, ('--force_yml', 'name:x:y=1'), 'no section "name"'),
        (FILE, ('--force_yml', 'train:x=[1'), '--force_yml: [1 cannot be read as a list'),
        (None, (), 'No such file or directory'),
    ],
)
def test_a_file_that_basicsr_cannot_read_is_explained(tmp_path, monkeypatch, capsys, text, arguments, found):
    if text is not None:
        (tmp_path / 'o.yml').write_text(text.replace('SRModel\n', 'StandIn\n') if 'num_gpu' in found else text)
    if 'num_gpu' in found:
        from basicsr.utils.registry import MODEL_REGISTRY

        stand_in = type('StandIn', (), {'__module__': 'basis_blur.models.stand_in'})
        monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'StandIn', stand_in)
    with pytest.raises(SystemExit) as stop:
        read(monkeypatch, '-opt', tmp_path / 'o.yml', *arguments)
    assert stop.value.code == 2
    assert found in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_processes_without_gpu_talk_by_gloo(monkeypatch):
    from basicsr.utils import dist_util, options

    calls = []
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda **arguments: calls.append(arguments))
    dist_util.init_dist('pytorch')
    options.init_dist('pytorch')
    assert calls == [{'backend': 'gloo'}] * 2
    with pytest.raises(SystemExit):
        dist_util.init_dist('slurm')


def test_a_launcher_that_launched_nothing_is_a_mistake(monkeypatch, capsys):
    from basicsr.utils import dist_util

    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(SystemExit):
        dist_util.init_dist('pytorch')
    assert 'torchrun' in capsys.readouterr().err


def test_an_error_of_the_data_reaches_the_training_through_a_prefetching_thread():
    from basicsr.data.prefetch_dataloader import PrefetchGenerator

    def samples():
        yield 1
        raise InputError('photo 2 is damaged.')

    prefetched = PrefetchGenerator(samples(), 1)
    assert next(prefetched) == 1
    with pytest.raises(InputError, match='photo 2 is damaged'):
        next(prefetched)
    assert list(PrefetchGenerator(iter([1, 2]), 1)) == [1, 2]


@pytest.mark.parametrize('weights', ['flow.pth', None])
def test_no_folder_is_made_of_the_weights_that_a_stage_begins_with(tmp_path, weights):
    paths = {'experiments_root': str(tmp_path / 'run'), 'models': str(tmp_path / 'run' / 'models')}
    paths['pretrain_flow'] = weights and str(tmp_path / weights)
    sys.modules['basicsr.train'].make_exp_dirs({'is_train': True, 'path': paths})
    assert [path.name for path in tmp_path.iterdir()] == ['run']
    assert (tmp_path / 'run' / 'models').is_dir()


class Validated:
    """A model that tells which of its validations are made up for."""

    def __init__(self, validated, frequency=4):
        self.opt = {'val': {'val_freq': frequency, 'save_img': False}, 'dist': False}
        self.validated = validated
        self.calls = []

    def validation(self, loader, iteration, tb_logger, save_img):
        self.calls.append((loader.dataset.opt['name'], iteration))


@pytest.mark.parametrize(
    ('validated', 'iteration', 'made_up'), [(['a'], 8, ['b']), (['a', 'b'], 8, []), ([], 6, []), (None, 8, [])]
)
def test_a_resumed_training_makes_up_for_validations(monkeypatch, validated, iteration, made_up):
    loaders = [types.SimpleNamespace(dataset=types.SimpleNamespace(opt={'name': name})) for name in 'ab']
    monkeypatch.setattr(running.Training, 'validations', loaders)
    monkeypatch.setattr(running.Training, 'resumed', {'iter': iteration})
    monkeypatch.setattr(running.Training, 'model', None)
    model = Validated(validated)
    update = running.update_learning_rate(lambda self, current_iter, warmup_iter: None)
    update(model, iteration + 1)
    update(model, iteration + 2)
    assert model.calls == [(name, iteration) for name in made_up]


@pytest.mark.parametrize(('iteration', 'skipped'), [(6, 4), (8, 8), (4, 0), (9, 0), (3, 0)])
def test_a_resumed_epoch_skips_what_was_seen_if_that_fits(caplog, iteration, skipped):
    """Epochs of 4 batches of 2; the state is of epoch 1."""
    order = types.SimpleNamespace(epoch=1, num_replicas=1, rank=0)
    stream = SampleStream(range(8), 0)
    loader = torch.utils.data.DataLoader(range(8), 2)
    running.skip_what_was_seen(stream, loader, 1, iteration)
    stream.order = type('Order', (list,), vars(order))(range(8))
    assert len(list(stream)) == 8 - skipped


@pytest.mark.parametrize('batches', [1, 2, 3, 7])
@pytest.mark.parametrize('iterations', [1, 6, 7, 40])
@pytest.mark.parametrize('done', [0, 1, 5, 6])
@pytest.mark.parametrize('epochs_before', [0, 1, 3])
def test_the_loop_of_basicsr_makes_all_iterations_and_begins_one_epoch_too_many_at_most(
    batches, iterations, done, epochs_before
):
    """Whether it begins, resumes within an epoch, or resumes with other data, whose epoch begins again."""
    seen = done - epochs_before * batches
    first = batches - seen if 0 <= seen <= batches else batches
    made, superfluous = done, 0
    for epoch in range(epochs_before, running.last_epoch(batches, iterations, epochs_before, done) + 1):
        superfluous += made >= iterations
        made = min(iterations, made + (first if epoch == epochs_before else batches)) if made < iterations else made
    assert made == max(iterations, done)
    assert superfluous <= 1 + (done >= iterations)


@pytest.fixture
def by_hook(monkeypatch):
    """A process in which the start-up hook alone has loaded the plugin."""
    monkeypatch.setitem(sys.modules, '_basis_blur_hook', types.SimpleNamespace(LOADED_PLUGIN=True))
    monkeypatch.setattr(in_use._Use, 'asked', None)


FOREIGN = {
    'model_type': 'SRModel',
    'network_g': {'type': 'RRDBNet'},
    'datasets': {'train': {'type': 'PairedImageDataset'}},
}


@pytest.mark.parametrize(
    ('change', 'ours'),
    [
        ({}, False),
        ({'plugin': 'basis_blur.plugin.loaded'}, True),
        ({'model_type': 'BasisBlurModel'}, True),
        ({'datasets': {'val': {'type': 'KernelDataset'}}}, True),
        ({'train': {'pixel_opt': {'type': 'PSNRLoss_basis_blur'}}}, True),
        ({'name': 'BasisKPN'}, False),
    ],
)
def test_options_ask_for_us_by_the_line_or_a_component(change, ours):
    assert in_use.asks_for_us({**FOREIGN, **change}) == ours


def test_what_is_mended_is_not_in_force_for_other_projects(by_hook, script, run_options, capsys, tmp_path):
    compatibility.apply()
    assert not in_use.in_force()
    assert script.load_resume_state({**run_options, 'model_type': 'SRModell'}) == 'the original'
    sys.excepthook(OSError, OSError('a disk'), None)
    assert capsys.readouterr().err == 'OSError: a disk\n'
    for text, ours in (('model_type: BasisBlurModel', True), ('model_type: SRModel', False), ('[', False),
                       ('[ # basis_blur', True), ('model_type: !!python/name:os.system', False)):  # fmt: skip
        (tmp_path / 'options.yml').write_text(text)
        in_use.decide_by_command_line(['train.py', '-opt', str(tmp_path / 'options.yml')])
        assert in_use.in_force() == ours
