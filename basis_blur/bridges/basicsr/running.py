"""The training in this process: its samples, its validations, its stop and its continuation.

A resumed training goes on with the sample, and with the validation, that it would have had next. A training stops
between two iterations, in all processes together, and saves the state that it has reached.
"""

from __future__ import annotations

import atexit
import functools
import math
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger

from basis_blur.bridges.basicsr.presence import register_when_complete
from basis_blur.bridges.basicsr.run_folder import release_folder
from basis_blur.data.sample_stream import SampleStream, SeededDataset
from basis_blur.foundation import interrupts


class Training:
    """The training in this process: the state it was resumed from, its samples, and where its loop is."""

    resumed: dict[str, Any] | None = None
    stream: SampleStream | None = None
    validations: ClassVar[list[Any]] = []
    tb_logger: Any = None
    model: BaseModel | None = None
    iterations_done, epoch = 0, 0  # iterations that are done, and the epoch of the next one
    # Whether this process has come to its end; shared with the workers of the loaders.
    ends = multiprocessing.RawValue('b', 0)


# Why build_dataloader: the original's workers repeat their random numbers in each epoch, and a resumed run begins the
# epoch again. Workers also leave Ctrl-C to the process that they serve, so that it can finish its step.
def build_loader(original: Callable) -> Callable:
    """Replace `build_dataloader` of BasicSR's train.py."""

    def build_dataloader(dataset, dataset_opt, num_gpu=1, dist=False, sampler=None, seed=None):
        if dataset_opt['phase'] != 'train' or sampler is None or seed is None:
            loader = original(dataset, dataset_opt, num_gpu=num_gpu, dist=dist, sampler=sampler, seed=seed)
            if dataset_opt['phase'] == 'val':
                Training.validations.append(loader)
            return loader
        stream = SampleStream(sampler, seed)
        loader = original(SeededDataset(dataset), dataset_opt, num_gpu=num_gpu, dist=dist, sampler=stream, seed=seed)
        # Otherwise each epoch would take a number from torch's default generator, and a resumed run one more.
        loader.generator = torch.Generator().manual_seed(seed)
        loader.worker_init_fn = functools.partial(_begin_worker, then=loader.worker_init_fn, ends=Training.ends)
        Training.stream, Training.model = stream, None
        if Training.resumed is not None:
            skip_what_was_seen(stream, loader, Training.resumed['epoch'], Training.resumed['iter'])
        return loader

    return build_dataloader


# Why create_train_val_dataloader: the original counts the epochs as if its loader kept the last batch of each; but the
# loader drops it if it is not full.
def create_loaders(original: Callable) -> Callable:
    """Replace `create_train_val_dataloader` of BasicSR's train.py."""

    def create_train_val_dataloader(opt, logger):
        train_loader, sampler, val_loaders, _, iterations = original(opt, logger)
        begun = Training.resumed or {'epoch': 0, 'iter': 0}
        epochs = last_epoch(len(train_loader), iterations, begun['epoch'], begun['iter'])
        logger.info(
            f'An epoch has {len(train_loader)} full batches for each process; {iterations} iterations end in epoch '
            f'{max(epochs - 1, 0)}.'
        )
        return train_loader, sampler, val_loaders, epochs, iterations

    return create_train_val_dataloader


def last_epoch(batches: int, iterations: int, epoch: int = 0, done: int = 0) -> int:
    """Return the number of epochs after which all iterations are made, for BasicSR's loop.

    That loop begins one epoch more, in which it finds nothing to do.

    Args:
        batches: number of batches of an epoch, >= 1.
        iterations: number of iterations of the whole training.
        epoch: epoch that the training begins with.
        done: number of iterations before; if it does not fit the epoch, that begins again, see `skip_what_was_seen`.
    """
    seen = done - epoch * batches
    remaining = iterations - done + (seen if 0 <= seen <= batches else 0)
    return epoch + math.ceil(max(remaining, 0) / batches)


