"""Everything that a plugin author needs to remember: ``types``, ``protocols`` and ``hookspecs``."""
