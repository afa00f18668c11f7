"""Estimate the spatially varying blur of a photo, and remove it.

    deblurrer = Deblurrer.pretrained();   deblurrer('photo.jpg').save('sharp.jpg')      what `basis-blur deblur` does

    net = load_network('correlation_kpn')
    field = estimate_blur(net, photo)        the blur of every pixel, as numbers
    sharp = deblur(photo, field)

The imports below are the map of the package: its public names in reading order, and the module that each lives in.
Type checkers and editors read them; at run time a name is imported when it is first used, so that `basis-blur --help`
need not wait for torch. Nothing here needs more than torch, numpy and safetensors. BasicSR finds everything through
`basis_blur.plugin`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = '0.1.0'

if TYPE_CHECKING:  # isort: off
    from basis_blur.deblurring.deblurrer import Deblurrer as Deblurrer, DeblurSettings as DeblurSettings
    from basis_blur.deblurring.deblurrer import Deblurred as Deblurred
    from basis_blur.deblurring.network_deblurrer import NetworkDeblurrer as NetworkDeblurrer
    from basis_blur.estimation.estimate import Estimate as Estimate
    from basis_blur.field.removal import Removal as Removal
    from basis_blur.field.blur_field import BlurField as BlurField, PixelField as PixelField
    from basis_blur.field.motion_flow import field_of_flow as field_of_flow
    from basis_blur.weights.checkpoints import load_network as load_network, save_network as save_network
    from basis_blur.estimation.by_network import estimate_blur as estimate_blur
    from basis_blur.estimation.shake.search import estimate_shake as estimate_shake
    from basis_blur.restoration.deblur import deblur as deblur
    from basis_blur.deblurring.restoring import restore as restore
    from basis_blur.estimation.refinement import refine_field as refine_field
    from basis_blur.weights.export import export_onnx as export_onnx, export_program as export_program
    from basis_blur.deblurring.differentiable import Deblur as Deblur
    from basis_blur.ops.basis_blur import BasisBlur as BasisBlur
    from basis_blur.ops.pixel_blur import PixelBlur as PixelBlur
    from basis_blur.ops.boundary import ReflectPad as ReflectPad, ReplicatePad as ReplicatePad, ZeroPad as ZeroPad
    from basis_blur.ops.linear_operator import LinearOperator as LinearOperator, dot_test as dot_test
    from basis_blur.ops.camera_response import to_linear as to_linear, to_srgb as to_srgb
    from basis_blur.ops.camera_response import camera_response as camera_response
    from basis_blur.restoration.richardson_lucy import RichardsonLucy as RichardsonLucy
    from basis_blur.restoration.richardson_lucy import richardson_lucy as richardson_lucy
    from basis_blur.archs.basis_kpn_arch import BasisKPN as BasisKPN
    from basis_blur.archs.kernel_flow_arch import KernelFlow as KernelFlow
    from basis_blur.archs.latent_kernel_arch import LatentKernelNet as LatentKernelNet
    from basis_blur.archs.ufpnet_arch import UFPNet as UFPNet
    from basis_blur.losses.reblur_loss import ReblurLoss as ReblurLoss
    from basis_blur.losses.kernel_loss import KernelLoss as KernelLoss
    from basis_blur.simulation.camera_shake import shake_kernels as shake_kernels
    from basis_blur.simulation.scene_blur import blur_scene as blur_scene
    from basis_blur.foundation.errors import InputError as InputError

# The same for run time; a test holds both equal.
_HOME = {
    'Deblurrer': 'deblurring.deblurrer',
    'NetworkDeblurrer': 'deblurring.network_deblurrer',
    'DeblurSettings': 'deblurring.deblurrer',
    'Deblurred': 'deblurring.deblurrer',
    'Estimate': 'estimation.estimate',
    'Removal': 'field.removal',
    'BlurField': 'field.blur_field',
    'PixelField': 'field.blur_field',
    'field_of_flow': 'field.motion_flow',
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


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f'basis_blur has no {name!r}; its public names are {", ".join(_HOME)}')
        value = getattr(importlib.import_module(f'basis_blur.{_HOME[name]}'), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
