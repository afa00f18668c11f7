"""The common part of all training stages under BasicSR: the optimiser's step, checkpoints and validation of a network.

BasicSR's train.py calls a model's feed_data, optimize_parameters, save and validation. `NetworkModel` implements what
does not depend on the task, and a stage adds its batch, its losses and its scores. It differs from BasicSR's own
models:

1. A checkpoint is written whole or not at all, and a failed save ends the run; BasicSR warns and goes on.
2. A loss or a gradient that is NaN or infinite ends the run before it reaches the weights, and names the batch.
3. The exponential moving average (EMA) also follows buffers, such as the statistics of a batch normalisation.
4. A training state also holds the random generators of every process, the gradient scaler and the best scores, and a
   validation leaves the generators as they were. With the batches of `data.sample_stream`, a resumed run therefore
   computes what an uninterrupted one does, on the CPU to the bit.
5. The processes of a distributed validation share it; in BasicSR the first does it all while the others wait.
6. Every optimiser of torch.optim can be used, also with BasicSR 1.4.2, and the options are never modified.

The scores of the last validation of each data set are in scores.json in the run's folder. With
`logger: profile_iters: n` profile.json there tells how fast the first n iterations were, see `models.profile`.

With `logger: loss_log_freq: n` the losses of every n-th iteration are written to losses.jsonl in the run's folder, with
all their digits and one line of JSON each. A resumed training removes the lines of iterations that it will do again.

A checkpoint is {'params', 'params_ema' (with EMA), 'hyper_parameters': {'type': ..., ...}}; `load_network` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from basis_blur.archs.network_facts import hyper_parameters_of
from basis_blur.archs.precision import AMP_CHOICES, AUTO, amp_type, multiplies_bfloat16
from basis_blur.archs.processes import distributed
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import CheckedOptions, Option, OptionError, read_options
from basis_blur.models.optimisation import build_optimiser, build_scheduler
from basis_blur.models.profile import Profile
from basis_blur.models.random_state import random_state, resume_random_state, set_random_state
from basis_blur.models.run_files import LossLog, read_weights_under, write_scores, write_whole
from basis_blur.models.state_check import check_form, check_optimizer, check_scaler, check_scheduler
from basis_blur.models.validation import Validation, averaged, data_set_of
from basis_blur.weights.fitting import misfits, those_that_fit

COMPILERS = ('inductor', 'cudagraphs', 'aot_eager', 'eager')  # choices of `train: compile`
# Errors that torch and BasicSR raise for a training state that does not fit or is damaged.
MISFIT = (AssertionError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError)


class NetworkModel(BaseModel):
    """Train or test one network, `network_g`, through BasicSR.

    A stage implements `feed_data`, `optimize_parameters` (which ends in `descend`) and `validate`.

    Args:
        opt: BasicSR's options, after its `parse_options`; they are not modified.

    Raises:
        OptionError: one of `OPTIONS` is of the wrong type, or names nothing that exists.
        InputError: the file of `pretrain_network_g` is not a checkpoint of this network.
    """

    # Options that are read here, by section; '' is the top level. `check_options` adds the keys that BasicSR itself
    # reads.
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
            'channels_last': Option(
                (bool,), False,
                meaning='Whether the weights of convolutions lie in memory with their channels last, which GPUs with '
                'units for matrices of 16 bits compute faster; with amp.',
            ),
            'compile': Option(
                (str, NoneType), None, choices=COMPILERS,
                meaning='Backend by which torch.compile compiles the forward pass of the network; ~: not at all. '
                'inductor is the usual one, and eager is for tests.',
            ),
        },
        'val': {},
        'path': {},
        'logger': {
            'loss_log_freq': Option(
                (int, NoneType), None, least=1,
                meaning='Number of iterations between two lines of losses.jsonl, with all digits; ~ for no such file.',
            ),
            'profile_iters': Option(
                (int, NoneType), None, least=2,
                meaning="Number of a training's first iterations whose time and memory profile.json tells; ~ for no "
                'such file.',
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
        self.best_metric_results: dict[str, dict[str, dict[str, Any]]] = {}
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
            every = self.read_section('logger')['loss_log_freq'] if opt.get('logger') else None
            self.loss_log = LossLog(opt['path'].get('log', '.'), every)
            if self.ema_decay > 0:
                self.net_g_ema = deepcopy(net).eval().requires_grad_(False)
                if path is not None:
                    self.load_network(self.net_g_ema, path, strict, 'params_ema')
            self.amp_type = self._amp_type()
            self.net_g = self.model_to_device(self._laid_out(net)).train()
            self.profile = self._profile()
            self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_type is torch.float16)
            self.setup_optimizers()
            self.setup_schedulers()
        else:
            self.net_g = net.eval()

    @property
    def default_param_key(self) -> str:
        """Key of the weights that are loaded unless the options name one: in a test, that of the average."""
        return 'params' if self.is_train else 'params_ema'

    @property
    def nets(self) -> list[nn.Module]:
        """The network, and its average if there is one; all of them get the weights that a training begins with."""
        return [self.get_bare_model(self.net_g), *([self.net_g_ema] if self.net_g_ema is not None else [])]

    @property
    def best_net(self) -> nn.Module:
        """The network that is validated, without wrapper: the average if there is one."""
        return self.net_g_ema if self.net_g_ema is not None else self.get_bare_model(self.net_g)

    def read_section(self, section: str) -> dict[str, Any]:
        """Return the options of a section that are in `OPTIONS`, with their defaults.

        Options that `check_options` has checked as a whole are not checked again.

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
        return distributed(net, self.opt.get('find_unused_parameters', False)) if self.opt['dist'] else net

    @master_only
    def print_network(self, net: nn.Module) -> None:
        """Log the name, hyper-parameters and size of a network in one line."""
        settings = ', '.join(f'{key} {value}' for key, value in hyper_parameters_of(net).items())
        millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
        get_root_logger().info(f'Network {type(net).__name__} ({settings}): {millions:.2f} M parameters.')

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str = 'params') -> None:
        """Load weights into a network that has been built from the options.

        Args:
            net: a network, perhaps wrapped; its weights are replaced.
            load_path: a checkpoint of BasicSR, or any file that `basis_blur.load_network` reads.
            strict: whether every weight must be there and fit; if not, those that fit are loaded.
            param_key: key of a BasicSR checkpoint; 'params' is taken where it is not there.

        Raises:
            InputError: the file is damaged, or holds another architecture.
        """
        net = self.get_bare_model(net)
        state, key = read_weights_under(load_path, param_key)
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
            state = those_that_fit(own, state)
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

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network computes: mixed precision if `train: amp` asks for it."""
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

    def _laid_out(self, net: nn.Module) -> nn.Module:
        """Return a network whose weights lie in memory, and which is compiled, as the options ask for."""
        if self.train_options['channels_last']:
            net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        backend = self.train_options['compile']
        if backend is not None:
            net.compile(backend=backend)
        return net

    def _profile(self) -> Profile:
        iterations = self.read_section('logger')['profile_iters'] if self.opt.get('logger') else None
        kind = str(self.amp_type or torch.float32).removeprefix('torch.')
        settings = {
            'run': self.opt['name'],
            'network': type(self.get_bare_model(self.net_g)).__name__,
            'precision': kind,
            'channels_last': self.train_options['channels_last'],
            'compile': self.train_options['compile'],
            'processes': self.opt.get('world_size', 1),
        }
        if self.opt.get('rank', 0) != 0:
            iterations = None
        batch = self.opt['datasets']['train'].get('batch_size_per_gpu', 1) * settings['processes']
        return Profile(self.opt['path'].get('log', '.'), iterations, batch, self.device, settings)

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
            key: {name: value.cpu().contiguous() for name, value in each.state_dict().items()}
            for key, each in zip(keys, nets, strict=True)
        }
        if told := hyper_parameters_of(nets[0]):
            checkpoint['hyper_parameters'] = {'type': type(nets[0]).__name__, **told}
        label = 'latest' if current_iter == -1 else current_iter
        write_whole(checkpoint, Path(self.opt['path']['models'], f'{net_label}_{label}.pth'))

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

    def _gathered(self, own: Any) -> list[Any]:
        """Return the values of all processes, in their order."""
        if not self.opt['dist']:
            return [own]
        gathered: list[Any] = [None] * self.opt['world_size']
        torch.distributed.all_gather_object(gathered, own)
        return gathered

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Go on from a training state; BasicSR's `check_resume` has named the networks, which are loaded by now.

        A state that a model of BasicSR itself wrote can be used too; it lacks what only states of this class hold.

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
                resume_random_state(resume_state['random'], self.device, self.opt['rank'], self.opt['world_size'])
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
        if self.opt['rank'] == 0:
            self.loss_log.cut(self.iterations_done)

    def validate(self, run: Validation) -> list[dict[str, float]]:
        """Score `best_net` on the samples of a data set; a stage implements it.

        Returns:
            Scores of each sample, numbers by name, all with the same names.
        """
        raise NotImplementedError

    def validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> None:
        """Validate; BasicSR calls this, the last time with a number one or two above the last iteration."""
        if self.is_train:
            current_iter = min(current_iter, int(self.opt['train']['total_iter']))
        generators = random_state(self.device)
        try:
            super().validation(dataloader, current_iter, tb_logger, save_img)
        finally:
            set_random_state(generators, self.device)
        if self.validated is not None:
            self.validated.add(data_set_of(dataloader).opt['name'])
        if self._saved_at is not None and self._saved_at[1] == current_iter:
            self.save_training_state(*self._saved_at)  # again, with the best scores

    def nondist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate in one process."""
        run = Validation(iter(dataloader), data_set_of(dataloader), current_iter, tb_logger, save_img, self.opt)
        self._conclude(self.validate(run), run)

    def dist_validation(
        self, dataloader: DataLoader[Any], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validate in several processes, each on its share of the photos."""
        dataset = data_set_of(dataloader)
        share = range(self.opt['rank'], len(dataset), self.opt['world_size'])
        samples = (default_collate([dataset[index]]) for index in share)
        run = Validation(samples, dataset, current_iter, tb_logger, save_img, self.opt)
        self._conclude([score for part in self._gathered(self.validate(run)) for score in part], run)

    def lower_is_better(self, metric: str) -> bool:
        """Tell whether a lower score is better; for scores that the options name, the options tell it."""
        named = ((self.opt.get('val') or {}).get('metrics') or {}).get(metric)
        return (named.get('better', 'higher') == 'lower') if named else False

    def _conclude(self, scores: list[dict[str, float]], run: Validation) -> None:
        """Average the scores, keep the best, and log both in one line."""
        if not scores or not scores[0]:
            return
        best = self.best_metric_results.setdefault(run.name, {})
        self.metric_results, words = averaged(scores, best, self.lower_is_better, run.iteration)
        if run.tb_logger is not None:
            for key, value in self.metric_results.items():
                run.tb_logger.add_scalar(f'metrics/{run.name}/{key}', value, run.iteration)
        get_root_logger().info(f'Validation of {run.name}, {len(scores)} photos: {words}')
        if self.is_train and self.opt['rank'] == 0 and 'log' in self.opt['path']:
            write_scores(self.opt['path']['log'], run.name, run.iteration, self.metric_results)
