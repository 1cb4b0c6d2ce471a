"""The studies, by name."""

from __future__ import annotations

from studies import demo, pretraining
from studies.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (demo.STUDY, pretraining.STUDY)}
