"""How a product of matrices is computed: the one place that decides it."""
