"""BasicSR's training loop around a toy network: what a step does, what is saved, what is refused."""

import copy
import errno
import json
import logging
from pathlib import Path

import pytest
import torch

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError
from basis_blur.models import run_files
from basis_blur.models.validation import Validation
from basis_blur.weights.checkpoints import load_network


def load_state(opt: dict, iteration: int) -> dict:
    return torch.load(Path(opt['path']['training_states'], f'{iteration}.state'), weights_only=True)


def everything_of(model) -> dict:
    """All that determines the rest of a training."""
    return {
        'params': model.net_g.state_dict(),
        'params_ema': model.net_g_ema.state_dict(),
        'optimizer': model.optimizer_g.state_dict(),
        'lr': model.get_current_learning_rate(),
        'scaler': model.scaler.state_dict(),
        'random': torch.rand(3),
    }


@pytest.mark.parametrize('amp', [None, 'bf16', 'fp16'])
def test_a_resumed_training_computes_what_an_uninterrupted_one_does(options, build, batches, train, amp):
    opt = options(train={'amp': amp})
    torch.manual_seed(1)
    whole = build(opt)
    train(whole, batches(), 1, 3)
    whole.save(epoch=0, current_iter=3)
    losses = train(whole, batches(3), 4, 6)
    expected = copy.deepcopy(everything_of(whole))

    torch.manual_seed(2)
    opt['path']['pretrain_network_g'] = str(Path(opt['path']['models'], 'net_g_3.pth'))
    resumed = build(opt)
    resumed.resume_training(load_state(opt, 3))
    assert train(resumed, batches(3), 4, 6) == losses
    torch.testing.assert_close(everything_of(resumed), expected, rtol=0, atol=0)


def test_the_scale_of_float16_goes_on_where_it_was(options, build, batches, train):
    opt = options(train={'amp': 'fp16'})
    model = build(opt)
    train(model, batches(), 1, 1)
    model.scaler.update(4096.0)
    model.save(0, 1)
    resumed = build(opt)
    resumed.resume_training(load_state(opt, 1))
    assert resumed.scaler.get_scale() == 4096.0


