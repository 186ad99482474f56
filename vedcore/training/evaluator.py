"""An evaluation during a run: what the reader reads of the held-out lines, and the loss on their labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from vedcore.model.loss import count_labels
from vedcore.reader import Reader
from vedcore.training.attention import SeenRow, look
from vedcore.training.cutting import cut_rule_of
from vedcore.training.data.batches import ExampleDataset, Minibatch, collate
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.sample import Dataset
from vedcore.training.evaluation import Score, evaluate
from vedcore.training.objective import Objective
from vedcore.training.recipe import Recipe
from vedcore.vision import Augmentation


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    score: of the held-out lines. validation_loss: the mean loss of the decoder per label of these lines, as the log has it for
    training lines, but without augmentation and dropout; None if no label can be encoded.
    kept: the score of the held-out kept lines, None if the run keeps none.
    """

    score: Score
    validation_loss: float | None
    kept: Score | None

    def fields(self) -> dict[str, Any]:
        """The fields of a record of the log."""
        score = self.score
        return {
            "cer": score.cer,
            "wer": score.wer,
            "exact": score.exact,
            "lines": score.lines,
            "calibration_error": score.calibration_error,
            "lines_per_second": score.lines_per_second,
            **({} if self.validation_loss is None else {"validation_loss": self.validation_loss}),
            **({} if self.kept is None else {"kept_cer": self.kept.cer}),
        }


class Evaluator:
    """Evaluates ``objective`` and its ``reader`` on the lines ``held_out``, and on ``kept`` if there are any.

    pieces: the samples of ``held_out`` as the objective takes them, for the loss: a long line is several. None: the same.
    """

    def __init__(
        self,
        recipe: Recipe,
        reader: Reader,
        objective: Objective,
        held_out: Dataset,
        kept: Dataset | None,
        pieces: Dataset | None = None,
    ) -> None:
        self.settings, self.reader, self.objective = recipe.evaluation, reader, objective
        self.held_out, self.kept = held_out, kept
        self.pieces = held_out if pieces is None else pieces
        self.cut = cut_rule_of(reader) is not None  # as users read

    def evaluate(self) -> Evaluation:
        """Read the lines and compute the loss, without dropout and without augmentation."""
        self.objective.eval()
        self.reader.drop_stale_calibration()
        try:
            kept = None if self.kept is None else self._score(self.kept)
            return Evaluation(self._score(self.held_out), self._loss(), kept)
        finally:
            self.objective.train()

    def look_at(self, sources: Collection[str]) -> dict[str, tuple[SeenRow, ...]]:
        """What the model sees of the held-out lines of ``sources``, and where it looks."""
        samples = (self.held_out[index] for index in range(len(self.held_out) if sources else 0))
        beams = self.settings.beams
        return {s.source: look(self.reader, s.image, beams=beams, cut=self.cut) for s in samples if s.source in sources}

    def _score(self, data: Dataset) -> Score:
        settings = self.settings
        return evaluate(
            self.reader,
            data,
            beams=settings.beams,
            batch_size=settings.batch_size,
            cut=self.cut,
            worst=settings.worst,
        )

    @torch.no_grad()
    def _loss(self) -> float | None:
        device = next(self.objective.parameters()).device
        loss, labels = 0.0, 0
        for batch in self._batches():
            loss += float(self.objective(batch.pixels.to(device), batch.labels.to(device))[0])
            labels += int(count_labels(batch.labels))
        return loss / labels if labels and math.isfinite(loss) else None

    def _batches(self) -> Iterator[Minibatch]:
        """The pieces of held-out lines whose labels can be encoded, as batches."""
        examples = ExampleDataset(
            self.pieces,
            self.reader.processor.image_processor,
            LabelEncoder.for_reader(self.reader),
            Augmentation(),
            (0,),
        )
        size, length = self.settings.batch_size, len(self.pieces)
        for start in range(0, length, size):
            batch = collate([examples[index, index] for index in range(start, min(start + size, length))])
            if len(batch.pixels):
                yield batch
