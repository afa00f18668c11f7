"""Mend what BasicSR lacks on this machine, and have its options checked before a run leaves any trace.

What is mended is in force for trainings and tests that ask for basis_blur, see `in_use`; for all others BasicSR does
what it does without this package.

BasicSR's own modules are changed at the few places below, each where the comment says why, and only attributes that
BasicSR looks up by name at run time. It works the same for basicsr 1.4.2 and for the git master, whichever way the
plugin was loaded:

- The start-up hook loads it when `import basicsr` has just finished: everything is in time.
- `basis-blur train` and `test` load it before BasicSR's pipeline starts: everything is in time.
- The `plugin:` line of an option file loads it inside BasicSR's `parse_options`, which is running already. What that
  function calls next is in time; the options are checked by the script's next step instead.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import math
import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import basicsr.data.prefetch_dataloader as prefetch
import basicsr.test
import basicsr.train
import basicsr.utils.dist_util as dist_util
import basicsr.utils.options as reader
import torch
import yaml
from basicsr.models.base_model import BaseModel
from basicsr.utils import check_resume, get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY

from basis_blur.archs.processes import distributed
from basis_blur.bridges.basicsr import data_sets, in_use
from basis_blur.bridges.basicsr.data_check import mended_build_dataset, open_data
from basis_blur.bridges.basicsr.names import is_ours
from basis_blur.bridges.basicsr.option_check import check_options
from basis_blur.bridges.basicsr.option_file import (
    apply_overrides,
    convert_number_texts,
    read_option_file,
    value_of_text,
)
from basis_blur.bridges.basicsr.presence import register_when_complete
from basis_blur.bridges.basicsr.training_state import iteration_of, read_state, states_in
from basis_blur.data.sample_stream import SampleStream, SeededDataset
from basis_blur.foundation import interrupts
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.files import hold_lock, make_folder, release_lock, remove_partials
from basis_blur.foundation.options import CheckedOptions

OURS = '_basis_blur_wraps'  # attribute of a replaced function: the one it stands for


def apply() -> None:
    """Make every change of this module that this process needs; a second call changes nothing."""
    changes = (
        (dist_util, 'init_dist', _init_dist),
        (reader, 'init_dist', _init_dist),
        (BaseModel, 'model_to_device', _model_to_device),
        (BaseModel, 'update_learning_rate', _update_learning_rate),
        (prefetch.PrefetchGenerator, 'run', _run_and_hand_over_errors),
        (prefetch.PrefetchGenerator, '__next__', _next_or_raise),
    )
    lacking = [f'{owner.__name__}.{name}' for owner, name, _ in changes if not hasattr(owner, name)]
    if lacking:  # nothing is changed then
        raise RuntimeError(f'this BasicSR lacks {", ".join(lacking)}; 1.3.4.9 to 1.4.2 and the git master are known.')
    for change in changes:
        _replace(*change)
    _mend_parse_options(reader)
    if hasattr(reader, '_postprocess_yml_value'):
        _replace(reader, '_postprocess_yml_value', lambda original: value_of_text)
    data_sets.mend(_replace)
    for script in (basicsr.train, basicsr.test, sys.modules.get('__main__')):
        _mend_script(script)


@contextmanager
def handed_over(opt: CheckedOptions) -> Iterator[None]:
    """Have BasicSR's reader, in the block, take these options for what stands in the option file.

    Our commands have read and checked the file already; so it is read once, and by a reader that runs nothing that
    stands in it.
    """

    class CheckedLoader(yaml.SafeLoader):
        def get_single_data(self) -> CheckedOptions:
            return opt

    original = reader.ordered_yaml
    in_use.decide(True)
    reader.ordered_yaml = lambda: (CheckedLoader, yaml.SafeDumper)
    try:
        yield
    finally:
        reader.ordered_yaml = original


def active() -> list[str]:
    """Return a sentence about each change that was made in this process, for trainings and tests that ask for us."""
    sentences = {
        'options are checked before a run': reader.parse_options,
        'resuming works without a GPU and from any folder': basicsr.train.load_resume_state,
        'distributed training works without a GPU (gloo)': reader.init_dist,
        'a resumed run goes on with the sample it would have had next': basicsr.train.build_dataloader,
        'a training makes all of its iterations': basicsr.train.create_train_val_dataloader,
        'data sets are checked before a run, and a photo that cannot be used is named': basicsr.train.build_dataset,
        'an error of a data set ends a run with prefetch_mode "cpu"': prefetch.PrefetchGenerator.run,
    }
    return [sentence for sentence, function in sentences.items() if hasattr(function, OURS)]


def _replace(owner: Any, name: str, make: Callable[[Callable], Callable]) -> None:
    """Put `make(original)`, where it is in force, in the place of `owner.name`, unless it is there."""
    original = getattr(owner, name)
    if hasattr(original, OURS):
        return
    mended = make(original)

    @functools.wraps(original)
    def replacement(*args, **kwargs):
        return (mended if in_use.in_force() else original)(*args, **kwargs)

    setattr(replacement, OURS, original)
    setattr(owner, name, replacement)


def stop(error: BaseException) -> NoReturn:
    """End the process with the sentence of a user's mistake and exit code 2; of several processes one speaks."""
    release_folder()
    if os.environ.get('RANK', '0') == '0':
        print(f'basis_blur: {sentence_of(error)}', file=sys.stderr, flush=True)
    raise SystemExit(2)


