"""Names and ranges that the library, option files and commands share; here, so that a command can check them at once.

A command tells a wrong name or number before it loads torch, which takes seconds. So these stand where torch does not.
"""

from __future__ import annotations

# Names of the shipped networks that are used by default: the one that estimates blur, the one that fuses iterates, and
# the one that restores photos without an estimate.
DEFAULT_WEIGHTS, DEFAULT_FUSION, DEFAULT_RESTORER = 'correlation_kpn', 'iterate_fusion', 'ufpnet'
SIZES = ('auto', 'full', 'half')  # names of the sizes at which a network can see a photo
ESTIMATORS = ('auto', 'network', 'shake', 'rotations', 'none')  # names of the ways to estimate the blur of a photo
WITH_LENS = ('auto', 'rotations')  # those that make use of the focal length of a photo
AS_PRINTED = 'rl-c21'  # name of the restoration as [C21] prints it
RESTORATIONS = ('rl', AS_PRINTED)  # names of the ways to remove a blur; 'rl' is `basis_blur.deblur`
LEAST_GAMMA, MOST_GAMMA = 0.1, 10  # smallest and largest gamma of a file or command; beyond, light is black or white
