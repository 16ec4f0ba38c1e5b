"""What the user wrote: `apps.yaml`, read, checked and turned into models. Pure but for reading.

    bytes ─nodes─▶ nodes with places ─data─▶ laid over defaults ─validation─▶ models ─▶ checks

    loader  load_spec, load_text, LoadedSpec: the one way in; cache: the last valid spec
    models  what may stand in the file: dataclasses; declare, fields: how that is said
    assembly   the files of a spec and all their mistakes; files, nodes, reading: from bytes on
    data, shapes   defaults and YAML's types, as the models' annotations want them
    validation, messages   pydantic's work, and its errors in sentences
    scalars, images, urls, revisions   the texts with a form of their own
    plain   models to JSON and back
    schema  the JSON Schema for editors; starter: what `reconcile init` writes

Facts that hold everywhere:

- All mistakes of all files come in one `SpecError`, each with file, line, column and field.
- A scalar is what YAML 1.2 says: yes, no, on, off, 22:22, 1_000 and dates are text. Under `env`,
  `build.args` and `labels` every scalar is the text that was written.
- No message repeats a value under `env`, `args`, `secrets`, a password, or a URL's credentials.
- Relative paths start from the file that they stand in.
- A load takes time and memory linear in the file, and a file can't ask for much: 2 MiB, 200,000
  values and 50 levels, aliases written out.
- pydantic and yaml are imported when a file is read anew. An unchanged one needs neither.
"""