def prepare(opt: dict[str, Any], is_train: bool) -> dict[str, Any]:
    """Check what BasicSR's reader returned, unless that is done, and its data sets; turn number texts into numbers.

    Ends the process on a mistake.

    Returns:
        The options, as an object that says that they are checked.
    """
    try:
        if not isinstance(opt, CheckedOptions):
            convert_number_texts(opt)
            opt = check_options(opt, is_train)
        if isinstance(opt.get('logger'), dict):
            opt['logger'].setdefault('use_tb_logger', False)  # which BasicSR reads in two ways, once without default
        open_data(opt, is_train)
    except (InputError, OSError) as error:
        stop(error)
    return opt


def _mend_parse_options(owner: Any) -> None:
    """Have the options that `owner.parse_options` reads tell whether what is mended is in force, and checked if so."""
    if hasattr(owner.parse_options, OURS):
        return
    original = owner.parse_options
    mended = _parse_options(original)

    @functools.wraps(original)
    def parse_options(*args, **kwargs):
        _mend_script(sys.modules.get('__main__'))  # a script that has come to its end of imports since `apply`
        in_use.decide_by_command_line(sys.argv)
        return (mended if in_use.in_force() else original)(*args, **kwargs)

    setattr(parse_options, OURS, original)
    owner.parse_options = parse_options


# Why parse_options: here the options are complete and no folder has been made yet. Its own errors on a broken file
# (KeyError: 'num_gpu') tell nothing, so the file is read once more, by a reader that does.
def _parse_options(original: Callable) -> Callable:
    def parse_options(root_path, is_train=True):
        try:
            opt, args = original(root_path, is_train=is_train)
        except InputError as error:  # of a value of --force_yml
            stop(error)
        except (
            OSError, ValueError, LookupError, TypeError, AttributeError, NameError, SyntaxError, yaml.YAMLError,
        ):  # fmt: skip
            _blame_option_file(sys.argv, is_train)  # or a value of --force_yml
            raise
        return prepare(opt, is_train), args

    return parse_options


def _blame_option_file(arguments: list[str], is_train: bool) -> None:
    """End the process if it is the option file on the command line that BasicSR could not take."""
    words = dict(itertools.pairwise(arguments))
    path = words.get('-opt') or words.get('--opt')
    if path is None:
        return
    overrides = []
    if '--force_yml' in arguments:
        for word in arguments[arguments.index('--force_yml') + 1 :]:
            if word.startswith('-'):
                break
            overrides.append(word)
    try:
        opt = read_option_file(path)
        apply_overrides(opt, overrides)
        check_options(opt, is_train)
    except (InputError, OSError) as error:
        stop(error)


# Why init_dist: the original counts GPUs and divides by their number, and asks for NCCL, which CPUs do not have.
# With a GPU only the check of the environment is added.
def _init_dist(original: Callable) -> Callable:
    def init_dist(launcher, backend='nccl', **kwargs):
        if launcher == 'pytorch' and 'RANK' not in os.environ:
            stop(
                InputError(
                    'the launcher "pytorch" finds no RANK in the environment; start the training by '
                    '"torchrun --nproc_per_node=2 ...", or leave --launcher away for a single process.'
                )
            )
        if torch.cuda.is_available():
            original(launcher, backend=backend, **kwargs)
        elif launcher == 'pytorch':
            torch.distributed.init_process_group(backend='gloo', **kwargs)
        else:
            stop(InputError(f'the launcher "{launcher}" needs GPUs and torch finds none; on CPUs use "pytorch".'))

    return init_dist


