"""How images are built. A new build type is one module here, one line below, one model."""
