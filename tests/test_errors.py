"""Errors: one base, the built-in kinds that callers already catch, and missing extras by name."""

import pytest

from fastscratch import errors


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ShapeError", ValueError),
        ("DtypeError", TypeError),
        ("ArgumentError", ValueError),
        ("BackendUnavailableError", RuntimeError),
        ("MissingExtraError", ImportError),
        ("DataError", ValueError),
        ("CheckpointError", ValueError),
        ("TrainingError", RuntimeError),
        ("KernelCheckError", AssertionError),
    ],
)
def test_an_error_is_also_of_the_kind_that_python_has_for_it(name, kind):
    error = getattr(errors, name)
    assert issubclass(error, errors.FastscratchError)
    assert issubclass(error, kind)


def test_a_missing_extra_is_named():
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'fastscratch\[plot\]'") as e:
        errors.require_extra("no_such_package.part", "plot")
    assert "needs no_such_package, which is not installed" in str(e.value)
    assert errors.require_extra("json", "plot").dumps({}) == "{}"
