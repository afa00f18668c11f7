"""The networks, losses, data and scores of basis_blur for mmengine (0.10.7): importing this registers them.

    default_scope = 'basis_blur'
    custom_imports = dict(imports=['basis_blur.bridges.mmengine'])

in a config is all; see `configs/`. One model per training stage, named as the model of BasicSR that computes the same
losses from the same weights and batch; a loss `l_reblur` there is `loss_reblur` here, for mmengine sums what has "loss"
in its name. BasicSR is not needed.

    get_model_complexity_info(model, input_shape)    mmengine's count of parameters and FLOPs, for every network
"""

from basis_blur.bridges import torchvision_shim

torchvision_shim.install()  # mmengine's Runner imports torchvision to tell its version.

from basis_blur.bridges.mmengine import checkpoint, data, hooks, metrics, models, parallel, visualizer  # noqa: E402
from basis_blur.bridges.mmengine.complexity import get_model_complexity_info  # noqa: E402

__all__ = [
    'checkpoint',
    'data',
    'get_model_complexity_info',
    'hooks',
    'metrics',
    'models',
    'parallel',
    'visualizer',
]
