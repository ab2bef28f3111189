"""What a study's file is written with: `from study.spec import StudySpec, Choice, Range`."""

from study.design.space import Choice, Range
from study.design.spec import StudySpec

__all__ = ["Choice", "Range", "StudySpec"]
