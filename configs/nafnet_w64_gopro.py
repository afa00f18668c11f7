# Train NAFNet, the plain baseline of UFPNet, on GoPro.
#
# NAFNet-64, the baseline of UFPNet: the mmengine twin of options/train_nafnet_gopro.yml. Published with local pooling:
# 33.69 dB on GoPro; not run here.
_base_ = ['_base_/default_runtime.py', '_base_/gopro.py', '_base_/schedule_nafnet_400k.py']

model = dict(
    type='RestorerModel',
    net=dict(
        type='NAFNet', width=64, enc_blocks=[1, 1, 1, 28], middle_blocks=1, dec_blocks=[1, 1, 1, 1], local_size=384
    ),
    pixel=dict(type='PSNRLoss', loss_weight=1.0),
)
custom_hooks = []  # without averaged weights
