"""A state dict fits a network, or it is said why it does not, and nothing is loaded."""

import pytest
import torch
from torch import nn

from basis_blur.foundation.errors import InputError
from basis_blur.weights.fitting import give, listing, misfits, those_that_fit


def net_of(width=2):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def test_equal_networks_fit_and_take_the_weights():
    source, nets = net_of(), [net_of(), net_of()]
    assert misfits(nets[0].state_dict(), source.state_dict()) == []
    give(nets, source.state_dict(), 'the file')
    assert all(torch.equal(net[0].weight, source[0].weight) for net in nets)


def test_what_does_not_fit_is_told_by_its_name_in_the_file():
    own, found = net_of().state_dict(), net_of(4).state_dict()
    found['more'] = found.pop('0.bias')
    found['1.num_batches_tracked'] = torch.tensor(0.5)
    complaints = '; '.join(misfits(own, found, name=lambda key: f'their {key}'))
    assert complaints.startswith(
        'it lacks their 0.bias; it has the unexpected their more; it has their 0.weight of shape '
    )
    assert 'shape (4, 3) instead of (2, 3)' in complaints
    assert complaints.endswith('it has their 1.num_batches_tracked in torch.float64')


def test_a_part_of_the_weights_is_enough_where_that_is_asked_for():
    net, part = net_of(), {'0.weight': torch.ones(2, 3)}
    give([net], part, 'the file', whole=False)
    assert net[0].weight.eq(1).all()
    with pytest.raises(InputError, match='the file does not fit: it lacks 0.bias, .*; make them agree.'):
        give([net], {'0.weight': torch.zeros(2, 3)}, 'the file', remedy='make them agree')
    assert net[0].weight.eq(1).all()


def test_a_long_list_is_cut():
    assert listing('abc', most=2) == 'a, b and 1 more'


def test_those_that_fit_are_of_the_same_shape_and_kind():
    own, found = net_of().state_dict(), net_of(4).state_dict()
    found['0.weight'] = torch.ones(2, 3)
    found['more'] = torch.ones(1)
    assert sorted(those_that_fit(own, found)) == ['0.weight', '1.num_batches_tracked']
    found['1.num_batches_tracked'] = torch.tensor(0.5)
    assert sorted(those_that_fit(own, found)) == ['0.weight']
