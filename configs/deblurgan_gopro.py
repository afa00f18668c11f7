# Train the DeblurGAN generator, plain, on GoPro.
#
# The generator that blurring to deblur fine-tunes [C21, Sec. 7.3]: the mmengine twin of
# options/train_deblurgan_gopro.yml, with its numbers and deviations. Nobody has run these 300,000 iterations.
_base_ = ['nafnet_w64_gopro.py']

model = dict(net=dict(_delete_=True, type='DeblurGANGenerator'), pixel=dict(_delete_=True, type='L1Loss'))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = dict(T_max=300_000)
train_cfg = dict(max_iters=300_000)
