"""The studies, by name."""

from __future__ import annotations

from studies import choices, demo, long, mirror, multitask, pretraining
from studies.study import Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY for module in (demo, choices, multitask, mirror, pretraining, long)
}