@pytest.mark.parametrize(('amp', 'dtype'), [(None, torch.float32), ('bf16', torch.bfloat16), ('fp16', torch.float16)])
def test_the_network_computes_in_the_wanted_precision(options, build, batches, train, amp, dtype):
    model = build(options(train={'amp': amp}))
    seen = []
    model.net_g.body[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    train(model, batches(), 1, 1)
    assert seen == [dtype]
    assert model.net_g.body[0].weight.dtype == torch.float32


@pytest.mark.parametrize('units', [True, False])
def test_auto_takes_bfloat16_where_there_are_units_for_it(options, build, batches, train, monkeypatch, caplog, units):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {'amx_bf16': units}, raising=False)
    logger = logging.getLogger('basicsr')
    monkeypatch.setattr(logger, 'propagate', True)
    caplog.set_level(logging.INFO, logger='basicsr')
    model = build(options(train={'amp': 'auto'}))
    assert model.amp_type == (torch.bfloat16 if units else None)
    assert f'"amp: auto": in {torch.bfloat16 if units else torch.float32}' in caplog.text
    seen = []
    model.net_g.body[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    train(model, batches(), 1, 1)
    assert seen == [torch.bfloat16 if units else torch.float32]
    caplog.clear()
    assert build(options(train={'amp': 'bf16'})).amp_type is torch.bfloat16
    assert ('has no units for matrices of bfloat16' in caplog.text) == (not units)


def test_processes_of_a_resumed_training_draw_different_noise(options, build, batches, train):
    opt = options()
    model = build(opt)
    model.save(0, 1)
    drawn = []
    for rank in (0, 1, 2):
        model.opt.update(rank=rank, world_size=3)
        model.resume_training(load_state(opt, 1))
        drawn.append(torch.rand(1).item())
    assert len(set(drawn)) == 3


def test_the_average_follows_weights_and_copies_buffers(options, build, batches, train):
    model = build(options(train={'ema_decay': 0.75}))
    before = copy.deepcopy(model.net_g_ema.state_dict())
    train(model, batches(), 1, 1)
    trained, average = model.net_g.state_dict(), model.net_g_ema.state_dict()
    expected = 0.75 * before['body.0.weight'] + 0.25 * trained['body.0.weight']
    torch.testing.assert_close(average['body.0.weight'], expected)
    assert average['body.1.num_batches_tracked'].item() == 1
    torch.testing.assert_close(average['body.1.running_mean'], trained['body.1.running_mean'], rtol=0, atol=0)


def test_a_step_is_no_longer_than_the_clipped_gradient(options, build, batches, train):
    steps = []
    for limit in (None, 1e-3):
        torch.manual_seed(0)
        model = build(options(train={'grad_clip_norm': limit, 'optim_g': {'type': 'SGD', 'lr': 0.5}}))
        before = [parameter.detach().clone() for parameter in model.net_g.parameters()]
        (log,) = train(model, batches(), 1, 1)
        moves = [a - b for a, b in zip(before, model.net_g.parameters(), strict=True)]
        steps.append(torch.cat([move.flatten() for move in moves]).norm().item())
    assert steps[1] == pytest.approx(0.5 * 1e-3, rel=1e-3)
    assert steps[0] == pytest.approx(0.5 * log['grad_norm'], rel=1e-3)  # the log has the norm before clipping


def test_a_loss_that_is_nan_stops_before_the_weights_and_names_the_batch(options, build, batches, train):
    opt = options()
    model = build(opt)
    train(model, batches(), 1, 1)
    before = copy.deepcopy(model.net_g.state_dict())
    bad = {'lq': torch.full((2, 3, 6, 6), float('nan')), 'lq_path': ['good.png', 'broken.png']}
    model.feed_data(bad)
    model.net_g.eval()  # the running statistics of the batch normalisation are not the subject
    with pytest.raises(InputError, match=r'iteration 7, because l_pix is nan.*good\.png, broken\.png'):
        model.optimize_parameters(7)
    torch.testing.assert_close(model.net_g.state_dict(), before, rtol=0, atol=0)
    assert not list(Path(opt['path']['models']).parent.rglob('*.pth'))


def test_a_gradient_that_is_infinite_stops_too(options, build, batches):
    model = build(options())
    model.feed_data(next(batches()))
    weight = model.net_g.body[2].bias
    with pytest.raises(InputError, match=r'iteration 3, because the norm of the gradient is nan.*photo_0a'):
        model.descend({'l_root': (weight - weight.detach()).abs().sum().sqrt()}, 3)  # finite, with slope 0/0
    assert weight.isfinite().all()


def test_options_are_only_read(options, build):
    opt = options()
    before = copy.deepcopy(opt)
    build(opt)
    assert opt == before


@pytest.mark.parametrize('name', ['Adam', 'AdamW', 'SGD', 'RAdam', 'RMSprop', 'Adagrad', 'Adadelta', 'NAdam', 'Rprop'])
def test_any_optimiser_of_torch_takes_a_step(options, build, batches, train, name):
    model = build(options(train={'optim_g': {'type': name, 'lr': 0.01}}))
    before = model.net_g.body[0].weight.detach().clone()
    train(model, batches(), 1, 1)
    assert type(model.optimizer_g).__name__ == name
    assert not torch.equal(model.net_g.body[0].weight, before)


@pytest.mark.parametrize(
    ('train_options', 'found'),
    [
        ({'optim_g': {'type': 'AdmW', 'lr': 0.1}}, 'Did you mean "AdamW"'),
        ({'optim_g': {'type': 'AdamW', 'lr': 0.1, 'weight_dekay': 1}}, 'unknown key "weight_dekay".*"weight_decay"'),
        ({'optim_g': {'type': 'AdamW'}}, 'lacks the key "lr"'),
        ({'optim_g': {'type': 'AdamW', 'lr': -1}}, 'AdamW cannot be built: Invalid learning rate'),
        ({'optim_g': {'type': 'LBFGS', 'lr': 1}}, 'LBFGS evaluates a batch many times'),
        ({'scheduler': {'type': 'CosineAnealingRestartLR'}}, 'Did you mean "CosineAnnealingRestartLR"'),
        ({'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [50]}}, 'end before total_iter 100'),
        (
            {'scheduler': {'type': 'MultiStepLR', 'milestone': [50]}},
            'unknown key "milestone".*Did you mean "milestones"',
        ),
        ({'amp': 'bf61'}, '"amp" is \'bf61\', expected one of'),
        ({'ema_decay': 'much'}, '"ema_decay" is \'much\''),
    ],
)
def test_a_wrong_option_is_named(options, build, train_options, found):
    with pytest.raises(OptionError, match=found):
        build(options(train=train_options))


def test_several_gpus_need_several_processes(options, build):
    with pytest.raises(OptionError, match='torchrun'):
        build(options(num_gpu=2))


class FullDisk:
    """A file that takes some bytes and then no more, as `open` returns it on a full disk."""

    def __init__(self, path, mode):
        self.file = open(path, mode)  # noqa: SIM115
        self.room = 100

    def write(self, content):
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return self.file.write(content)

    def flush(self):
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


@pytest.mark.parametrize('part', ['save_network', 'save_training_state'])
def test_a_failed_save_is_an_error_and_leaves_the_old_file(options, build, monkeypatch, part):
    opt = options()
    model = build(opt)
    model.save(0, 5)
    files = {path: path.read_bytes() for path in Path(opt['path']['models']).parent.rglob('*.*') if path.is_file()}
    assert len(files) == 2
    monkeypatch.setattr(run_files, 'open', FullDisk, raising=False)
    arguments = (model.net_g, 'net_g', 5) if part == 'save_network' else (0, 5)
    with pytest.raises(OSError, match=r'5\.(pth|state) could not be saved .*No space left'):
        getattr(model, part)(*arguments)
    after = {path: path.read_bytes() for path in Path(opt['path']['models']).parent.rglob('*.*') if path.is_file()}
    assert after == files


def test_the_end_of_a_training_is_latest_and_has_no_state(options, build):
    opt = options()
    build(opt).save(epoch=-1, current_iter=-1)
    assert [path.name for path in Path(opt['path']['models']).parent.rglob('*.*')] == ['net_g_latest.pth']


@pytest.mark.parametrize(
    ('strict', 'found'), [(True, r'network_g \(type: ToyNet, width: 3\).*body\.0\.weight of shape \(2, 3, 3, 3\)')]
)
def test_a_checkpoint_of_another_architecture_is_refused(options, build, strict, found):
    opt = options()
    build(opt).save(0, 1)
    checkpoint = str(Path(opt['path']['models'], 'net_g_1.pth'))
    with pytest.raises(InputError, match=found):
        build(options(network_g={'type': 'ToyNet', 'width': 3}, path={'pretrain_network_g': checkpoint}))


def test_what_fits_is_loaded_without_strictness(options, build):
    opt = options()
    saved = build(opt)
    saved.save(0, 1)
    path = {'pretrain_network_g': str(Path(opt['path']['models'], 'net_g_1.pth')), 'strict_load_g': False}
    model = build(options(network_g={'type': 'ToyNet', 'width': 3}, path=path))
    torch.testing.assert_close(model.net_g.body[2].bias, saved.net_g.body[2].bias)


@pytest.mark.parametrize(('is_train', 'key'), [(True, 'params'), (False, 'params_ema')])
def test_a_training_starts_from_the_weights_and_a_test_from_their_average(
    options, build, batches, train, is_train, key
):
    opt = options()
    model = build(opt)
    train(model, batches(), 1, 3)
    model.save(0, 3)
    path = Path(opt['path']['models'], 'net_g_3.pth')
    loaded = build(options(is_train=is_train, path={'pretrain_network_g': str(path)}))
    expected = torch.load(path, weights_only=True)[key]
    torch.testing.assert_close(loaded.net_g.state_dict(), expected, rtol=0, atol=0)


def test_weights_of_a_wrapped_network_are_unwrapped(options, build, tmp_path):
    source = build(options()).net_g.state_dict()
    path = tmp_path / 'wrapped.pth'
    torch.save({'params': {f'module.{name}': value for name, value in source.items()}}, path)
    model = build(options(path={'pretrain_network_g': str(path)}))
    torch.testing.assert_close(model.net_g.state_dict(), source, rtol=0, atol=0)


def test_a_damaged_checkpoint_is_named(options, build, tmp_path):
    opt = options()
    build(opt).save(0, 1)
    content = Path(opt['path']['models'], 'net_g_1.pth').read_bytes()
    damaged = tmp_path / 'damaged.pth'
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r'damaged\.pth'):
        build(options(path={'pretrain_network_g': str(damaged)}))


def test_a_checkpoint_tells_load_network_what_it_is(options, build):
    hyper_parameters = {'num_feat': 2, 'num_kernels': 3, 'norm': 'group'}
    opt = options(network_g={'type': 'BasisKPN', **hyper_parameters})
    model = build(opt)
    model.save(0, 1)
    path = Path(opt['path']['models'], 'net_g_1.pth')
    stated = torch.load(path, weights_only=True)['hyper_parameters']
    assert stated == {'type': 'BasisKPN', **model.get_bare_model(model.net_g).hyper_parameters}
    net = load_network(path)
    assert hyper_parameters.items() <= net.hyper_parameters.items()
    torch.testing.assert_close(net.state_dict(), model.net_g_ema.state_dict(), rtol=0, atol=0)


def test_a_state_of_another_optimiser_is_refused(options, build):
    opt = options()
    build(opt).save(0, 1)
    state = load_state(opt, 1)
    state['optimizers'] = state['optimizers'] * 2
    with pytest.raises(InputError, match='resume with the options of the run that wrote it'):
        build(opt).resume_training(state)


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (lambda state: state['optimizers'][0]['state'][0].update(exp_avg=torch.zeros(5)), r'exp_avg of .* is \(5,\)'),
        (lambda state: state['optimizers'][0]['state'][0].pop('exp_avg_sq'), 'has no exp_avg_sq'),
        (lambda state: state['optimizers'][0]['param_groups'][0].update(lr='x'), "lr is 'x', expected a number"),
        (lambda state: state['optimizers'][0]['param_groups'][0].pop('betas'), 'betas'),
        (lambda state: state['schedulers'][0].update(last_epoch=None), 'last_epoch is None'),
        (lambda state: state['schedulers'][0].update(base_lrs=[]), r'base_lrs is \[\]'),
        (lambda state: state['random'][0].update(torch=torch.zeros(3, dtype=torch.uint8)), 'random generators'),
        (lambda state: state.update(random=5), 'random generators'),
    ],
)
def test_a_state_that_is_wrong_within_is_refused_before_the_first_step(options, build, batches, train, change, found):
    opt = options()
    model = build(opt)
    train(model, batches(), 1, 1)
    model.save(0, 1)
    state = load_state(opt, 1)
    build(opt).resume_training(copy.deepcopy(state))
    change(state)
    with pytest.raises(InputError, match=found):
        build(opt).resume_training(state)


