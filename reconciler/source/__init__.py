"""Where apps come from. A new kind is one module here, one line below, one model in the spec."""
