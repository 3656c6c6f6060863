"""For transformers' Trainer."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from .training import Witness

__all__ = ["ScratchproofCallback"]


class ScratchproofCallback(TrainerCallback):
    """Keeps the evidence of a training by `transformers.Trainer`; the arguments are those of `training.Witness`.

    A failure never stops the training; `witness.trouble` says what could not be kept.
    """

    def __init__(self, output: Any, **named: Any) -> None:
        self.witness = Witness(output, **named)

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Before the first update. A training that goes on from a checkpoint has its step 0 already."""
        # Every process calls: where the model lies in shards all of them take part in gathering it.
        if state.global_step > 0:
            return
        model = named["model"]
        config = dict(getattr(getattr(model, "config", None), "to_dict", dict)())
        config.update(args.to_sanitized_dict() if hasattr(args, "to_sanitized_dict") else {})
        self.witness.begin(model, named.get("optimizer"), config=config, steps=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After an update."""
        figures: dict[str, Any] = {}
        scheduler = named.get("lr_scheduler")
        if scheduler is not None:
            # The scheduler has moved on: what it holds is the next update's.
            figures["train/learning_rate"] = self._rate
            self._rate = scheduler.get_last_lr()[0]
        self.witness.step(state.global_step, named["model"], named.get("optimizer"), **figures)

    def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Before an update: its learning rate."""
        scheduler = named.get("lr_scheduler")
        if scheduler is not None:
            self._rate = scheduler.get_last_lr()[0]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
        """What the trainer logs, under the names that it gives to W&B."""
        if not state.is_world_process_zero or not logs:
            return
        figures = {}
        for name, value in logs.items():
            if name.startswith("eval_"):
                figures[f"eval/{name[5:]}"] = value
            elif not name.startswith("train_") and name != "learning_rate":
                figures[f"train/{name}"] = value
        self.witness.log(state.global_step, figures)

    def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """After the last update."""
        self.witness.end(named["model"], state.global_step, named.get("optimizer"))

    _rate: float | None = None
