"""What every training stage shares between BasicSR and one network: the optimiser's step, checkpoints, validation.

BasicSR's train.py drives a model: feed_data, optimize_parameters, save, validation. `NetworkModel` fills in what does
not depend on the task, and a stage adds its batch, its losses and its scores. Differs from BasicSR's own models in:

1. A checkpoint is written whole or not at all, and a failed save ends the run; there it is a warning.
2. A loss or a gradient that is NaN or infinite ends the run before it reaches the weights, and names the batch.
3. The exponential moving average (EMA) also follows buffers, such as the statistics of a batch normalisation.
4. A training state also holds the random generators of every process, the gradient scaler and the best scores, and a
   validation leaves the generators as they were. So given the same batches, which `data.sample_stream` sees to, a
   resumed run computes what an uninterrupted one does, on the CPU to the bit.
5. Distributed validation is shared out among the processes; there the first does it all while the others wait.
6. Any optimiser of torch.optim, with BasicSR 1.4.2 too; options are read and never taken out.

With `logger: loss_log_freq: n` the losses of every n-th iteration are kept with all their digits, one line of JSON
each, in losses.jsonl of the run's folder; a resumed training cuts what it will do again.

Checkpoint: {'params', 'params_ema' (with EMA), 'hyper_parameters': {'type': ..., ...}}, which `load_network` reads.
"""

from __future__ import annotations

import json
import pickle
import random
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm

from basis_blur.foundation import interrupts
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import atomic_path, check_is_file
from basis_blur.foundation.options import CheckedOptions, Option, OptionError, read_options
from basis_blur.metrics.psnr import mean_score
from basis_blur.models.optimisation import build_optimiser, build_scheduler
from basis_blur.models.precision import AMP_CHOICES, AUTO, amp_type, multiplies_bfloat16
from basis_blur.models.state_check import check_form, check_optimizer, check_scaler, check_scheduler
from basis_blur.photos.pictures import write_picture
from basis_blur.weights.checkpoints import load_network
from basis_blur.weights.fitting import misfits

LOSSES_FILE = 'losses.jsonl'
TENSORBOARD_PICTURES = 4  # number of pictures of a data set in the event file; more would fill it
# What torch and BasicSR raise at a state that does not fit or is damaged.
MISFIT = (AssertionError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError)