# Why model_to_device: the original gives every copy of a network the current GPU.
def _model_to_device(original: Callable) -> Callable:
    def model_to_device(self, net):
        if not self.opt['dist'] or torch.cuda.is_available():
            return original(self, net)
        return distributed(net, self.opt.get('find_unused_parameters', False))

    return model_to_device


# Why load_resume_state: the original asks for the current GPU, and with --auto_resume it looks in "experiments" of the
# current folder, wherever the run keeps its files. A state is plain tensors and numbers, so it is read as such.
def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Return the training state to resume from, None to start afresh; names its networks in `opt['path']`.

    Args:
        opt: options as BasicSR's `parse_options` returns them. With `auto_resume` the newest state of the run's folder
            is taken, else `path: resume_state`.

    Raises:
        InputError: the state is missing, is not one, or its networks are not beside it.
    """
    newest = _newest_state(Path(opt['path']['training_states'])) if opt['auto_resume'] else None
    path = newest if opt['auto_resume'] else opt['path'].get('resume_state')
    if path is None:
        return None
    opt['path']['resume_state'] = str(path)
    state = read_state(path)
    if opt['auto_resume'] and opt.get('rank', 0) == 0:
        for name in ('models', 'training_states'):
            remove_partials(opt['path'][name])
    check_resume(opt, state['iter'])
    for key, network in opt['path'].items():
        if key.startswith('pretrain_network') and network is not None and not Path(network).is_file():
            raise InputError(
                f'the training state {path} belongs to {network}, which does not exist; resume under the name of the '
                f'run that wrote it, or start afresh with "path: {key}".'
            )
    return state


def _newest_state(folder: Path) -> Path | None:
    return max(states_in(folder), key=iteration_of, default=None)


class _Training:
    """The training in this process: where it was resumed, its samples, and what the loop is at."""

    resumed: dict[str, Any] | None = None
    stream: SampleStream | None = None
    validations: ClassVar[list[Any]] = []
    tb_logger: Any = None
    model: BaseModel | None = None
    iterations_done, epoch = 0, 0  # the latter of the iteration after the former
    lock: Any = None  # of the run's folder, held as long as the process lives
    # Shared with the workers of the loaders: whether this process has come to its end.
    ends = multiprocessing.RawValue('b', 0)


# Why build_dataloader: the original's workers repeat their random numbers in each epoch, and a resumed run begins the
# epoch again. Workers also leave Ctrl-C to the process that they serve, so that it can finish its step.
def _build_dataloader(original: Callable) -> Callable:
    def build_dataloader(dataset, dataset_opt, num_gpu=1, dist=False, sampler=None, seed=None):
        if dataset_opt['phase'] != 'train' or sampler is None or seed is None:
            loader = original(dataset, dataset_opt, num_gpu=num_gpu, dist=dist, sampler=sampler, seed=seed)
            if dataset_opt['phase'] == 'val':
                _Training.validations.append(loader)
            return loader
        stream = SampleStream(sampler, seed)
        loader = original(SeededDataset(dataset), dataset_opt, num_gpu=num_gpu, dist=dist, sampler=stream, seed=seed)
        # Else each epoch would take a number from torch's own generator, and a resumed run one more than another.
        loader.generator = torch.Generator().manual_seed(seed)
        loader.worker_init_fn = functools.partial(_begin_worker, then=loader.worker_init_fn, ends=_Training.ends)
        _Training.stream, _Training.model = stream, None
        if _Training.resumed is not None:
            _skip_what_was_seen(stream, loader, _Training.resumed['epoch'], _Training.resumed['iter'])
        return loader

    return build_dataloader


# Why create_train_val_dataloader: the original counts the epochs as if its loader kept the last batch of each, which it
# drops where that is not full.
def _create_loaders(original: Callable) -> Callable:
    def create_train_val_dataloader(opt, logger):
        train_loader, sampler, val_loaders, _, iterations = original(opt, logger)
        begun = _Training.resumed or {'epoch': 0, 'iter': 0}
        epochs = last_epoch(len(train_loader), iterations, begun['epoch'], begun['iter'])
        logger.info(
            f'An epoch has {len(train_loader)} full batches for each process; {iterations} iterations end in epoch '
            f'{max(epochs - 1, 0)}.'
        )
        return train_loader, sampler, val_loaders, epochs, iterations

    return create_train_val_dataloader


def last_epoch(batches: int, iterations: int, epoch: int = 0, done: int = 0) -> int:
    """Return the number of epochs after which all iterations are made, as BasicSR's loop wants to know it.

    Its loop begins one more, and finds that all is done.

    Args:
        batches: of an epoch, >= 1.
        iterations: of the whole training.
        epoch: that it begins with.
        done: iterations before that; where they do not fit, the epoch begins again, see `_skip_what_was_seen`.
    """
    seen = done - epoch * batches
    remaining = iterations - done + (seen if 0 <= seen <= batches else 0)
    return epoch + math.ceil(max(remaining, 0) / batches)


def _begin_worker(worker_id: int, then: Callable[[int], None] | None, ends: Any) -> None:
    interrupts.leave_to_parent(ends)
    if then is not None:
        then(worker_id)


def _skip_what_was_seen(stream: SampleStream, loader: Any, epoch: int, iteration: int) -> None:
    batches = iteration - epoch * len(loader)
    if 0 <= batches <= len(loader):
        stream.begin(epoch, batches * loader.batch_size)
        return
    get_root_logger().warning(
        f'The training state of epoch {epoch} and iteration {iteration} does not fit epochs of {len(loader)} batches: '
        'the data set or the batch size is another one now. The epoch begins again.'
    )


# Why init_tb_loggers: a validation that is made up for wants the logger too.
def _init_tb_loggers(original: Callable) -> Callable:
    def init_tb_loggers(opt):
        _Training.tb_logger = original(opt)
        return _Training.tb_logger

    return init_tb_loggers


# Why update_learning_rate: it is the first call of each iteration, when all of the one before is done.
def _update_learning_rate(original: Callable) -> Callable:
    def update_learning_rate(self, current_iter, warmup_iter=-1):
        resumes = _Training.model is None and _Training.resumed is not None
        _Training.model, _Training.iterations_done = self, current_iter - 1
        _Training.epoch = _Training.stream.epoch if _Training.stream is not None else 0
        if resumes:
            _make_up_for_validations(self, current_iter - 1)
        _stop_together(self)
        original(self, current_iter, warmup_iter=warmup_iter)

    return update_learning_rate


def _make_up_for_validations(model: BaseModel, iteration: int) -> None:
    """Do the validations that a state was interrupted in: BasicSR saves it before them, and would not come back."""
    options = model.opt.get('val') or {}
    validated = getattr(model, 'validated', None)
    if validated is None or not options.get('val_freq') or iteration % options['val_freq']:
        return
    for loader in _Training.validations:
        if loader.dataset.opt['name'] not in validated:
            model.validation(loader, iteration, _Training.tb_logger, options['save_img'])


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
        _save_at(stop)
        raise
    finally:
        _let_workers_end()
        release_folder()


def _save_at(stop: interrupts.SafeStop) -> None:
    """Save the state that a training has reached, and say so in the remark of `stop`."""
    model, stream = _Training.model, _Training.stream
    # A stop in a validation comes after the step of that iteration.
    done = max(_Training.iterations_done, getattr(model, 'iterations_done', 0))
    if model is None or stream is None or not done:
        stop.remark = 'no iteration was done yet, so nothing is saved'
        return
    model.save(_Training.epoch, done)  # that of the step: after the last one the loop begins one more
    stop.remark = f'iteration {done} is done and saved in {model.opt["path"]["training_states"]}'


@atexit.register
def _let_workers_end() -> None:
    """Tell the workers of loaders to obey at once when they are asked to end, which Python does at its exit.

    Otherwise they would wait for this process to finish a step, and this process for them. Registered after
    multiprocessing was imported, so that it is called before that ends its children.
    """
    _Training.ends.value = 1


# Why these two: the original thread dies of an error in the data and the training waits for ever for its next batch.
class _Failure:
    def __init__(self, error: BaseException):
        self.error = error


def _run_and_hand_over_errors(original: Callable) -> Callable:
    def run(self):
        try:
            original(self)
        except BaseException as error:
            self.queue.put(_Failure(error))

    return run


def _next_or_raise(original: Callable) -> Callable:
    def following(self):
        item = original(self)
        if isinstance(item, _Failure):
            raise item.error
        return item

    return following


# Why the scripts: `python basicsr/train.py` runs as __main__ with functions of its own, beside those of the module
# basicsr.train, and looks them up when it needs them.
def _mend_script(script: types.ModuleType | None) -> None:
    """Change the functions of BasicSR's train.py or test.py that run before the first folder is made."""
    if script is None or Path(getattr(script, '__file__', None) or '').parts[-2:] not in (
        ('basicsr', 'train.py'),
        ('basicsr', 'test.py'),
    ):
        return
    if hasattr(script, 'parse_options'):
        _mend_parse_options(script)
    if hasattr(script, 'load_resume_state'):
        _replace(script, 'load_resume_state', _check_and_load_state)
    if hasattr(script, 'load_resume_state') and hasattr(script, 'build_dataloader'):  # which test.py has too
        _replace(script, 'build_dataloader', _build_dataloader)
        _replace(script, 'create_train_val_dataloader', _create_loaders)
        _replace(script, 'init_tb_loggers', _init_tb_loggers)
    if hasattr(script, 'build_dataset'):
        _replace(script, 'build_dataset', mended_build_dataset)
    if hasattr(script, 'make_exp_dirs'):
        tests = hasattr(script, 'test_pipeline')
        _replace(script, 'make_exp_dirs', _check_and_make_folders if tests else _make_folders)
    if script.__name__ == '__main__' and not hasattr(sys.excepthook, OURS):
        _replace(sys, 'excepthook', _say_user_mistakes)


