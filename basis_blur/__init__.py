"""Estimate the spatially varying blur of a photo, and remove it.

    net = bb.load_network('network.safetensors')
    field = bb.estimate_blur(net, photo)        the blur of every pixel, as numbers
    sharp = bb.deblur(photo, field)

The table below is the map of the package: its public names in reading order, and the module that each lives in. A
name is imported when it is first used, so that `basis-blur --help` need not wait for torch. Nothing here needs more
than torch, numpy and safetensors. BasicSR finds everything through `basis_blur.plugin`.
"""

import importlib

__version__ = '0.1.0'

_HOME = {
    'Deblurrer': 'deblurring.deblurrer',
    'NetworkDeblurrer': 'deblurring.network_deblurrer',
    'DeblurSettings': 'deblurring.deblurrer',
    'Estimate': 'estimation.estimate',
    'Removal': 'restoration.settings',
    'BlurField': 'field.blur_field',
    'PixelField': 'field.blur_field',
    'load_network': 'weights.checkpoints',
    'save_network': 'weights.checkpoints',
    'estimate_blur': 'estimation.by_network',
    'estimate_shake': 'estimation.shake.search',
    'deblur': 'restoration.deblur',
    'restore': 'deblurring.restoring',
    'refine_field': 'estimation.refinement',
    'export_onnx': 'weights.export',
    'export_program': 'weights.export',
    'Deblur': 'deblurring.differentiable',
    'BasisBlur': 'ops.basis_blur',
    'PixelBlur': 'ops.pixel_blur',
    'ReflectPad': 'ops.boundary',
    'ReplicatePad': 'ops.boundary',
    'ZeroPad': 'ops.boundary',
    'LinearOperator': 'ops.linear_operator',
    'dot_test': 'ops.linear_operator',
    'to_linear': 'ops.camera_response',
    'to_srgb': 'ops.camera_response',
    'camera_response': 'ops.camera_response',
    'RichardsonLucy': 'restoration.richardson_lucy',
    'richardson_lucy': 'restoration.richardson_lucy',
    'BasisKPN': 'archs.basis_kpn_arch',
    'KernelFlow': 'archs.kernel_flow_arch',
    'LatentKernelNet': 'archs.latent_kernel_arch',
    'UFPNet': 'archs.ufpnet_arch',
    'ReblurLoss': 'losses.reblur_loss',
    'KernelLoss': 'losses.kernel_loss',
    'shake_kernels': 'simulation.camera_shake',
    'blur_scene': 'simulation.scene_blur',
    'InputError': 'foundation.errors',
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f'basis_blur has no {name!r}; its public names are {", ".join(_HOME)}')
    value = getattr(importlib.import_module(f'basis_blur.{_HOME[name]}'), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOME})
