"""Which networks the zoo runs, at which size, and how one is built with numbers that hide nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.vision import timm, torchvision

# timm: one small member at least of every module file, and of every kind of network inside it. Every one that is
# built of convolutions stands here, whether or not it can be projected.
CONVOLUTIONAL = """
gernet_s mobileone_s0 repvgg_a0 repvgg_d2se resnext26ts seresnet33ts eca_resnext26ts regnetz_b16
regnetz_b16_evos resnet51q resnet50_clip_gap test_byobnet
convmixer_768_32
convnext_atto convnext_atto_ols convnext_zepto_rms convnext_zepto_rms_ols convnext_tiny_hnf convnextv2_atto
test_convnext test_convnext2 test_convnext3
cspresnet50 cspresnext50 cspdarknet53 darknet17 darknetaa53 sedarknet21 cs3darknet_s cs3darknet_focus_s cs3sedarknet_l
cs3edgenet_x cs3se_edgenet_x cspnext_tiny
densenet121 densenetblur121d dla34 dla46_c dla46x_c dla60_res2net dla60_res2next dpn48b dpn68 dpn68b
efficientnet_b0 efficientnet_b0_gn efficientnet_b0_g8_gn efficientnet_b0_g16_evos efficientnet_blur_b0
efficientnet_cc_b0_4e efficientnet_es efficientnet_lite0 efficientnetv2_rw_t efficientnetv2_s efficientnet_x_b3
efficientnet_h_b5 gc_efficientnetv2_rw_t fbnetc_100 mixnet_s mnasnet_small mobilenet_edgetpu_100
mobilenet_edgetpu_v2_xs mobilenetv1_100 mobilenetv2_035 semnasnet_050 spnasnet_100 test_efficientnet
test_efficientnet_evos test_efficientnet_gn test_efficientnet_ln tf_efficientnet_b0 tf_efficientnet_cc_b0_4e
tf_efficientnetv2_b0 tf_mixnet_s tinynet_e
fasternet_t0 fastvit_t8 focalnet_tiny_srf focalnet_tiny_lrf ghostnet_050 ghostnetv2_100 ghostnetv3_050 hardcorenas_a
hgnet_tiny hgnetv2_b0 hrnet_w18_small inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small
mambaout_femto test_mambaout poolformer_s12 poolformerv2_s12 convformer_s18
mobilenetv3_small_050 mobilenetv3_large_075 fbnetv3_b lcnet_035 mobilenetv4_conv_small_035 mobilenetv4_conv_aa_medium
mobilenetv4_conv_blur_medium tf_mobilenetv3_small_minimal_100
nasnetalarge pnasnet5large nfnet_l0 eca_nfnet_l0 nf_regnet_b0 nf_resnet26 nf_seresnet26 nf_ecaresnet26 dm_nfnet_f0
test_nfnet rdnet_tiny
regnetx_002 regnety_002 regnetv_040 regnetz_005 regnetz_040_h regnety_040_sgn repghostnet_050 repvit_m0_9
res2net50_14w_8s res2net50d res2next50 resnest14d resnest50d_1s4x24d
resnet10t resnet18 resnet18d resnet26t resnet50_gn resnetaa34d resnetblur18 resnetrs50 ecaresnet26t ecaresnetlight
seresnet18 seresnext26d_32x4d resnext50_32x4d senet154 test_resnet
resnetv2_18 resnetv2_18d resnetv2_50x1_bit resnetv2_50d_gn resnetv2_50d_evos resnetv2_50d_frn
rexnet_100 rexnetr_100 selecsls42 legacy_seresnet18 legacy_seresnext26_32x4d legacy_senet154
skresnet18 skresnet50d skresnext50_32x4d starnet_s050 tresnet_m tresnet_v2_l vgg11 vgg11_bn
vovnet39a ese_vovnet19b_dw eca_vovnet39b ese_vovnet39b_evos legacy_xception xception41 xception41p
""".split()

# timm: attention somewhere (or a mixer of places, a recurrent layer, a state space). Convolutions below it project.
ATTENTION = """
bat_resnext26ts gcresnext26ts resnet50_clip botnet26t_256 eca_botnext26ts_256 halonet26t sehalonet33ts lambda_resnet26t
caformer_s18 cait_xxs24_224 coat_lite_tiny coatnet_pico_rw_224 convit_tiny cpubone_b1_dwnorm cpubone_nano
crossvit_tiny_240 csatv2 davit_tiny deepseek_vit_412m deit_tiny_patch16_224 edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientvim_m1 efficientvit_b0 efficientvit_l1 efficientvit_m0 eva02_tiny_patch14_224
fastvit_mci0 fastvit_sa12 gcvit_xxtiny gemma4_vit_167m gmixer_12_224 gmlp_ti16_224 hiera_tiny_224 hieradet_small
iformer_t levit_128s lowformer_b0 maxvit_pico_rw_256 mixer_s16_224 mobilenetv4_hybrid_medium mobilenetv5_300m
mobilenetv5_base mobilevit_xxs mobilevitv2_050 mvitv2_tiny naflexvit_base_patch16_gap nest_tiny nextvit_small
pit_ti_224 pvt_v2_b0 qwen3_vit_88m resmlp_12_224 samvit_base_patch16_224 sequencer2d_s shvit_s1 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 swinv2_tiny_window8_256 beit_base_patch16_224 test_coatnet test_vit
test_vit_relpos tiny_vit_5m_224 tnt_s_patch16_224 twins_svt_small visformer_tiny vit_relpos_small_patch16_224
vit_tiny_r_s16_p8_224 vitamin_small_224 volo_d1_224 xcit_nano_12_p16_224
""".split()

# torchvision: all classification networks; these have attention.
VISION_ATTENTION = ("maxvit", "swin", "vit")

# Height and width in pixels; 64 where nothing is said, which is the least that most of them take.
SIZES = {
    **dict.fromkeys("inception_resnet_v2 inception_v3 inception_v4 alexnet squeezenet1_0 squeezenet1_1".split(), 96),
    **dict.fromkeys("deepseek_vit_412m efficientformer_l1 maxvit_t".split(), 224),
    **dict.fromkeys("bat_resnext26ts halonet26t sehalonet33ts".split(), 256),
    "crossvit_tiny_240": 240,
    "vit_h_14": 56,
}

# Products of two tensors that both carry the signal: refused, and run once more with this factor kept fixed.
FIXED = dict.fromkeys("starnet_s050 mambaout_femto test_mambaout focalnet_tiny_srf focalnet_tiny_lrf".split(), 0)


class Entry(NamedTuple):
    """A network of the zoo. package: torchvision or timm; attention: the table that it stands in."""

    package: str
    name: str
    attention: bool

    @property
    def title(self) -> str:
        return f"{self.package}:{self.name}"

    @property
    def size(self) -> int:
        return SIZES.get(self.name, 64)


def entries() -> Iterator[Entry]:
    """All networks, in the order of the page."""
    models = torchvision().models
    for name in models.list_models(module=models):
        yield Entry("torchvision", name, name.startswith(VISION_ATTENTION))
    for attention, names in ((False, CONVOLUTIONAL), (True, ATTENTION)):
        for name in names:
            yield Entry("timm", name, attention)


def entry(title: str) -> Entry:
    """The network `package:name`. Raises KeyError for one that the zoo does not have."""
    return {each.title: each for each in entries()}[title]


def families() -> dict[str, list[str]]:
    """timm's module files, each with the networks of the zoo that are in it."""
    package = timm()
    names = {*CONVOLUTIONAL, *ATTENTION}
    return {module: sorted(names & set(package.list_models(module=module))) for module in package.list_modules()}


