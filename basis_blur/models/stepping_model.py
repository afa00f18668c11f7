"""One step of a training under BasicSR: the batch's name, the precision, the descent, and the average of the weights.

It differs from BasicSR's own models in:

1. A loss or a gradient that is NaN or infinite ends the run before it reaches the weights, and names the batch.
2. The exponential moving average (EMA) also follows buffers, such as the statistics of a batch normalisation.
3. Every optimiser of torch.optim can be used, also with BasicSR 1.4.2.

With `logger: loss_log_freq: n` the losses of every n-th iteration are written to losses.jsonl in the run's folder, with
all their digits and one line of JSON each. A resumed training removes the lines of iterations that it will do again.
With `logger: profile_iters: n` profile.json there tells how fast the first n iterations were, see `models.profile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from basis_blur.archs.precision import AUTO, amp_type, multiplies_bfloat16
from basis_blur.foundation.errors import InputError
from basis_blur.models.optimisation import build_optimiser, build_scheduler
from basis_blur.models.profile import Profile
from basis_blur.models.validated_model import ValidatedModel


class SteppingModel(ValidatedModel):
    """Take the steps of a training.

    A class that builds a network sets the attributes below; `net_g_ema` is the average of its weights, or None.

    Args:
        opt: BasicSR's options, after its `parse_options`; they are not modified.
    """

    net_g: nn.Module
    net_g_ema: nn.Module | None
    train_options: dict[str, Any]
    ema_decay: float
    amp_type: torch.dtype | None
    profile: Profile

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        self.batch_name = 'no batch yet'

    def setup_optimizers(self) -> None:
        """Build the optimiser of `train: optim_g` for the parameters that learn."""
        learning = [parameter for parameter in self.net_g.parameters() if parameter.requires_grad]
        self.optimizer_g = build_optimiser(self.train_options['optim_g'], learning)
        self.optimizers.append(self.optimizer_g)

    def get_optimizer(self, optim_type: str, params: list[Tensor], lr: float, **kwargs: Any) -> torch.optim.Optimizer:
        """Build any optimiser of torch.optim by its name, as models of other projects ask for one.

        Raises:
            OptionError: there is none of this name, or it does not take these options.
        """
        return build_optimiser({'type': optim_type, 'lr': lr, **kwargs}, params)

    def setup_schedulers(self) -> None:
        """Build the learning-rate scheduler of `train: scheduler`."""
        section, total = self.train_options['scheduler'], int(self.opt['train']['total_iter'])
        self.schedulers.extend(build_scheduler(section, optimizer, total) for optimizer in self.optimizers)

    def name_batch(self, data: Mapping[str, Any]) -> None:
        """Remember which photos a batch has, for messages."""
        paths = data.get('lq_path', data.get('gt_path', ()))
        self.batch_name = ', '.join([paths] if isinstance(paths, str) else map(str, paths)) or 'a batch without names'

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network computes: mixed precision if `train: amp` asks for it."""
        kind = self.amp_type if self.is_train else None
        return torch.autocast(self.device.type, kind, enabled=kind is not None)

    def _amp_type(self) -> torch.dtype | None:
        """Return the type of `train: amp`, None for float32; log what `auto` chose, and a type that is slow here."""
        choice = self.train_options['amp']
        found = amp_type(choice, self.device)
        if choice == AUTO:
            what = 'has' if found else 'has no'
            get_root_logger().info(
                f'"amp: auto": in {found or torch.float32}; {self.device} {what} units for matrices of bfloat16.'
            )
        elif choice == 'bf16' and not multiplies_bfloat16(self.device):
            get_root_logger().warning(
                f'"amp: bf16": {self.device} has no units for matrices of bfloat16, and may take ten times as long '
                'as in float32; set "amp: auto", which takes float32 then.'
            )
        return found

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rate of an iteration, whose batch is there by now."""
        super().update_learning_rate(current_iter, warmup_iter=warmup_iter)
        self.profile.begin()

    def descend(self, losses: Mapping[str, Tensor], current_iter: int) -> None:
        """Take one step that lowers the sum of the losses: backward, clip, optimise, average, log.

        Args:
            losses: losses by their names, `l_...`; each is one number.
            current_iter: number of the iteration, from 1.

        Raises:
            InputError: a loss or the gradient is not finite; the weights are as they were before.
        """
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite():
            self._stop(', '.join(f'{name} is {value.item():g}' for name, value in losses.items()), current_iter)
        self.optimizer_g.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer_g)
        limit = self.train_options['grad_clip_norm']
        norm = nn.utils.clip_grad_norm_(self.net_g.parameters(), float('inf') if limit is None else limit)
        # With float16 gradients may overflow: the scaler then skips the step and lowers its scale, to find a good one.
        if not self.scaler.is_enabled() and not norm.isfinite():
            self._stop(f'the norm of the gradient is {norm.item():g}', current_iter)
        self.scaler.step(self.optimizer_g)
        self.scaler.update()
        if self.net_g_ema is not None:
            self.model_ema(self.ema_decay)
        self.log_dict = self.reduce_loss_dict({name: value.detach() for name, value in losses.items()})
        self.log_dict['grad_norm'] = norm.item()
        self.iterations_done, self.validated = current_iter, set()
        if self.opt['rank'] == 0:
            self.loss_log.keep(current_iter, self.log_dict)
        self.profile.end()

    def _stop(self, finding: str, current_iter: int) -> None:
        raise InputError(
            f'training stops at iteration {current_iter}, because {finding}; nothing is saved from it. The batch was: '
            f'{self.batch_name}. Look at these photos; if they are sound, lower the learning rate or set '
            '"train: grad_clip_norm".'
        )

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Move the averaged weights towards the trained ones, a <- decay a + (1 - decay) b, and copy the buffers."""
        averaged, net = self.net_g_ema, self.get_bare_model(self.net_g)
        if averaged is None:
            return
        for average, parameter in zip(averaged.parameters(), net.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for kept, buffer in zip(averaged.buffers(), net.buffers(), strict=True):
            kept.copy_(buffer)
