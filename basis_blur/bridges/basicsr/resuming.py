"""The training state that a run goes on from, and the networks beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from basicsr.utils import check_resume

from basis_blur.bridges.basicsr.presence import register_when_complete
from basis_blur.bridges.basicsr.training_state import iteration_of, read_state, states_in
from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import remove_partials


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


register_when_complete(__name__)
