"""Networks by name. Each takes hyper-parameters by keyword and returns them as `net.hyper_parameters`."""

from basis_blur.archs.basis_kpn_arch import BasisKPN
from basis_blur.archs.correlation_kpn_arch import CorrelationKPN
from basis_blur.archs.deblurgan_arch import DeblurGANGenerator
from basis_blur.archs.deblurgan_v2_arch import DeblurGANv2Generator
from basis_blur.archs.dmphn_arch import DMPHN
from basis_blur.archs.iterate_fusion_arch import IterateFusion
from basis_blur.archs.kernel_flow_arch import KernelFlow
from basis_blur.archs.latent_kernel_arch import LatentKernelNet
from basis_blur.archs.mimo_unet_arch import MIMOUNet
from basis_blur.archs.mprnet_arch import MPRNet
from basis_blur.archs.nafnet_arch import NAFNet
from basis_blur.archs.network_facts import DescribedNetwork
from basis_blur.archs.ufpnet_arch import UFPNet

ARCHS: dict[str, type[DescribedNetwork]] = {
    'BasisKPN': BasisKPN,
    'CorrelationKPN': CorrelationKPN,
    'KernelFlow': KernelFlow,
    'LatentKernelNet': LatentKernelNet,
    'UFPNet': UFPNet,
    'NAFNet': NAFNet,
    'MIMOUNet': MIMOUNet,
    'MPRNet': MPRNet,
    'DeblurGANGenerator': DeblurGANGenerator,
    'DeblurGANv2Generator': DeblurGANv2Generator,
    'DMPHN': DMPHN,
    'IterateFusion': IterateFusion,
}


def names_of(kind: str | None = None, takes: str | None = None, returns: str | None = None) -> tuple[str, ...]:
    """Return the names of the networks with these facts; None leaves a fact open."""
    return tuple(
        name
        for name, arch in ARCHS.items()
        if kind in (None, arch.FACTS.kind)
        and takes in (None, arch.FACTS.takes)
        and returns in (None, arch.FACTS.returns)
    )
