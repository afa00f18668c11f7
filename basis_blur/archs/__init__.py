"""Networks by name. Each takes hyper-parameters by keyword and tells them in `net.hyper_parameters`."""

from basis_blur.archs.basis_kpn_arch import BasisKPN
from basis_blur.archs.kernel_flow_arch import KernelFlow
from basis_blur.archs.latent_kernel_arch import LatentKernelNet

ARCHS = {'BasisKPN': BasisKPN, 'KernelFlow': KernelFlow, 'LatentKernelNet': LatentKernelNet}
