"""The registries of basis_blur in mmengine, children of mmengine's own with the scope `basis_blur`.

mmengine looks for this module by its name when a config has `default_scope = 'basis_blur'`; the first look into a
registry then imports `basis_blur.bridges.mmengine`, which fills it. Nothing else imports this module. Every registry
of mmengine has a child, for mmengine warns of each that has none.
"""

from __future__ import annotations

from mmengine import registry as parents
from mmengine.registry import Registry

SCOPE = 'basis_blur'


def _child(parent: Registry) -> Registry:
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=['basis_blur.bridges.mmengine'])


CHILDREN = {name: _child(parent) for name, parent in vars(parents).items() if isinstance(parent, Registry)}

MODELS = CHILDREN['MODELS']
DATASETS = CHILDREN['DATASETS']
TRANSFORMS = CHILDREN['TRANSFORMS']
METRICS = CHILDREN['METRICS']
HOOKS = CHILDREN['HOOKS']
VISUALIZERS = CHILDREN['VISUALIZERS']
DATA_SAMPLERS = CHILDREN['DATA_SAMPLERS']
FUNCTIONS = CHILDREN['FUNCTIONS']
MODEL_WRAPPERS = CHILDREN['MODEL_WRAPPERS']
OPTIM_WRAPPERS = CHILDREN['OPTIM_WRAPPERS']
STRATEGIES = CHILDREN['STRATEGIES']
