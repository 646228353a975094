"""Augmentation: what both policies promise, and how their strength comes about."""

import math

import numpy as np
import pytest
import torch

from ganpipe.networks import NetworkConfig
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training import augment, state
from ganpipe.training.trainer import Networks, Trainer
from tests.training.augmenting import ALWAYS, SHAPES, draws, images

ops = pytest.mark.parametrize("policy", sorted(augment.POLICIES))
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))


@shapes
@ops
def test_strength_0_gives_the_bytes_that_came_in(policy, shape):
    shown = images(16, shape)
    shown[0].mul_(-0.0)  # minus zero is a different byte
    for drawn in (draws(16), torch.zeros(16, augment.EACH)):
        same = augment.POLICIES[policy](shown, drawn, torch.tensor(0.0))
        assert same.numpy().tobytes() == shown.numpy().tobytes()


@shapes
@ops
def test_images_keep_their_shape_and_stay_finite_and_bounded(policy, shape):
    shown = images(256, shape)
    made = augment.POLICIES[policy](shown, draws(256), ALWAYS)
    assert made.shape == shown.shape
    assert made.dtype == shown.dtype
    assert made.isfinite().all()
    assert made.abs().max() < 100
    assert (made - shown).abs().flatten(1).amax(dim=1).min() > 0


@pytest.mark.parametrize("number", [0.0, 1 - 2.0**-24])
@ops
def test_the_ends_of_the_range_of_draws_are_harmless(policy, number):
    shown = images(2, (3, 8, 8))
    drawn = torch.full((2, augment.EACH), number)
    assert augment.POLICIES[policy](shown, drawn, torch.tensor(1.0)).isfinite().all()


@ops
def test_an_image_depends_on_its_own_draws_alone(policy):
    """So the processes of a distributed run make the same images as one."""
    shown, drawn, strength = images(12, (3, 12, 8)), draws(12), torch.tensor(0.7)
    whole = augment.POLICIES[policy](shown, drawn, strength)
    parts = [
        augment.POLICIES[policy](shown[part], drawn[part], strength)
        for part in (slice(0, 5), slice(5, 12))
    ]
    assert torch.equal(whole, torch.cat(parts))


@ops
def test_the_layout_in_memory_makes_no_difference(policy):
    shown, drawn, strength = images(12, (3, 12, 8)), draws(12), torch.tensor(0.7)
    other = shown.contiguous(memory_format=torch.channels_last)
    one, two = (augment.POLICIES[policy](each, drawn, strength) for each in (shown, other))
    assert torch.allclose(one, two, atol=1e-6)


@pytest.fixture
def exact():
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True)
    yield
    torch.use_deterministic_algorithms(mode=before)
    torch.set_num_threads(threads)


@ops
@pytest.mark.usefixtures("exact")
def test_the_same_bytes_twice_and_with_another_number_of_threads(policy):
    found = set()
    for threads in (1, 1, 2):
        torch.set_num_threads(threads)
        shown = images(64, (3, 32, 32)).requires_grad_()
        made = augment.POLICIES[policy](shown, draws(64), torch.tensor(0.8))
        (made * torch.linspace(-1, 1, 32)).sum().backward()
        found.add((made.detach().numpy().tobytes(), shown.grad.numpy().tobytes()))
    assert len(found) == 1


@ops
def test_no_operation_is_used_whose_gradient_torch_cannot_repeat_on_cuda(policy):
    """See torch.use_deterministic_algorithms for those that raise."""
    shown = images(4, (3, 8, 8)).requires_grad_()
    nodes, names = [augment.POLICIES[policy](shown, draws(4), ALWAYS).grad_fn], set()
    while nodes:
        node = nodes.pop()
        names.add(node.name())
        nodes += [before for before, _ in node.next_functions if before is not None]
    assert "GatherBackward0" in names
    raising = ("GridSampler", "Pad", "Upsample", "Pool", "Median", "Cumsum", "Put", "Bag")
    assert [name for name in names if any(part in name for part in raising)] == []


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 4, 4)])
@ops
def test_gradients_against_numeric_differentiation(policy, shape):
    shown = images(4, shape, torch.float64).requires_grad_()
    drawn, strength = draws(4, seed=5), torch.tensor(0.7)

    def augmented(values):
        return augment.POLICIES[policy](values, drawn, strength)

    assert torch.autograd.gradcheck(augmented, (shown,))
    assert torch.autograd.gradgradcheck(augmented, (shown,))