def _check_and_load_state(original: Callable) -> Callable:
    def load_and_check(opt):
        prepare(opt, is_train=True)
        try:
            _lock_folder(opt, 'experiments_root')
            _Training.resumed = load_resume_state(opt)
        except (InputError, OSError) as error:
            stop(error)
        _Training.validations.clear()
        _Training.ends.value = 0
        if is_ours(MODEL_REGISTRY.get(opt['model_type'])):
            interrupts.defer_from_now_on()  # in a script of BasicSR, which leaves room for no `saving_on_interrupts`
        return _Training.resumed

    return load_and_check


def _lock_folder(opt: dict[str, Any], key: str) -> None:
    """Keep other processes from a run of the same name: they would move the folder away, or mix their files with it.

    The lock is beside the folder, which BasicSR moves away if it is there already.

    Raises:
        InputError: a run of that name is under way.
    """
    folder = opt.get('path', {}).get(key)
    if folder is None or opt.get('rank', 0) != 0:
        return
    folder = Path(folder)
    make_folder(folder.parent)
    release_folder()
    _Training.lock = hold_lock(
        folder.with_name(f'.{folder.name}.lock'),
        f'another process is at work in {folder}; wait until it ends, or give this run another "name".',
    )


@atexit.register
def release_folder() -> None:
    """Give up the lock of a run's folder, if this process holds one."""
    if _Training.lock is not None:
        release_lock(_Training.lock)
        _Training.lock = None


