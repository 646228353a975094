"""Networks: every size they promise, and a file format that any machine can load."""

import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [4, 7, 8, 14, 16, 28, 32, 56, 64, 128])
def test_both_networks_fit_every_promised_size(size, channels):
    config = NetworkConfig.of(SMALL, size, size, channels)
    made = build_generator(config)(torch.randn(2, config.latent))
    assert made.shape == (2, channels, size, size)
    assert made.abs().max() <= 1
    assert build_discriminator(config)(made).shape == (2,)


@pytest.mark.parametrize(("height", "width"), [(30, 30), (28, 32), (12, 12), (5, 5), (2, 2)])
def test_a_size_that_cannot_be_made_names_those_that_can(height, width):
    with pytest.raises(GanpipeError, match=f"{height}x{width}.*28, 32.*data.resolution"):
        check_resolution("dcgan", height, width)


def test_a_score_depends_on_its_own_image_alone():
    """What the gradient penalties rest on: no BatchNorm in the discriminator."""
    critic = build_discriminator(_generator(16).config)
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
    save_generator(tmp_path, generator.network, generator.config, ["a", "b"], 1234)
    loaded = load_generator(tmp_path)
    assert (loaded.config, loaded.classes, loaded.images) == (generator.config, ["a", "b"], 1234)
    assert np.array_equal(sample(loaded, 10, seed=0), sample(generator, 10, seed=0))


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = _generator()
        save_generator(tmp_path / name, made.network, made.config, [], 0)
    for file in ("generator.safetensors", "generator.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_damaged_or_missing_weights_are_named(tmp_path):
    with pytest.raises(GanpipeError, match=r"generator\.json"):
        load_generator(tmp_path)
    made = _generator()
    save_generator(tmp_path, made.network, made.config, [], 0)
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
