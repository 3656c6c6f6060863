"""For Lightning (`lightning` or `pytorch_lightning`, whichever is installed)."""

from __future__ import annotations

from typing import Any

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    from pytorch_lightning.callbacks import Callback

from .training import Witness

__all__ = ["ScratchproofCallback"]


class ScratchproofCallback(Callback):
    """Keeps the evidence of a training by Lightning; the arguments are those of `training.Witness`, and `module`, the name
    of the attribute of the LightningModule that holds the model (default: the module itself)."""

    def __init__(self, output: Any, *, module: str | None = None, **named: Any) -> None:
        self.witness = Witness(output, **named)
        self._module = module
        self._last = 0

    def _model(self, module: Any) -> Any:
        return getattr(module, self._module) if self._module else module

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Before the first update."""
        if trainer.global_step == 0:
            config = dict(getattr(pl_module, "hparams", {}) or {})
            steps = int(trainer.estimated_stepping_batches)
            self.witness.begin(self._model(pl_module), config=config, steps=steps)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a batch, which is an update unless gradients are gathered over several."""
        if trainer.global_step == self._last:
            return
        self._last = trainer.global_step
        optimizers = trainer.optimizers
        figures = {name: value for name, value in trainer.callback_metrics.items()}
        if optimizers:
            figures.setdefault("learning_rate", optimizers[0].param_groups[0]["lr"])
        self.witness.step(self._last, self._model(pl_module), optimizers[0] if optimizers else None, **figures)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """After the last update."""
        self.witness.end(self._model(pl_module), self._last)
