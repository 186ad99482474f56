"""Everything that a plugin author needs to remember.

``protocols``: what an encoder, a decoder, an adapter and a segmenter are. ``types``: the values that pass between the first
three. ``regions``: what a segmenter returns. ``hookspecs``: the records that a plugin returns, one class for each kind.
"""
