"""How much memory a computation takes."""

import torch


def peak_bytes(function):
    """Most memory that tensors made by `function` hold at any time."""
    with torch.profiler.profile(profile_memory=True) as profile:
        function()
    changes = [e.nbytes() for e in profile.profiler.kineto_results.events() if e.name() == '[memory]']
    return max(sum(changes[: i + 1]) for i in range(len(changes)))
