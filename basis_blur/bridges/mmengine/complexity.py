"""Parameters and FLOPs of networks, by mmengine.

mmengine counts in the graph that `torch.jit` traces, and a traced function returns tensors, or tuples, lists and dicts
of them; its `get_model_complexity_info` so raises a RuntimeError of a network that returns a BlurField. This one hands
out its tensors while it counts.
"""

from __future__ import annotations

from typing import Any

from mmengine import analysis
from torch import nn

from basis_blur.field.blur_field import BlurField, PixelField


def get_model_complexity_info(
    model: nn.Module, input_shape: tuple[int, ...] | None = None, **others: Any
) -> dict[str, Any]:
    """Return what mmengine's function of this name returns, such as 'flops' and 'params', for any of our networks.

    Args:
        model: a network, or a model of a training stage.
        input_shape: shape of one input without its batch, such as (3, 256, 256).
        others: mmengine's, by keyword: inputs, show_table and show_arch.
    """
    handle = model.register_forward_hook(_tensors_of)
    try:
        return analysis.get_model_complexity_info(model, input_shape, **others)
    finally:
        handle.remove()


def _tensors_of(model: nn.Module, arguments: Any, result: Any) -> Any:
    if isinstance(result, BlurField):
        return result.kernels, result.mixing
    return result.pixel_kernels if isinstance(result, PixelField) else result