class NetworkModel(BaseModel):
    """Train or test one network, `network_g`, through BasicSR.

    A stage implements `feed_data`, `optimize_parameters` (which ends in `descend`) and `validate`.

    Args:
        opt: BasicSR's options, after its `parse_options`; not modified by us.

    Raises:
        OptionError: an option of ours is of the wrong type, or names nothing that exists.
        InputError: the file of `pretrain_network_g` is not a checkpoint of this network.
    """

    # What is read here, by section; '' is the top level. `check_options` adds the keys that BasicSR itself reads.
    OPTIONS: ClassVar[dict[str, dict[str, Option]]] = {
        '': {'network_g': Option((dict,), holds='arch', meaning='The network: its type and hyper-parameters.')},
        'train': {
            'optim_g': Option((dict,), holds='optimiser', meaning='Optimiser of torch.optim and its arguments.'),
            'scheduler': Option((dict,), holds='scheduler', meaning='How the learning rate changes.'),
            'ema_decay': Option(
                (float,), 0.0, least=0, most=1,
                meaning='Share of its old value that the moving average of the weights keeps in a step; 0 for none.',
            ),
            'amp': Option(
                (str, NoneType), None, choices=AMP_CHOICES,
                meaning='Type of numbers in which the network computes; ~ for float32, auto for what the device is '
                'fast in.',
            ),
            'grad_clip_norm': Option(
                (float, NoneType), None, above=0, meaning='Norm beyond which a gradient is shortened; ~: never.',
            ),
        },
        'val': {},
        'path': {},
        'logger': {
            'loss_log_freq': Option(
                (int, NoneType), None, least=1,
                meaning='Number of iterations between two lines of losses.jsonl, with all digits; ~ for no such file.',
            ),
        },
    }  # fmt: skip

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if opt['num_gpu'] > 1 and not opt['dist']:
            raise OptionError(
                f'num_gpu is {opt["num_gpu"]} in a single process; start one process for each GPU by '
                '"torchrun --nproc_per_node=... --launcher pytorch", or set num_gpu: 1.'
            )
        self.val_options = self.read_section('val') if opt.get('val') else {}
        net = build_network(opt['network_g']).to(self.device)
        self.print_network(net)
        self.net_g_ema: nn.Module | None = None
        self.best_metric_results: dict[str, dict[str, dict]] = {}
        self.batch_name = 'no batch yet'
        self.iterations_done = 0
        # Names of the data sets that the network of this iteration was validated on; None where nobody knows.
        self.validated: set[str] | None = set()
        self._saved_at: tuple[int, int] | None = None
        path, strict = opt['path'].get('pretrain_network_g'), opt['path'].get('strict_load_g', True)
        if path is not None:
            self.load_network(net, path, strict, opt['path'].get('param_key_g', self.default_param_key))
        if self.is_train:
            self.train_options = self.read_section('train')
            self.ema_decay = self.train_options['ema_decay']
            self.loss_log_freq = self.read_section('logger')['loss_log_freq'] if opt.get('logger') else None
            if self.ema_decay > 0:
                self.net_g_ema = deepcopy(net).eval().requires_grad_(False)
                if path is not None:
                    self.load_network(self.net_g_ema, path, strict, 'params_ema')
            self.net_g = self.model_to_device(net).train()
            self.amp_type = self._amp_type()
            self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_type is torch.float16)
            self.setup_optimizers()
            self.setup_schedulers()
        else:
            self.net_g = net.eval()

    @property
    def default_param_key(self) -> str:
        """Which weights of a checkpoint are loaded where the options do not say: a test wants the averaged ones."""
        return 'params' if self.is_train else 'params_ema'

    @property
    def nets(self) -> list[nn.Module]:
        """The network, and its average if there is one; weights that training begins with are for all of them."""
        return [self.get_bare_model(self.net_g), *([self.net_g_ema] if self.net_g_ema is not None else [])]

    @property
    def best_net(self) -> nn.Module:
        """The network to be judged: the averaged one where there is one, without wrapper."""
        return self.net_g_ema if self.net_g_ema is not None else self.get_bare_model(self.net_g)

    def read_section(self, section: str) -> dict[str, Any]:
        """Return our options of a section, with their defaults; `check_options` has judged the other keys.

        Options that have been checked as a whole are not checked again.

        Raises:
            OptionError: an option is missing or of the wrong type.
        """
        if isinstance(self.opt, CheckedOptions) and section in self.opt.sections:
            return dict(self.opt.sections[section])
        values = self.opt[section] if section else self.opt
        return read_options(values, self.OPTIONS[section], section or 'the option file', others=values)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move a network to the device and wrap it for distributed training, on GPUs or the CPU."""
        net = net.to(self.device)
        if not self.opt['dist']:
            return net
        devices = [torch.cuda.current_device()] if self.device.type == 'cuda' else None
        return DistributedDataParallel(
            net, device_ids=devices, find_unused_parameters=self.opt.get('find_unused_parameters', False)
        )

    @master_only
    def print_network(self, net: nn.Module) -> None:
        """Log the name, hyper-parameters and size of a network in one line."""
        settings = ', '.join(f'{key} {value}' for key, value in getattr(net, 'hyper_parameters', {}).items())
        millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
        get_root_logger().info(f'Network {type(net).__name__} ({settings}): {millions:.2f} M parameters.')

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Load weights into a network that has been built from the options.

        Args:
            net: a network, perhaps wrapped; its weights are replaced.
            load_path: a checkpoint of BasicSR, or any file that `basis_blur.load_network` reads.
            strict: whether every weight must be there and fit; if not, those that fit are loaded.
            param_key: of a BasicSR checkpoint; 'params' is taken where it is not there.

        Raises:
            InputError: the file is damaged, or holds another architecture.
        """
        net = self.get_bare_model(net)
        state, key = _read_weights(load_path, param_key)
        state = {name.removeprefix('module.'): value for name, value in state.items()}
        own = net.state_dict()
        complaints = misfits(own, state)
        if complaints and strict:
            settings = ', '.join(f'{name}: {value}' for name, value in self.opt['network_g'].items())
            raise InputError(
                f'{load_path} is not a checkpoint of network_g ({settings}): {"; ".join(complaints)}. '
                'Correct network_g or "path: pretrain_network_g", or set "strict_load_g: false" to load what fits.'
            )
        if complaints:
            get_root_logger().warning(f'{load_path} is loaded in part: {"; ".join(complaints)}.')
            state = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
        net.load_state_dict(state, strict=strict)
        get_root_logger().info(f'{type(net).__name__} has the weights of {load_path}{f" ({key})" if key else ""}.')

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

    def autocast(self) -> AbstractContextManager:
        """The context in which the network computes: mixed precision if `train: amp` wants it."""
        kind = self.amp_type if self.is_train else None
        return torch.autocast(self.device.type, kind, enabled=kind is not None)

    def _amp_type(self) -> torch.dtype | None:
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

    def descend(self, losses: Mapping[str, Tensor], current_iter: int) -> None:
        """Take one step that lowers the sum of the losses: backward, clip, optimise, average, log.

        Args:
            losses: by name, `l_...`; each one number.
            current_iter: counted from 1.

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
        # The scaler skips a step whose float16 gradients overflow, and lowers its scale; that is its way to find it.
        if not self.scaler.is_enabled() and not norm.isfinite():
            self._stop(f'the norm of the gradient is {norm.item():g}', current_iter)
        self.scaler.step(self.optimizer_g)
        self.scaler.update()
        if self.net_g_ema is not None:
            self.model_ema(self.ema_decay)
        self.log_dict = self.reduce_loss_dict({name: value.detach() for name, value in losses.items()})
        self.log_dict['grad_norm'] = norm.item()
        self.iterations_done, self.validated = current_iter, set()
        self._keep_losses(current_iter)

    def _stop(self, finding: str, current_iter: int) -> None:
        raise InputError(
            f'training stops at iteration {current_iter}, because {finding}; nothing is saved from it. The batch was: '
            f'{self.batch_name}. Look at these photos; if they are sound, lower the learning rate or set '
            '"train: grad_clip_norm".'
        )

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Move the averaged weights towards the trained ones, a <- decay a + (1 - decay) b, and copy the buffers."""
        net = self.get_bare_model(self.net_g)
        for average, parameter in zip(self.net_g_ema.parameters(), net.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for average, buffer in zip(self.net_g_ema.buffers(), net.buffers(), strict=True):
            average.copy_(buffer)

    def save(self, epoch: int, current_iter: int) -> None:
        """Write net_g_ITERATION.pth and ITERATION.state; -1 is the end of the training, 'latest', without a state.

        Raises:
            OSError: a file cannot be written; no half of it is left.
        """
        averaged = [self.net_g_ema] if self.net_g_ema is not None else []
        self.save_network([self.net_g, *averaged], 'net_g', current_iter, ['params', 'params_ema'][: 1 + len(averaged)])
        self.save_training_state(epoch, current_iter)

    @master_only
    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | list[str] = 'params',
    ) -> None:
        """Write a checkpoint of one network, or of one and its average, as BasicSR names them.

        Raises:
            OSError: the file cannot be written; no half of it is left.
        """
        nets = [self.get_bare_model(each) for each in (net if isinstance(net, list) else [net])]
        keys = param_key if isinstance(param_key, list) else [param_key]
        checkpoint: dict[str, Any] = {
            key: {name: value.cpu() for name, value in each.state_dict().items()}
            for key, each in zip(keys, nets, strict=True)
        }
        if hasattr(nets[0], 'hyper_parameters'):
            checkpoint['hyper_parameters'] = {'type': type(nets[0]).__name__, **nets[0].hyper_parameters}
        label = 'latest' if current_iter == -1 else current_iter
        _write(checkpoint, Path(self.opt['path']['models'], f'{net_label}_{label}.pth'))

    @property
    def _losses_file(self) -> Path:
        return Path(self.opt['path']['log'], LOSSES_FILE)

    @master_only
    def _keep_losses(self, current_iter: int) -> None:
        if self.loss_log_freq is not None and current_iter % self.loss_log_freq == 0:
            with open(self._losses_file, 'a', encoding='utf-8') as file:
                file.write(json.dumps({'iter': current_iter, **self.log_dict}) + '\n')

    @master_only
    def _cut_losses(self) -> None:
        """Remove the losses of iterations that come again, and half a line that a killed process has left."""
        if self.loss_log_freq is None or not self._losses_file.exists():
            return
        kept = []
        for line in self._losses_file.read_text(encoding='utf-8').splitlines(keepends=True):
            found = re.match(r'{"iter": (\d+),.*}\n', line)
            if found and int(found[1]) <= self.iterations_done:
                kept.append(line)
        with atomic_path(self._losses_file) as partial:
            partial.write_text(''.join(kept), encoding='utf-8')

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write what a resumed run needs beside the network; all processes call this, and the first writes.

        Raises:
            OSError: the file cannot be written; no half of it is left.
        """
        if current_iter == -1:
            return
        self._saved_at = (epoch, current_iter)
        generators = self._gathered(_random_state(self.device))
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
        _write(state, Path(self.opt['path']['training_states'], f'{current_iter}.state'))

    def _gathered(self, own: Any) -> list[Any]:
        """What each process has, in their order."""
        if not self.opt['dist']:
            return [own]
        gathered: list[Any] = [None] * self.opt['world_size']
        torch.distributed.all_gather_object(gathered, own)
        return gathered

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Go on from a training state; the networks have been loaded as BasicSR's `check_resume` tells.

        A state that another model of BasicSR wrote will do, without what is ours.

        Raises:
            InputError: the state is of a run with another optimiser, scheduler or network, or is damaged.
        """
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
        try:
            if self.scaler.is_enabled() and resume_state.get('scaler'):
                check_scaler(resume_state['scaler'])
                self.scaler.load_state_dict(resume_state['scaler'])
            if 'random' in resume_state:
                _set_random_state(resume_state['random'], self.device, self.opt['rank'], self.opt['world_size'])
        except MISFIT as error:
            raise InputError(
                f'the training state is damaged in its random generators or its gradient scaler ({error}); resume '
                'from an older one, by "path: resume_state".'
            ) from error
        self.best_metric_results = resume_state.get('best_metric_results', {})
        self.iterations_done = resume_state['iter']
        self._saved_at = (resume_state['epoch'], resume_state['iter'])
        validated = resume_state.get('validated')
        self.validated = None if validated is None else set(validated)
        self._cut_losses()

    def validate(self, samples: Iterable[dict], dataset: Any, current_iter: int | str, tb_logger: Any, save_img: bool):
        """Judge `best_net` on some samples of a data set; a stage implements it.

        Args:
            samples: batches of one, as the data set's loader returns them.
            dataset: the data set; its options are in `dataset.opt`.
            current_iter: the iteration, or the name of the test.
            tb_logger: a SummaryWriter, or None.
            save_img: whether to write pictures.

        Returns:
            Scores of each sample: a list of dicts of numbers, all with the same names.
        """
        raise NotImplementedError

    def validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool = False):
        """Validate; BasicSR calls this. Its last call has counted one or two iterations that were not trained."""
        if self.is_train:
            current_iter = min(current_iter, int(self.opt['train']['total_iter']))
        generators = _random_state(self.device)
        try:
            super().validation(dataloader, current_iter, tb_logger, save_img)
        finally:
            _continue(generators, self.device)
        if self.validated is not None:
            self.validated.add(dataloader.dataset.opt['name'])
        if self._saved_at is not None and self._saved_at[1] == current_iter:
            self.save_training_state(*self._saved_at)  # once more, with the best scores

    def nondist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool):
        """Validate in one process."""
        scores = self.validate(iter(dataloader), dataloader.dataset, current_iter, tb_logger, save_img)
        self._conclude(scores, dataloader.dataset.opt['name'], current_iter, tb_logger)

    def dist_validation(self, dataloader: DataLoader, current_iter: int | str, tb_logger: Any, save_img: bool):
        """Validate in several processes, each on its share of the photos."""
        dataset = dataloader.dataset
        share = range(self.opt['rank'], len(dataset), self.opt['world_size'])
        samples = (default_collate([dataset[index]]) for index in share)
        scores = self.validate(samples, dataset, current_iter, tb_logger, save_img)
        self._conclude(
            [score for part in self._gathered(scores) for score in part], dataset.opt['name'], current_iter, tb_logger
        )

    def progress(self, samples: Iterable[dict], total: int) -> Iterator[dict]:
        """Yield the samples with a progress bar, in the first process and unless `val: pbar` is false."""
        quiet = self.opt['rank'] != 0 or not self.opt['val'].get('pbar', True)
        share = len(range(self.opt['rank'], total, self.opt['world_size']))
        words = 'Validation' if self.is_train else 'Test'
        for sample in tqdm(samples, total=share, desc=words, unit='photo', disable=quiet):
            if not self.opt['dist']:  # processes that work together stop together, between two iterations
                interrupts.stop_if_asked()
            yield sample

    def lower_is_better(self, metric: str) -> bool:
        """Whether a score is an error; of those that the options name, the options say it."""
        named = ((self.opt.get('val') or {}).get('metrics') or {}).get(metric)
        return (named.get('better', 'higher') == 'lower') if named else False

    def _conclude(self, scores: list[dict[str, float]], name: str, current_iter: int | str, tb_logger: Any) -> None:
        """Average the scores, keep the best, and log both in one line."""
        if not scores or not scores[0]:
            return
        self.metric_results = {key: mean_score([each[key] for each in scores]) for key in scores[0]}
        best = self.best_metric_results.setdefault(name, {})
        words = []
        for key, value in self.metric_results.items():
            lower = self.lower_is_better(key)
            record = best.get(key)
            if record is None or not np.isfinite(record['val']):  # there was none to compare with
                is_best = True
            else:
                is_best = value <= record['val'] if lower else value >= record['val']
            if is_best and np.isfinite(value):
                best[key] = {'better': 'lower' if lower else 'higher', 'val': value, 'iter': current_iter}
            words.append(f'{key} {value:.4g}')
            if not is_best:
                words[-1] += f' (best {record["val"]:.4g} @ {record["iter"]})'
            if infinite := sum(each[key] == np.inf for each in scores):
                words[-1] += f' (without {infinite} photos that it is infinite for)'
            if tb_logger is not None:
                tb_logger.add_scalar(f'metrics/{name}/{key}', value, current_iter)
        get_root_logger().info(f'Validation of {name}, {len(scores)} photos: {", ".join(words)}')

    def wants_picture(self, index: int, tb_logger: Any, save_img: bool) -> bool:
        """Whether the picture of a sample of a validation is looked at: by TensorBoard the first ones, on disk all."""
        return save_img or (tb_logger is not None and index < TENSORBOARD_PICTURES)

    def show(
        self,
        index: int,
        picture: np.ndarray,
        dataset_name: str,
        current_iter: int | str,
        tb_logger: Any,
        save_img: bool,
    ) -> None:
        """Give the picture (H, W, 3) uint8 of the present batch, the `index`-th, to TensorBoard and to the disk."""
        name = self._picture_name(index)
        if tb_logger is not None and index < TENSORBOARD_PICTURES:
            tb_logger.add_image(f'{dataset_name}/{name}', picture, current_iter, dataformats='HWC')
        if save_img:
            write_picture(self.photo_path(index, dataset_name, current_iter), picture)

    def photo_path(self, index: int, dataset_name: str, current_iter: int | str) -> Path:
        """Where the picture of the present batch goes, the `index`-th of its data set; see `picture_path`."""
        return self.picture_path(self._picture_name(index), dataset_name, current_iter)

    def _picture_name(self, index: int) -> str:
        return f'{index:03d}_{Path(self.batch_name).stem}'

    def picture_path(self, name: str, dataset_name: str, current_iter: int | str) -> Path:
        """Where a picture goes: by data set, and in training by photo and iteration.

        Differs from BasicSR in the data set's folder in training: without it, sets with equal names of photos would
        overwrite each other's pictures.

        Args:
            name: of the photo, without suffix.
            dataset_name: as the options name it.
            current_iter: the iteration; in a test `val: suffix`, or the name of the test, is used.

        Returns:
            A path that ends with .png.
        """
        folder = Path(self.opt['path']['visualization'])
        if self.is_train:
            return folder / dataset_name / name / f'{name}_{current_iter}.png'
        return folder / dataset_name / f'{name}_{self.opt["val"].get("suffix") or self.opt["name"]}.png'


