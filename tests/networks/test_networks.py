"""Networks: every size they promise, and a file format that any machine can load."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.networks import (
    Generator,
    NetworkConfig,
    build_discriminator,
    build_generator,
    check_resolution,
    load_generator,
    sample,
    save_generator,
)
from ganpipe.networks.generator import latent_vectors
from ganpipe.params import ModelParams

SMALL = ModelParams(width=4, max_width=16, latent=8)


def _generator(size=8, channels=1):
    config = NetworkConfig.of(SMALL, size, size, channels)
    torch.manual_seed(0)
    return Generator(build_generator(config).eval(), config, [], 0)


ALL = ("dcgan", "resnet", "r3gan", "mlp")
SHAPES = [(4, 4), (7, 7), (8, 8), (12, 12), (20, 20), (28, 28), (48, 64), (96, 40), (16, 112)]


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("architecture", ALL)
def test_both_networks_fit_every_promised_shape(architecture, shape, channels, classes):
    model = SMALL.model_copy(update={"architecture": architecture, "conditional": True})
    config = NetworkConfig.of(model, *shape, channels, classes)
    labels = torch.tensor([0, classes - 1]) if classes else None
    made = build_generator(config)(torch.randn(2, config.latent), labels)
    assert made.shape == (2, channels, *shape)
    assert made.isfinite().all()
    assert made.std() > 0
    assert build_discriminator(config)(made, labels).shape == (2,)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet", "r3gan"])
@pytest.mark.parametrize(
    ("height", "width", "near"),
    [(30, 30, "28, 28.*32, 32"), (100, 60, "96, 56"), (2, 2, "4, 4"), (33, 17, "32, 16")],
)
def test_a_size_that_cannot_be_made_names_those_that_can(architecture, height, width, near):
    with pytest.raises(GanpipeError, match=f"{height}x{width}.*{near}.*data.resolution"):
        check_resolution(architecture, height, width)


def test_a_fully_connected_network_makes_any_size():
    check_resolution("mlp", 33, 17)


def _millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_r3gan_for_cifar_10_has_the_size_of_the_paper():
    """Huang et al. (2024): 20.8 million parameters for the generator, 21.3 for the other."""
    model = ModelParams(
        architecture="r3gan", conditional=True, latent=64, width=768, max_width=768, blocks=2
    )
    config = NetworkConfig.of(model, 32, 32, 3, classes=10)
    made = _millions(build_generator(config)), _millions(build_discriminator(config))
    assert made == pytest.approx((20.8, 21.3), abs=0.05)


@pytest.mark.parametrize("architecture", ["resnet", "r3gan"])
def test_a_residual_network_starts_as_its_skip_connections(architecture):
    """Fix-up: every branch ends in zeros, so depth does not change the first images' scale."""
    spread = []
    for blocks in (1, 8):
        model = SMALL.model_copy(update={"architecture": architecture, "blocks": blocks})
        torch.manual_seed(0)
        network = build_generator(NetworkConfig.of(model, 32, 32, 3))
        torch.manual_seed(1)
        spread.append(network(torch.randn(64, 8)).std().item())
    assert 0.3 < spread[1] / spread[0] < 3


@pytest.mark.parametrize("architecture", ALL)
def test_the_class_changes_image_and_score_and_is_asked_for(architecture):
    model = SMALL.model_copy(update={"architecture": architecture, "conditional": True})
    config = NetworkConfig.of(model, 16, 16, 1, classes=4)
    torch.manual_seed(0)
    generator, critic = build_generator(config).eval(), build_discriminator(config)
    latents = torch.randn(1, 8).expand(2, 8)
    images = generator(latents, torch.tensor([0, 3]))
    assert not torch.allclose(images[0], images[1])
    same = images[:1].expand(2, -1, -1, -1)
    scores = critic(same, torch.tensor([0, 3]))
    assert scores[0] != scores[1]
    with pytest.raises(ValueError, match="labels"):
        generator(latents)


