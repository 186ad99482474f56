"""How products of matrices and attention are computed, and with how many threads: the one place that decides it.

``products`` has the kernels of linear layers and chooses among them, ``attention`` those of attention. ``threads`` chooses the
number of threads. ``preparable`` is the base class of modules that ``model.prepare()`` builds an inference form of.
"""
