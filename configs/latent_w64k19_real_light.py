# Train the light LatentKernelNet further on blurred photos alone, without sharp ones.
#
# Stage II of UFPNet [F23] on guesses of "basis-blur prep-guesses": the twin of
# options/train_latent_kernel_real_light.yml, which tells what comes before.
_base_ = ['_base_/default_runtime.py', '_base_/guesses.py', '_base_/schedule_real_light.py']

model = dict(
    type='SelfSupervisedReblurModel',
    net=dict(type='LatentKernelNet', kernel_size=19, width=64, estimator='correlation'),
    reblur=dict(type='ReblurLoss'),
    pretrained='latent_kernel_net',  # the shipped one, which train_latent_kernel_light.yml trained
)
val_evaluator = [dict(type='ReblurPSNR')]
test_evaluator = val_evaluator
train_cfg = dict(max_iters=300)
custom_hooks = [dict(type='EMAHook', ema_type='MovingAverage', decay=0.98)]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50))
