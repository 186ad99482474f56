"""How products of matrices and attention are computed: the one place that decides it.

``products`` has the kernels of linear layers and chooses among them, ``attention`` those of attention. ``preparable`` is the
base class of modules that ``model.prepare()`` builds an inference form of.
"""
