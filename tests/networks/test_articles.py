"""The tutorials' networks: as Keras builds what they print."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ganpipe.errors import GanpipeError
from ganpipe.networks import (
    Generator,
    NetworkConfig,
    build_discriminator,
    build_generator,
    check_resolution,
    load_generator,
    save_generator,
)
from ganpipe.networks.articles.keras import DoubleUp, batch_norm
from ganpipe.params import ModelParams, validate

CHANNELS = {
    "article-dense-conv": 1,
    "article-mnist-bn": 1,
    "article-celeba": 3,
    "article-mlp": 1,
}
# layer by layer, weights + biases, a BatchNorm's scales and shifts; the sums are also those of
# TensorFlow 2.21's `Model.summary()` for the same layers
COUNTS = {
    "article-dense-conv": (
        (100 * 128 + 128) + (128 * 784 + 784),
        (5 * 5 * 32 + 32) + (12 * 12 * 32 + 1),
    ),
    "article-mnist-bn": (
        (100 * 256 + 256) + 2 * 256 + (256 * 256 + 256) + 2 * 256 + (256 * 784 + 784),
        (4 * 4 * 64 + 64) + (4 * 4 * 64 * 128 + 128) + (7 * 7 * 128 + 1),
    ),
    "article-celeba": (
        (100 * 6272 + 6272) + (25 * 128 * 64 + 64) + (25 * 64 * 32 + 32) + (25 * 32 * 3 + 3),
        (9 * 3 * 32 + 32) + (9 * 32 * 64 + 64) + (28 * 28 * 64 + 1),
    ),
    "article-mlp": (
        (100 * 256 + 256) + (256 * 512 + 512) + 2 * 512 + (512 * 784 + 784),
        (784 * 512 + 512) + (512 + 1),
    ),
}
# tf.nn.conv2d_transpose of TensorFlow 2.21: values (index - 3) of [2, 2, 2], kernel
# (index mod 7) - 3 of [5, 5, 1, 2], strides 2, padding SAME
TENSORFLOW = [
    [-12.0, 13.0, 1.0, -4.0],
    [7.0, -17.0, -16.0, 20.0],
    [1.0, -5.0, 24.0, -17.0],
    [9.0, 0.0, -6.0, -5.0],
]


def _config(architecture, side=28):
    model = ModelParams(architecture=architecture, latent=100)
    return NetworkConfig.of(model, side, side, CHANNELS[architecture])


def _parameters(network):
    return sum(weights.numel() for weights in network.parameters())


@pytest.mark.parametrize("architecture", COUNTS)
def test_each_network_has_the_parameters_of_the_printed_layers(architecture):
    config = _config(architecture)
    counts = _parameters(build_generator(config)), _parameters(build_discriminator(config))
    assert counts == COUNTS[architecture]


@pytest.mark.parametrize("architecture", COUNTS)
def test_images_have_the_printed_shape_and_range_and_one_score_each(architecture):
    config = _config(architecture)
    images = build_generator(config)(torch.randn(3, 100))
    assert images.shape == (3, CHANNELS[architecture], 28, 28)
    assert images.abs().max() <= 1
    assert images.std() > 0
    assert build_discriminator(config)(images).shape == (3,)


@pytest.mark.parametrize("architecture", COUNTS)
def test_scores_are_logits_except_where_least_squares_act_on_the_printed_sigmoid(architecture):
    torch.manual_seed(0)
    critic = build_discriminator(_config(architecture))
    scores = critic(50 * torch.randn(64, CHANNELS[architecture], 28, 28))
    inside = bool(((scores >= 0) & (scores <= 1)).all())
    assert inside == (architecture == "article-mnist-bn")


def test_a_printed_sigmoid_keeps_its_gradient_in_bfloat16():
    """At a probability of 0.999 bfloat16 says 1, where least squares would learn nothing."""
    critic = build_discriminator(_config("article-mnist-bn"))
    nn.init.zeros_(critic.layers[-1].weight)
    nn.init.constant_(critic.layers[-1].bias, 7.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = critic(torch.zeros(1, 1, 28, 28))
    assert scores.dtype == torch.float32
    assert scores.item() == pytest.approx(torch.tensor(7.0).sigmoid().item(), abs=1e-6)


def test_a_score_depends_on_its_own_image_alone():
    for architecture, channels in CHANNELS.items():
        critic = build_discriminator(_config(architecture))
        images = torch.randn(5, channels, 28, 28)
        assert torch.allclose(critic(images)[2], critic(images[2:3])[0], atol=1e-5), architecture


def _double_up():
    layer = DoubleUp(2, 1)
    kernel = (torch.arange(50.0) % 7 - 3).reshape(5, 5, 1, 2)
    with torch.no_grad():
        layer.weight.copy_(kernel.permute(3, 2, 0, 1))
        layer.bias.zero_()
    return layer


def test_transposed_convolutions_lie_where_tensorflow_puts_them():
    values = (torch.arange(8.0) - 3).reshape(1, 2, 2, 2).permute(0, 3, 1, 2)
    assert _double_up()(values)[0, 0].tolist() == TENSORFLOW


def test_transposed_convolutions_are_the_gradient_of_a_convolution_padded_as_same():
    layer = _double_up()
    small, large = torch.randn(1, 2, 7, 9), torch.randn(1, 1, 14, 18)
    padded = nn.functional.pad(large, (1, 2, 1, 2))
    down = nn.functional.conv2d(padded, layer.weight, stride=2)
    assert (layer(small) * large).sum().item() == pytest.approx((small * down).sum().item(), 1e-4)


@pytest.mark.parametrize("architecture", COUNTS)
def test_weights_start_as_keras_starts_them(architecture):
    """Glorot's uniform distribution reaches sqrt(6 / (fan in + fan out)); no biases."""
    config = _config(architecture)
    for network in (build_generator(config), build_discriminator(config)):
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                window = layer.weight[0, 0].numel()
                fans = (layer.weight.shape[0] + layer.weight.shape[1]) * window
                limit = (6 / fans) ** 0.5
                assert 0.97 * limit < layer.weight.abs().max().item() <= limit
                assert not layer.bias.any()


