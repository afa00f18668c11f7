"""A restoring network that is trained against a critic."""

import pytest
import torch
from steps import step

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import OptionError
from basis_blur.models.adversarial_model import AdversarialModel

LOSSES = {
    'pixel_opt': {'type': 'L1Loss'},
    'adversarial_opt': {'type': 'WassersteinLoss', 'width': 2, 'levels': 1},
    'optim_d': {'type': 'Adam', 'lr': 0.001},
    'critic_steps': 2,
}


@pytest.fixture
def pair():
    gt = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    return {'lq': torch.nn.functional.avg_pool2d(gt, 3, 1, 1), 'gt': gt, 'lq_path': ['one.png', 'two.png']}


def test_both_learn_each_by_its_own_optimiser(options, pair):
    torch.manual_seed(0)
    model = AdversarialModel(options(train=LOSSES))
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in (model.net_g, model.critic)]
    log = step(model, pair)
    assert {'l_pixel', 'l_adversarial', 'critic'} <= set(log)
    for net, old in zip((model.net_g, model.critic), before, strict=True):
        assert any(not torch.equal(value, old[key]) for key, value in net.state_dict().items())
    assert model.optimizer_d.state_dict()['state'][0]['step'] == 2
    assert all(each.requires_grad for each in model.critic.parameters())


def test_the_loss_of_the_network_leaves_the_critic_alone(options, pair):
    model = AdversarialModel(options(train={**LOSSES, 'critic_steps': 1, 'optim_d': {'type': 'SGD', 'lr': 0.0}}))
    before = {key: value.clone() for key, value in model.critic.state_dict().items()}
    step(model, pair)
    assert all(torch.equal(value, before[key]) for key, value in model.critic.state_dict().items())


def test_a_resumed_run_goes_on_with_the_critic(options, pair, tmp_path):
    torch.manual_seed(0)
    model = AdversarialModel(options(train=LOSSES))
    step(model, pair)
    model.save(0, 1)
    step(model, pair)
    expected = {key: value.clone() for key, value in model.critic.state_dict().items()}
    again = AdversarialModel(options(train=LOSSES, path={'pretrain_network_g': str(tmp_path / 'models/net_g_1.pth')}))
    state = torch.load(tmp_path / 'training_states' / '1.state', weights_only=False)
    again.resume_training(state)
    step(again, pair)
    for key, value in again.critic.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)
    other = {**LOSSES, 'adversarial_opt': {'type': 'WassersteinLoss', 'width': 3, 'levels': 1}}
    with pytest.raises(InputError, match=r'the critic in .*net_d_1\.pth does not fit'):
        AdversarialModel(options(train=other)).resume_training(state)


def test_another_loss_in_place_of_the_critic_and_several_processes_are_refused(options):
    with pytest.raises(OptionError, match='adversarial_opt has the type'):
        AdversarialModel(options(train={**LOSSES, 'adversarial_opt': {'type': 'L1Loss'}}))
    with pytest.raises(OptionError, match='trains in one process'):
        AdversarialModel(options(train=LOSSES, dist=True))
