# Train BasisKPN with its state shared out among processes by FSDP.
#
# kpn_b25k33_ade20k.py with weights, gradients and the optimiser's state shared out among processes by FSDP. These lines
# turn any of our configs into such a one, but for UFPNet, which FSDP cannot save. The averaged weights are left out:
# mmengine's EMAHook copies whole models.
_base_ = ['kpn_b25k33_ade20k.py']

custom_imports = dict(imports=['basis_blur.bridges.mmengine', 'basis_blur.bridges.mmengine.strategies'])
strategy = dict(type='basis_blur.FSDPStrategy', model_wrapper=dict(type='ShardedModel'), state_dict_cfg='full')
optim_wrapper = dict(type='ShardedOptimWrapper')  # clips, if asked to, by the norm over all processes
custom_hooks = []  # without averaged weights