def test_running_statistics_move_by_a_hundredth():
    layer = batch_norm(1)
    layer(torch.tensor([[2.0], [4.0]]))
    assert layer.running_mean.item() == pytest.approx(0.99 * 0 + 0.01 * 3)
    assert layer.eps == 1e-3


def test_batchnorm_generators_come_back_from_their_file_with_their_statistics(tmp_path):
    config = _config("article-mlp")
    network = build_generator(config)
    for _ in range(3):
        network(torch.randn(16, 100))
    network.eval()
    save_generator(tmp_path, Generator(network, config, [], 0))
    latents = torch.randn(4, 100)
    assert torch.equal(load_generator(tmp_path).network(latents), network(latents))


@pytest.mark.parametrize("architecture", COUNTS)
def test_classes_are_refused_before_any_work(architecture):
    with pytest.raises(GanpipeError, match=rf"model\.conditional=true.*{architecture}.*dcgan"):
        validate({"model": {"architecture": architecture, "conditional": True}})


@pytest.mark.parametrize(
    ("architecture", "shape", "way_out"),
    [
        ("article-celeba", (30, 28), r"\[32, 28\]"),
        ("article-mnist-bn", (16, 1), r"\[16, 4\]"),
        ("article-dense-conv", (4, 28), "28"),
    ],
)
def test_a_size_that_cannot_be_made_names_one_that_can(architecture, shape, way_out):
    with pytest.raises(
        GanpipeError, match=rf"{shape[0]}x{shape[1]}.*data\.resolution to {way_out}"
    ):
        check_resolution(architecture, *shape)


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("article-celeba", (20, 36)),
        ("article-mnist-bn", (4, 12)),
        ("article-dense-conv", (5, 32)),
        ("article-mlp", (33, 17)),
    ],
)
def test_other_sizes_are_made_where_the_layers_allow(architecture, shape):
    check_resolution(architecture, *shape)
    height, width = shape
    config = replace(_config(architecture), image_height=height, image_width=width)
    images = build_generator(config)(torch.randn(2, 100))
    assert images.shape[2:] == shape
    assert build_discriminator(config)(images).shape == (2,)
