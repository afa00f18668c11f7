# ufpnet_k19_gopro.py with weights, gradients and the optimiser's state shared out among processes by FSDP. These lines
# turn any of our configs into such a one. The averaged weights are left out: mmengine's EMAHook copies whole models.
_base_ = ['ufpnet_k19_gopro.py']

custom_imports = dict(imports=['basis_blur.bridges.mmengine', 'basis_blur.bridges.mmengine.strategies'])
strategy = dict(type='basis_blur.FSDPStrategy', model_wrapper=dict(type='ShardedModel'), state_dict_cfg='full')
optim_wrapper = dict(type='ShardedOptimWrapper')  # clips by the norm over all processes
custom_hooks = [dict(type='CheckpointFormHook'), dict(type='WriteNetworkHook'), dict(type='KernelGridHook')]
