"""A picture of one's own: errors beside the depth of the first interaction.

    xecgnn-train angle.yaml --plugins examples/picture.py
    xecgnn-report artifacts/RUN --plugins examples/picture.py
"""

from __future__ import annotations

from collections.abc import Iterator

from xecgnn.evaluation.artifacts import artifact
from xecgnn.evaluation.pages.page import BLUE, Content, new_page
from xecgnn.evaluation.predictions import NETWORK
from xecgnn.evaluation.runs import EvaluatedRun


@artifact("depth of the first interaction", "predictions", "drawn")
def depth(run: EvaluatedRun) -> Iterator[tuple[str, Content]]:
    sample = run.predictions
    w = sample.truth["uvwTruth"][:, 2]
    for name, task in run.drawn.items():
        figure = new_page(f"{name}: each event", run.head)
        error = sample.predictions[name][NETWORK] - sample.truth[task.branch].reshape(len(w), -1)
        for ax, values in zip(figure.subplots(1, task.width, squeeze=False)[0], error.T, strict=True):
            ax.plot(w, values, ".", color=BLUE)
            ax.set(xlabel="depth w [cm]", ylabel=f"predicted - true {task.branch}")
        yield f"depth_{name}.pdf", [figure]
