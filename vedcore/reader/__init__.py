"""Images in, text out: the image processor, the model and the tokenizer of one checkpoint.

reader = Reader.load("line-reader")
for reading in reader.read(["a.png", "b.png"]):
    print(reading.text, reading.confidence)

The path of an image: ``finding`` finds its rows (the images that the model reads), ``batches`` collects the rows of several
images, the model generates the tokens of each row, ``layout`` puts the texts of the rows together, and ``calibration`` says
how likely they are right.
"""

from vedcore.reader.calibration import Calibration, CalibrationWarning, read_calibration
from vedcore.reader.checkpoint_folder import locate
from vedcore.reader.layout_choice import LayoutName, check_layout, check_segmenter, read_cut_rule, read_layout
from vedcore.reader.processor import Processor
from vedcore.reader.reader import Reader
from vedcore.reader.reading import Block, Fragment, Line, Piece, Reading, Word

__all__ = [
    "Block",
    "Calibration",
    "CalibrationWarning",
    "Fragment",
    "LayoutName",
    "Line",
    "Piece",
    "Processor",
    "Reader",
    "Reading",
    "Word",
    "check_layout",
    "check_segmenter",
    "locate",
    "read_calibration",
    "read_cut_rule",
    "read_layout",
]
