"""Compiled primitives over flat columns: spans, sorting, digests and Unicode tables.

This room depends on numpy and numba only, and knows nothing of articles, archives or settings.

How a kernel is declared:

- ``@kernel`` for what Python calls: compiled at its first call, cached on disk, without the GIL.
  ``@inlined`` for what only kernels call. Both are in ``kernels.compiled``, and nothing else in
  the project uses numba's decorators.
- Parameters are arrays annotated with the aliases of ``kernels.arrays``, scalars, and NamedTuples
  of these where arguments belong together. numba compiles one version for each combination of
  dtypes, layouts and writability that it is called with, and each takes seconds to compile. So the
  Python function in front of a kernel hands over exactly the dtypes that the annotations name,
  contiguous, and ``as_read_only`` what may be mapped from a file.
- Types are not declared to numba as well: it would then compile every kernel at import, and the
  commands that need none would wait for it.
"""