def _read_weights(path: str, param_key: str) -> tuple[dict[str, Tensor], str]:
    """Return a state dict, and the key it was under in a BasicSR checkpoint."""
    check_is_file(path)
    if zipfile.is_zipfile(path):
        try:
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError):
            checkpoint = None  # load_network below says what is wrong with it
        for key in (param_key, 'params'):
            if isinstance(checkpoint, dict) and isinstance(checkpoint.get(key), dict):
                return checkpoint[key], key
    return load_network(path).state_dict(), ''


def _write(content: Any, path: Path) -> None:
    try:
        with atomic_path(path) as partial, open(partial, 'wb') as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        # On a full disk torch's writer raises a RuntimeError about positions, over the OSError that caused it.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        raise OSError(
            f'{path} could not be saved ({str(cause).splitlines()[0]}); the training stops here. Make room or correct '
            '"path", and resume from the last training state.'
        ) from error


def _random_state(device: torch.device) -> dict[str, Any]:
    """The states of the generators that a training may draw from, as tensors and numbers only."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (BasicSR's augmentations draw from it)
    return {
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state(device) if device.type == 'cuda' else None,
        'python': random.getstate(),
        'numpy': (name, torch.from_numpy(keys.astype(np.int64)), *rest),
    }


def _set_random_state(states: Any, device: torch.device, rank: int, processes: int) -> None:
    """Continue the generators of this process; with another number of processes all but the first derive theirs."""
    states = states if isinstance(states, list) else [states]  # once, the first process saved its own only
    if len(states) == processes:
        _continue(states[rank], device)
        return
    _continue(states[0], device)
    if rank:
        seed = (int(torch.randint(1 << 31, ())) + rank) % (1 << 32)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002


def _continue(state: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state['torch'].cpu())
    if device.type == 'cuda' and state['cuda'] is not None:
        torch.cuda.set_rng_state(state['cuda'].cpu(), device)
    random.setstate(state['python'])
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