def _check_and_make_folders(original: Callable) -> Callable:
    def check_and_make_folders(opt):
        prepare(opt, is_train=False)
        try:
            _lock_folder(opt, 'results_root')
        except (InputError, OSError) as error:
            stop(error)
        _make_folders(original)(opt)

    return check_and_make_folders


# Why make_exp_dirs: the original makes a folder of each path of a network's weights, but for `pretrain_network...`.
def _make_folders(original: Callable) -> Callable:
    def make_folders(opt):
        paths = opt.get('path', {})
        weights = [key for key in paths if key.startswith('pretrain_')]
        if weights:
            opt = {**opt, 'path': {key: path for key, path in paths.items() if key not in weights}}
        original(opt)

    return make_folders


# Why the excepthook: what only shows during a run, such as a corrupt image, a NaN or a full disk, is raised deep inside
# BasicSR, which would show it as a traceback.
def _say_user_mistakes(original: Callable) -> Callable:
    def hook(kind, error, traceback):
        if isinstance(error, (InputError, OSError)):
            print(f'basis_blur: {sentence_of(error)}', file=sys.stderr, flush=True)
            raise SystemExit(2)  # Python takes this as the exit code of the process.
        if isinstance(error, interrupts.Interrupted):
            if isinstance(error, interrupts.SafeStop):
                _save_at(error)
                error.remark += '; go on with the same command and --auto_resume'
            if os.environ.get('RANK', '0') == '0':
                print(f'\nbasis_blur: interrupted; {error.remark}.'.replace('; .', '.'), file=sys.stderr, flush=True)
            raise SystemExit(error.exit_code)
        original(kind, error, traceback)

    return hook


register_when_complete(__name__)
