"""Which implementation runs: the settings, the choice, its explanation, and the machine."""

from fastscratch.dispatch.blocks import (
    accuracy,
    deterministic,
    fallback,
    prefer_backend,
    record_choices,
    record_decisions,
    reuse_buffers,
    threads,
    tuning,
    use_backend,
)
from fastscratch.dispatch.choose import Choice, choose
from fastscratch.dispatch.explain import Config, Explanation, explain_problem, show_config
from fastscratch.dispatch.machine import single_blas_thread
from fastscratch.dispatch.registry import available_backends, register_kernel, unregister_kernel
from fastscratch.dispatch.settings import current_settings, get_num_threads, set_num_threads

__all__ = [
    "Choice",
    "Config",
    "Explanation",
    "accuracy",
    "available_backends",
    "choose",
    "current_settings",
    "deterministic",
    "explain_problem",
    "fallback",
    "get_num_threads",
    "prefer_backend",
    "record_choices",
    "record_decisions",
    "register_kernel",
    "reuse_buffers",
    "set_num_threads",
    "show_config",
    "single_blas_thread",
    "threads",
    "tuning",
    "unregister_kernel",
    "use_backend",
]
