# Train a light NAFNet in minutes on a CPU.
#
# A light NAFNet for few steps, to see it work: the twin of options/train_nafnet_quick.yml. Before: `make demo` for the
# photos.
_base_ = ['_base_/default_runtime.py', '_base_/demo_synthetic.py', '_base_/schedule_quick.py']

model = dict(
    type='RestorerModel',
    net=dict(type='NAFNet', width=12, enc_blocks=[1, 1, 2], middle_blocks=1, dec_blocks=[1, 1, 1]),
    pixel=dict(type='PSNRLoss', loss_weight=0.1),
)
custom_hooks = [dict(type='EMAHook', ema_type='MovingAverage', decay=0.98)]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=300))