class Photos:
    """A validation set whose photos are 0, 1, 2, ... everywhere."""

    def __init__(self, count: int):
        self.opt = {'name': 'held_out'}
        self.dataset = self
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {'lq': torch.full((3, 2, 2), float(index)), 'lq_path': f'photo_{index}'}


class Scalars(list):
    def add_scalar(self, *entry):
        self.append(entry)


def test_scores_are_averaged_and_the_best_is_kept_over_a_resume(options, build):
    opt = options()
    model = build(opt)
    loader = torch.utils.data.DataLoader(Photos(4))
    board = Scalars()
    model.validation(loader, 10, board)
    model.validation(torch.utils.data.DataLoader(Photos(3)), 20, board)
    assert board == [('metrics/held_out/level', 1.5, 10), ('metrics/held_out/level', 1.0, 20)]
    model.save(0, 20)
    resumed = build(opt)
    resumed.resume_training(load_state(opt, 20))
    assert resumed.best_metric_results == {'held_out': {'level': {'better': 'higher', 'val': 1.5, 'iter': 10}}}


def test_the_best_score_moves_on_from_one_that_was_no_number(options, build, caplog):
    model = build(options())
    dataset = type('Photos', (), {'opt': {'name': 'v'}})()
    run = Validation([], dataset, 1, None, False, model.opt)

    def best_after(*scores):
        model._conclude([{'psnr': score} for score in scores], run)
        return model.best_metric_results['v'].get('psnr', {}).get('val')

    infinite, nan = float('inf'), float('nan')
    assert [best_after(nan), best_after(infinite), best_after(20.0)] == [None, None, 20.0]
    with caplog.at_level(logging.INFO, 'basicsr'):
        logging.getLogger('basicsr').propagate = True
        assert best_after(21.0, infinite) == 21.0
    assert 'psnr 21 (without 1 photos that it is infinite for)' in caplog.text
    model.best_metric_results = {'v': {'psnr': {'better': 'higher', 'val': infinite, 'iter': 1}}}  # of a former version
    assert [best_after(5.0), best_after(nan), best_after(4.0)] == [5.0, 5.0, 5.0]


