"""Networks by name. Each takes hyper-parameters by keyword and tells them in `net.hyper_parameters`."""

from basis_blur.archs.basis_kpn_arch import BasisKPN

ARCHS = {'BasisKPN': BasisKPN}
