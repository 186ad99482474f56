"""Images in, text out: the image processor, the model and the tokenizer of one checkpoint.

reader = Reader.load("line-reader")
for reading in reader.read(["a.png", "b.png"]):
    print(reading.text, reading.confidence)

The path of an image: ``layout`` finds its lines, ``batches`` collects the lines of several images, the model generates
the tokens of each line, and the layout puts the texts of the lines together.
"""

from vedcore.reader.checkpoint_folder import locate
from vedcore.reader.layout import read_cut_rule
from vedcore.reader.processor import Processor
from vedcore.reader.reader import Reader
from vedcore.reader.reading import Fragment, Piece, Reading

__all__ = ["Fragment", "Piece", "Processor", "Reader", "Reading", "locate", "read_cut_rule"]