def test_the_last_validation_is_at_the_last_iteration(options, build):
    # BasicSR counts on to 102 before it validates for the last time.
    board = Scalars()
    build(options()).validation(torch.utils.data.DataLoader(Photos(2)), 102, board)
    assert board == [('metrics/held_out/level', 0.5, 100)]


def test_processes_share_a_validation(options, build, monkeypatch):
    # Two processes after one another; what they would exchange is kept in between.
    shares = []

    def exchange(gathered, scores):
        shares.append(scores)
        gathered[:] = [*shares, *[[]] * (2 - len(shares))]

    monkeypatch.setattr(torch.distributed, 'all_gather_object', exchange)
    model = build(options())
    for rank in (0, 1):
        model.opt.update(dist=True, rank=rank, world_size=2)
        model.validation(torch.utils.data.DataLoader(Photos(5)), 1, None)
    assert shares == [[{'level': 0.0}, {'level': 2.0}, {'level': 4.0}], [{'level': 1.0}, {'level': 3.0}]]
    assert model.metric_results == {'level': 2.0}


def test_distributed_training_works_on_the_cpu(options, build, batches, train, tmp_path):
    single = build(options())
    weights = copy.deepcopy(single.net_g.state_dict())
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meeting', rank=0, world_size=1)
    try:
        model = build(options(dist=True))
        model.get_bare_model(model.net_g).load_state_dict(weights)
        torch.manual_seed(3)
        expected = train(single, batches(), 1, 2)
        torch.manual_seed(3)
        losses = train(model, batches(), 1, 2)
        assert isinstance(model.net_g, torch.nn.parallel.DistributedDataParallel)
        assert losses == [pytest.approx(each, rel=1e-5) for each in expected]
        model.save(0, 2)
    finally:
        torch.distributed.destroy_process_group()
    saved = torch.load(tmp_path / 'models' / 'net_g_2.pth', weights_only=True)
    assert saved['params'].keys() == weights.keys()


