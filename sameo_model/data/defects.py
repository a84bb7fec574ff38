"""Defects of the original files: a name, a rule and a count with examples for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

from sameo_model.data.box_agreement import BoxAgreement

MAX_EXAMPLES = 5


class Action(str, Enum):
    """What a rule does with a record that has the defect."""

    REPAIRED = "repaired"
    SKIPPED = "skipped"
    KEPT = "kept"


class Defect(Enum):
    """Every defect that records can have; files that cannot be read at all are refused instead.

    The value holds the action and a sentence for the report.
    """

    FLAT_POLYGON = (Action.REPAIRED, "one flat list of numbers taken as a single polygon")
    UNCOMPRESSED_COUNTS = (Action.REPAIRED, "uncompressed run lengths compressed")
    SHORT_POLYGON_PART = (Action.REPAIRED, "polygon part with fewer than 3 points dropped")
    ODD_POLYGON_PART = (Action.REPAIRED, "polygon part with an odd count of numbers dropped")
    WILD_POLYGON_PART = (
        Action.REPAIRED,
        "polygon part with numbers that are not finite or far outside the image dropped",
    )
    SIZE_UNLIKE_IMAGE = (Action.REPAIRED, "mask of another size cropped or padded to the image")
    VISIBLE_OUTSIDE_AMODAL = (Action.REPAIRED, "visible mask clipped to the amodal mask")
    ZERO_SIZE_BOX = (Action.REPAIRED, "box without area computed anew from its mask")
    BOX_UNLIKE_MASK = (
        Action.REPAIRED,
        "box more than 2 pixels off its mask's extent computed anew from the mask",
    )
    SCALED_COORDINATES = (Action.REPAIRED, "coordinates of twice the image's size halved")
    UNUSABLE_ID = (Action.REPAIRED, "annotation id absent, repeated or below 1 numbered anew")
    REPEATED_IMAGE = (Action.KEPT, "entry of an image file that an earlier entry names too")
    UNLISTED_CLASS = (Action.KEPT, "no class, or one that `categories` does not list")
    EMPTY_SEGMENTATION = (Action.SKIPPED, "amodal mask absent or without any usable part")
    EMPTY_AMODAL = (Action.SKIPPED, "amodal mask without pixels")
    ABSENT_VISIBLE = (Action.SKIPPED, "no visible mask in a set that must have one")
    EMPTY_VISIBLE = (Action.SKIPPED, "fully hidden object, which no prompt can point at")
    OBJECT_CUT = (Action.SKIPPED, "mask of another size whose object lies outside the image")
    BAD_RUN_LENGTHS = (Action.SKIPPED, "run lengths that do not fill their mask")
    UNKNOWN_IMAGE = (Action.SKIPPED, "annotation of an image that is not listed")
    CROWD = (Action.SKIPPED, "crowd region: neither an object nor background")
    SECOND_ANNOTATOR = (Action.SKIPPED, "further annotator's labels of the same image")
    INCOMPLETE_SAMPLE = (Action.SKIPPED, "sample that misses one of its files")
    UNREADABLE_FILE = (Action.SKIPPED, "mask file that cannot be decoded")
    MALFORMED_RECORD = (Action.SKIPPED, "record whose fields cannot be understood")
    FRAME_NOT_FOUND = (Action.SKIPPED, "detection whose frame is not among the images")
    IGNORED_TAG = (Action.SKIPPED, "record that the data set's authors skip as well")

    @property
    def action(self) -> Action:
        """Return what is done with the record."""
        return self.value[0]

    @property
    def sentence(self) -> str:
        """Return the description for reports."""
        return self.value[1]


class DefectLog:
    """Counts of defects with the first few examples of each; logs of workers can be merged.

    Attributes:
        counts: How often each defect was met, by its name.
        examples: The first records of each.
        agreement: Whether masks and boxes of the records agree.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.agreement = BoxAgreement()

    def add(self, defect: Defect, example: object, count: int = 1) -> None:
        """Count a defect of the record that `example` names."""
        self.counts[defect.name] += count
        examples = self.examples.setdefault(defect.name, [])
        if len(examples) < MAX_EXAMPLES and str(example) not in examples:
            examples.append(str(example))

    def merge(self, other: DefectLog) -> None:
        """Add the counts of another log, keeping this log's examples first."""
        self.agreement.add(other.agreement)
        for name, count in other.counts.items():
            self.counts[name] += count
            examples = self.examples.setdefault(name, [])
            new = [example for example in other.examples[name] if example not in examples]
            examples.extend(new[: MAX_EXAMPLES - len(examples)])

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return `{name: {action, sentence, count, examples}}` in the order of the rules."""
        return {
            defect.name.lower(): {
                "action": defect.action.value,
                "sentence": defect.sentence,
                "count": self.counts[defect.name],
                "examples": self.examples[defect.name],
            }
            for defect in Defect
            if self.counts[defect.name]
        }


def total_skipped(defects_json: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many records the rules left out, from a log's JSON form."""
    return sum(
        entry["count"] for entry in defects_json.values() if entry["action"] == Action.SKIPPED.value
    )
