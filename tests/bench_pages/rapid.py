"""Read images with RapidOCR: one JSON string per image on standard output. Runs in an environment that has rapidocr.

    python rapid.py IMAGE ...

The texts are joined in the order in which RapidOCR returns them.
"""

import json
import logging
import sys

from rapidocr import RapidOCR

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    engine = RapidOCR()
    for path in sys.argv[1:]:
        print(json.dumps("\n".join(engine(path).txts or ())), flush=True)
