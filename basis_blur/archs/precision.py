"""The precision in which networks train: float32, or float32 mixed with 16 bits where that is faster."""

from __future__ import annotations

import torch

AUTO = 'auto'  # choice of bfloat16 or float32 by the device
AMP_TYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}  # choice -> dtype
AMP_CHOICES = (AUTO, *AMP_TYPES)  # choices of `train: amp`


def amp_type(choice: str | None, device: torch.device) -> torch.dtype | None:
    """Return the 16-bit type for `torch.autocast`, or None for float32 throughout.

    Args:
        choice: 'bf16', 'fp16', None, or 'auto': bfloat16 where the device multiplies matrices of it.
        device: device on which the network computes.
    """
    if choice == AUTO:
        return torch.bfloat16 if multiplies_bfloat16(device) else None
    return None if choice is None else AMP_TYPES.get(choice)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has units that multiply matrices of bfloat16, as recent GPUs and processors with AMX have.

    On other devices bfloat16 is seldom faster. On a processor that knows bfloat16 but has no such units, a step of
    training takes 0.6 (UFPNet) to 1.6 times as long as in float32; on the same processor limited to AVX2, as most
    laptops are, it takes 14 to 42 times as long (scripts/benchmark/bench_precision.py).
    """
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, object] = getattr(
        torch.cpu, 'get_capabilities', dict
    )()  # older versions of torch do not tell
    return bool(capabilities.get('amx_bf16', False))
