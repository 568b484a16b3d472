"""Compiles the C part."""

from setuptools import setup

setup(cffi_modules=["build_norm.py:ffi"])
