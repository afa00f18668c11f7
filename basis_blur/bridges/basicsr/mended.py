"""Changes to BasicSR: what it lacks on this machine is mended, and options are checked before a run makes a folder.

The changes are in force for trainings and tests that use basis_blur, see `in_use`; for all others BasicSR works as
without this package.

Only attributes that BasicSR looks up by name at run time are replaced; a comment at each says why. This works for
basicsr 1.4.2 and for the git master, and for all ways in which the plugin is loaded:

- The start-up hook loads it when `import basicsr` has just finished, before any replaced function is called.
- `basis-blur train` and `test` load it before BasicSR's pipeline starts, also before any of them is called.
- The `plugin:` line of an option file loads it inside BasicSR's `parse_options`. That function is running already, so
  the options are checked by the script's next step; all other changes are in time.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import basicsr.data.prefetch_dataloader as prefetch
import basicsr.test
import basicsr.train
import basicsr.utils.dist_util as dist_util
import basicsr.utils.options as reader
import torch
import yaml
from basicsr.models.base_model import BaseModel
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
from basis_blur.bridges.basicsr.resuming import load_resume_state
from basis_blur.bridges.basicsr.run_folder import lock_folder, make_folders, release_folder
from basis_blur.bridges.basicsr.running import (
    Training,
    build_loader,
    create_loaders,
    init_tb_loggers,
    save_at,
    update_learning_rate,
)
from basis_blur.foundation import interrupts
from basis_blur.foundation.errors import InputError, sentence_of
from basis_blur.foundation.options import CheckedOptions

OURS = '_basis_blur_wraps'  # attribute of a replaced function: the one it stands for


def apply() -> None:
    """Make every change of this module that this process needs; a second call changes nothing."""
    changes = (
        (dist_util, 'init_dist', _init_dist),
        (reader, 'init_dist', _init_dist),
        (BaseModel, 'model_to_device', _model_to_device),
        (BaseModel, 'update_learning_rate', update_learning_rate),
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
    """Let BasicSR's reader return these options in the block, whatever stands in the option file.

    Our commands have read and checked the file already. So it is read once, and by a reader that runs no code in it.
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
    """Replace `owner.name` by `make(original)`, once; the original is still called where changes are not in force."""
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
    """End the process with exit code 2 and the sentence of a user's mistake, which one of several processes prints."""
    release_folder()
    if os.environ.get('RANK', '0') == '0':
        print(f'basis_blur: {sentence_of(error)}', file=sys.stderr, flush=True)
    raise SystemExit(2)


def prepare(opt: dict[str, Any], is_train: bool) -> dict[str, Any]:
    """Check the options that BasicSR's reader returned, unless that is done, and the data sets of the run.

    Texts that are numbers become numbers. A mistake ends the process.

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
    """Replace `owner.parse_options` by one that decides whether changes are in force, and checks the options if so."""
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
        except InputError as error:  # a value of --force_yml is wrong
            stop(error)
        except (
            OSError, ValueError, LookupError, TypeError, AttributeError, NameError, SyntaxError, yaml.YAMLError,
        ):  # fmt: skip
            _blame_option_file(sys.argv, is_train)  # or a value of --force_yml
            raise
        return prepare(opt, is_train), args

    return parse_options


def _blame_option_file(arguments: list[str], is_train: bool) -> None:
    """End the process with a sentence if the option file on the command line has a mistake."""
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
        _replace(script, 'build_dataloader', build_loader)
        _replace(script, 'create_train_val_dataloader', create_loaders)
        _replace(script, 'init_tb_loggers', init_tb_loggers)
    if hasattr(script, 'build_dataset'):
        _replace(script, 'build_dataset', mended_build_dataset)
    if hasattr(script, 'make_exp_dirs'):
        tests = hasattr(script, 'test_pipeline')
        _replace(script, 'make_exp_dirs', _check_and_make_folders if tests else make_folders)
    if script.__name__ == '__main__' and not hasattr(sys.excepthook, OURS):
        _replace(sys, 'excepthook', _say_user_mistakes)


def _check_and_load_state(original: Callable) -> Callable:
    def load_and_check(opt):
        prepare(opt, is_train=True)
        try:
            lock_folder(opt, 'experiments_root')
            Training.resumed = load_resume_state(opt)
        except (InputError, OSError) as error:
            stop(error)
        Training.validations.clear()
        Training.ends.value = 0
        if is_ours(MODEL_REGISTRY.get(opt['model_type'])):
            interrupts.defer_from_now_on()  # in a script of BasicSR, which leaves room for no `saving_on_interrupts`
        return Training.resumed

    return load_and_check


def _check_and_make_folders(original: Callable) -> Callable:
    def check_and_make_folders(opt):
        prepare(opt, is_train=False)
        try:
            lock_folder(opt, 'results_root')
        except (InputError, OSError) as error:
            stop(error)
        make_folders(original)(opt)

    return check_and_make_folders


# Why the excepthook: what only shows during a run, such as a corrupt image, a NaN or a full disk, is raised deep inside
# BasicSR, which would show it as a traceback.
def _say_user_mistakes(original: Callable) -> Callable:
    def hook(kind, error, traceback):
        if isinstance(error, (InputError, OSError)):
            print(f'basis_blur: {sentence_of(error)}', file=sys.stderr, flush=True)
            raise SystemExit(2)  # Python takes this as the exit code of the process.
        if isinstance(error, interrupts.Interrupted):
            if isinstance(error, interrupts.SafeStop):
                save_at(error)
                error.remark += '; go on with the same command and --auto_resume'
            if os.environ.get('RANK', '0') == '0':
                print(f'\nbasis_blur: interrupted; {error.remark}.'.replace('; .', '.'), file=sys.stderr, flush=True)
            raise SystemExit(error.exit_code)
        original(kind, error, traceback)

    return hook


register_when_complete(__name__)
