"""What a checkpoint holds (``inspect``), and what is wrong with it and how to fix it (``doctor``)."""
