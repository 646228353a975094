"""One step: what the equations say, whatever the layout in memory and the batch's split."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganpipe.networks import NetworkConfig
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training import augment, state
from ganpipe.training.curves import CURVES
from ganpipe.training.losses import LOSSES
from ganpipe.training.trainer import Networks, Trainer

CONFIG = NetworkConfig.of(ModelParams(width=8, max_width=16, latent=8), 16, 16, 3)
PARAMS = TrainParams(device="cpu", precision="float32", threads=1, batch=8, r1=0.3, r2=0.7)


def _trainer(**changes):
    params = PARAMS.model_copy(update=changes)
    return Trainer(Networks.fresh(CONFIG, params), params)


def _batch(seed=0):
    random = torch.Generator().manual_seed(seed)
    real = torch.rand(8, 3, 16, 16, generator=random) * 2 - 1
    return real, torch.randn(8, 8, generator=random)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_curves_are_the_quantities_of_the_paper(loss):
    """Recomputed from the weights before the step, without the trainer's code."""
    trainer = _trainer(loss=loss)
    real, latents = _batch()
    generator, critic = trainer.networks.generator, trainer.networks.discriminator
    fake = generator(latents).detach().requires_grad_()
    asked = real.clone().requires_grad_()
    scores_real, scores_fake = critic(asked), critic(fake)
    (slope_real,) = torch.autograd.grad(scores_real.sum(), asked, retain_graph=True)
    (slope_fake,) = torch.autograd.grad(scores_fake.sum(), fake, retain_graph=True)
    expected = {
        "loss_discriminator": LOSSES[loss].discriminator(scores_real, scores_fake).mean(),
        "score_real": scores_real.mean(),
        "score_fake": scores_fake.mean(),
        "r1": slope_real.square().sum(dim=(1, 2, 3)).mean(),
        "r2": slope_fake.square().sum(dim=(1, 2, 3)).mean(),
        "rank": sum(r > f for r in scores_real for f in scores_fake) / 64,
    }
    # the pass above moved the running statistics of BatchNorm, which a step does not use
    trainer.step(real, latents)
    curves = trainer.means.take()
    for name, value in expected.items():
        assert curves[name] == pytest.approx(value.item(), rel=1e-4, abs=1e-7), name


def test_the_layout_in_memory_does_not_change_what_is_learned():
    """In float64, where nothing but the equations counts."""
    results = []
    for channels_last in (True, False):
        params = PARAMS.model_copy(update={"channels_last": channels_last})
        networks = Networks.fresh(CONFIG, params)
        for network in (networks.generator, networks.discriminator, networks.average):
            network.double()
        trainer = Trainer(networks, params)
        for step in range(3):
            real, latents = _batch(step)
            trainer.step(real.double(), latents.double())
        results.append(state.tensors_of(trainer))
    one, two = results
    assert one["generator.project.weight"].dtype == torch.float64
    for name in one:
        if not name.startswith("curves."):  # sums in float32
            assert torch.allclose(one[name], two[name], rtol=1e-9, atol=1e-12), name


def test_a_lazy_penalty_is_taken_every_so_many_steps():
    trainer = _trainer(penalty_every=4)
    for step in range(8):
        trainer.step(*_batch(step))
    counts = dict(zip(CURVES, trainer.means.counts.tolist(), strict=True))
    assert (counts["loss_discriminator"], counts["r1"], counts["r2"]) == (8, 2, 2)


def test_without_weights_no_penalty_is_computed():
    trainer = _trainer(r1=0.0, r2=0.0)
    trainer.step(*_batch())
    assert not {"r1", "r2"} & trainer.means.take().keys()


def test_the_average_follows_the_generator_and_is_sampled_in_eval_mode():
    trainer = _trainer(ema_kimg=0.0, ema_rampup=0.0)
    for step in range(2):
        trainer.step(*_batch(step))
    average, generator = trainer.networks.average, trainer.networks.generator
    assert not any(module.training for module in average.modules())
    for kept, new in zip(
        average.state_dict().values(), generator.state_dict().values(), strict=True
    ):
        assert torch.equal(kept, new)


def test_bf16_is_close_to_float32():
    exact, fast = _trainer(), _trainer(precision="bf16")
    for trainer in (exact, fast):
        trainer.step(*_batch())
    curves = zip(exact.means.take().items(), fast.means.take().items(), strict=True)
    for (name, value), (_, other) in curves:
        assert other == pytest.approx(value, rel=0.05, abs=0.02), name


def test_a_compiled_generator_learns_the_same_under_the_same_names():
    """The module stays as it is: its names are those of the files, and the average is plain."""
    plain, fast = _trainer(), _trainer(compile=True)
    for step in range(2):
        plain.step(*_batch(step))
        fast.step(*_batch(step))
    one, two = state.tensors_of(plain), state.tensors_of(fast)
    assert list(one) == list(two)
    assert not torch.equal(one["generator.project.weight"], one["average.project.weight"])
    for name in one:
        if name.startswith(("generator", "average", "discriminator")):
            assert torch.allclose(one[name], two[name], atol=1e-4), name


class _Reads(TorchDispatchMode):
    """Notes the operations that hand a value, or a shape that hangs on values, to Python."""

    READING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal.default")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if any(name in str(operation) for name in self.READING):
            self.seen.append(str(operation))
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, {"augment": "ada", "gp": 1.0, "penalty_every": 2}])
def test_a_step_reads_no_value_from_the_device(changes):
    """Each read would make a GPU wait for nothing."""
    trainer = _trainer(**changes)
    batch = (*_batch(), None, torch.rand(8, augment.DRAWS))
    trainer.step(*batch)
    with _Reads() as reads:
        trainer.step(*batch)
    assert reads.seen == []
    with reads:
        trainer.strength.item()
    assert reads.seen
