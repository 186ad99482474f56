"""The formats of labels: from the files of a folder to images with their texts.

``formats.FORMATS`` lists the formats in the order in which a folder is searched for them. To add one, write a reader
``(Collector, files)`` here and list it there.
"""

from vedcore.training.data.labels.collector import Collector, Label
from vedcore.training.data.labels.decoding import ENCODINGS, UTF_8
from vedcore.training.data.labels.formats import KNOWN_FORMATS, read_labels

__all__ = ["ENCODINGS", "KNOWN_FORMATS", "UTF_8", "Collector", "Label", "read_labels"]
