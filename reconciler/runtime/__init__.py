"""Where containers run. A new runtime is one module here, one line below, one model."""