@pytest.mark.parametrize("architecture", ALL)
def test_a_score_depends_on_its_own_image_alone(architecture):
    """What the gradient penalties rest on: no BatchNorm in the discriminator."""
    model = SMALL.model_copy(update={"architecture": architecture})
    critic = build_discriminator(NetworkConfig.of(model, 16, 16, 1))
    images = torch.randn(5, 1, 16, 16)
    assert torch.allclose(critic(images)[2], critic(images[2:3])[0], atol=1e-6)


@pytest.mark.parametrize("split", [[100], [1, 99], [64, 36], [37, 40, 23]])
def test_the_same_seed_gives_the_same_images_on_any_split(split):
    generator = _generator()
    whole = sample(generator, 100, seed=3)
    parts, first = [], 0
    for count in split:
        parts.append(sample(generator, count, seed=3, first=first))
        first += count
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (100, 8, 8, 1)
    assert whole.dtype == np.uint8


def test_another_seed_gives_other_images():
    generator = _generator()
    assert not np.array_equal(sample(generator, 8, seed=0), sample(generator, 8, seed=1))


def test_truncation_bounds_the_latents_and_keeps_their_order():
    config = _generator().config
    free = latent_vectors(config, 0, "generate", 0, 500)
    cut = latent_vectors(config, 0, "generate", 0, 500, truncation=0.5)
    assert np.abs(cut).max() <= 1.0
    assert np.abs(free).max() > 3.0
    assert np.array_equal(np.argsort(free.ravel()), np.argsort(cut.ravel(), kind="stable"))


def test_a_saved_generator_loads_and_draws_the_same_images(tmp_path):
    generator = _generator(28)
    save_generator(tmp_path, generator)
    loaded = load_generator(tmp_path)
    assert replace(loaded, network=generator.network) == generator
    assert np.array_equal(sample(loaded, 10, seed=0), sample(generator, 10, seed=0))


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = _generator()
        save_generator(tmp_path / name, made)
    for file in ("generator.safetensors", "generator.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_damaged_or_missing_weights_are_named(tmp_path):
    with pytest.raises(GanpipeError, match=r"generator\.json"):
        load_generator(tmp_path)
    made = _generator()
    save_generator(tmp_path, made)
    weights = tmp_path / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(GanpipeError, match=r"generator\.safetensors cannot be read"):
        load_generator(tmp_path)
    weights.unlink()
    with pytest.raises(GanpipeError, match=r"no generator\.safetensors"):
        load_generator(tmp_path)
    description = tmp_path / "generator.json"
    description.write_text(description.read_text().replace('"dcgan"', '"vae"'))
    with pytest.raises(GanpipeError, match=r"'vae'.*dcgan"):
        load_generator(tmp_path)
    description.write_text(description.read_text()[:30])
    with pytest.raises(GanpipeError, match=r"generator\.json is damaged"):
        load_generator(tmp_path)


def _conditional():
    model = SMALL.model_copy(update={"conditional": True})
    config = NetworkConfig.of(model, 8, 8, 1, classes=3)
    torch.manual_seed(0)
    return Generator(build_generator(config).eval(), config, ["a", "b", "c"], 0, [60, 30, 10])


def test_a_class_can_be_asked_for_and_any_is_drawn_by_share():
    generator = _conditional()
    images = [sample(generator, 40, seed=0, label=label) for label in range(3)]
    assert not np.array_equal(images[0], images[1])
    drawn = sample(generator, 40, seed=0)
    # every drawn image is that of one of the classes for the same latent
    matches = np.stack([(drawn == each).all(axis=(1, 2, 3)) for each in images])
    assert matches.any(axis=0).all()
    assert matches[0].sum() > matches[2].sum()


def test_drawn_classes_follow_the_shares():
    drawn = randomness.choices(0, "x", 0, 20_000, [60, 30, 10])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.01)
    assert np.array_equal(drawn[500:600], randomness.choices(0, "x", 500, 100, [60, 30, 10]))


def test_a_class_without_images_is_never_drawn():
    assert 1 not in randomness.choices(0, "x", 0, 5000, [1, 0, 1])
