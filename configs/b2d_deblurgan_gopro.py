# Fine-tune the generator of DeblurGAN by blurring its result again [C21], on GoPro.
#
# Blurring to deblur [C21, Sec. 7.3] for the generator of DeblurGAN: the mmengine twin of
# options/train_blur_to_deblur_deblurgan.yml, but from scratch (set `pretrained` to weights of the generator, which
# BasicSR's train_deblurgan_gopro.yml trains); nobody has run these 300,000 iterations. Before: kpn_b25k33_ade20k.py.
_base_ = ['b2d_nafnet_w64_gopro.py']

model = dict(net=dict(_delete_=True, type='DeblurGANGenerator'), pretrained=None)
train_dataloader = dict(batch_size=4)
param_scheduler = dict(T_max=300_000)
train_cfg = dict(max_iters=300_000)
