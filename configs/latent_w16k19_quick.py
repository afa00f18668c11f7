# Train a light LatentKernelNet in minutes on a CPU.
#
# The estimator of stage II, light and for few steps, to see it work: the twin of options/train_latent_kernel_quick.yml,
# which tells what to expect. Before: `make demo` for the photos, and flow_k19_quick.py.
_base_ = ['_base_/default_runtime.py', '_base_/demo_synthetic.py', '_base_/schedule_quick.py']

model = dict(
    type='SelfSupervisedReblurModel',
    net=dict(type='LatentKernelNet', kernel_size=19, width=16),
    reblur=dict(type='PixelReblurLoss', gamma=2.2),  # blurred in light, so that true kernels can be compared
    pretrained_flow='work_dirs/flow_k19_quick/models/net_g_2000.pth',
)
train_dataloader = dict(batch_size=2, dataset=dict(illumination=[0.8, 1.0]))
val_dataloader = dict(dataset=dict(illumination=[0.8, 1.0], patch_size=96, samples_per_epoch=4))
test_dataloader = val_dataloader
val_evaluator = [dict(type='ReblurPSNR', pixel_gamma=2.2), dict(type='KernelErrors')]
test_evaluator = val_evaluator
custom_hooks = [dict(type='EMAHook', ema_type='MovingAverage', decay=0.95)]
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.99)))
train_cfg = dict(max_iters=150, val_interval=75)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=75))