def build(each: Entry) -> nn.Module:
    """The network in float64 and eval mode, with random weights; the same every time."""
    torch.manual_seed(0)
    net = _made(each).eval().double()
    redraw(net)
    return net


def picture(each: Entry, count: int = 1) -> Tensor:
    """Random pictures, (count, 3, size, size) float64; the same every time."""
    random = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, each.size, each.size, dtype=torch.float64, generator=random)


def _made(each: Entry) -> nn.Module:
    if each.package == "torchvision":
        size = {"image_size": each.size} if each.name.startswith("vit") else {}
        start = {"init_weights": False} if each.name in ("googlenet", "inception_v3") else {}
        return torchvision().models.get_model(each.name, weights=None, **size, **start)
    try:
        return timm().create_model(each.name, pretrained=False, img_size=each.size)
    except TypeError:  # convolutions take every size
        return timm().create_model(each.name, pretrained=False)


def redraw(net: nn.Module) -> None:
    """Norms with statistics and weights of their own, and new numbers wherever all of a parameter's are equal.

    Layer scales of 1e-6, gains and heads of 0 would hide what lies behind them.
    """
    for module in net.modules():
        if isinstance(getattr(module, "running_var", None), Tensor):
            module.running_var.uniform_(0.5, 2)
        if isinstance(getattr(module, "running_mean", None), Tensor):
            module.running_mean.normal_(0, 0.1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.numel() == 0 or parameter.min() != parameter.max():
                continue
            if "bias" in name.rpartition(".")[2] or name.endswith("tau"):
                parameter.normal_(0, 0.1)
            elif parameter.squeeze().dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.uniform_(0.5, 1.5)