def test_losses_are_kept_with_all_digits_and_cut_where_a_training_goes_on(options, build, batches, train, tmp_path):
    opt = options()
    opt['logger'], opt['path']['log'] = {'loss_log_freq': 2}, str(tmp_path)
    model = build(opt)
    losses = train(model, batches(), 1, 4)
    model.save(0, 3)
    path = tmp_path / 'losses.jsonl'
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept == [{'iter': 2, **losses[1]}, {'iter': 4, **losses[3]}]
    path.write_text(path.read_text() + '{"iter": 2, "l_pi')
    build(opt).resume_training(load_state(opt, 3))
    assert [json.loads(line) for line in path.read_text().splitlines()] == kept[:1]


def test_a_validation_leaves_the_random_numbers_and_its_scores_in_the_state(options, build, batches, train):
    opt = options()
    model = build(opt)
    train(model, batches(), 1, 1)
    model.save(0, 1)
    assert load_state(opt, 1)['validated'] == []
    before = torch.get_rng_state()
    model.validation(validation_loader(), 1, None)
    assert torch.equal(torch.get_rng_state(), before)
    state = load_state(opt, 1)
    assert state['validated'] == ['held_out']
    assert state['best_metric_results']['held_out']['level']['iter'] == 1


def validation_loader():
    """A loader, which takes a number from torch's generator, as every loader does."""
    return torch.utils.data.DataLoader(Named([{'lq': torch.zeros(3, 6, 6)}]))


class Named(list):
    """A data set with the options that BasicSR gives it."""

    opt = {'name': 'held_out'}  # noqa: RUF012
