"""Kernels are compiled once on a machine, all of them."""

from palimpsest.pipeline.warm_up import are_kernels_cached


def test_no_kernel_is_left_to_compile_after_warming_up() -> None:
    import palimpsest.pipeline.remove  # noqa: F401

    assert are_kernels_cached()
