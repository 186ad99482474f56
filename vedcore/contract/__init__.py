"""Everything that a plugin author needs to remember.

``protocols``: what an encoder, a decoder and an adapter are. ``types``: the values that pass between them. ``hookspecs``: the
records that a plugin returns, one class for each kind of plugin.
"""
