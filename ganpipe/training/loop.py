"""The run around the algorithm: batches in, curves, snapshots and exact state out."""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.events import Progress, emit, progress
from ganpipe.files import replacing_folder, sha256
from ganpipe.networks import Generator, NetworkConfig, save_generator
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training import augment, diagnosis, start, state
from ganpipe.training.batches import Batches
from ganpipe.training.clock import Clock
from ganpipe.training.courier import Courier, copies
from ganpipe.training.distributed import World
from ganpipe.training.film import write_film
from ganpipe.training.history import END, History, best, quick_fid, write_curves
from ganpipe.training.schedules import passed
from ganpipe.training.scratch import claimed, deliver, scratch_key
from ganpipe.training.snapshots import Snapshots, grid_files
from ganpipe.training.state_store import STATES
from ganpipe.training.stopping import Interrupted, Stop, stop_signal
from ganpipe.training.trainer import Networks, Trainer


def run_training(
    dataset: Dataset,
    model: ModelParams,
    train: TrainParams,
    outputs: dict[str, Path],
    scratch_root: Path,
    *,
    reference: Path | None = None,
    begin: Path | None = None,
    weights: Path | None = None,
    world: World | None = None,
) -> None:
    """Train from the start, or from the exact state of an interrupted run with the same inputs.

    Writes outputs["model"] (generator, curves, grids, film) and outputs["checkpoints"] (full
    state), both of the snapshot that is nearest to the real images whose statistics are in the
    folder `reference`; without it, of the end. `begin`: the folder that train.start stands for;
    `weights`: of the feature network, where they are neither packaged nor cached.
    Raises GanpipeError when the data are too few or training fails, Interrupted on SIGTERM.
    """
    world = world or World()
    config = check(dataset, model, train)
    scratch = scratch_root / scratch_key(dataset, model, train, reference)
    url = train.state_url if world.first else ""
    with claimed(scratch, world) as anew, copies(url, scratch, anew=anew) as courier:
        world.wait()  # for what the first process fetches
        given = {"reference": reference, "begin": begin, "weights": weights}
        run = Run(dataset, config, train, scratch, **given, world=world, courier=courier)
        run.to_the_end()
        if world.first:
            run.write_outputs(outputs)
            deliver(scratch)
            state.drop_older(run.states, kept=1)
        world.wait()


def check(dataset: Dataset, model: ModelParams, train: TrainParams) -> NetworkConfig:
    """The networks for a data set. Raises GanpipeError when these cannot be trained on it."""
    if len(dataset) < train.batch:
        raise GanpipeError(
            f"train.batch={train.batch} is more than the {len(dataset)} training images: "
            f"set train.batch to {len(dataset)} or less"
        )
    if model.conditional is True and not dataset.classes:
        raise GanpipeError(
            "model.conditional=true, but the training images have no classes: put them into "
            "sub-folders named after their classes, or set model.conditional=false"
        )
    shape = (dataset.height, dataset.width, dataset.channels)
    return NetworkConfig.of(model, *shape, len(dataset.classes))


