import os

import pytest
import torch

from basis_blur.ops import threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_of_the_pool_compute_alone_and_leave_the_others_their_number(two_threads):
    pool = threads._thread_pool(2, -1)  # a pool that nobody else has
    numbers = list(pool.map(lambda _: (torch.ones(1000).sum().item(), torch.get_num_threads())[1], range(4)))
    affinities = [os.sched_getaffinity(0)] if hasattr(os, 'sched_getaffinity') else []
    affinities += pool.map(lambda _: os.sched_getaffinity(0), range(4)) if affinities else []
    assert numbers == [1] * 4
    assert torch.get_num_threads() == 2
    assert all(each == affinities[0] for each in affinities)


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_pieces_come_back_in_their_order_and_may_write_where_they_were_told(two_threads, mode):
    with mode():
        total = torch.zeros(5)
        found = threads.share(lambda place: (total[place].add_(place), place**2)[1], range(5))
        assert found == [0, 1, 4, 9, 16]
        assert total.tolist() == [0, 1, 2, 3, 4]


def test_what_is_recorded_is_done_by_this_thread(two_threads):
    scale = torch.ones((), requires_grad=True)
    sum(threads.share(lambda factor: factor * scale, [2.0, 3.0])).backward()
    assert scale.grad == 5
