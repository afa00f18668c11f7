"""Stage I: the flow learns kernels, and its scale is saved with it."""

import copy
from pathlib import Path

import pytest
import torch
from basicsr.data import build_dataset
from steps import Board
from torch.utils.data import DataLoader, default_collate

from basis_blur.archs.kernel_flow_arch import derive_normalization
from basis_blur.bridges.basicsr.option_file import read_option_file
from basis_blur.data.kernel_dataset import KernelDataset
from basis_blur.data.kernel_lmdb import KernelRecipe, prepare_kernels
from basis_blur.foundation.options import OptionError
from basis_blur.models.kernel_flow_model import KernelFlowModel
from basis_blur.weights.checkpoints import load_network

QUICK = Path(__file__).parents[2] / 'options' / 'train_kernel_flow_quick.yml'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('kernels') / 'flow_kernels.lmdb'
    prepare_kernels(path, KernelRecipe(count=160, kernel_size=19))
    return path


@pytest.fixture
def quick(options, folder):
    """The options of the quick file, shortened; `quick(path={...}, train={...})` changes them."""

    def make(**changes):
        opt = options()
        written = read_option_file(QUICK)
        for name in ('datasets', 'network_g', 'train'):
            opt[name] = copy.deepcopy(written[name])
        for phase, section in opt['datasets'].items():
            section.update(phase=phase, dataroot=str(folder), hold_out=32)
        for name, section in changes.items():
            opt[name].update(section)
        return opt

    return make


@pytest.fixture
def batches(folder):
    def make(first=0):
        dataset = build_dataset({'name': 'k', 'type': 'KernelDataset', 'phase': 'train', 'dataroot': str(folder)})
        order = torch.randperm(128, generator=torch.Generator().manual_seed(0)).tolist()
        for number in range(first, 100):
            torch.manual_seed(number)
            yield default_collate([dataset[order[(32 * number + index) % 128]] for index in range(32)])

    return make


def test_a_training_saves_reloads_and_resumes_as_if_it_had_not_been_interrupted(quick, batches, train, tmp_path):
    torch.manual_seed(0)
    model = KernelFlowModel(quick())
    before = [parameter.clone() for parameter in model.net_g.parameters()]
    train(model, batches(), 1, 8)  # that it descends is test_flow_nll_loss.py's business
    assert not any(torch.equal(old, new) for old, new in zip(before, model.net_g.parameters(), strict=True))
    model.save(0, 8)
    later = train(model, batches(8), 9, 11)

    saved = load_network(tmp_path / 'models' / 'net_g_8.pth')
    training_kernels = KernelDataset(quick()['datasets']['train']).spread()
    assert saved.normalization.item() == pytest.approx(derive_normalization(training_kernels), rel=1e-6)

    torch.manual_seed(5)
    again = KernelFlowModel(quick(path={'pretrain_network_g': str(tmp_path / 'models' / 'net_g_8.pth')}))
    again.resume_training(torch.load(tmp_path / 'training_states' / '8.state', weights_only=True))
    assert train(again, batches(8), 9, 11) == later
    for ours, theirs in zip(again.net_g_ema.state_dict().values(), model.net_g_ema.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_training_that_begins_from_weights_keeps_their_normalization(quick, tmp_path):
    model = KernelFlowModel(quick())
    for net in (model.net_g, model.net_g_ema):
        net.set_normalization(0.123)
    model.save(0, 1)
    again = KernelFlowModel(quick(path={'pretrain_network_g': str(tmp_path / 'models' / 'net_g_1.pth')}))
    assert again.net_g.normalization.item() == pytest.approx(0.123)
    assert again.net_g_ema.normalization.item() == pytest.approx(0.123)


def test_a_validation_scores_held_out_kernels_and_draws_samples(quick, batches, train, tmp_path):
    torch.manual_seed(0)
    model = KernelFlowModel(quick(train={'ema_decay': 0}))
    held_out = DataLoader(build_dataset(quick()['datasets']['val']))
    board = Board()
    model.validation(held_out, 1, board, save_img=True)
    before = model.metric_results
    train(model, batches(), 1, 30)
    model.validation(held_out, 30, None)
    assert model.net_g.training
    assert model.metric_results['bits_per_dim'] < before['bits_per_dim'] - 1
    assert before['inverse_error'] < 1e-4
    # Only what is cut above the normalization is lost, which is little.
    assert 0 < model.metric_results['round_trip_l1'] < 0.1
    assert board.scalars['metrics/held_out/bits_per_dim'] == before['bits_per_dim']
    assert board.images['held_out/samples'][0][2] == 3
    assert (tmp_path / 'visualization/held_out/held_out_samples/held_out_samples_1.png').is_file()
    assert model.best_metric_results['held_out']['bits_per_dim']['better'] == 'lower'


def test_two_validations_score_alike(quick):
    model = KernelFlowModel(quick())
    held_out = DataLoader(build_dataset(quick()['datasets']['val']))
    results = []
    for _ in range(2):
        model.nondist_validation(held_out, 1, None, False)
        results.append(model.metric_results)
    assert results[0] == results[1]
    assert len(held_out) == 32


def test_options_that_do_not_fit_are_refused(quick):
    with pytest.raises(OptionError, match='"kernel_size" is 11, but the kernels in .* have 19'):
        KernelFlowModel(quick(network_g={'kernel_size': 11}))
    with pytest.raises(OptionError, match='expected "FlowNLLLoss"'):
        KernelFlowModel(quick(train={'nll_opt': {'type': 'L1Loss'}}))
    with pytest.raises(OptionError, match='"amp" is of no use'):
        KernelFlowModel(quick(train={'amp': 'bf16'}))