class Run:
    """One run in its scratch folder. All processes train, the first also writes and measures."""

    def __init__(
        self,
        dataset: Dataset,
        config: NetworkConfig,
        params: TrainParams,
        scratch: Path,
        *,
        reference: Path | None = None,
        begin: Path | None = None,
        weights: Path | None = None,
        world: World | None = None,
        courier: Courier | None = None,
    ) -> None:
        self.dataset, self.config, self.params, self.scratch = dataset, config, params, scratch
        self.begin, self.world, self.courier = begin, world or World(), courier
        self.labels = dataset.labels if config.classes else None
        scratch.mkdir(parents=True, exist_ok=True)
        self.trainer = Trainer(Networks.fresh(config, params), params, self.world)
        shown = (params.seed, params.batch, config.latent, params.device)
        draws = augment.DRAWS if params.gp > 0.0 or params.augment != "none" else 0
        self.batches = Batches(dataset, *shown, labels=self.labels, draws=draws, world=self.world)
        self.history = History(scratch / "history.jsonl")
        self.states, self.grids = scratch / STATES, scratch / state.GRIDS
        self.grids_sha256: dict[str, str] = {}
        self.snapshots = (
            Snapshots(dataset, params, self.grids, reference, weights) if self.world.first else None
        )
        self.clock, self.stop = Clock(scratch), Stop()
        self.total, self.ended = math.ceil(params.kimg * 1000), False

    def to_the_end(self) -> None:
        """Go on from the newest whole state and leave a state at the end."""
        saved = self._resume()
        if self.world.first:
            emit("train", "history", path=str(self.history.path.resolve()))
        with ExitStack() as stack:
            self.stop = stack.enter_context(stop_signal())
            stack.enter_context(closing(self.batches))
            bar = None
            if self.world.first:
                bar = stack.enter_context(progress("train", "training", self.params.kimg, "kimg"))
            self.clock = Clock(self.scratch, self.trainer.images)
            if saved is None and self.snapshots is not None:
                self.snapshots.grid(self._generator())
                self._note_grids()
            if saved is not None and saved.pending:
                self._after_step(self.trainer.images - self.params.batch, bar)
            while not self.ended:
                before = self.trainer.images
                self.trainer.step(*self.batches.at(before))
                self._after_step(before, bar)
                if self.world.any(self.stop.requested):
                    self._interrupt()

    def _resume(self) -> state.SavedState | None:
        """Put the trainer where it was, and forget what came after."""
        trainer, first = self.trainer, self.world.first
        saved = state.find(self.states)
        if saved is not None:
            state.restore(trainer, saved)
        elif self.begin is not None:
            start.apply(trainer, self.begin, self.params)
        self.world.wait()  # nothing is removed before all have read
        if first:
            state.drop_later(self.states, -1 if saved is None else saved.images)
        pending = saved is not None and saved.pending
        self.history.restore(saved.history.read_bytes() if saved is not None else b"", write=first)
        self.grids_sha256 = dict(saved.grids) if saved is not None else {}
        if self.snapshots is not None:
            self.snapshots.drop_later(trainer.images)
            self.clock.drop_torn()
            if saved is not None:
                print(f"train: resumed from the state at {saved.images / 1000:g} kimg", flush=True)
        self.ended = not pending and (trainer.images >= self.total or self._stale(say=False))
        return saved

    def _after_step(self, shown: int, bar: Progress | None) -> None:
        """What is due after a step that began with `shown` images shown."""
        now, params = self.trainer.images, self.params
        last = now >= self.total
        tick = last or passed(shown, now, params.tick_kimg)
        snapshot = last or passed(shown, now, params.snapshot_kimg)
        save = last or passed(shown, now, params.state_kimg)
        if snapshot or save:
            finite = state.all_finite(self.trainer)
            self._fail(None if finite else diagnosis.diverged(now, "a weight is", params))
        values: dict[str, float | str] = dict(self._snapshot()) if snapshot else {}
        if tick:
            values = {**self._curves(), **values}
        if tick or snapshot:  # in all processes, whatever each of them has measured
            self.history.append(now, values, write=self.world.first)
            self._fail(diagnosis.trouble(self.history.lines, params) if self.world.first else None)
        improved = snapshot and self._improved()
        self.ended = last or (snapshot and self._stale())
        if save or improved or self.ended:
            self._save()
        if tick and bar is not None:
            bar.update(now / 1000, self.clock.lap(now))

    def _curves(self) -> dict[str, float]:
        """Means since the last tick, the same in all processes, and the learning rate."""
        curves = self.trainer.means.take()
        self._fail(diagnosis.not_finite(self.trainer.images, curves, self.params))
        if self.params.augment != "none":
            curves["leaks"] = float(augment.leaks(curves["augment"], self.params.augment))
        return {**curves, "lr": self.trainer.optimizers["generator"].param_groups[0]["lr"]}

    def _snapshot(self) -> dict[str, float]:
        """What the first process sees and measures while the others wait."""
        found: dict[str, float] | None = {}
        if self.snapshots is not None:
            with self.clock.paused():
                found = self.snapshots.take(self._generator(), lambda: self.stop.requested)
                self._note_grids()
        if self.world.any(found is None):
            self._interrupt(pending=True)
        return found or {}

    def _note_grids(self) -> None:
        """Take the sha256 of new grids now: what is damaged later must be noticed."""
        for grid in grid_files(self.grids):
            if grid.name not in self.grids_sha256:
                self.grids_sha256[grid.name] = sha256(grid)

    def _improved(self) -> bool:
        """Whether the snapshot of this moment is the best so far."""
        now, known = self.trainer.images, best(self.history.lines)
        distance = quick_fid(self.history.lines[-1])
        improved = known is not None and known.images == now
        if self.snapshots is not None and self.snapshots.quick is not None:
            value = "not finite" if distance is None else f"{distance:.2f}"
            verdict = ", the best so far" if improved else ""
            name = self.snapshots.quick.name
            print(f"train: {name} at {now / 1000:g} kimg: {value}{verdict}", flush=True)
        return improved

    def _stale(self, *, say: bool = True) -> bool:
        """Whether no snapshot was better for train.stop_kimg: then the run ends here."""
        patience, lines = self.params.stop_kimg * 1000.0, self.history.lines
        known = best(lines)
        measured = [line["images"] for line in lines if quick_fid(line) is not None]
        stale = patience > 0.0 and known is not None and measured[-1] - known.images >= patience
        if not self.world.any(stale):
            return False
        if say and known is not None:
            ended = f"no snapshot since {known.images / 1000:g} kimg was better"
            self.history.append(self.trainer.images, {END: ended}, write=self.world.first)
            print(f"train: ends at {self.trainer.images / 1000:g} kimg: {ended}", flush=True)
        return True

    def _save(self, *, pending: bool = False) -> None:
        if not self.world.first:
            return
        saved = state.save(
            self.trainer,
            self.states,
            config=self.config,
            best=best(self.history.lines),
            pending=pending,
            history=self.history.content,
            grids=self.grids_sha256,
        )
        if self.courier is not None:
            self.courier.send(saved)

    def _interrupt(self, *, pending: bool = False) -> None:
        """Save the state and end; what is pending is done when the run goes on."""
        self._save(pending=pending)
        self.world.wait()
        if self.world.first:
            kimg = self.trainer.images / 1000
            print(f"train: stopped; state saved at {kimg:g} kimg", flush=True)
        raise Interrupted

    def _fail(self, trouble: diagnosis.Trouble | None) -> None:
        """End the run where a process found trouble; states from before it stay."""
        if not self.world.any(trouble is not None):
            return
        if trouble is None:
            raise GanpipeError("training failed; the first process says why")
        raise GanpipeError(
            f"{trouble.what} (at {self.trainer.images / 1000:g} kimg; first seen at "
            f"{trouble.since / 1000:g} kimg; last good state: {self._good(trouble.since)}). "
            f"Try {trouble.advice}"
        )

    def _good(self, since: int) -> str:
        """The newest state from before trouble began, as a checkpoint that can be started from."""
        good = state.before(self.states, since)
        if good is None:
            return "none"
        folder = self.scratch / "good"
        with replacing_folder(folder) as beside:
            state.export(good, beside)
        return f"{good.images / 1000:g} kimg, train.start={folder}"

    def _generator(self) -> Generator:
        """The moving average as it stands."""
        average, images = self.trainer.networks.average, self.trainer.images
        if self.labels is None:
            return Generator(average, self.config, [], images)
        counts = np.bincount(self.labels, minlength=self.config.classes).tolist()
        return Generator(average, self.config, self.dataset.classes, images, counts)

    def write_outputs(self, outputs: dict[str, Path]) -> None:
        """The best generator with the curves and grids of the whole run, and its full state."""
        saved = state.find(self.states)
        chosen = state.best_of(saved) if saved is not None else None
        if saved is None or chosen is None or saved.images != self.trainer.images:
            raise GanpipeError(
                f"a state in {self.states} was damaged: run the stage again, it goes on from the "
                "one before"
            )
        state.restore(self.trainer, chosen)
        with replacing_folder(outputs["model"]) as folder:
            save_generator(folder, self._generator())
            (folder / "history.jsonl").write_bytes(self.history.content)
            write_curves(self.history.lines, folder / "curves.csv")
            (folder / "grids").mkdir()
            for grid in grid_files(self.grids):  # not what a killed process left beside them
                shutil.copyfile(grid, folder / "grids" / grid.name)
            write_film(grid_files(self.grids), folder / "film.webp")
        with replacing_folder(outputs["checkpoints"]) as folder:
            state.export(chosen, folder)
