"""The common part of all training stages under BasicSR: a network that is built, loaded and saved by an option file.

BasicSR's train.py calls a model's feed_data, optimize_parameters, save and validation. `NetworkModel` implements what
does not depend on the task, and a stage adds its batch, its losses and its scores. It has four parts, each a class
that the next one extends:

    ResumableModel      training states, `models.resumable_model`
    ValidatedModel      validations and scores, `models.validated_model`
    SteppingModel       the steps of a training, `models.stepping_model`
    NetworkModel        options, the network and its checkpoints, here

How each differs from BasicSR's own models stands at the head of its module. Here it is that a checkpoint is written
whole or not at all, that a failed save ends the run (BasicSR warns and goes on), and that options are never modified.

A checkpoint is {'params', 'params_ema' (with EMA), 'hyper_parameters': {'type': ..., ...}}; `load_network` reads it.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from basis_blur.archs.network_facts import hyper_parameters_of
from basis_blur.archs.precision import AMP_CHOICES
from basis_blur.archs.processes import distributed
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.options import CheckedOptions, Option, OptionError, read_options
from basis_blur.models.profile import Profile
from basis_blur.models.run_files import LossLog, read_weights_under, write_whole
from basis_blur.models.stepping_model import SteppingModel
from basis_blur.weights.fitting import misfits, those_that_fit

COMPILERS = ('inductor', 'cudagraphs', 'aot_eager', 'eager')  # choices of `train: compile`


class NetworkModel(SteppingModel):
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
        self.net_g_ema = None
        self._load_given(net, self.opt['path'].get('param_key_g', self.default_param_key))
        if self.is_train:
            self._begin_training(net)
        else:
            self.net_g = net.eval()

    def _begin_training(self, net: nn.Module) -> None:
        """Set up what a training needs: the average of the weights, the precision, the logs and the optimiser."""
        self.train_options = self.read_section('train')
        self.ema_decay = self.train_options['ema_decay']
        if self.ema_decay > 0:
            self.net_g_ema = deepcopy(net).eval().requires_grad_(False)
            self._load_given(self.net_g_ema, 'params_ema')
        self.amp_type = self._amp_type()
        self.net_g = self.model_to_device(self._laid_out(net)).train()
        logger = self.read_section('logger') if self.opt.get('logger') else {}
        self.loss_log = LossLog(self.opt['path'].get('log', '.'), logger.get('loss_log_freq'))
        facts = {
            'network': type(self.get_bare_model(self.net_g)).__name__,
            'precision': str(self.amp_type or torch.float32).removeprefix('torch.'),
            'channels_last': self.train_options['channels_last'],
            'compile': self.train_options['compile'],
        }
        self.profile = Profile.of_run(self.opt, logger.get('profile_iters'), self.device, facts)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_type is torch.float16)
        self.setup_optimizers()
        self.setup_schedulers()

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

    def _load_given(self, net: nn.Module, param_key: str) -> None:
        """Load the weights of `path: pretrain_network_g`, if it is given, under a key of a checkpoint."""
        paths = self.opt['path']
        if paths.get('pretrain_network_g') is not None:
            self.load_network(net, paths['pretrain_network_g'], paths.get('strict_load_g', True), param_key)

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

    def _laid_out(self, net: nn.Module) -> nn.Module:
        """Return a network whose weights lie in memory, and which is compiled, as the options ask for."""
        if self.train_options['channels_last']:
            net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        backend = self.train_options['compile']
        if backend is not None:
            net.compile(backend=backend)
        return net

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
