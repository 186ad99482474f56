"""The checks of ``diagnose``, one module for each subject. To add a check, write it here and list it in ``doctor.CHECKS``."""
