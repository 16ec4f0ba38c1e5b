"""What the user wrote: `apps.yaml`, read, checked and turned into models. Pure but for reading.

`models` says what may stand in the file, `loader` reads it and finds every mistake with its
place, `schema` writes the JSON Schema that editors use.
"""
