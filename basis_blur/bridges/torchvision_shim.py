"""Stand-ins by which `import basicsr` succeeds beside a torchvision that does not suit it.

Two gaps are closed, each only where it is there:

1. torchvision is a build for another torch (a CUDA build beside a CPU torch), so its compiled library does not load.
   Its import then dies on `operator torchvision::nms does not exist`, although BasicSR uses none of its operators.
   After that failure, and never before it, the schemas of `nms` and `qnms` are declared, and torchvision is imported
   again; calling them still fails, as it should. A schema that is declared before the library has failed would abort
   the process as soon as a sound library declares it too.
2. basicsr 1.4.2 imports `rgb_to_grayscale` from `torchvision.transforms.functional_tensor`, which torchvision 0.17
   removed; the function lives on in `torchvision.transforms.functional`.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import torch

OLD_MODULE = 'torchvision.transforms.functional_tensor'  # module of old versions of torchvision that BasicSR imports
SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)

# torch forgets the schemas as soon as the Library object that declared them is collected.
_declared: torch.library.Library | None = None


def install() -> None:
    """Import torchvision, if there is one, and close the gaps that are there; a second call changes nothing.

    A torchvision that cannot be imported for another reason is left alone: whoever imports it next is told the reason.
    """
    spec = importlib.util.find_spec('torchvision')
    if spec is None or spec.origin is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if not _lacks_operators(error):
            return
        _forget_torchvision()
        _declare_operators()
    except (ImportError, OSError):
        return
    old_module = Path(spec.origin).parent / 'transforms' / 'functional_tensor.py'
    if OLD_MODULE not in sys.modules and not old_module.exists():
        sys.modules[OLD_MODULE] = _old_module()


def active() -> list[str]:
    """Return a sentence about each gap that `install` closed in this process."""
    sentences = []
    if _declared is not None:
        sentences.append('schemas of torchvision::nms declared (the library of torchvision does not fit this torch)')
    if isinstance(sys.modules.get(OLD_MODULE), _OldModule):
        sentences.append(f'{OLD_MODULE} provided (this torchvision has it no more)')
    return sentences


def _lacks_operators(error: RuntimeError) -> bool:
    return 'torchvision::' in str(error) and not hasattr(torch.ops.torchvision, 'nms')


def _forget_torchvision() -> None:
    """Take what a failed import left out of `sys.modules`, so that the next import executes all of it."""
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]


def _declare_operators() -> None:
    global _declared
    _declared = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in SCHEMAS:
        _declared.define(schema)


class _OldModule(types.ModuleType):
    """A type of its own, by which `active` tells the stand-in from the real module of an old torchvision."""

    @staticmethod
    def rgb_to_grayscale(img: torch.Tensor, num_output_channels: int = 1) -> torch.Tensor:
        """Convert RGB to gray as `torchvision.transforms.functional.rgb_to_grayscale` does."""
        from torchvision.transforms.functional import rgb_to_grayscale

        return rgb_to_grayscale(img, num_output_channels)


def _old_module() -> types.ModuleType:
    return _OldModule(OLD_MODULE, 'Stand-in for a module that torchvision 0.17 removed.')
