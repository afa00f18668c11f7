# Train LatentKernelNet, stage II of UFPNet [F23], on GoPro.
#
# Kernels as codes of the flow, learned by reblurring, stage II of UFPNet [F23]: the mmengine twin of
# options/train_latent_kernel.yml, with its numbers, deviations and expectations. Nobody has run these 200,000
# iterations. Before: flow_k19_shake.py.
_base_ = ['_base_/default_runtime.py', '_base_/gopro.py']

model = dict(
    type='SelfSupervisedReblurModel',
    net=dict(type='LatentKernelNet', kernel_size=19, width=64, flow_prior=True, uncertainty=True),
    reblur=dict(type='PixelReblurLoss', gamma=1.0),
    pretrained_flow='work_dirs/flow_k19_shake/models/net_g_100000.pth',
)
val_evaluator = [dict(type='ReblurPSNR', pixel_gamma=1.0)]
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = dict(type='CosineAnnealingLR', eta_min=1e-7, by_epoch=False)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200_000, val_interval=20_000)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=20_000))
