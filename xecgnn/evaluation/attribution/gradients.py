"""Gradients and integrated gradients of the outputs of a network, for each sensor of an event.

Both are taken with respect to the network input z of each sensor, its normalised npho and relative_time: these are of
order one, so that the two channels compare. Integrated gradients share out what an output gains on the straight path
to z from z', the event without light: npho 0, and the time of a sensor that has none,

    c_i = (z_i - z'_i) * integral_0^1 (d output / d z_i)(z' + a (z - z')) da,    sum_i c_i = output(z) - output(z').

Which readings are valid, and where the light is brightest, is fixed at the event and does not change along the path;
for invalid readings both are 0. Shares of the light have no value without light: for a network that looks at them z' is
a tenth of the way from there to the event.
Reference: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv:1703.01365.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xecgnn.data.batch import Readings
from xecgnn.models.network import Network

__all__ = ["STEPS", "Attribution"]

Array = NDArray[Any]

STEPS = 24  # points on the path
FAINT = 0.1  # where the path begins, between no light and the event
NUDGE = 1e-6  # in place of z = 0, where torch takes the slope of |z| as 0


class Attribution:
    """A frozen copy of a network, seen from its sensors. Outputs are shown quantities, in their units.

    Attributes:
        axes: (task, axis) of the K outputs: those of all tasks; a class has none.

    Args:
        model: the network, which stays as it is; works on its device.
    """

    def __init__(self, model: Network) -> None:
        self.normalizer = model.normalizer
        self.tasks = {name: model.task(name) for name in model.tasks if model.task(name).axes}
        self.axes = [(name, axis) for name, task in self.tasks.items() for axis in task.axes]
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.model.normalizer.npho_threshold.fill_(-torch.inf)  # a time stays valid while npho grows from 0

    def gradients(self, x: Tensor) -> Array:
        """Gradients (B, K, 2, S) at raw readings (B, S, 2)."""
        z, _, valid = self._path(x)
        return self._slopes(z, valid).cpu().numpy()

    def contributions(self, x: Tensor, steps: int = STEPS) -> tuple[Array, Array, Array]:
        """Integrated gradients c (B, K, 2, S) at raw readings (B, S, 2), with so many points on the path.

        Returns:
            c; output(z) - output(z') (B, K), with the turns that a periodic output makes on the path; and what the sum
            of c is off (B, K).
        """
        z, dark, valid = self._path(x)
        slopes: Any = 0.0
        for step in range(steps):
            slopes = slopes + self._slopes(dark + (step + 0.5) / steps * (z - dark), valid) / steps
        values = slopes * (z - dark).mT.unsqueeze(1)
        with torch.no_grad():
            change = (self._outputs(z, valid) - self._outputs(dark, valid)).double().cpu().numpy()
        error = values.double().sum((2, 3)).cpu().numpy() - change
        period = np.array([axis.period or 1e30 for _, axis in self.axes])
        turns = period * np.rint(error / period)
        return values.cpu().numpy(), change + turns, error - turns

    def _path(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z, z' and the validity (B, S, 2)."""
        npho_valid, time_valid = self.normalizer.validity(x)
        dark = self.normalizer(torch.zeros_like(x), npho_valid, torch.zeros_like(npho_valid))
        z = self.normalizer(x, npho_valid, time_valid)
        spot = getattr(self.model, "spot", None)
        if spot is not None:
            spot.finder.held = None
            spot.finder.held = spot.find(x, self.normalizer).node
            dark = dark + FAINT * (z - dark)
        return z, dark, torch.stack([npho_valid, time_valid], -1)

    def _outputs(self, z: Tensor, valid: Tensor) -> Tensor:
        """Shown outputs (B, K)."""
        x = torch.where(valid, self.normalizer.inverse(z), torch.nan)
        found = self.model(Readings(x))
        return torch.cat([z[:, :0, 0], *(task.shown(found[name]) for name, task in self.tasks.items())], 1)

    def _slopes(self, z: Tensor, valid: Tensor) -> Tensor:
        """Gradients (B, K, 2, S) of the outputs, one backward pass each."""
        slopes = z.new_zeros(len(z), len(self.axes), *z.shape[1:])
        with torch.enable_grad():
            z = torch.where(z == 0, NUDGE, z).requires_grad_()
            for k, output in enumerate(self._outputs(z, valid).unbind(1)):
                slopes[:, k] = torch.autograd.grad(output.sum(), z, retain_graph=True)[0]
        return slopes.mT
