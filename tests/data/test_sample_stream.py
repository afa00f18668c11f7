"""What a training sample is depends on the seed, the epoch and its place in it, and on nothing else."""

import pickle
import random
import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import basis_blur.plugin  # noqa: F401 (makes BasicSR importable)
from basis_blur.data.sample_stream import Draw, SampleStream, SeededDataset

from basicsr.data.data_sampler import EnlargedSampler  # isort: skip

SIZE = 7


class Careless(Dataset):
    """Draws from every global generator, as the data sets of BasicSR do."""

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return [int(index), random.random(), float(np.random.rand()), torch.rand(1).item()]  # noqa: NPY002


def stream(epoch, rank=0, ranks=1, seed=5, begun=(0, 0)):
    found = SampleStream(EnlargedSampler(Careless(), ranks, rank), seed)
    found.order.set_epoch(epoch)
    found.begin(*begun)
    return found


def samples(draws, workers=0):
    loader = DataLoader(SeededDataset(Careless()), 1, sampler=draws, num_workers=workers)
    return [tuple(torch.cat(list(batch)).tolist()) for batch in loader]


@pytest.mark.parametrize('workers', [0, 2])
def test_an_epoch_that_is_gone_on_with_ends_as_the_whole_one(workers):
    whole = samples(stream(3))
    assert samples(stream(3, begun=(3, 4)), workers) == whole[4:]
    assert samples(stream(4, begun=(3, 4)), workers) == samples(stream(4))


def test_no_two_samples_have_the_same_random_numbers():
    drawn = [sample[1:] for epoch in (0, 1) for sample in samples(stream(epoch))]
    drawn += [sample[1:] for sample in samples(stream(0, seed=6))]
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == 3 * SIZE


def test_processes_share_the_samples_of_an_epoch():
    whole = [(int(draw), draw.entropy) for draw in stream(2)]
    parts = [[(int(draw), draw.entropy) for draw in stream(2, rank, 2)] for rank in (0, 1)]
    for place in range(SIZE):
        assert parts[place % 2][place // 2][1] == whole[place][1]
    assert len({entropy for part in parts for _, entropy in part}) == SIZE + 1  # one more, to share evenly


def test_loading_leaves_the_generators_of_the_training_alone():
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    SeededDataset(Careless())[Draw(2, (0, 0, 2))]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_a_thread_does_not_touch_the_generators_that_the_network_uses():
    first = SeededDataset(Careless())[Draw(2, (0, 0, 2))]
    found = []
    thread = threading.Thread(target=lambda: found.append(SeededDataset(Careless())[Draw(2, (0, 0, 2))]))
    thread.start()
    thread.join()
    assert found[0][1:] != first[1:]


def test_a_draw_is_its_index_and_travels_to_workers():
    draw = pickle.loads(pickle.dumps(Draw(3, (1, 2))))
    assert (draw, draw.entropy) == (3, (1, 2))