def _begin_worker(worker_id: int, then: Callable[[int], None] | None, ends: Any) -> None:
    interrupts.leave_to_parent(ends)
    if then is not None:
        then(worker_id)


def skip_what_was_seen(stream: SampleStream, loader: Any, epoch: int, iteration: int) -> None:
    """Begin a resumed training with the sample that it would have had next."""
    batches = iteration - epoch * len(loader)
    if 0 <= batches <= len(loader):
        stream.begin(epoch, batches * loader.batch_size)
        return
    get_root_logger().warning(
        f'The training state of epoch {epoch} and iteration {iteration} does not fit epochs of {len(loader)} batches: '
        'the data set or the batch size is another one now. The epoch begins again.'
    )


# Why init_tb_loggers: a validation that a resumed run makes first needs the logger too.
def init_tb_loggers(original: Callable) -> Callable:
    """Replace `init_tb_loggers` of BasicSR's train.py."""

    def init_tb_loggers(opt):
        Training.tb_logger = original(opt)
        return Training.tb_logger

    return init_tb_loggers


# Why update_learning_rate: it is the first call of each iteration, when all of the one before is done.
def update_learning_rate(original: Callable) -> Callable:
    """Replace `BaseModel.update_learning_rate`."""

    def update_learning_rate(self, current_iter, warmup_iter=-1):
        resumes = Training.model is None and Training.resumed is not None
        Training.model, Training.iterations_done = self, current_iter - 1
        Training.epoch = Training.stream.epoch if Training.stream is not None else 0
        if resumes:
            _make_up_for_validations(self, current_iter - 1)
        _stop_together(self)
        original(self, current_iter, warmup_iter=warmup_iter)

    return update_learning_rate


def _make_up_for_validations(model: BaseModel, iteration: int) -> None:
    """Do the validations in which a run was interrupted: BasicSR saves a state before them, and would skip them."""
    options = model.opt.get('val') or {}
    validated = getattr(model, 'validated', None)
    if validated is None or not options.get('val_freq') or iteration % options['val_freq']:
        return
    for loader in Training.validations:
        if loader.dataset.opt['name'] not in validated:
            model.validation(loader, iteration, Training.tb_logger, options['save_img'])


def _stop_together(model: BaseModel) -> None:
    """Raise `SafeStop` in all processes of a training if one of them was asked to stop."""
    if not model.opt['dist'] or not interrupts.deferring():
        interrupts.stop_if_asked()
        return
    number = torch.tensor(interrupts.asked_to_stop() or 0, device=model.device)
    torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX)
    if number:
        raise interrupts.SafeStop(int(number))


@contextmanager
def saving_on_interrupts() -> Iterator[None]:
    """Let a training in the block save the state it has reached when Ctrl-C or SIGTERM stops it.

    Raises:
        SafeStop: it was stopped; its `remark` says what is saved.
    """
    try:
        with interrupts.deferred():
            yield
    except interrupts.SafeStop as stop:
        save_at(stop)
        raise
    finally:
        _let_workers_end()
        release_folder()


def save_at(stop: interrupts.SafeStop) -> None:
    """Save the state that a training has reached, and say so in the remark of `stop`."""
    model, stream = Training.model, Training.stream
    # A stop in a validation comes after the step of that iteration.
    done = max(Training.iterations_done, getattr(model, 'iterations_done', 0))
    if model is None or stream is None or not done:
        stop.remark = 'no iteration was done yet, so nothing is saved'
        return
    model.save(Training.epoch, done)  # the epoch of the last step, since the loop may have begun one more
    stop.remark = f'iteration {done} is done and saved in {model.opt["path"]["training_states"]}'


@atexit.register
def _let_workers_end() -> None:
    """Tell the workers of loaders to obey at once when they are asked to end, which Python does at its exit.

    Otherwise they would wait for this process to finish a step, and this process for them. Registered after
    multiprocessing was imported, so that it is called before that ends its children.
    """
    Training.ends.value = 1


register_when_complete(__name__)
