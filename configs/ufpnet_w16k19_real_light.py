# Train the light UFPNet further on blurred photos alone, without sharp ones.
#
# Stage III of UFPNet [F23] on guesses of "basis-blur prep-guesses": the twin of options/train_ufpnet_real_light.yml,
# which tells what comes before.
_base_ = ['_base_/default_runtime.py', '_base_/guesses.py', '_base_/schedule_real_light.py']

model = dict(
    type='UFPNetModel',
    net=dict(
        type='UFPNet',
        width=16,
        enc_blocks=[1, 1, 4, 6],
        middle_blocks=2,
        dec_blocks=[1, 1, 1, 1],
        attention_levels=[0],
        kernel_size=19,
        estimator='correlation',
        estimator_width=64,
        local_size=240,
    ),
    pixel=dict(type='PSNRLoss'),
    reblur=dict(type='ConsistencyLoss', loss_weight=10.0),
    pretrained='ufpnet',  # the shipped one, which train_ufpnet_light.yml trained
    freeze_estimator=True,  # its kernels are those of stage II
)
train_dataloader = dict(batch_size=6, dataset=dict(patch_size=160))
optim_wrapper = dict(optimizer=dict(weight_decay=0.001))
train_cfg = dict(max_iters=200)
custom_hooks = [dict(type='EMAHook', ema_type='MovingAverage', decay=0.98)]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50))
