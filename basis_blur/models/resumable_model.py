"""The training state of a run under BasicSR: what a resumed run needs beside the networks.

A state holds what BasicSR's does (epoch, iteration, optimisers, schedulers), and the random generators of every
process, the gradient scaler and the best scores. With the batches of `data.sample_stream`, a resumed run therefore
computes what an uninterrupted one does, on the CPU to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from basicsr.models.base_model import BaseModel

from basis_blur.foundation.errors import InputError
from basis_blur.models.random_state import random_state, resume_random_state
from basis_blur.models.run_files import LossLog, write_whole
from basis_blur.models.state_check import check_form, check_optimizer, check_scaler, check_scheduler

# Errors that torch and BasicSR raise for a training state that does not fit or is damaged.
MISFIT = (AssertionError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError)


class ResumableModel(BaseModel):
    """Write and read training states.

    A class that trains sets `scaler` and `loss_log`, and fills BasicSR's lists `optimizers` and `schedulers`.

    Args:
        opt: BasicSR's options, after its `parse_options`; they are not modified.
    """

    scaler: torch.amp.GradScaler
    loss_log: LossLog

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        self.best_metric_results: dict[str, dict[str, dict[str, Any]]] = {}
        self.iterations_done = 0
        # Names of the data sets that the network of this iteration was validated on; None where nobody knows.
        self.validated: set[str] | None = set()
        self._saved_at: tuple[int, int] | None = None  # epoch and iteration of the last training state

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write what a resumed run needs beside the network; all processes have to call this, and the first writes.

        Raises:
            OSError: the file cannot be written; no half of it is left.
        """
        if current_iter == -1:
            return
        self._saved_at = (epoch, current_iter)
        generators = self._gathered(random_state(self.device))
        if self.opt['rank'] != 0:
            return
        state = {
            'epoch': epoch,
            'iter': current_iter,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'scaler': self.scaler.state_dict(),
            'random': generators,
            'best_metric_results': self.best_metric_results,
            'validated': None if self.validated is None else sorted(self.validated),
        }
        write_whole(state, Path(self.opt['path']['training_states'], f'{current_iter}.state'))

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Go on from a training state; BasicSR's `check_resume` has named the networks, which are loaded by now.

        A state that a model of BasicSR itself wrote can be used too; it lacks what only states of this class hold.

        Raises:
            InputError: the state is of a run with another optimiser, scheduler or network, or is damaged.
        """
        self._resume_schedule(resume_state)
        self._resume_generators(resume_state)
        self.best_metric_results = resume_state.get('best_metric_results', {})
        self.iterations_done = resume_state['iter']
        self._saved_at = (resume_state['epoch'], resume_state['iter'])
        validated = resume_state.get('validated')
        self.validated = None if validated is None else set(validated)
        if self.opt['rank'] == 0:
            self.loss_log.cut(self.iterations_done)

    def _resume_schedule(self, resume_state: Mapping[str, Any]) -> None:
        """Give the optimisers and the schedulers their states, after a check that these fit."""
        own = [deepcopy(each.state_dict()) for each in (*self.optimizers, *self.schedulers)]
        try:
            super().resume_training(resume_state)
            for each, before in zip((*self.optimizers, *self.schedulers), own, strict=True):
                check_form(before, each.state_dict(), type(each).__name__)
            for optimizer, before in zip(self.optimizers, own, strict=False):
                check_optimizer(optimizer, before)
            for scheduler in self.schedulers:
                check_scheduler(scheduler, resume_state['iter'], int(self.opt['train']['total_iter']))
        except MISFIT as error:
            raise InputError(
                f'the training state does not fit "train: optim_g" and "scheduler" ({error}); '
                'resume with the options of the run that wrote it, or from an older state.'
            ) from error

    def _resume_generators(self, resume_state: Mapping[str, Any]) -> None:
        """Give the gradient scaler and the random generators their states, where the file has them."""
        try:
            if self.scaler.is_enabled() and resume_state.get('scaler'):
                check_scaler(resume_state['scaler'])
                self.scaler.load_state_dict(resume_state['scaler'])
            if 'random' in resume_state:
                resume_random_state(resume_state['random'], self.device, self.opt['rank'], self.opt['world_size'])
        except MISFIT as error:
            raise InputError(
                f'the training state is damaged in its random generators or its gradient scaler ({error}); resume '
                'from an older one, by "path: resume_state".'
            ) from error

    def _gathered(self, own: Any) -> list[Any]:
        """Return the values of all processes, in their order."""
        if not self.opt['dist']:
            return [own]
        gathered: list[Any] = [None] * self.opt['world_size']
        torch.distributed.all_gather_object(gathered, own)
        return gathered
