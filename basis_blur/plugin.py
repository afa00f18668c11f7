"""Importing this module registers basis_blur in BasicSR: networks, losses, data sets, metrics, models.

This name is the one that other programs rely on. The first line of an option file loads the module,
`plugin: !!python/name:basis_blur.plugin.loaded`, and so does `basis-blur train`. The work is done in
`basis_blur.bridges.basicsr.registration`.
"""

from basis_blur.bridges.basicsr.registration import COMPONENTS, register

__all__ = ['COMPONENTS', 'loaded', 'register']

loaded = 'basis_blur is registered'