def test_real_and_generated_images_have_draws_of_their_own():
    drawn = torch.arange(float(augment.DRAWS)).expand(2, -1)
    real, fake = augment.split(drawn)
    assert real.shape == fake.shape == (2, augment.EACH)
    of_the_penalty, of_real, of_fake = {0.0}, set(real[0].tolist()), set(fake[0].tolist())
    assert len(of_the_penalty | of_real | of_fake) == augment.DRAWS


@pytest.mark.parametrize(
    ("policy", "strength", "leaking"),
    [
        ("ada", 0.8, False),
        ("ada", 0.81, True),
        ("ada", 1.0, True),
        ("diffaugment", 1.0, False),
        ("none", 0.0, False),
    ],
)
def test_leaks_are_told(policy, strength, leaking):
    assert augment.leaks(strength, policy) is leaking


def test_the_default_limit_does_not_leak():
    assert not augment.leaks(TrainParams().augment_limit, "ada")


CONFIG = NetworkConfig.of(ModelParams(width=8, max_width=16, latent=8), 16, 16, 3)


def _trainer(**changes):
    params = TrainParams(device="cpu", precision="float32", threads=1, batch=8, **changes)
    return Trainer(Networks.fresh(CONFIG, params), params)


def _steps(trainer, count):
    """Reals that any discriminator soon tells from noise; the curves of each step."""
    curves = []
    for step in range(count):
        latents = torch.randn(8, 8, generator=torch.Generator().manual_seed(step))
        real = images(8, (3, 16, 16), seed=step) * 0.1 + 0.8
        trainer.step(real, latents, None, draws(8, step, augment.DRAWS))
        curves.append(trainer.means.take())
    return curves


def test_ada_grows_while_the_discriminator_ranks_too_well_and_is_part_of_the_state():
    trainer = _trainer(augment="ada", ada_kimg=0.1, augment_limit=0.5)
    strength = 0.0
    for point in _steps(trainer, 12):
        assert point["augment"] == pytest.approx(strength)
        towards = np.sign(point["rank"] - 0.75)
        strength = min(max(strength + towards * 8 / 100, 0.0), 0.5)
        assert all(math.isfinite(value) for value in point.values())
    assert strength > 0.3
    assert state.tensors_of(trainer)["augment.strength"].item() == pytest.approx(strength)


def test_adaptation_goes_down_again_and_stays_within_its_limits():
    params = TrainParams(ada_kimg=0.1, augment_limit=0.5)
    strength = torch.tensor(0.45)
    seen = []
    for rank in (0.9, 0.9, 0.75, *[0.6] * 7):
        augment.adapt_(strength, torch.tensor(rank), 8, params)
        seen.append(round(strength.item(), 6))
    assert seen == [0.5, 0.5, 0.5, 0.42, 0.34, 0.26, 0.18, 0.1, 0.02, 0.0]


@pytest.mark.parametrize("policy", sorted(augment.POLICIES))
def test_both_networks_learn_through_the_augmentation(policy):
    """The generator's gradient comes through it: it is another one with other draws."""
    moved = []
    for seed in (0, 1):
        trainer = _trainer(augment=policy, augment_strength=0.9, r1=0.0, r2=0.0)
        before = {name: value.clone() for name, value in state.tensors_of(trainer).items()}
        latents = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
        drawn = draws(8, seed, augment.DRAWS)
        trainer.step(images(8, (3, 16, 16)), latents, None, drawn)
        after = state.tensors_of(trainer)
        for network in ("generator", "discriminator"):
            weights = [k for k in before if k.startswith(f"{network}.") and k.endswith("weight")]
            assert any(not torch.equal(before[k], after[k]) for k in weights)
        moved.append(torch.cat([v.flatten() for k, v in after.items() if k.startswith("gener")]))
    assert not torch.equal(*moved)


def test_a_scheduled_strength_reaches_the_images():
    trainer = _trainer(
        augment="diffaugment", augment_strength=0.2, augment_final=0.8, schedule="linear", kimg=0.08
    )
    seen = [point["augment"] for point in _steps(trainer, 11)]
    assert seen == pytest.approx([0.2 + 0.06 * step for step in range(11)])
