"""What trials of i-CLEVR are scored on: four lists of label sets, and the share of their objects that is found."""

from __future__ import annotations

from runners.experiment import ListSpec, Metric

METRIC = Metric("accuracy", higher_is_better=True, is_share=True, margin=0.05)
LISTS = (
    ListSpec("validation", "choose"),  # label sets of training images
    ListSpec("test", "report"),
    ListSpec("new_test", "report"),
    ListSpec("unseen", "report"),  # label sets of three objects that no training image shows
)
GIVEN = ("test", "new_test")  # by the user; the second is not in every edition
CONDITIONS = {"validation": 64, "test": 32, "new_test": 32, "unseen": 136}
