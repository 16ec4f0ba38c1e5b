"""HTTP shell: reads a request, calls the engine, and writes the answer. Decides nothing."""
