"""The one door through which files come in: bounded, strict, data only. Imports without torch.

Every file that somebody else may have written (results, stores, submissions, suites, networks, other tools'
exports) is opened here and nowhere else (``tests/reading/test_door.py`` looks at the source for that). What is
wrong with a file is one sentence, :class:`~rlnet_bench.errors.Malformed`: where, what was expected, what was found.

``files``     bytes of regular files (no links, pipes, devices), folders, gzip, with caps
``plain``     JSON and JSON lines: depth, count, length and size bounded, finite, no key twice
``shapes``    what a piece of plain data must look like
``names``     names that can be printed and that stay in their folder; harmless text for terminals
``yaml``      YAML without aliases, tags or twice-given keys, every value with its line
``tensors``   safetensors: the header is judged before anything is allocated
"""
