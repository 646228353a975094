"""DINOv2: timm's network with Meta's weights' names is Meta's forward, written out here."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors.dinov2 import PUBLISHED, DinoV2, position_embedding
from ganpipe.evaluation.extractors.weights import Published

WIDTH, DEPTH, HEADS = 768, 12, 12
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _made_up():
    """A checkpoint with the names and shapes of dinov2_vitb14_pretrain.pth.

    The blocks share their tensors, which keeps the file at a tenth of its 346 MB.
    """
    draw = torch.Generator().manual_seed(0)

    def normal(*shape, std=0.02, mean=0.0):
        return torch.randn(shape, generator=draw) * std + mean

    block = {
        "norm1.weight": normal(WIDTH, mean=1),
        "norm1.bias": normal(WIDTH),
        "attn.qkv.weight": normal(3 * WIDTH, WIDTH, std=0.05),
        "attn.qkv.bias": normal(3 * WIDTH),
        "attn.proj.weight": normal(WIDTH, WIDTH),
        "attn.proj.bias": normal(WIDTH),
        "ls1.gamma": normal(WIDTH, mean=0.5, std=0.1),
        "norm2.weight": normal(WIDTH, mean=1),
        "norm2.bias": normal(WIDTH),
        "mlp.fc1.weight": normal(4 * WIDTH, WIDTH),
        "mlp.fc1.bias": normal(4 * WIDTH),
        "mlp.fc2.weight": normal(WIDTH, 4 * WIDTH),
        "mlp.fc2.bias": normal(WIDTH),
        "ls2.gamma": normal(WIDTH, mean=0.5, std=0.1),
    }
    ends = {
        "cls_token": normal(1, 1, WIDTH),
        "pos_embed": normal(1, 1 + 37 * 37, WIDTH, std=0.5),
        "mask_token": normal(1, WIDTH),
        "patch_embed.proj.weight": normal(WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": normal(WIDTH),
        "norm.weight": normal(WIDTH, mean=1),
        "norm.bias": normal(WIDTH),
    }
    blocks = {f"blocks.{n}.{key}": value for n in range(DEPTH) for key, value in block.items()}
    return ends | blocks


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "dinov2.pth"
    torch.save(_made_up(), path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return path, Published("dinov2.pth", "http://127.0.0.1:9/", digest, len(content))


@pytest.fixture(scope="module")
def dinov2(weights):
    return DinoV2("dinov2-b14", "float32", *weights)


def _position(state):
    """Meta's interpolate_pos_encoding for 224 pixels, its kludge of 0.1 included."""
    token, patches = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    plane = patches.reshape(1, 37, 37, WIDTH).permute(0, 3, 1, 2)
    scale = (224 // 14 + 0.1) / 37
    small = interpolate(plane, scale_factor=(scale, scale), mode="bicubic")
    assert small.shape[2:] == (16, 16)
    return torch.cat([token, small.flatten(2).transpose(1, 2)], dim=1)


def _forward(state, images):
    """x_norm_clstoken of DinoVisionTransformer.forward_features, in float64."""
    state = {key: value.double() for key, value in state.items()}
    patches = conv2d(
        images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14
    )
    tokens = patches.flatten(2).transpose(1, 2)
    token = state["cls_token"].expand(len(images), -1, -1)
    x = torch.cat([token, tokens], dim=1) + _position(state)
    for number in range(DEPTH):
        part = {
            key.removeprefix(f"blocks.{number}."): value
            for key, value in state.items()
            if key.startswith(f"blocks.{number}.")
        }
        y = layer_norm(x, (WIDTH,), part["norm1.weight"], part["norm1.bias"], 1e-6)
        y = linear(y, part["attn.qkv.weight"], part["attn.qkv.bias"])
        q, k, v = y.reshape(*y.shape[:2], 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
        y = (attention @ v).transpose(1, 2).reshape(x.shape)
        x = x + part["ls1.gamma"] * linear(y, part["attn.proj.weight"], part["attn.proj.bias"])
        y = layer_norm(x, (WIDTH,), part["norm2.weight"], part["norm2.bias"], 1e-6)
        y = gelu(linear(y, part["mlp.fc1.weight"], part["mlp.fc1.bias"]))
        x = x + part["ls2.gamma"] * linear(y, part["mlp.fc2.weight"], part["mlp.fc2.bias"])
    return layer_norm(x, (WIDTH,), state["norm.weight"], state["norm.bias"], 1e-6)[:, 0]


def _prepared(images):
    """Pillow's bicubic on each channel in float, clipped, then ImageNet's mean and deviation."""
    large = [
        [
            np.clip(
                np.asarray(
                    Image.fromarray(np.ascontiguousarray(image[:, :, channel], np.float32)).resize(
                        (224, 224), Image.Resampling.BICUBIC
                    )
                ),
                0,
                255,
            )
            for channel in range(3)
        ]
        for image in images
    ]
    scaled = (np.array(large, np.float64) / 255 - MEAN[:, None, None]) / STD[:, None, None]
    return torch.from_numpy(scaled)


def _noise(count, size, channels):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)


def test_features_are_the_class_token_of_metas_forward(dinov2):
    images = _noise(1, 32, 3)
    expected = _forward(_made_up(), _prepared(images)).numpy()
    found = dinov2(images)
    assert found.shape == (1, 768)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_position_embedding_is_metas_and_not_timms(dinov2):
    state = _made_up()
    own = dinov2.network.pos_embed
    assert torch.allclose(own, _position(state), atol=1e-6)
    plain = interpolate(
        state["pos_embed"][:, 1:].reshape(1, 37, 37, WIDTH).permute(0, 3, 1, 2),
        (16, 16),
        mode="bicubic",
        antialias=True,
    )
    assert (own[:, 1:] - plain.flatten(2).transpose(1, 2)).abs().max() > 0.1


def test_a_position_embedding_keeps_the_token_and_the_place_of_each_patch():
    """An even slope tells the places: bicubic wavers by 0.06, leaving 0.1 out is 0.2 at the end."""
    slope = torch.arange(37.0).repeat(37, 1).reshape(1, -1, 1)
    got = position_embedding(torch.cat([torch.full((1, 1, 1), -5.0), slope], dim=1))
    places = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5
    assert got[0, 0, 0] == -5
    assert torch.allclose(got[0, 1:, 0].reshape(16, 16)[:, 1:-1], places[1:-1], atol=0.06)


def test_the_batch_never_changes_a_feature_and_grey_is_three_equal_channels(weights, dinov2):
    grey = _noise(2, 28, 1)
    single = DinoV2("dinov2-b14", "float32", *weights, 1)(grey.repeat(3, axis=3))
    assert np.abs(dinov2(grey) - single).max() <= 1e-5 * np.abs(single).max()


def test_the_fast_mode_has_a_name_of_its_own(weights, dinov2):
    fast, images = DinoV2("dinov2-b14", "bf16", *weights), _noise(1, 28, 1)
    exact = dinov2(images)
    assert fast.name == "dinov2-b14bf16"
    assert np.linalg.norm(fast(images) - exact) / np.linalg.norm(exact) < 0.05


def test_an_array_of_another_kind_is_refused(dinov2):
    with pytest.raises(GanpipeError, match="takes images as uint8"):
        dinov2(np.zeros((1, 28, 28, 3), np.float32))


@pytest.mark.parametrize(
    ("name", "width", "depth"), [("dinov2-b14", 768, 12), ("dinov2-l14", 1024, 24)]
)
def test_timm_has_the_sizes_of_the_published_networks(name, width, depth):
    import timm

    with torch.device("meta"):
        kind = {"dinov2-b14": "vit_base_patch14_dinov2", "dinov2-l14": "vit_large_patch14_dinov2"}
        network = timm.create_model(kind[name], num_classes=0)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert shapes["pos_embed"] == (1, 1 + 37 * 37, width)
    assert sum(key.endswith("ls2.gamma") for key in shapes) == depth
    published = sum(shape.numel() for shape in shapes.values()) + width  # and the mask token
    # the file is those float32 numbers and at most 1 % around them
    assert published * 4 < PUBLISHED[name].bytes < published * 4 * 1.01
