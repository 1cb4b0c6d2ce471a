"""A picture of one's own: errors of the direction beside the depth of the first interaction.

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
    for name, task in run.drawn.items():
        figure = new_page(f"{name}: each event", run.head)
        predicted, true = sample.predictions[name][NETWORK], sample.truth[task.branch].reshape(len(sample.truth["uvwTruth"]), -1)
        axes = figure.subplots(1, task.width, squeeze=False)[0]
        for column, ax in enumerate(axes):
            ax.plot(sample.truth["uvwTruth"][:, 2], predicted[:, column] - true[:, column], ".", color=BLUE)
            ax.set(xlabel="depth w [cm]", ylabel=f"predicted - true {task.branch}[{column}]")
        yield f"depth_{name}.pdf", [figure]
